"""The sessions that an operator looks at, each with its score, marks and timeline."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from sidecar.domain.evaluation.decision import STANDINGS, coarse, describe, explain
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.explanation.narrative import kind_of, marked, narrated
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.facts.segments import describe_segments
from sidecar.domain.policy.conditional_access import ROUTINE, Policy
from sidecar.domain.session.risk import Term, in_tenths, terms_of
from sidecar.domain.session.standing import Demand
from sidecar.domain.session.state import State
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.audit.auditor import Auditor
from sidecar.service.audit.fan_out import FanOut
from sidecar.service.audit.rescore_all import AllSessionsRescorer
from sidecar.service.audit.turns import Turns
from sidecar.service.checks.trial_records import SEVERITY
from sidecar.service.history.sentences import sentence_of
from sidecar.service.ports.store import Store
from sidecar.service.records.fact_reader import (
    DeviceRecord,
    FactReader,
    LocatorRecord,
    StoredSession,
    UserRecord,
)
from sidecar.service.view.fold_records import Folded, assemble, forgotten
from sidecar.service.view.view import View
from sidecar.wire.history.entries import Dated, EntryKind
from sidecar.wire.names import composed
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import SessionName, StoreKeys, digest, session_name
from sidecar.wire.store.prompts import prompts_since
from sidecar.wire.store.records import apps_of, owners_of
from sidecar.wire.store.rescore_records import Progress

PAGE_BOUND = 1000
FOREIGN_CURSOR = "was not given by a page before"

_FACTS = frozenset({EntryKind.PROOF, EntryKind.REVOKED})
"""Kinds of entries that the facts of a session say better."""


class InvalidQuery(ValueError):  # noqa: N818 - named by who must act
    """The asker must mend the query: `parameter`, and what is wrong with it."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter


class SessionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search for sessions: of a user, on a device, of a standing (empty: any); `limit` of them.

    `issuer` says whose names these are, by the issuer's identifier or its namespace; empty: any.
    `cursor` is what the page before gave; empty for the first.
    """

    user: str = ""
    device: str = ""
    standing: str = ""
    limit: int = 100
    cursor: str = ""
    issuer: str = ""


class ExplainQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call to be explained: its contexts with commas between (empty, `routine`: none).

    `app` empty: the configured one, or the session's own; of several, the one with the strictest
    answer.
    """

    explain: str = ""
    app: str = ""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """A demand of one policy on a session. `since` in seconds; 0: from the sign-in."""

    policy: str
    signal: str
    text: str
    since: float = 0.0
    contexts: tuple[str, ...] = ()
    report_only: bool = False
    block: bool = False
    unsatisfiable: bool = False
    met_until: int = 0
    binds_from: int = 0
    every_time: bool = False


class Summary(msgspec.Struct, frozen=True):
    """A session as a line of a list. Times are in seconds since the epoch.

    `issuer` says whose names these are: the issuer, or the namespace that several share.
    `prompts`: how often its user was asked, in any session, within the prompt budget's last period.
    `cleared`: the policies that hold and ask nothing, since an operator has cleared why.
    """

    session: str
    user: str
    issuer: str
    device: str
    apps: tuple[str, ...]
    standing: str
    score: float
    level: str
    assurance: str
    auth_time: int
    ip: str
    country: str
    network: str
    established: float
    marks: tuple[Mark, ...]
    prompts: int = 0
    cleared: tuple[str, ...] = ()


class TimelineEntry(msgspec.Struct, frozen=True):
    """One line of a timeline: when, what kind of thing, by which event, and what it is in words.

    `time` in seconds since the epoch; `event` empty: it came of others.
    """

    time: float
    kind: str
    event: str
    text: str


class Detail(msgspec.Struct, frozen=True):
    """One session in full: its summary, the score's terms, and its timeline.

    `others`: sessions of the same name that other users have, or users of other issuers.
    """

    summary: Summary
    terms: tuple[Term, ...]
    proven: tuple[str, ...]
    circumstances: Mapping[str, str]
    baseline: Mapping[str, str]
    timeline: tuple[TimelineEntry, ...]
    others: tuple[Summary, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """Some sessions; `cursor` leads to more, empty: no more."""

    sessions: tuple[Summary, ...]
    cursor: str = ""


class FannedOut(msgspec.Struct, frozen=True):
    """The audit that is left to do for events that touch very many sessions.

    `items` of work, `sessions` as far as they were looked up, and the `sidecars` that work at it.
    """

    items: int = 0
    sessions: int = 0
    sidecars: tuple[str, ...] = ()


class SharedWork(Progress, frozen=True):
    """The work that sidecars share: the re-score of all sessions, and large events."""

    fan_out: FannedOut = FannedOut()


class Inspector:
    """Reads sessions from the store, as all sidecars see them."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        store: Store,
        records: FactReader,
        view: View,
        auditor: Auditor,
        names: StoreKeys,
        clock: Callable[[], float],
        rescore_all: AllSessionsRescorer,
        fan_out: FanOut,
        settings: Callable[[], Settings],
        history: Callable[[str, str, str], Awaitable[list[Dated]]],
    ) -> None:
        self._history = history
        self._fan_out = fan_out
        self._rescore_all = rescore_all
        self._settings = settings
        self._store = store
        self._records = records
        self._view = view
        self._auditor = auditor
        self._names = names
        self._clock = clock

    async def sessions(self, query: SessionQuery) -> Page:
        """Return one page, in the order of the sessions' names.

        Raises `InvalidQuery`, `Unavailable`.
        """
        if query.standing and query.standing not in STANDINGS:
            raise InvalidQuery("standing", f"is one of {', '.join(STANDINGS)}")
        if not 1 <= query.limit <= PAGE_BOUND:
            raise InvalidQuery("limit", f"is 1 to {PAGE_BOUND}")
        after = decode_cursor(query.cursor)
        names = sorted(await self._candidates(query))
        shown: list[Summary] = []
        last = after
        for start in range(0, len(names), PAGE_BOUND):
            batch = [n for n in names[start : start + PAGE_BOUND] if str(n) > after]
            for session in await self._auditor.read(batch):
                summary = self._summary(session)
                if summary is None or query.standing not in {"", summary.standing}:
                    continue
                if len(shown) == query.limit:
                    return Page(tuple(shown), encode_cursor(last))
                shown.append(summary)
                last = str(session.name)
        return Page(tuple(shown))

    async def _candidates(self, query: SessionQuery) -> list[SessionName]:
        if query.user or query.device:
            namespaces = namespaces_meant(query.issuer, self._settings())
            wanted = [self._of(query, namespace) for namespace in namespaces]
            return [
                name for one in await self._records.load_listed(*wanted) for name in one.sessions
            ]
        names: set[SessionName] = set()
        async for keys in self._store.keys(self._names.every_session()):
            names.update(name for key in keys if (name := self._names.name_of_record(key)))
        return list(names)

    @staticmethod
    def _of(query: SessionQuery, namespace: str) -> UserRecord | DeviceRecord:
        if query.user:
            return UserRecord(digest(namespace, composed(query.user)))
        return DeviceRecord(digest(namespace, composed(query.device)))

    async def session(self, session: str, /) -> Detail | None:
        """Return one session by its identifier; None where there is none.

        Of several users who have a session of this name it is the one that stands worst; the
        others are given beside it.
        """
        details = []
        for found in await self.find(session):
            named = found.identified
            happened = await self._history(named.namespace, named.user, named.session)
            if detail := self._detail(found, happened):
                details.append(detail)
        if not details:
            return None
        first = max(details, key=lambda one: STANDINGS.index(one.summary.standing))
        others = tuple(one.summary for one in details if one is not first)
        return msgspec.structs.replace(first, others=others)

    async def explain(self, session: str, query: ExplainQuery, /) -> Explanation | None:
        """Explain what a call of a session would get now; None where there is no session.

        Raises `InvalidQuery`, `Unavailable`.
        """
        contexts = self.contexts(query.explain)
        evaluator, now = self._view.evaluator, self._clock()
        app = query.app or self._settings().app.id
        explained = []
        for found in await self.find(session):
            state = folded_by(evaluator, found).state
            if state.established:
                explained += [
                    explain_call(evaluator, state, each, contexts, now)
                    for each in ((app,) if app else apps_of(found.record) or ("",))
                ]
        return max(explained, key=lambda one: SEVERITY[one.verdict], default=None)

    def contexts(self, text: str) -> frozenset[str]:
        """Return those of a query, which are `routine` or names with commas between.

        One that is not configured would seem to let everything pass: raises `InvalidQuery`.
        """
        names = frozenset(name.strip() for name in text.split(",")) - {"", ROUTINE}
        settings = self._settings()
        known, aliases = settings.contexts, settings.aliases
        names = frozenset(aliases.get(name, name) for name in names)
        strangers = sorted(names - known.keys()) if known else ()
        if strangers:
            raise InvalidQuery("explain", f"is of {', '.join(sorted([*known, *aliases]))}")
        return names

    async def find(self, session: str) -> list[StoredSession]:
        """Return all sessions of this name, whoever has them, at whichever issuer.

        Raises `Unavailable`, `Overloaded`.
        """
        namespaces = self._settings().tokens.namespaces.all
        session = composed(session)
        locators = [LocatorRecord(digest(each, session)) for each in namespaces]
        located = await self._records.load(*locators)
        names = [
            session_name(namespace, owner.user, session)
            for namespace, record in zip(namespaces, located, strict=True)
            for owner in owners_of(record)
        ]
        return await self._auditor.read(names)

    async def summaries(self, names: Sequence[SessionName]) -> list[Summary]:
        """Return those of these sessions that live. Raises `Unavailable`, `Overloaded`."""
        turns, found = Turns(), []
        for session in await self._auditor.read(names):
            await turns.give_way()
            if (summary := self._summary(session)) is not None:
                found.append(summary)
        return found

    async def policies(self) -> tuple[Policy, ...]:
        """Return the policies in force, tried ones among them."""
        return self._view.evaluator.policies

    async def rescore(self) -> SharedWork:
        """Return how far the re-score of all sessions is, and large events.

        Raises `Unavailable`.
        """
        progress, outlook = await self._rescore_all.status(), await self._fan_out.status()
        left = max(0, outlook.expected - outlook.done)
        return SharedWork(
            **msgspec.structs.asdict(progress),
            fan_out=FannedOut(outlook.left, left, outlook.workers),
        )

    def summarised(self, session: StoredSession, state: State, now: float) -> Summary:
        """Return a session that is in this state at `now` (seconds) as a line of a list."""
        prompts = prompts_since(session.of_user, now, self._settings().friction.per)
        summary = summarise(self._view.evaluator, session, state, now)
        return msgspec.structs.replace(summary, prompts=prompts)

    def _summary(self, session: StoredSession) -> Summary | None:
        now = self._clock()
        state = folded_by(self._view.evaluator, session).state
        if not state.established:
            return None
        return self.summarised(session, state, now)

    def _detail(self, session: StoredSession, happened: Iterable[Dated]) -> Detail | None:
        now = self._clock()
        evaluator = self._view.evaluator
        state, facts, _, _ = folded_by(evaluator, session)
        if not state.established:
            return None
        moment = int(now * MICROSECONDS)
        world = evaluator.world
        terms = terms_of(evaluator.at(state, moment), moment, world.rating, world.sources)
        return Detail(
            self.summarised(session, state, now),
            terms,
            tuple(state.proven),
            {str(name): held.value for name, held in state.circumstances.items()},
            {str(name): value for name, value in state.baseline.items()},
            timeline(Course(facts, session.name.session, state, happened), evaluator, moment),
        )


def folded_by(evaluator: Evaluator, session: StoredSession) -> Folded:
    """Return the state of a session that was read, and what it was made of."""
    records = (session.record, session.others)
    folded = assemble(evaluator, session.name.session, *records, issuer=session.namespace)
    folded.state.lost = forgotten(evaluator, session.slot, (session.record, *session.others))
    return folded


def summarise(evaluator: Evaluator, session: StoredSession, state: State, now: float) -> Summary:
    """Return a session that is in this state as a line of a list, without its prompts."""
    named = session.identified
    moment = int(now * MICROSECONDS)
    standing = evaluator.standing(state, moment)
    scene = evaluator.scene(evaluator.at(state, moment), moment)
    asking = {demand.policy for demand in (*standing.demands, *standing.tried)}
    return Summary(
        session=named.session,
        user=named.user,
        issuer=named.namespace,
        device=state.device,
        apps=apps_of(session.record),
        standing=coarse(standing, now),
        score=in_tenths(scene.score),
        level=scene.level,
        assurance=evaluator.world.ladder.name(standing.rank),
        auth_time=standing.auth_time,
        ip=state.ip,
        country=state.location.country,
        network=describe_segments(state, evaluator.world.sources),
        established=state.established / MICROSECONDS,
        marks=tuple(
            _mark(demand) for demand in (*standing.demands, *standing.tried) if demand.is_mark
        ),
        cleared=tuple(
            f"{policy}: {'; '.join(map(describe, held.causes))}"
            for policy, held in state.activations.items()
            if held.is_cleared and policy not in asking
        ),
    )


def _mark(demand: Demand) -> Mark:
    return Mark(
        policy=demand.policy,
        signal=demand.signal,
        text=explain(demand),
        since=(demand.since or 0) / MICROSECONDS,
        contexts=tuple(sorted(demand.contexts.include or ())),
        report_only=demand.report_only,
        block=demand.block,
        unsatisfiable=demand.unsatisfiable,
        met_until=demand.valid_until if demand.lapses else 0,
        every_time=demand.each_call is not None,
        binds_from=demand.binds_from,
    )


class Course(NamedTuple):
    """The facts of a session, its state, and its history."""

    facts: Iterable[Fact]
    session: str
    state: State
    happened: Iterable[Dated]


def timeline(course: Course, evaluator: Evaluator, now: int) -> tuple[TimelineEntry, ...]:
    """Return what happened until `now` (microseconds), and the marks that policies have set.

    The history adds what the facts do not say: marks that are over, how they ended, and calls that
    were not allowed; and what was said of which no fact is left.
    """
    facts, session, state, happened = course
    standing = evaluator.standing(state, now)
    moments = [
        TimelineEntry(fact.stamp.seconds, kind_of(fact), fact.stamp.id, text)
        for fact, text in narrated(facts, session, evaluator.network_of)
    ]
    marks = set()
    for demand in (*standing.demands, *standing.tried):
        if demand.is_mark:
            since = state.established if demand.since is None else demand.since
            kind = "would-be-marked" if demand.report_only else "marked"
            moments.append(TimelineEntry(since / MICROSECONDS, kind, "", marked(demand)))
            marks.add((demand.policy, since))
    events = {moment.event for moment in moments}
    for at, _, entry in happened:
        is_narrated = bool(entry.event) and entry.event in events
        if not (is_narrated or entry.kind in _FACTS or (entry.policy, at) in marks):
            text = sentence_of(entry)
            moments.append(TimelineEntry(at / MICROSECONDS, entry.kind.value, entry.event, text))
    return tuple(sorted(moments, key=lambda moment: moment.time))


def namespaces_meant(issuer: str, settings: Settings) -> tuple[str, ...]:
    """Return the namespaces to look in; all where no issuer is named.

    Raises `InvalidQuery` for an issuer that is not configured.
    """
    namespaces = settings.tokens.namespaces
    if not issuer:
        return namespaces.all
    named = namespaces.named(issuer)
    if named is None:
        raise InvalidQuery("issuer", f"is one of {', '.join(namespaces.words)}")
    return (named,)


def encode_cursor(last: str) -> str:
    """Return the cursor of a page, by the name of the last of what it shows."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Undo `encode_cursor`; empty for the first page. Raises `InvalidQuery`."""
    if not cursor:
        return ""
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError, UnicodeDecodeError) as error:
        raise InvalidQuery("cursor", FOREIGN_CURSOR) from error
