"""Rewinds sessions to a moment: their state, score and standing as of then, and what led there.

A session's state is the fold of its facts, so that its state as of a moment is the fold of those
until then: by what is known of that moment now, which may have come later, and as the policies in
force judge it. What was folded for good (a checkpoint) cannot be taken apart again: a session can
be rewound to its checkpoint, and no further.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from sidecar.domain.evaluation.decision import STANDINGS
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.facts.from_signal import facts_from
from sidecar.domain.facts.steps import steps_of
from sidecar.domain.session.risk import Term, in_tenths, terms_of
from sidecar.domain.session.state import State
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.admin.inspection import (
    Course,
    InvalidQuery,
    Summary,
    TimelineEntry,
    folded_by,
    namespaces_meant,
    timeline,
)
from sidecar.service.audit.turns import Turns
from sidecar.service.records.fact_reader import FactReader, StoredSession, UserRecord
from sidecar.service.view.fold_records import Folded
from sidecar.wire.console.suppositions import Supposition, supposed_signal
from sidecar.wire.history.entries import Dated
from sidecar.wire.names import composed
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import SessionName, digest
from sidecar.wire.store.records import apps_of

SAMPLES = 96
"""Points of a curve beside those at which something happened."""

POINTS = 512
"""Points of a curve at most."""

LINES = 300
"""Lines of a timeline at most; the latest."""

SESSIONS = 12
"""Sessions of a user that are rewound; the latest."""

_READ = 64
"""Sessions of a user that are read, to find the latest of them."""


class RewindQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question for a session, or for all of a user, as of `at` (seconds; 0: now).

    `context`: names with commas between, of the call that is explained. `then` and `value` are what
    is supposed to happen at that moment besides; empty: nothing.
    """

    session: str = ""
    user: str = ""
    issuer: str = ""
    at: float = 0.0
    context: str = ""
    app: str = ""
    then: str = ""
    value: str = ""


class ScorePoint(NamedTuple):
    """A score at a moment (seconds)."""

    at: float
    score: float


class Rewound(msgspec.Struct, frozen=True):
    """A session as of a moment `at`; `summary` None: it had not begun. `curve` is its score since.

    It can be rewound until `begins`; `now` is the other end.
    """

    name: str
    user: str
    issuer: str
    at: float
    begins: float
    now: float
    summary: Summary | None
    curve: tuple[ScorePoint, ...]
    terms: tuple[Term, ...] = ()
    explanation: Explanation | None = None
    timeline: tuple[TimelineEntry, ...] = ()
    others: tuple[Summary, ...] = ()


class RewoundUser(msgspec.Struct, frozen=True):
    """The latest sessions of a user as of a moment, and how many there are."""

    user: str
    issuer: str
    at: float
    begins: float
    now: float
    sessions: tuple[Rewound, ...]
    count: int


class SessionFinder(Protocol):
    """Finds sessions and says how they stand. All raise `Unavailable`, `Overloaded`."""

    async def find(self, session: str) -> list[StoredSession]:
        """Return all sessions of this name."""

    def contexts(self, text: str) -> frozenset[str]:
        """Return the contexts of a text. Raises `InvalidQuery`."""

    def summarised(self, session: StoredSession, state: State, now: float) -> Summary:
        """Return a session in this state as a line of a list."""


class Rewinder:
    """Rewinds sessions. `read` reads those of these names, `happened` what happened to one."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        finder: SessionFinder,
        records: FactReader,
        evaluator: Callable[[], Evaluator],
        happened: Callable[[str, str, str], Awaitable[list[Dated]]],
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        place_of: Callable[[str], Place],
    ) -> None:
        self._finder = finder
        self._records = records
        self._evaluator = evaluator
        self._happened = happened
        self._settings = settings
        self._clock = clock
        self._place_of = place_of

    async def session(self, query: RewindQuery) -> Rewound | None:
        """Return a session as of a moment; None where there is none.

        Of several of this name it is the one that stands worst. Raises `InvalidQuery`,
        `InvalidSignal`, `Unavailable`, `Overloaded`.
        """
        now = _now_of(query, self._clock())
        known = []
        for found in await self._finder.find(query.session):
            named = found.identified
            folded = folded_by(self._evaluator(), found)
            if (
                folded.state.established
                and query.user in {"", named.user}
                and query.issuer in {"", named.namespace}
            ):
                known.append((self._finder.summarised(found, folded.state, now), found, folded))
        if not known:
            return None
        worst = max(known, key=lambda one: STANDINGS.index(one[0].standing))
        _, found, folded = worst
        named = found.identified
        happened = await self._happened(named.namespace, named.user, named.session)
        rewound = await self._rewind(found, folded, query, now)
        course = Course(folded.facts, found.name.session, folded.state, happened)
        return msgspec.structs.replace(
            rewound,
            explanation=self._explained(found, folded, query, rewound.at),
            timeline=timeline(course, self._evaluator(), int(now * MICROSECONDS))[-LINES:],
            others=tuple(one[0] for one in known if one is not worst),
        )

    async def user(self, query: RewindQuery) -> RewoundUser | None:
        """Return a user's sessions as of a moment; None where there are none.

        Raises `InvalidQuery`, `Unavailable`, `Overloaded`.
        """
        now, user = _now_of(query, self._clock()), composed(query.user)
        namespaces = namespaces_meant(query.issuer, self._settings())
        wanted = [UserRecord(digest(namespace, user)) for namespace in namespaces]
        names = [name for one in await self._records.load_listed(*wanted) for name in one.sessions]
        latest = await self._latest(names[:_READ])
        if not latest:
            return None
        sessions = [await self._rewind(found, folded, query, now) for found, folded in latest]
        begins = min(one.begins for one in sessions)
        issuers = {one.issuer for one in sessions}
        at = min(max(query.at, begins), now) if query.at else now
        issuer = issuers.pop() if len(issuers) == 1 else ""
        return RewoundUser(user, issuer, at, begins, now, tuple(sessions), len(names))

    async def _latest(self, names: Sequence[SessionName]) -> list[tuple[StoredSession, Folded]]:
        turns, found = Turns(), []
        for session in await self._records.load_sessions(names):
            await turns.give_way()
            folded = folded_by(self._evaluator(), session)
            if folded.state.established:
                found.append((session, folded))
        found.sort(key=lambda one: one[1].state.established, reverse=True)
        return found[:SESSIONS]

    async def _rewind(
        self, found: StoredSession, folded: Folded, query: RewindQuery, now: float
    ) -> Rewound:
        evaluator, named = self._evaluator(), found.identified
        begins = _begin_of(folded) / MICROSECONDS
        at = min(max(query.at, begins), now) if query.at else now
        state = state_as_of(evaluator, found, folded, int(at * MICROSECONDS))
        moment = int(at * MICROSECONDS)
        known = bool(state.established)
        world = evaluator.world
        return Rewound(
            name=named.session,
            user=named.user,
            issuer=named.namespace,
            at=at,
            begins=begins,
            now=now,
            summary=self._finder.summarised(found, state, at) if known else None,
            curve=await score_curve(evaluator, found, folded, now),
            terms=terms_of(evaluator.at(state, moment), moment, world.rating, world.sources),
        )

    def _explained(
        self, found: StoredSession, folded: Folded, query: RewindQuery, at: float
    ) -> Explanation | None:
        """Explain a call at that moment, where what is supposed happened just before it."""
        evaluator, moment = self._evaluator(), int(at * MICROSECONDS)
        more: tuple[Fact, ...] = ()
        if query.then:
            state = state_as_of(evaluator, found, folded, moment)
            supposed = Supposition(query.then, query.value)
            signal = supposed_signal(supposed, found.identified, state.device, at)
            more = facts_from(signal, self._place_of).facts
        state = state_as_of(evaluator, found, folded, moment, more)
        if not state.established:
            return None
        app = query.app or self._settings().app.id or next(iter(apps_of(found.record)), "")
        return explain_call(evaluator, state, app, self._finder.contexts(query.context), at)


def _now_of(query: RewindQuery, now: float) -> float:
    """Return the present moment. Raises `InvalidQuery` for a question about none."""
    if math.isnan(query.at):
        raise InvalidQuery("at", "is a moment, in seconds since the epoch")
    return now


def _begin_of(folded: Folded) -> int:
    """Return the moment to which a session can be rewound."""
    if folded.checkpoint is not None:
        return folded.checkpoint.state.last.time
    return folded.state.established


def state_as_of(
    evaluator: Evaluator,
    found: StoredSession,
    folded: Folded,
    moment: int,
    more: Iterable[Fact] = (),
) -> State:
    """Return the state as of a moment (microseconds), by what is known now, and by `more`.

    Not before the session's checkpoint, if it has one.
    """
    facts = [fact for fact in folded.facts if fact.stamp.time <= moment]
    state = evaluator.fold(
        found.name.session, [*facts, *more], folded.checkpoint, issuer=found.namespace
    )
    if folded.state.lost <= moment:
        state.lost = folded.state.lost
    return state


async def score_curve(
    evaluator: Evaluator, found: StoredSession, folded: Folded, now: float
) -> tuple[ScorePoint, ...]:
    """Return the score of a session from where it can be rewound to until now.

    No policy takes part in a score, so that none is evaluated on the way.
    """
    turns, bare = Turns(), evaluator.without_policies()
    session, issuer = found.name.session, found.namespace
    begin, end = _begin_of(folded), int(now * MICROSECONDS)
    before = [fact for fact in folded.facts if fact.stamp.time <= begin]
    state = bare.fold(session, before, folded.checkpoint, issuer=issuer)
    steps = [step for step in steps_of(folded.facts) if begin < step[0].stamp.time <= end]
    moments = {begin + (end - begin) * each // SAMPLES for each in range(SAMPLES + 1)}
    thinned = steps[:: 1 + len(steps) // (POINTS - SAMPLES)]
    moments.update(step[0].stamp.time for step in thinned)
    # What jumps is drawn as a jump: one point just before it.
    moments.update(step[0].stamp.time - 1 for step in thinned[:: 1 + len(thinned) // 200])
    points, taken = [], 0
    for moment in sorted(moments):
        while taken < len(steps) and steps[taken][0].stamp.time <= moment:
            await turns.give_way()
            state = bare.advance(session, state, steps[taken]) or state
            taken += 1
        score = bare.scene(state, moment).score
        points.append(ScorePoint(moment / MICROSECONDS, in_tenths(score)))
    return tuple(points)
