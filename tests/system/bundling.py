"""Sidecars that take up signed bundles, and an operator who makes, signs and activates these."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import pytest

from sidecar.adapters.clock import now
from sidecar.cli.main import main
from tests.adapters.identity import key_set
from tests.adapters.servers import free_ports
from tests.stories.running import SIGNER, token
from tests.system.processes import Process

PASSED = -1
POLICIES = """\
policies:
  - id: generation-{number}
    state: enabled
    contexts: {{include: [c1]}}
    grant: block
"""


class Follower(Process):
    """One `sidecar run` that takes up bundles: it may be up and not ready yet."""

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.admin}/startupz").status_code == 200
        except httpx.TransportError:
            return False

    def readiness(self) -> dict[str, str]:
        """What is wrong, by condition."""
        checks = httpx.get(f"{self.admin}/readyz").json()["checks"]
        return {one["name"]: one["reason"] for one in checks if one["state"] != "good"}


class Judged(NamedTuple):
    """A check: when it was sent and answered, and by which generation; 0: by none."""

    sent: float
    answered: float
    generation: int


class Operator:
    """Makes bundles in a directory that is the source, and orders them in force."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.source = directory / "bundles"
        self.source.mkdir(exist_ok=True)
        self.capsys = capsys
        self.config = directory / "build.yaml"
        self.config.write_text(json.dumps({"contexts": {"c1": {"name": "Payments"}}}))
        self.key, self.public = directory / "key", directory / "key.pub"
        assert self.run("keygen", "--unencrypted", *self._pair(self.key, self.public))[0] == 0
        self.public_key = self.public.read_text().splitlines()[1]

    @staticmethod
    def _pair(key: Path, public: Path) -> tuple[str, ...]:
        return "--key", str(key), "--public-key", str(public)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run `sidecar policies`; returns its status and what it printed."""
        self.capsys.readouterr()
        status = main(["policies", *words])
        printed = self.capsys.readouterr()
        return status, printed.out, printed.err

    def build(self, number: int, text: str = POLICIES) -> Path:
        """Build a bundle at its place in the source."""
        source = self.directory / f"fleet-{number}" / "policies"
        source.mkdir(parents=True, exist_ok=True)
        (source / "one.yaml").write_text(text.format(number=number))
        out = self.source / f"policies-{number}.tar"
        words = ("--sequence", str(number), "--config", str(self.config), "--out", str(out))
        status, _, said = self.run("build", str(source.parent), *words)
        assert status == 0, said
        return out

    def sign(self, bundle: Path) -> Path:
        """Sign a bundle."""
        assert self.run("sign", str(bundle), "--key", str(self.key))[0] == 0
        return bundle

    def order(self, sidecar: Process, *words: str) -> tuple[int, str]:
        """Order a bundle in force at a sidecar; returns the status and what was printed."""
        why = ("--reason", "ticket 4711", "--url", sidecar.admin)
        status, said, wrong = self.run(*words, *why)
        return status, said + wrong


def generation_of(answer: dict[str, Any]) -> int:
    """Which generation an answer is of: 0 where none judged, -1 where none asked for anything."""
    if answer.get("status") == 503 or answer.get("error") in {"unavailable", "overloaded"}:
        return 0
    named = {one["policy"].rpartition("-")[2] for one in answer.get("reasons", ())}
    assert len(named) <= 1, answer
    return int(named.pop()) if named else PASSED


class Asking:
    """Asks a sidecar's socket one check after the other, from threads of its own."""

    def __init__(self, sidecars: list[Follower]) -> None:
        self.judged: dict[str, list[Judged]] = {one.config.stem: [] for one in sidecars}
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(one, f"user-{number}"))
            for one in sidecars
            for number in range(2)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, sidecar: Follower, user: str) -> None:
        shown = token(user, f"{user}-of-{sidecar.config.stem}")
        judged = self.judged[sidecar.config.stem]
        with asking(sidecar) as ask:
            while not self._over.is_set():
                sent = now()
                answer = ask(shown)
                judged.append(Judged(sent, now(), generation_of(answer)))

    def seen(self) -> int:
        """How many checks the slowest was answered."""
        return min(map(len, self.judged.values()))


@contextmanager
def asking(sidecar: Follower) -> Iterator[Any]:
    """A function that asks a check in `c1` of a token over the socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(sidecar.socket))
        with line.makefile("rwb") as stream:

            def ask(shown: str) -> dict[str, Any]:
                request = {"op": "check", "token": shown, "context": "c1"}
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                answer: dict[str, Any] = json.loads(stream.readline())
                return answer

            yield ask


@contextmanager
def fleet(
    operator: Operator, store: str, *names: str, source: dict[str, Any] | None = None
) -> Iterator[list[Follower]]:
    """Sidecars that take up what this operator signs."""
    directory = operator.directory
    (directory / "jwks.json").write_bytes(key_set(SIGNER))
    extra = {
        "policies": {
            "bundle": {
                **(source or {"directory": str(operator.source)}),
                "public_keys": [operator.public_key],
            }
        },
    }
    running: list[Follower] = []
    try:
        for name in names:
            running.append(follower(directory, name, store, extra))  # noqa: PERF401 - to be ended
        yield running
    finally:
        for one in running:
            if one.process.poll() is None:
                one.process.terminate()
        for one in running:
            one.process.wait(30)


def follower(directory: Path, name: str, store: str, extra: dict[str, Any]) -> Follower:
    """Start one of them, with a cache of its own."""
    bundle = {**extra["policies"]["bundle"], "cache": str(directory / f"cache-{name}")}
    admin = {"bind": f"127.0.0.1:{free_ports(1)[0]}", "token": "operator"}
    more = {"admin": admin, "policies": {"bundle": bundle}}
    return Follower(directory, name, store, {**extra, **more})
