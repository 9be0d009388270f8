"""Sessions acted out in virtual time: facts are gathered as the daemon gathers them, and folded.

A simulation has no time of its own: everything that happens is given its moment. What happens
joins the records of users, devices and sessions as events do (`from_signal`), and how a session
then stands is the evaluator's word.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    NetworkReported,
    RiskReported,
    Scope,
    Seen,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
)
from sidecar.domain.facts.from_signal import facts_from
from sidecar.domain.facts.memberships import GROUPS, ROLES
from sidecar.domain.facts.signal import Signal, Subject
from sidecar.domain.policy.conditional_access import Circumstance, RiskLevel
from sidecar.domain.session.fold import came_from
from sidecar.domain.session.presented import Alone, Presented, always_alone
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.session.state import State
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import Stamp, at

REPORTED_BEFORE = 60
"""So many seconds before the sign-in was reported what is described of user and device."""

SOME_DEVICE = "device"
"""The device of a session that is described as compliant or not, but not on which."""

Claims = tuple[tuple[str, tuple[str, ...]], ...]


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its author describes it; empty or None: not known.

    A user without `groups` or `roles` has none; with None it is unknown which.
    `signed_in_ago` in seconds before the session begins. `proven` are addresses that the user has
    proven on the device in an earlier session, by a sign-in like the one it begins with. Risks,
    compliance, network and signals were reported before the sign-in. `issuer` says whose names
    its user's and device's are.
    """

    user: str = "user"
    issuer: str = ""
    groups: tuple[str, ...] | None = ()
    roles: tuple[str, ...] | None = ()
    claims: Claims = ()
    app: str = ""
    device: str = ""
    compliant: bool | None = None
    ip: str = ""
    user_agent: str = ""
    network: str = ""
    acr: str = ""
    amr: tuple[str, ...] = ()
    signed_in_ago: float = 0.0
    proven: tuple[str, ...] = ()
    user_risk: RiskLevel | None = None
    session_risk: RiskLevel | None = None
    device_risk: RiskLevel | None = None
    signals: tuple[tuple[str, float], ...] = ()


_Named = tuple[str, str]
"""An issuer, and a name of its."""


def _claims_of(kind: str, names: tuple[str, ...] | None) -> Claims:
    return () if names is None else ((kind, names),)


class ChosenToken(StrEnum):
    """The token of its session that a call is made with: of the latest sign-in, or of the first.

    The first one is what somebody has who stole it before its owner signed in again.
    """

    LATEST = "latest"
    FIRST = "first"


class _Session:
    """One session: whose it is, its own facts, and where it was last seen."""

    def __init__(self, described: Described) -> None:
        self.user = described.user
        self.issuer = described.issuer
        self.app = described.app
        self.facts: list[Fact] = []
        self.devices: set[str] = set()


class Simulation:
    """Sessions by name. `place_of` says where an address is, `alone` what calls are judged by."""

    def __init__(
        self,
        evaluator: Evaluator,
        place_of: Callable[[str], Place],
        alone: Alone = always_alone,
    ) -> None:
        self._evaluator = evaluator
        self._place_of = place_of
        self._alone = alone
        self._sessions: dict[str, _Session] = {}
        self._users: dict[_Named, list[Fact]] = {}
        self._devices: dict[_Named, list[Fact]] = {}
        self._taken: set[tuple[str, str]] = set()
        self._count = 0

    def begin(self, name: str, described: Described, now: float) -> None:
        """Begin a session: it signs in and is seen for the first time, at `now` (seconds)."""
        session = self._sessions[name] = _Session(described)
        device = described.device
        if not device and (described.compliant is not None or described.device_risk is not None):
            device = SOME_DEVICE
        signed_in = now - described.signed_in_ago
        self._report(session, described, device, signed_in - REPORTED_BEFORE)
        self._prove(described, device, int(signed_in) - REPORTED_BEFORE)
        stamp = self._stamp(now)
        authentication = Authentication(int(signed_in), described.acr, described.amr)
        came = ShownWith(
            ip=described.ip,
            place=self._place_of(described.ip) if described.ip else Place(),
            device=device,
            user_agent=described.user_agent,
        )
        signed_in_there = SignedIn(stamp=stamp, authentication=authentication, shown_with=came)
        facts: list[Fact] = [signed_in_there]
        claims = (
            ("user", (described.user,)),
            *_claims_of(GROUPS, described.groups),
            *_claims_of(ROLES, described.roles),
            *described.claims,
        )
        facts.append(ClaimsSeen(stamp=stamp, scope=Scope.SESSION, claims=claims))
        if device:
            facts.append(DeviceBound(stamp=stamp, device=device))
        if described.user_agent:
            facts.append(AgentSeen(stamp=stamp, user_agent=described.user_agent))
        if described.ip:
            facts.append(self._seen_at(name, stamp, described.ip))
        self._join(session, facts)

    def _prove(self, described: Described, device: str, second: int) -> None:
        """Add earlier sign-ins of the user, from other addresses and on the same device."""
        before = Authentication(second, described.acr, described.amr)
        known = self._users.setdefault((described.issuer, described.user), [])
        for ip in described.proven if device else ():
            place = self._place_of(ip)
            came = ShownWith(ip, place, device, made_there=True)
            signed_in = SignedIn(stamp=self._stamp(second), authentication=before, shown_with=came)
            known += self._evaluator.proven_by(State(), signed_in)

    def _report(self, session: _Session, described: Described, device: str, when: float) -> None:
        stamp = self._stamp(when)
        issuer = described.issuer
        mine: list[Fact] = []
        for scope, level, facts in (
            (Scope.USER, described.user_risk, self._users.setdefault((issuer, described.user), [])),
            (Scope.DEVICE, described.device_risk, self._devices.setdefault((issuer, device), [])),
            (Scope.SESSION, described.session_risk, mine),
        ):
            if level is not None:
                of = device if scope is Scope.DEVICE else ""
                facts.append(RiskReported(stamp=stamp, scope=scope, level=level, device=of))
        if described.compliant is not None:
            report = ComplianceReported(stamp=stamp, device=device, compliant=described.compliant)
            self._devices[issuer, device].append(report)
        if described.network:
            mine.append(NetworkReported(stamp=stamp, network=described.network))
        mine += [
            SignalRaised(stamp=self._stamp(when), scope=Scope.SESSION, name=name, weight=weight)
            for name, weight in described.signals
        ]
        self._join(session, mine)

    def sign_in(self, name: str, authentication: Authentication, now: float) -> None:
        """Add another sign-in to a session, from where it is."""
        session = self._sessions[name]
        state = self._evaluator.fold(name, self._facts(session), issuer=session.issuer)
        came = came_from(state)
        fact = SignedIn(stamp=self._stamp(now), authentication=authentication, shown_with=came)
        self._join(session, [fact])

    def see(self, name: str, now: float, ip: str = "", user_agent: str = "") -> None:
        """Add what a use of a session shows; what is as it was adds nothing."""
        session = self._sessions[name]
        state = self._evaluator.fold(name, self._facts(session), issuer=session.issuer)
        agent = state.circumstances.get(Circumstance.USER_AGENT)
        stamp = self._stamp(now)
        facts: list[Fact] = []
        if ip and ip != state.ip:
            facts.append(self._seen_at(name, stamp, ip))
        if user_agent and (agent is None or agent.value != user_agent):
            facts.append(AgentSeen(stamp=stamp, user_agent=user_agent))
        self._join(session, facts)

    def take(self, signal: Signal) -> None:
        """Add the facts of an event. Its subject names sessions as the simulation does.

        An id counts once for its source.
        """
        source = self._evaluator.world.sources.labelled(signal.source)
        if (source, signal.stamp.id) in self._taken:
            return
        self._taken.add((source, signal.stamp.id))
        signal = msgspec.structs.replace(signal, source=source)
        found = facts_from(signal, self._place_of)
        subject = signal.subject
        match found.scope:
            case Scope.USER:
                for issuer in self._issuers(subject):
                    self._users.setdefault((issuer, subject.user), []).extend(found.facts)
            case Scope.DEVICE:
                for issuer in self._issuers(subject):
                    self._devices.setdefault((issuer, subject.device), []).extend(found.facts)
            case Scope.SESSION:
                session = self._sessions[subject.session]
                for fact in found.facts:
                    if isinstance(fact, Sighted):
                        self._seen_at(subject.session, fact.stamp, fact.ip)
                self._join(session, found.facts)

    def _issuers(self, subject: Subject) -> list[str]:
        """Return whose names a subject's are that names no session: all, where it does not say."""
        if subject.issuer:
            return [subject.issuer]
        return sorted({session.issuer for session in self._sessions.values()})

    def explain(  # noqa: PLR0913 - what a call is
        self,
        name: str,
        contexts: frozenset[str],
        now: float,
        app: str = "",
        comes: CalledFrom | None = None,
        *,
        token: ChosenToken = ChosenToken.LATEST,
    ) -> Explanation:
        """Return why a call of this session gets what it gets. `app` empty: the session's own.

        It `comes` from where the session was last seen, unless that is given.
        """
        session = self._sessions[name]
        known = [fact for fact in self._facts(session) if fact.stamp <= at(now, "\U0010ffff")]
        state = self._evaluator.fold(name, known, issuer=session.issuer)
        shown = _shown(token, state, session)
        alone = self._alone(app or session.app)
        presented = None if shown is None else Presented(shown, alone=alone)
        until = presented and self._evaluator.until(state, presented)
        if until is not None:
            state = self._evaluator.fold(name, known, until=until, issuer=session.issuer)
        return explain_call(
            self._evaluator,
            state,
            app or session.app,
            contexts,
            now,
            comes=comes,
            presented=presented,
        )

    def call(  # noqa: PLR0913 - likewise
        self,
        name: str,
        contexts: frozenset[str],
        now: float,
        app: str = "",
        comes: CalledFrom | None = None,
        *,
        token: ChosenToken = ChosenToken.LATEST,
    ) -> Explanation:
        """Return what `explain` does, and make the call: a proof by which it passes is spent."""
        explained = self.explain(name, contexts, now, app, comes, token=token)
        if explained.uses_proof and explained.session.sign_ins:
            auth_time = explained.session.sign_ins[0].auth_time
            spent = Spent(stamp=self._stamp(now), auth_time=auth_time, token=name)
            self._join(self._sessions[name], [spent])
        return explained

    def new_id(self) -> str:
        """Return an id for an event that has none: they order as they are made."""
        self._count += 1
        return f"~{self._count:08}"

    def _stamp(self, now: float) -> Stamp:
        return at(now, self.new_id())

    def _seen_at(self, name: str, stamp: Stamp, ip: str) -> Sighted:
        """Return where a session was seen; its user is taken to have been there, too."""
        place = self._place_of(ip)
        seen = Seen(stamp=stamp, session=name, ip=ip, place=place)
        session = self._sessions[name]
        self._users.setdefault((session.issuer, session.user), []).append(seen)
        return Sighted(stamp=stamp, ip=ip, place=place)

    def _join(self, session: _Session, facts: "list[Fact] | tuple[Fact, ...]") -> None:
        session.facts.extend(facts)
        session.devices |= {fact.device for fact in facts if isinstance(fact, DeviceBound)}

    def _facts(self, session: _Session) -> list[Fact]:
        facts = [*session.facts, *self._users.get((session.issuer, session.user), ())]
        for device in session.devices:
            facts += self._devices.get((session.issuer, device), ())
        return facts


def _shown(token: ChosenToken, state: State, session: _Session) -> Authentication | None:
    """Return the sign-in that the token of a call shows; None where nobody has signed in."""
    if token is ChosenToken.LATEST:
        return next(iter(state.sign_ins), None)
    signed_in = (fact for fact in session.facts if isinstance(fact, SignedIn))
    return next((fact.authentication for fact in signed_in), None)
