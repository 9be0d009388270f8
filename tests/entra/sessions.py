"""Sessions as the cases of an import describe them, judged by the real evaluator."""

import msgspec

from sidecar.adapters.geography.networks import load
from sidecar.daemon.configuration.files import evaluator_of
from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import (
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    RiskReported,
    Scope,
    Sighted,
    SignedIn,
)
from sidecar.domain.policy.conditional_access import Policy, RiskLevel
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS, at
from sidecar.wire.settings.settings import Settings

BEGAN = 1_000_000


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session: who, where, on what; what was reported, ten seconds later; and the call.

    `again`: a second sign-in with this `acr`, after that. `age`: seconds from the first sign-in
    to the call. `called_from`: the call's own address, where it is not the session's (empty: it
    gives none). `compliant` None: nobody reported anything of the device.
    """

    user: str = "anna"
    claims: dict[str, tuple[str, ...]] = {}
    acr: str = "single-factor"
    ip: str = "192.0.2.1"
    country: str = ""
    compliant: bool | None = None
    user_risk: RiskLevel | None = None
    session_risk: RiskLevel | None = None
    again: str = ""
    age: int = 60
    app: str = "payroll"
    context: str = "c1"
    called_from: str | None = None


def facts_of(session: Session) -> list[Fact]:
    """What is known of such a session."""
    first, later = at(BEGAN, "established"), at(BEGAN + 10, "reported")
    claims = (*session.claims.items(), ("user", (session.user,)))
    facts: list[Fact] = [
        SignedIn(stamp=first, authentication=Authentication(BEGAN - 1, session.acr)),
        DeviceBound(stamp=first, device="laptop"),
        ClaimsSeen(stamp=first, scope=Scope.SESSION, claims=claims),
        Sighted(stamp=first, ip=session.ip, place=Place(country=session.country)),
    ]
    if session.compliant is not None:
        facts.append(ComplianceReported(stamp=later, device="laptop", compliant=session.compliant))
    if session.user_risk is not None:
        facts.append(RiskReported(stamp=later, scope=Scope.USER, level=session.user_risk))
    if session.session_risk is not None:
        facts.append(RiskReported(stamp=later, scope=Scope.SESSION, level=session.session_risk))
    if session.again:
        proof = Authentication(BEGAN + 19, session.again)
        facts.append(SignedIn(stamp=at(BEGAN + 20, "again"), authentication=proof))
    return facts


def rules_of(policies: tuple[Policy, ...], settings: Settings) -> Evaluator:
    """The evaluator that the daemon would build of them."""
    return evaluator_of(settings, policies, load(settings.networks, settings.locations))


def verdict(policies: tuple[Policy, ...], settings: Settings, session: Session) -> Verdict:
    """What the call of such a session gets."""
    return verdict_by(rules_of(policies, settings), session)


def verdict_by(rules: Evaluator, session: Session) -> Verdict:
    """The same by rules that are built already."""
    now = BEGAN + session.age
    comes = None if session.called_from is None else CalledFrom(session.called_from)
    standing = rules.standing(rules.fold("s", facts_of(session)), now * MICROSECONDS, comes)
    contexts = frozenset({session.context} - {"routine"})
    return decide(standing, AccessRequest(session.app, contexts, now), rules.world.ladder).verdict
