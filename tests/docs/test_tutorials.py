"""The tutorials are followed, command by command, against the real demo and a real nginx."""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.adapters.servers import free_ports
from tests.docs.followed import AGAIN, Block, Reader, as_shown, steps_of
from tests.waiting import GIVE_UP, eventually

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "tutorials"
AFTER = {"device-management": "behind-nginx"}
"""The tutorials that go on where another one ends."""
PORTS = ("8000", "8080", "8181", "9090", "8443")
OPTIONS = ("--port", "--app-port", "--sidecar-port", "--admin-port")
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


class Tutorials:
    """The tutorials that were followed, beside a demo that runs."""

    def __init__(self, place: Path) -> None:
        self.ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self._place = place
        self._reader = Reader(place, self._with_free_ports)
        self._others = {"demo": self._demo, "background": self._background}
        self._ran: dict[str, int] = {}
        self._output = (place / "demo.printed").open("wb")
        self._process = subprocess.Popen(
            ["sidecar", "demo"],
            env={**self._reader.environment, "TMPDIR": str(place)},
            stdout=self._output,
            stderr=self._output,
        )

    def follow(self, name: str) -> int:
        """Follow a tutorial, with those before it, and return how many commands it has."""
        if name not in self._ran:
            if before := AFTER.get(name):
                self.follow(before)
            else:
                self._reader.directory = self._demo_directory()
            page = (PAGES / f"{name}.md").read_text()
            self._ran[name] = self._reader.follow(page, self._others)
        return self._ran[name]

    def close(self) -> None:
        self._reader.leaves()
        self._process.terminate()
        self._process.wait(GIVE_UP)
        self._output.close()

    def _with_free_ports(self, text: str) -> str:
        if text.startswith("sidecar init "):
            named = (
                f" {option} {self.ports[port]}"
                for option, port in zip(OPTIONS, PORTS, strict=False)
            )
            return text + "".join(named)
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self.ports[port[1]], text)

    def _demo_directory(self) -> Path:
        """Return where the demo is, once its story is over, and take in its environment."""
        said = self._place / "demo.printed"
        text = eventually(said.read_text, lambda page: "EDITOR" in page or self._over(), 60, AGAIN)
        assert not self._over(), text
        (place,) = re.findall(r"^cd (\S+) && \. ./environment$", text, re.MULTILINE)
        for line in (Path(place) / "environment").read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self._reader.environment[name] = value
        return Path(place)

    def _over(self) -> bool:
        return self._process.poll() is not None

    def _demo(self, block: Block) -> None:
        """Have been done: the demo runs, and the reader is in its directory."""
        (step,) = steps_of(block.text)
        assert re.fullmatch(r"sidecar demo|cd /tmp/\S+ && \. ./environment", step.command)

    def _background(self, block: Block) -> None:
        for step in steps_of(block.text):
            self._reader.starts(step.command)
        for step in steps_of(block.text):
            if step.command.startswith("sidecar run"):
                self._reader.holds(step.command, self._is_ready)
            else:
                port = "8000" if "nginx" in step.command else "8080"
                self._reader.holds(step.command, partial(self._listens, port))

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", int(self.ports["9090"]))
        with suppress(OSError, HTTPException), closing(connection):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == HTTPStatus.OK
        return False

    def _listens(self, port: str) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(self.ports[port]))):
            return True
        return False


@pytest.fixture(scope="module")
def tutorials() -> Iterator[Tutorials]:
    with tempfile.TemporaryDirectory(prefix="t-") as place:
        followed = Tutorials(Path(place))
        try:
            yield followed
        finally:
            followed.close()


@pytest.mark.parametrize(
    ("name", "commands"),
    [("first-step-up", 13), ("first-policy", 8), ("behind-nginx", 14), ("device-management", 12)],
)
def test_a_tutorial_goes_as_it_says(tutorials: Tutorials, name: str, commands: int) -> None:
    if name not in {"first-step-up", "first-policy"} and NGINX is None:
        pytest.skip("nginx is not installed")
    assert tutorials.follow(name) >= commands


def test_every_tutorial_is_followed() -> None:
    names = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert names == {"first-step-up", "first-policy", "behind-nginx", "device-management"}


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        (("allow", "  session: a-..."), True),
        (("allow", "..."), True),
        (("...", "  session: a-17"), True),
        (("allow",), False),
        (("deny", "..."), False),
        (("allow", "  session: b-..."), False),
    ],
)
def test_what_is_printed_is_compared_with_what_is_shown(
    shown: tuple[str, ...], *, same: bool
) -> None:
    assert as_shown("allow\n  session: a-17\n", shown) is same
