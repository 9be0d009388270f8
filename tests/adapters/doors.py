"""What stands behind the doors in their tests: small services in memory, and a raw client."""

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

from sidecar.adapters.events.speakers import Speakers
from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import SessionRevoked, Signal
from sidecar.service.checks.kept_answers import RepeatedAnswer
from sidecar.service.checks.responses import unknown_context
from sidecar.service.intake.outcomes import accept_each
from sidecar.service.ports.calls import (
    Accepted,
    Answer,
    Call,
    FleetAcknowledgement,
    Overloaded,
    Reason,
    StandingChange,
    Unavailable,
)
from sidecar.service.view.watchers import Watches
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.sources import SourceSettings
from tests.waiting import until

POWERFUL = "somebody"
"""The source that the peers of a test's door are, by this process's own uid."""

EPOCH = 1_800_000_000.0
SKEW = 60.0


def clock() -> float:
    return EPOCH


def speakers(**powers: Any) -> Speakers:
    """Peers of this process's uid are one source, with these powers."""
    one = SourceSettings(name=POWERFUL, uids=(os.getuid(),), **{"may_watch": True, **powers})
    settings = Settings(sources=(one,))
    return Speakers(lambda: settings)


CREDENTIAL = "a-credential-of-the-tests"
SHOWN = {"Authorization": f"Bearer {CREDENTIAL}"}


@contextmanager
def credential(**powers: Any) -> Iterator[Speakers]:
    """Whoever shows `CREDENTIAL` is a source with these powers; all others are local peers."""
    with tempfile.TemporaryDirectory(prefix="credential-") as directory:
        file = Path(directory, "token")
        file.write_text(CREDENTIAL + "\n")
        one = SourceSettings(name=POWERFUL, token_file=str(file), **powers)
        settings = Settings(sources=(one,))
        yield Speakers(lambda: settings)


class Numbers:
    """Ids of events: e1, e2, ..."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> str:
        self.last += 1
        return f"e{self.last}"


class Services:
    """Checks and events in memory: a token is the name of a session; revoked ones are denied.

    `trouble` is raised instead of doing anything. `gate`, if set, is waited for by every event.
    """

    def __init__(self) -> None:
        self.watches = Watches()
        self.calls: list[Call] = []
        self.signals: list[Signal] = []
        self.ids: set[str] = set()
        self.revoked: set[str] = set()
        self.trouble: Exception | None = None
        self.gate: trio.Event | None = None
        self.at_once = 0
        self.most_at_once = 0
        self.sidecars: tuple[int, int] | Exception = (1, 1)
        self.gathered: list[int] = []

    def check_at_once(self, call: Call) -> RepeatedAnswer | None:
        if call.token.endswith(("later", "judged")) or isinstance(
            self.trouble, Overloaded | Unavailable
        ):
            return None
        return RepeatedAnswer(self._check(call), "")

    def judge_at_once(self, call: Call) -> Answer | None:
        return self._check(call) if call.token.endswith("judged") and not self.trouble else None

    async def gather(
        self,
        calls: Iterable[Call],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.gathered.append(len(tuple(calls)))
        task_status.started()

    async def check(self, call: Call) -> Answer:
        await trio.lowlevel.checkpoint()
        return self._check(call)

    def _check(self, call: Call) -> Answer:
        if self.trouble:
            raise self.trouble
        self.calls.append(call)
        if not call.token:
            return Answer(
                Verdict.DENY, 401, challenge="Bearer", error="invalid_token", message="no"
            )
        if call.token in self.revoked:
            reason = Reason("p1", "session-revoked", "it was revoked")
            return Answer(Verdict.DENY, 403, session=call.token, reasons=(reason,))
        if "c99" in call.contexts:
            return unknown_context("'c99' is not in `contexts`")
        if "c1" in call.contexts:
            return Answer(
                Verdict.STEP_UP,
                401,
                session=call.token,
                challenge='Bearer error="insufficient_user_authentication", acr_values="phr"',
                acr_values="phr",
                max_age=0,
            )
        return Answer(
            Verdict.ALLOW, 200, call.token, "u1", "mfa", pending=call.token.endswith("pending")
        )

    async def accept_all(self, signals: Sequence[Signal]) -> list[Accepted | Exception]:
        return await accept_each(self.accept, signals)

    async def accept(self, signal: Signal) -> Accepted:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.lowlevel.checkpoint()
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.trouble:
            raise self.trouble
        duplicate = signal.stamp.id in self.ids
        self.ids.add(signal.stamp.id)
        self.signals.append(signal)
        if isinstance(signal, SessionRevoked):
            self.revoked.add(signal.subject.session)
            self.watches.notify(StandingChange(signal.subject.session, "revoked"))
        return Accepted(signal.stamp.id, duplicate=duplicate)

    async def acknowledged(self, event: str, within: float, source: str) -> FleetAcknowledgement:
        assert event in self.ids
        await trio.lowlevel.checkpoint()
        if isinstance(self.sidecars, Exception):
            raise self.sidecars
        return FleetAcknowledgement(*self.sidecars)


class Incidents(list[Any]):
    """Collects what a door reports; takes crashes, too, which the test did not foresee."""

    def __call__(self, incident: Any, error: Exception | None) -> None:
        self.append(incident if error is None else (incident, error))

    async def wait_for(self, incident: Any) -> None:
        await until(lambda: incident in self)


@asynccontextmanager
async def running(run: Callable[..., Awaitable[None]], **options: Any) -> AsyncIterator[Any]:
    """A door that runs while the block does; yields what it starts with."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def start(*, task_status: trio.TaskStatus[Any]) -> None:
                await run(task_status=task_status, **options)

            yield await nursery.start(start)
            nursery.cancel_scope.cancel()


class Wire:
    """A raw client of a stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.unread = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def more(self) -> bytes:
        data = await self.stream.receive_some(65536)
        self.unread += data
        return bytes(data)

    async def line(self) -> bytes:
        while b"\n" not in self.unread:
            if not await self.more():
                raise EOFError(self.unread)
        line, _, self.unread = self.unread.partition(b"\n")
        return line

    async def exactly(self, count: int) -> bytes:
        while len(self.unread) < count:
            if not await self.more():
                raise EOFError(self.unread)
        data, self.unread = self.unread[:count], self.unread[count:]
        return data

    async def rest(self) -> bytes:
        """All there is until the other end closes; a reset ends it, too."""
        try:
            while await self.more():
                pass
        except trio.BrokenResourceError:
            pass
        data, self.unread = self.unread, b""
        return data

    async def closed(self) -> bool:
        return await self.rest() == b""


async def connect(address: str) -> Wire:
    """A client of `HOST:PORT` or of a unix path."""
    if address.startswith("/"):
        return Wire(await trio.open_unix_socket(address))
    host, _, port = address.rpartition(":")
    return Wire(await trio.open_tcp_stream(host.strip("[]"), int(port)))
