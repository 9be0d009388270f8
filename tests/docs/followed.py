"""Follows a page of the documents as a reader would: writes its files, runs its commands.

Blocks of code say by the rest of their first line what they are: `file=NAME` is written, and
`append=NAME` added, in the reader's directory; the commands of `console` are run one after another,
and what they print is compared with what the page shows. `...` stands for anything: in a line for
some of it, alone for any lines. A command that is followed by `# exit status 1` has to fail so.
Those of `console background` go on in terminals of their own.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.cli.main import main
from tests.waiting import GIVE_UP, eventually

_FENCE = re.compile(r"^```([\w-]*) ?([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_STATUS = re.compile(r"\s+# exit status (\d+)$")
_OF_A_SHELL = re.compile(r"[|<>;&()`*?$]")
AGAIN = 0.05
"""Seconds until something is looked at again: often enough, and no load for what is waited for."""

_ASKS = re.compile(r"sidecar (?:check|emit|revoke) |curl (?!.*(?:-X POST|-d ))")
"""What may be run again until it answers as the page says: done again, it changes nothing."""


class Block(NamedTuple):
    """A block of code: its language, the rest of its first line, and its text."""

    language: str
    notes: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of code of a page."""
    return [Block(*found) for found in _FENCE.findall(page)]


class Step(NamedTuple):
    """A command, what it is to print, and its exit status."""

    command: str
    shown: tuple[str, ...]
    status: int


def steps_of(text: str) -> Iterator[Step]:
    """Return the commands of a block of `console`."""
    command, shown = "", list[str]()
    for line in (*text.splitlines(), "$ "):
        if not line.startswith("$ "):
            shown.append(line)
            continue
        if command:
            status = _STATUS.search(command)
            said = int(status[1]) if status else 0
            yield Step(_STATUS.sub("", command), tuple(shown), said)
        command, shown = line[2:], []


def as_shown(printed: str, shown: tuple[str, ...]) -> bool:
    """Return whether what was printed is what the page shows."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else r".*".join(map(re.escape, line.split("..."))) + r"\n"
        for line in shown
    )
    text = printed.replace("\r\n", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    return re.fullmatch(pattern, text) is not None


class Reader:
    """Somebody who follows pages, in a directory and with an environment of their own."""

    def __init__(self, directory: Path, change: Callable[[str], str]) -> None:
        self.directory = directory
        self.environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
        here = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
        self.environment["PATH"] = here
        self.background: dict[str, subprocess.Popen[bytes]] = {}
        self._change = change

    def follow(self, page: str, others: Mapping[str, Callable[[Block], None]]) -> int:
        """Do what a page says, and return how many commands were run.

        `others` are blocks of `console` of another kind.
        """
        ran = 0
        for block in blocks_of(page):
            kind, _, name = block.notes.partition("=")
            if name and kind in {"file", "append"}:
                self._write(name, block.text, append=kind == "append")
            elif block.language == "console" and block.notes in others:
                others[block.notes](block)
            elif block.language in {"console", "sh", "bash", "shell"}:
                assert (block.language, block.notes) == ("console", ""), block
                for step in steps_of(block.text):
                    self._run(step)
                    ran += 1
        return ran

    def _write(self, name: str, text: str, *, append: bool) -> None:
        file = self.directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a" if append else "w") as target:
            target.write(self._change(text))

    def _run(self, step: Step) -> None:
        command = self._change(step.command)
        if found := re.fullmatch(r"cd (\S+)", command):
            self.directory /= found[1]
            return
        end = time.monotonic() + GIVE_UP
        while True:
            status, printed = self.does(command)
            if status == step.status and as_shown(printed, step.shown):
                return
            assert _ASKS.match(command), f"{command}: {status}\n{printed}"
            assert time.monotonic() < end, f"{command}: {status}\n{printed}"
            time.sleep(AGAIN)  # at this pace a page is asked again, until the daemon has caught up

    def does(self, command: str) -> tuple[int, str]:
        """Run a command, and return its exit status and all that it printed.

        One of ours that needs no shell is run in this process: to start Python takes longer than
        most of them do.
        """
        known = re.sub(r'"?\$(\w+)"?', lambda name: self.environment[name[1]], command)
        if known.startswith("sidecar ") and not _OF_A_SHELL.search(known):
            return self._here(shlex.split(known)[1:])
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout

    def _here(self, words: list[str]) -> tuple[int, str]:
        printed = io.StringIO()
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            with (
                contextlib.chdir(self.directory),
                contextlib.redirect_stdout(printed),
                contextlib.redirect_stderr(printed),
            ):
                status = main(words)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return status, printed.getvalue()

    def starts(self, command: str) -> None:
        """Start a command in a terminal of its own; the same one before it has been ended."""
        self.ends(command)
        words = shlex.split(self._change(command))
        log = self.directory / f"{words[0]}.printed"
        fresh = {k: v for k, v in self.environment.items() if not k.startswith("SIDECAR_")}
        with log.open("wb") as output:
            self.background[command] = subprocess.Popen(
                words, cwd=self.directory, env=fresh, stdout=output, stderr=output
            )

    def holds(self, command: str, ready: Callable[[], bool]) -> None:
        """Wait until what was started by a command is ready. It may not end before."""

        def looked_at() -> bool:
            assert self.background[command].poll() is None, (self.directory / name).read_text()
            return ready()

        name = f"{shlex.split(command)[0]}.printed"
        eventually(looked_at, bool, every=AGAIN)

    def ends(self, command: str) -> None:
        """End what was started by a command, if anything was."""
        process = self.background.pop(command, None)
        if process is not None:
            process.terminate()
            process.wait(GIVE_UP)

    def leaves(self) -> None:
        """End all that was started."""
        for command in list(self.background):
            self.ends(command)
