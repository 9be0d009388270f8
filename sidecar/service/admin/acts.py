"""The acts of operators: from an order to the event that it is, and whom it concerns.

    order --> whose name is it? --> one event of the source `operator:NAME` --> admission

An act concerns what the operator names and nothing else. A name that several have (issuers, or
users of one session) is not guessed at: the error names them. One that nobody has heard of
is most likely misspelt, so that it takes a word more to act on it. While the store is away, what
this sidecar serves decides whose a name is; where there is but one issuer, that is enough.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypedDict, assert_never

import msgspec

from sidecar.domain.facts.fact_kinds import Scope
from sidecar.domain.facts.signal import (
    OperatorClear,
    OperatorMark,
    RiskLevelChange,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import ROUTINE, RiskLevel
from sidecar.domain.sources.source import OPERATOR_PREFIX
from sidecar.domain.values.stamp import Stamp, at
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fact_reader import DeviceRecord, FactReader, LocatorRecord, UserRecord
from sidecar.service.view.view import View
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.operator_acts import Act, Order
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import owners_of
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import shown

USUAL = "mfa"
"""The level that a mark asks for where its order names none."""

OF_RISK = "/risk"
"""Ends the id of the event by which an act says besides that the risk is low, or high."""


class _Said(TypedDict):
    """The members that all events of an act have."""

    subject: Subject
    source: str
    content: str
    reason: str


class Ids(Protocol):
    """Remembers, for all sidecars, for what an id has counted."""

    async def claim(self, event_id: str, content: str) -> bool:
        """Return whether it counts for this, and for nothing else.

        Raises `Unavailable`, `Overloaded`.
        """


class ActConflict(Exception):  # noqa: N818 - named by who must act: the operator
    """The order means several things, or its id has counted for another one."""


class NotSeen(Exception):  # noqa: N818 - likewise
    """Nobody here has heard of the name."""


class Whose(NamedTuple):
    """The bearer of a name: the namespace, of a session its user, and how many sessions live."""

    namespace: str
    user: str = ""
    sessions: int = 0


class PreparedAct(NamedTuple):
    """An act as events, its own last, and of how many sessions it is; None: that is not known."""

    signals: tuple[Signal, ...]
    sessions: int | None


class Acts:
    """Makes events of operators' orders."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        records: FactReader,
        view: View,
        ids: Ids,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._records = records
        self._view = view
        self._ids = ids
        self._settings = settings
        self._clock = clock
        self._new_id = new_id

    async def prepare(self, order: Order, operator: str) -> PreparedAct:
        """Return the events that an order of this operator is, as of now.

        Raises `InvalidSignal`, `ActConflict` and `NotSeen`; `Unavailable` where it cannot be known
        whose name it is.
        """
        order = self._understood(order)
        whose, sessions = await self._whose(order)
        subject = Subject(
            user=order.name if order.scope is Scope.USER else whose.user,
            device=order.name if order.scope is Scope.DEVICE else "",
            session=order.name if order.scope is Scope.SESSION else "",
            issuer=whose.namespace,
        )
        order = msgspec.structs.replace(order, issuer=whose.namespace)
        if order.id and not await self._is_its_own(order, operator):
            raise ActConflict("id: it has counted for another act already")
        return PreparedAct(self._signals(order, operator, subject), sessions)

    def _understood(self, order: Order) -> Order:
        """Return the order with its names as they are configured; raises `InvalidSignal`."""
        settings = self._settings()
        known, aliases = settings.contexts, settings.aliases
        contexts = tuple(sorted({aliases.get(name, name) for name in order.contexts}))
        strange = next((one for one in contexts if one not in known and one != ROUTINE), "")
        if strange and known:
            hint = suggestion(strange, (*known, *aliases, ROUTINE))
            raise InvalidSignal("contexts", f"there is no context {shown(strange)!r}{hint}")
        if order.act is not Act.MARK:
            return order
        ladder = self._view.evaluator.world.ladder
        controls = (*(level.name for level in ladder.levels), *ladder.strengths)
        acr = order.acr or USUAL
        control = acr if acr in controls else ladder.name(ladder.rank(acr, ()))
        if not control:
            hint = suggestion(acr, controls)
            raise InvalidSignal("acr", f"no level or strength is {shown(acr)!r}{hint}")
        return msgspec.structs.replace(order, contexts=contexts, acr=control)

    def _signals(self, order: Order, operator: str, subject: Subject) -> tuple[Signal, ...]:
        stamp = at(self._clock(), order.id or self._new_id())
        said = _Said(
            subject=subject,
            source=OPERATOR_PREFIX + operator,
            content=order.content,
            reason=order.reason,
        )
        match order.act:
            case Act.REVOKE:
                return (SessionRevoked(stamp=stamp, **said),)
            case Act.MARK:
                mark = OperatorMark(
                    stamp=stamp,
                    contexts=order.contexts,
                    control=order.acr,
                    max_age=order.max_age,
                    **said,
                )
                if not order.confirm_risk:
                    return (mark,)
                return _risk(stamp, RiskLevel.HIGH, said), mark
            case Act.CLEAR:
                clear = OperatorClear(stamp=stamp, **said)
                if not order.dismiss_risk:
                    return (clear,)
                return _risk(stamp, RiskLevel.LOW, said), clear
            case _:
                assert_never(order.act)

    async def _is_its_own(self, order: Order, operator: str) -> bool:
        """Return whether the id counts for this order. While the store is away, the spool says."""
        try:
            return await self._ids.claim(f"{OPERATOR_PREFIX}{operator} {order.id}", order.content)
        except (Unavailable, Overloaded):
            return True

    async def _whose(self, order: Order) -> tuple[Whose, int | None]:
        namespaces = self._settings().tokens.namespaces
        candidates = namespaces.all
        if order.issuer:
            named = namespaces.named(order.issuer)
            if named is None:
                raise InvalidSignal("issuer", f"is one of {', '.join(namespaces.words)}")
            candidates = (named,)
        try:
            found, asked = await self._known(order, candidates), True
        except (Unavailable, Overloaded):
            found, asked = self._here(order, candidates), False
        if order.user:
            found = [one for one in found if one.user == order.user]
        if len(found) > 1:
            raise ActConflict(_ambiguous(order, found))
        if found:
            whose = found[0]
            if order.scope is Scope.SESSION and not order.user and order.act is not Act.CLEAR:
                # So it waits for whoever comes to have the session later; a clear must not.
                whose = whose._replace(user="")
            return whose, found[0].sessions if asked else None
        if asked and not order.unseen:
            raise NotSeen(
                f"nobody here has heard of this {order.scope}; `unseen` acts on it all the same"
            )
        if len(candidates) > 1:
            words = ", ".join(namespaces.words)
            raise ActConflict(
                f"issuer: is required, as nobody has heard of the name; known are {words}"
            )
        return Whose(candidates[0], order.user), 0 if asked else None

    async def _known(self, order: Order, candidates: tuple[str, ...]) -> list[Whose]:
        """Return who has the name, by the store and by what this sidecar serves."""
        digests = [digest(namespace, order.name) for namespace in candidates]
        found: set[Whose] = set()
        if order.scope is Scope.SESSION:
            records = await self._records.load(*map(LocatorRecord, digests))
            for namespace, record in zip(candidates, records, strict=True):
                found.update(Whose(namespace, owner.user, 1) for owner in owners_of(record))
        else:
            wanted: Iterable[UserRecord | DeviceRecord] = (
                map(UserRecord, digests)
                if order.scope is Scope.USER
                else map(DeviceRecord, digests)
            )
            listed = await self._records.load_listed(*wanted)
            for namespace, one in zip(candidates, listed, strict=True):
                if one.record or one.sessions:
                    found.add(Whose(namespace, sessions=len(set(one.sessions))))
        if order.scope is Scope.SESSION or not found:  # what calls have shown may not be saved yet
            found.update(self._here(order, candidates))
        return sorted(found)

    def _here(self, order: Order, candidates: tuple[str, ...]) -> list[Whose]:
        """Return who has the name among the sessions that this sidecar serves."""
        if order.scope is Scope.SESSION:
            lives = self._view.find_session(order.name, candidates)
            return sorted({Whose(live.namespace, live.user, 1) for live in lives})
        counts: dict[str, int] = {}
        for live in self._view:
            is_it = (
                live.user == order.name if order.scope is Scope.USER else order.name in live.devices
            )
            if is_it and live.namespace in candidates:
                counts[live.namespace] = counts.get(live.namespace, 0) + 1
        return [Whose(namespace, sessions=count) for namespace, count in sorted(counts.items())]


def _risk(stamp: Stamp, level: RiskLevel, said: _Said) -> RiskLevelChange:
    """Return the event by which an act at this stamp says besides what the risk is."""
    return RiskLevelChange(stamp=Stamp(stamp.time, f"{stamp.id}{OF_RISK}"), level=level, **said)


def _ambiguous(order: Order, found: list[Whose]) -> str:
    if order.scope is Scope.SESSION:
        listed = ", ".join(f"{one.user} ({one.namespace})" for one in found)
        return f"several have a session of this name: {listed}; say which by `user` and `issuer`"
    listed = ", ".join(one.namespace for one in found)
    return f"issuer: is required, as this {order.scope} is known at several: {listed}"
