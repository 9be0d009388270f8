"""What `sidecar init` prints, done by somebody without rights in a directory of their own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.stories.running import unique
from tests.system.peers.chromium import Tab
from tests.waiting import eventually

NOBODY = 65534
PATIENCE = 60.0
"""Seconds that a busy machine may take for a step."""
PATH = "/usr/local/bin:/usr/bin:/bin"
"""As of a user of Debian who has activated no environment of Python's."""


def as_nobody(command: str) -> list[str]:
    """The command as a user without rights; of a user who is not root it is that already."""
    words = shlex.split(command)
    if os.geteuid() != 0:
        return words
    who = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    # Nobody may read all, and write nothing: this Python may lie in the home of root.
    reads = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    return ["setpriv", *who, *reads, "--bounding-set=-all,+dac_read_search", *words]


@contextmanager
def empty_directory() -> Iterator[Path]:
    """An empty directory of somebody without rights, with a path that is short enough."""
    with tempfile.TemporaryDirectory(prefix="first-") as name:
        if os.geteuid() == 0:
            shutil.chown(name, NOBODY, NOBODY)
        yield Path(name)


def initialised(directory: Path, words: str) -> list[str]:
    """The commands that `sidecar init` prints once it has written below a directory."""
    done = subprocess.run(
        as_nobody(f"{sys.executable} -m sidecar init {words}"),
        cwd=directory,
        env={"PATH": PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return re.findall(r"^  (\S.*)$", done.stdout, re.MULTILINE)


@contextmanager
def shell(
    directory: Path, command: str, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on, in a directory; its output is reported where the test fails."""
    log = directory / f"{unique('output')}.log"
    where, _, then = command.rpartition(" && ")
    there = directory / shlex.split(where)[1] if where else directory
    with log.open("wb") as output:
        process = subprocess.Popen(
            as_nobody(f"env {then}"),
            cwd=there,
            env={"PATH": PATH, "HOME": str(directory), "TMPDIR": str(directory), **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    except BaseException:
        print(f"--- {command}\n{log.read_text(errors='replace')}")  # noqa: T201 - shown on failure
        raise
    finally:
        process.terminate()
        process.wait(PATIENCE)


def await_page(url: str, *processes: subprocess.Popen[bytes]) -> None:
    """Wait until something is there, and well, while processes go on."""
    address = urlsplit(url)

    def is_there() -> bool:
        assert all(process.poll() is None for process in processes)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
        try:  # not httpx, which loads the authorities of TLS for each call
            connection.request("GET", address.path or "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    eventually(is_there, bool, PATIENCE, 0.05)


class Person:
    """Somebody at the page, who signs in at the provider's page as they are asked to."""

    def __init__(self, tab: Tab, page: str) -> None:
        self.tab = tab
        self.name = unique("ada")
        tab.open(page)

    def sign_in(self, methods: str, name: str = "") -> None:
        self.tab.fill_in("user", name or self.name)
        self.tab.fill_in("methods", methods)
        self.tab.click("button")

    def sees(self, text: str) -> None:
        self.tab.await_value("document.querySelector('output')?.textContent.trim()", text)
