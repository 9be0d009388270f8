"""The daemon's real local socket, before journeys that answer by the book."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import trio

from sidecar.adapters.listening.seats import Seat
from sidecar.adapters.socket.incidents import SocketIncident
from sidecar.adapters.socket.server import LocalSocket
from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import Signal
from sidecar.service.checks.kept_answers import RepeatedAnswer
from sidecar.service.ports.calls import (
    Accepted,
    Answer,
    Call,
    FleetAcknowledgement,
    Overloaded,
    Reason,
    StandingChange,
)
from sidecar.service.view.watchers import Watches
from sidecar.wire.settings.settings import Socket
from tests.adapters.doors import speakers
from tests.waiting import until

REASON = Reason("p1", "risk-level-change", "the user's risk is high")


class Counted(LocalSocket):
    """Counts its connections, and those that are `open`."""

    connections = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._streams: list[trio.socket.SocketType] = []

    @property
    def open(self) -> int:
        return sum(one.fileno() >= 0 for one in self._streams)

    async def _serve(self, stream: trio.socket.SocketType, peer: str, seat: Seat) -> None:
        self.connections += 1
        self._streams.append(stream)
        await super()._serve(stream, peer, seat)


class Sidecar:
    """Token `good` is ada's, marked in c1; `bad` is not believed; user `busy` is turned away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[Call] = []
        self.signals: list[Signal] = []
        self.revoked: set[str] = set()
        self._idle = trio.Event()
        self._watches = Watches()
        self.door = Counted(
            Socket(path=str(path), idle_timeout=3600),
            checks=self,
            events=self,
            watches=self,
            acknowledger=self,
            speakers=speakers(),
            clock=lambda: 1_700_000_000.0,
            skew=lambda: 1e9,
            new_id=lambda: f"new-{len(self.signals)}",
            on_incident=self._incident,
        )

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        await self.door.run(task_status=task_status)

    @property
    def connections(self) -> int:
        return self.door.connections

    def _incident(self, incident: SocketIncident, _error: Exception | None) -> None:
        if incident is SocketIncident.IDLE:
            self._idle.set()

    async def end_idle(self) -> None:
        """End a connection that has asked nothing for a while, as the settings have it."""
        settings = self.door.settings
        self.door.replace(msgspec.structs.replace(settings, idle_timeout=0.01))
        await self._idle.wait()
        self.door.replace(settings)
        await until(lambda: not self.door.open)  # a request before that would be left unread

    async def say(self, change: StandingChange) -> None:
        self._watches.notify(change)

    async def until_watched(self, watchers: int = 1) -> None:
        await until(lambda: len(self._watches) == watchers)

    def check_at_once(self, call: Call) -> RepeatedAnswer | None:
        return None

    def judge_at_once(self, call: Call) -> Answer | None:
        return None

    async def gather(
        self,
        calls: Iterable[Call],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        task_status.started()

    async def check(self, call: Call) -> Answer:
        self.calls.append(call)
        if call.token == "bad":
            challenge = 'Bearer error="invalid_token"'
            return Answer(
                Verdict.DENY,
                401,
                challenge=challenge,
                error="invalid_token",
                message="the token has expired",
            )
        if call.token in self.revoked:
            return Answer(Verdict.DENY, 401, "s1", "ada", challenge='Bearer error="invalid_token"')
        if "c1" not in call.contexts:
            return Answer(Verdict.ALLOW, 200, "s1", "ada", pending=True)
        return Answer(
            Verdict.STEP_UP,
            401,
            "s1",
            "ada",
            pending=True,
            challenge='Bearer error="insufficient_user_authentication"',
            acr_values="mfa",
            max_age=300,
            reasons=(REASON,),
        )

    async def accept_all(self, signals: Sequence[Signal]) -> list[Accepted | Exception]:
        """Take them one after the other, so that tests know the order of `signals`."""
        taken: list[Accepted | Exception] = []
        for signal in signals:
            try:
                taken.append(await self.accept(signal))
            except Overloaded as error:
                taken.append(error)
        return taken

    async def accept(self, signal: Signal) -> Accepted:
        if signal.subject.user == "busy":
            raise Overloaded
        known = any(one.stamp.id == signal.stamp.id for one in self.signals)
        self.signals.append(signal)
        return Accepted(signal.stamp.id, duplicate=known)

    async def acknowledged(self, event: str, within: float, source: str) -> FleetAcknowledgement:
        return FleetAcknowledgement(2 if event == "slow" else 3, 3)

    def watch(
        self, sessions: frozenset[str] | None
    ) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[StandingChange]]:
        return self._watches.watch(sessions)
