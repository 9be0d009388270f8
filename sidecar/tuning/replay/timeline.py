"""Sessions of a replay, what is known of their users and devices, and whom events concern.

The daemon keeps facts in records and folds a session's record with its user's and its devices'.
In a replay everything comes in order: a fact is delivered to the sessions it touches when it
comes, and a session that begins later, or comes to another device, is given what is known already.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    ClaimsSeen,
    DeviceBound,
    Fact,
    Scope,
    Seen,
    ShownWith,
    Sighted,
    SignedIn,
    seen_in,
)
from sidecar.domain.facts.from_signal import Locate, SignalFacts, facts_from
from sidecar.domain.facts.signal import SessionEstablished, Subject
from sidecar.domain.sources.source import Sources
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.lattice import BOUNDS
from sidecar.domain.values.location import Place
from sidecar.domain.values.namespaces import NO_NAMESPACES, Namespaces
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.tuning.recording.occurrences import Occurrence

KEPT = max(BOUNDS.values())
"""Facts of a user or device that are kept for sessions to come."""

_PRUNED_AT = 2 * KEPT


_Session: TypeAlias = tuple[str, str]
"""The key of a session: the issuer whose name it is, and the name."""


class Life:
    """A session while it lives, and what each policy set makes of it (`passages`).

    `issuer` says whose names its are, and `user` is the user's with that. `known` are the values
    last shown by checks, by what they are of; `attacked` says that some occurrence of it is
    labelled an attack.
    """

    __slots__ = (
        "app",
        "attacked",
        "devices",
        "expires_at",
        "issuer",
        "known",
        "passages",
        "session",
        "user",
    )

    def __init__(self, session: str, user: str, issuer: str = "") -> None:
        self.session = session
        self.user = user
        self.issuer = issuer
        self.app = ""
        self.devices: set[str] = set()
        self.expires_at = 0
        self.known: dict[str, object] = {}
        self.attacked = False
        self.passages: list[Any] = []  # of `passage`, which knows this module


class SessionDelivery(NamedTuple):
    """Facts for a session. `history` is older: what it lacks of its user and device."""

    life: Life
    facts: list[Fact]
    history: list[Fact]


class Timeline:
    """The sessions of a recording. `min_ttl`: seconds for which one is kept at least.

    Of the sources that it names those are taken for such that are configured (`sources`), and of
    the issuers likewise (`namespaces`). What names none is of the only one; where there are
    several, of none in particular, and what concerns no session concerns all of them.
    """

    def __init__(
        self,
        locate: Locate,
        min_ttl: float,
        sources: Sources,
        namespaces: Namespaces = NO_NAMESPACES,
    ) -> None:
        self._namespaces = namespaces
        self.sessions = 0
        self.users: set[str] = set()
        self.ownerless = 0
        self._locate = locate
        self._sources = sources
        self._min_ttl = int(min_ttl * MICROSECONDS)
        self._lives: dict[_Session, Life] = {}
        self._of_user: dict[str, list[Life]] = {}
        self._of_device: dict[str, list[Life]] = {}
        self._facts: dict[tuple[Scope, str], list[Fact]] = {}
        self._seen: dict[str, Seen] = {}
        self._expiring: list[tuple[int, _Session]] = []

    def take(self, occurrence: Occurrence) -> list[SessionDelivery]:
        """Return whom an occurrence concerns; the session that it is of comes first."""
        signal = occurrence.signal
        place = occurrence.place
        locate = self._locate if place is None else (lambda _ip: place)
        source = self._sources.labelled(signal.source)
        if source != signal.source:
            signal = msgspec.structs.replace(signal, source=source)
        meaning = facts_from(signal, locate)
        match meaning.scope:
            case Scope.SESSION:
                return self._of_session(occurrence, meaning)
            case Scope.USER:
                return self._shared(Scope.USER, signal.subject.user, signal.subject, meaning.facts)
            case Scope.DEVICE:
                named = signal.subject.device
                return self._shared(Scope.DEVICE, named, signal.subject, meaning.facts)

    def find(self, subject: Subject) -> Life | None:
        """Return the session that a subject names, if it lives."""
        return self._lives.get((self._issuer(subject), subject.session))

    def _issuer(self, subject: Subject) -> str:
        """Return whose names a subject's are; empty: that is not known."""
        if subject.issuer:
            return self._namespaces.named(subject.issuer) or subject.issuer
        return self._namespaces.sole() or ""

    def _label(self, issuer: str, name: str) -> str:
        """Return a name with whose it is, where there are several issuers; empty for none."""
        alone = not issuer or self._namespaces.sole() is not None
        return name if alone or not name else f"{name} ({issuer})"

    def has_expired(self, now: int) -> bool:
        """Return whether any session may end before `now` (microseconds)."""
        return bool(self._expiring) and self._expiring[0][0] < now

    def expired(self, now: int) -> Iterator[Life]:
        """Sessions that end before `now` (microseconds), by when they do; they are forgotten."""
        expiring = self._expiring
        while expiring and expiring[0][0] < now:
            at, named = heapq.heappop(expiring)
            life = self._lives.get(named)
            if life is None:
                continue
            if life.expires_at > at:
                heapq.heappush(expiring, (life.expires_at, named))
                continue
            self._forget(life)
            yield life

    def _forget(self, life: Life) -> None:
        del self._lives[life.issuer, life.session]
        _leave(self._of_user, life.user, life)
        for device in life.devices:
            _leave(self._of_device, self._label(life.issuer, device), life)

    def _shared(
        self, scope: Scope, name: str, subject: Subject, facts: tuple[Fact, ...]
    ) -> list[SessionDelivery]:
        issuer = self._issuer(subject)
        issuers = (issuer,) if issuer else ("", *self._namespaces.all)
        return [
            delivery
            for one in dict.fromkeys(issuers)
            for delivery in self._of_one(scope, self._label(one, name), facts)
        ]

    def _of_one(self, scope: Scope, name: str, facts: tuple[Fact, ...]) -> list[SessionDelivery]:
        kept = self._facts.setdefault((scope, name), [])
        kept.extend(facts)
        if len(kept) > _PRUNED_AT:
            del kept[:-KEPT]
        lives = (self._of_user if scope is Scope.USER else self._of_device).get(name, ())
        return [SessionDelivery(life, list(facts), []) for life in lives]

    def _of_session(self, occurrence: Occurrence, meaning: SignalFacts) -> list[SessionDelivery]:
        signal = occurrence.signal
        subject, stamp = signal.subject, signal.stamp
        history: list[Fact] = []
        issuer = self._issuer(subject)
        user = self._label(issuer, subject.user)
        life = self._lives.get((issuer, subject.session))
        born = life is None
        if life is None:
            life = self._begin((issuer, subject.session), user)
            history += self._history(Scope.USER, life.user)
        elif not life.user and user:
            life.user = user
            self._own(life)
            history += self._history(Scope.USER, life.user)
        facts = list(meaning.facts) if occurrence.is_event else self._news(life, meaning.facts)
        facts += self._shown(life, occurrence)
        if subject.device and subject.device not in life.devices:
            life.devices.add(subject.device)
            device = self._label(issuer, subject.device)
            self._of_device.setdefault(device, []).append(life)
            history += self._facts.get((Scope.DEVICE, device), ())
        if life.user and "user" not in life.known:
            life.known["user"] = life.user
            if not (isinstance(signal, SessionEstablished) and subject.user):
                claims = (("user", (subject.user,)),)
                facts.append(ClaimsSeen(stamp=stamp, scope=Scope.SESSION, claims=claims))
        life.app = occurrence.app or getattr(signal, "app", "") or life.app
        life.attacked = life.attacked or occurrence.attack is True
        until = max(getattr(signal, "exp", 0) * MICROSECONDS, stamp.time + self._min_ttl)
        if born:
            heapq.heappush(self._expiring, (until, (issuer, life.session)))
        life.expires_at = max(life.expires_at, until)
        return self._spread(life, facts, history)

    def _spread(self, life: Life, facts: list[Fact], history: list[Fact]) -> list[SessionDelivery]:
        """Deliver the places of a session to its user, too: travel is judged across sessions."""
        deliveries = [SessionDelivery(life, facts, history)]
        if not life.user:
            return deliveries
        for fact in [one for one in facts if isinstance(one, Sighted)]:
            seen = seen_in(fact, life.session)
            self._seen[life.user] = seen
            facts.append(seen)
            siblings = self._of_user[life.user]
            if len(siblings) > 1:
                deliveries += [
                    SessionDelivery(one, [seen], []) for one in siblings if one is not life
                ]
        return deliveries

    def _begin(self, named: _Session, user: str) -> Life:
        issuer, session = named
        life = self._lives[named] = Life(session, user, issuer)
        self.sessions += 1
        if user:
            self._own(life)
        else:
            self.ownerless += 1
        return life

    def _own(self, life: Life) -> None:
        self.users.add(life.user)
        self._of_user.setdefault(life.user, []).append(life)

    def _history(self, scope: Scope, name: str) -> list[Fact]:
        if not name:
            return []
        facts = list(self._facts.get((scope, name), ()))
        seen = self._seen.get(name)
        return facts if seen is None else [*facts, seen]

    def _news(self, life: Life, facts: Iterable[Fact]) -> list[Fact]:
        """Return those facts of a check that its session did not show before (`checks.checker`)."""
        kept: list[Fact] = []
        for fact in facts:
            match fact:
                case Sighted():
                    new = self._is_new(life, "ip", fact.ip)
                case AgentSeen():
                    new = self._is_new(life, "agent", fact.user_agent)
                case DeviceBound():
                    new = self._is_new(life, "device", fact.device)
                case _:
                    new = True
            if new:
                kept.append(fact)
        return kept

    def _shown(self, life: Life, occurrence: Occurrence) -> Iterator[Fact]:
        """Yield what the token showed, as far as it is new."""
        stamp = occurrence.signal.stamp
        if occurrence.is_event:
            _remember(life, occurrence)
        proof: Authentication | None = occurrence.authentication
        if proof is not None and self._is_new(life, f"acr {proof.acr} {proof.amr}", proof):
            signal = occurrence.signal
            ip = getattr(signal, "ip", "")
            place = occurrence.place
            if place is None:
                place = self._locate(ip) if ip else Place()
            agent, device = getattr(signal, "user_agent", ""), signal.subject.device
            came = ShownWith(ip, place, device, user_agent=agent)
            yield SignedIn(stamp=stamp, authentication=proof, shown_with=came)
        claims = occurrence.claims
        if claims:
            claims = tuple(c for c in claims if self._is_new(life, f"claim {c[0]}", c[1]))
        if claims:
            yield ClaimsSeen(stamp=stamp, scope=Scope.SESSION, claims=claims)

    @staticmethod
    def _is_new(life: Life, name: str, value: object) -> bool:
        if life.known.get(name) == value:
            return False
        life.known[name] = value
        return True


def _remember(life: Life, occurrence: Occurrence) -> None:
    """Note what an event showed, to find out what is new in a later check."""
    signal = occurrence.signal
    known = life.known
    if ip := getattr(signal, "ip", ""):
        known["ip"] = ip
    if agent := getattr(signal, "user_agent", ""):
        known["agent"] = agent
    if device := signal.subject.device:
        known["device"] = device


def _leave(index: dict[str, list[Life]], name: str, life: Life) -> None:
    lives = index.get(name)
    if lives is None:
        return
    if life in lives:
        lives.remove(life)
    if not lives:
        del index[name]


def nowhere(_ip: str) -> Place:
    """Return the place of every address where no geography database is configured."""
    return Place()
