"""Writes the history: each thing that happened to a user, once of all sidecars.

    event   -> appended with its join, in one round trip       (`of_signal`)
    session -> what its state shows, after each new fact      (`look`)    -.
    check   -> what was not allowed                            (`refuse`) --> waits -> `flush`

An entry's id follows from what it says of whom. So whoever finds the same writes the same field,
and the store keeps the first: a sidecar that dies leaves nothing out that another will not find,
and nothing is there twice. What was written a moment ago is remembered here, so that it is not
written at each look.

What waits is bounded, also while the store is away: beyond it the oldest is left for the next look
at its session.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.signal_text import text_of
from sidecar.domain.facts.signal import Signal
from sidecar.domain.policy.conditional_access import PolicyState
from sidecar.domain.session.standing import Standing
from sidecar.domain.sources.source import OPERATOR_PREFIX
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.history.transitions import LookedAt, transitions_of
from sidecar.service.observations.observations import QueueRejected, Telemetry, WorkerFailed
from sidecar.service.ports.calls import Answer, Overloaded, Reason, StoreRefused, Unavailable
from sidecar.service.ports.store import Histories, HistoryAppend, Join
from sidecar.service.records.fact_reader import (
    DeviceRecord,
    LocatorRecord,
    SessionRecord,
    Subjects,
    UserRecord,
)
from sidecar.service.records.writes import WriteTerms, write_of
from sidecar.service.view.live_session import Live
from sidecar.wire.history.entries import (
    Dated,
    Entry,
    EntryKind,
    encode_entry,
    encode_whose,
    field_of,
    id_of,
)
from sidecar.wire.settings.history import HistorySettings
from sidecar.wire.store.event_keys import event_key
from sidecar.wire.store.keys import SessionName, StoreKeys, session_name

KNOWN = 8192
"""Entries that are remembered as written, and as many may wait."""

TOGETHER = 256
"""Entries that are written at once: others who wait for the store get their turn between."""

GATHER = 0.02
"""Seconds for which what checks refused gathers, to be written together."""

LAGS = 32
"""What part of the age an entry may outlive it by in the store; no reader shows it then."""


class _Waiting(NamedTuple):
    """An entry that is not written yet, and the digest of its user."""

    user: str
    dated: Dated


def _in_words(reason: Reason) -> str:
    return f"{reason.policy}: {reason.text}" if reason.policy else reason.text


def _by_user(waiting: Iterable[_Waiting]) -> dict[str, list[Dated]]:
    by_user: dict[str, list[Dated]] = {}
    for user, dated in waiting:
        by_user.setdefault(user, []).append(dated)
    return by_user


class History:
    """The history as one sidecar writes it."""

    def __init__(
        self,
        *,
        store: Histories,
        names: StoreKeys,
        telemetry: Telemetry,
        clock: Callable[[], float],
        settings: Callable[[], HistorySettings],
    ) -> None:
        self._store = store
        self._names = names
        self._telemetry = telemetry
        self._clock = clock
        self._settings = settings
        self._tried_by: tuple[Evaluator, frozenset[str]] | None = None
        self._known: dict[object, None] = {}
        self._waiting: dict[object, _Waiting] = {}
        self._has_waiting = trio.Event()
        self._flushing = trio.Lock()

    @property
    def enabled(self) -> bool:
        """Return whether anything is written."""
        return self._settings().enabled

    def of_signal(self, signal: Signal, of: Subjects) -> HistoryAppend | None:
        """Return what an event adds to the history of whom it concerns; None: there is none.

        A session's is its user's. Of whom nobody knows yet, nothing is written.
        """
        if not self.enabled:
            return None
        match of:
            case UserRecord(user):
                key = self._names.user_history(user)
            case SessionRecord(name):
                key = self._names.user_history(name.user)
            case DeviceRecord(device):
                key = self._names.device_history(device)
            case LocatorRecord():
                return None
        is_act = signal.source.startswith(OPERATOR_PREFIX)
        entry = Entry(
            kind=EntryKind.ACT if is_act else EntryKind.SIGNAL,
            session=signal.subject.session,
            what=signal.kind,
            source=signal.source,
            event=signal.stamp.id,
            text=text_of(signal),
            device=signal.subject.device,
        )
        named = id_of(entry.kind, event_key(signal))
        dated = Dated(signal.stamp.time, named, entry)
        return self._append(key, (dated,))

    def step(self, live: Live, standing: Standing, now: float) -> None:
        """Find what new facts have made of a session in the view, before others come."""
        if live.stepped == live.standing_number:
            return
        live.stepped = live.standing_number
        looked = LookedAt(live.session, live.state, standing, int(now * MICROSECONDS))
        self.look(live.name, live.evaluator, looked)

    def look(self, name: SessionName, evaluator: Evaluator | None, looked: LookedAt) -> None:
        """Find what is not written yet of what became of a session."""
        if not self.enabled:
            return
        for key, moment, entry in transitions_of(looked, self._tried(evaluator)):
            known = (name, key)
            if known not in self._known and known not in self._waiting:
                made = entry()
                named = id_of(made.kind, name.session, *key)
                self._wait(known, _Waiting(name.user, Dated(moment, named, made)))

    def _tried(self, evaluator: Evaluator | None) -> frozenset[str]:
        """Return the policies that are report-only."""
        if evaluator is None:
            return frozenset()
        if self._tried_by is None or self._tried_by[0] is not evaluator:
            tried = {p.id for p in evaluator.policies if p.state is PolicyState.REPORT_ONLY}
            self._tried_by = (evaluator, frozenset(tried))
        return self._tried_by[1]

    def refuse(self, answer: Answer) -> None:
        """Write that a call was not allowed; once for a session, context and why."""
        if answer.error or not answer.session or answer.verdict is Verdict.ALLOW:
            return
        if not self.enabled:
            return
        why = "; ".join(map(_in_words, answer.reasons))
        known = (answer.issuer, answer.subject, answer.session, answer.context, answer.verdict, why)
        if known in self._known or known in self._waiting:
            return
        is_asked = answer.verdict is Verdict.STEP_UP
        entry = Entry(
            kind=EntryKind.CHALLENGED if is_asked else EntryKind.DENIED,
            session=answer.session,
            text=why,
            contexts=tuple(answer.context.split(",")) if answer.context else (),
            decision=answer.id,
            user=answer.subject,
            issuer=answer.issuer,
        )
        name = session_name(answer.issuer, answer.subject, answer.session)
        moment = int(self._clock() * MICROSECONDS)
        self._wait(known, _Waiting(name.user, Dated(moment, id_of(entry.kind, *known), entry)))

    def _wait(self, known: object, waiting: _Waiting) -> None:
        self._waiting[known] = waiting
        self._has_waiting.set()
        self._bound()

    def _bound(self) -> None:
        while len(self._waiting) > KNOWN:
            del self._waiting[next(iter(self._waiting))]
            self._telemetry.record(QueueRejected(queue="history"))

    async def flush(self) -> None:
        """Write all that waits or is being written. Raises `Unavailable`, `Overloaded`."""
        if not self._waiting and not self._flushing.locked():
            return  # as after most events, without a turn of the loop to find that out
        async with self._flushing:
            if not self._waiting:
                return
            taken, self._waiting = self._waiting, {}
            self._has_waiting = trio.Event()
            try:
                while taken:
                    part = dict(islice(taken.items(), TOGETHER))
                    await self._write(_by_user(part.values()))
                    for key in part:
                        del taken[key]
                    self._known.update(dict.fromkeys(part))
            finally:
                if taken:
                    self._waiting = taken | self._waiting
                    self._has_waiting.set()
                    self._bound()
                while len(self._known) > KNOWN:
                    del self._known[next(iter(self._known))]

    async def _write(self, by_user: Mapping[str, Sequence[Dated]]) -> None:
        try:
            appends = [
                self._append(self._names.user_history(user), them) for user, them in by_user.items()
            ]
            appended = await self._store.append_history(*appends)
            # Of a decision that is not in the history, as another was before it, nothing is kept:
            # refused calls of many sessions come again and again.
            there = {field for one in appended for field in one.fresh}
            decisions = [*self._decisions(by_user, there)]
            if decisions:
                await self._store.join(*decisions)
        except StoreRefused as error:
            # What one history may not take must keep nobody from what else is to be done.
            if len(by_user) > 1:
                for one in by_user.items():
                    await self._write(dict([one]))
            else:
                self._telemetry.record(WorkerFailed(where="history", error=error))

    def _decisions(
        self, by_user: Mapping[str, Sequence[Dated]], there: Container[bytes]
    ) -> Iterator[Join]:
        """Yield what leads from the id of a decision to whose history has it."""
        now = int(self._clock() * 1000)
        until = now + int(self._settings().age * 1000)
        for user, them in by_user.items():
            for one in them:
                if one.entry.decision and field_of(one) in there:
                    key = self._names.decision_record(one.entry.decision)
                    yield write_of(key, encode_whose(user), WriteTerms(until, now)).join

    def _append(self, key: bytes, them: Iterable[Dated]) -> HistoryAppend:
        settings, now = self._settings(), self._clock()
        return HistoryAppend(
            key,
            dict(map(encode_entry, them)),
            settings.entries,
            int((now - settings.age) * MICROSECONDS),
            int((now + settings.age) * 1000),
            int(settings.age * MICROSECONDS) // LAGS,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what waits, for ever."""
        task_status.started()
        pause = GATHER
        while True:
            await self._has_waiting.wait()
            await trio.sleep(pause)
            try:
                await self.flush()
                pause = GATHER
            except (Unavailable, Overloaded):
                pause = min(2.0, pause * 2)
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="history", error=error))
