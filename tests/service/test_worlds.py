"""Two issuers' worlds do not touch: whatever happens at one changes nothing at the other.

Random histories of both, with the same few names, are acted out in two pods on one store; then that
of the first alone. Every answer and every standing of the first is the same.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import (
    Assignment,
    Changed,
    Circumstance,
    Device,
    Networks,
    Principals,
    RiskLevel,
    Selection,
    SessionRisk,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.stamp import Stamp, at
from sidecar.service.ports.calls import Call
from sidecar.wire.settings.sources import SourceSettings
from tests.domain.scenes import AWAY, FAR, HOME, WORLD, network_of, policy
from tests.service.memory import MemoryStore, Pod, Tokens
from tests.service.two_issuers import OURS, THEIRS, issuers

EMERGENCY = Principals(groups=frozenset({"emergency"}))
POLICIES = (
    policy(UserRisk(RiskLevel.MEDIUM), name="user-risk"),
    policy(SessionRisk(RiskLevel.HIGH), "phishing-resistant", name="session-risk"),
    policy(Device(compliant=False), name="device"),
    policy(Networks(Selection(frozenset({"restricted"}))), name="network"),
    policy(TravelSpeed(900.0), name="travel"),
    policy(Changed((Circumstance.IP, Circumstance.DEVICE)), name="moved"),
    msgspec.structs.replace(
        policy(None, name="staff"), users=Assignment(Principals(groups=frozenset({"staff"})))
    ),
    policy(None, name="blocked", contexts=frozenset({"c2"}), block=True),
)


class Step(NamedTuple):
    """Something that happens at an issuer, in one of the two pods: a call, or an event."""

    issuer: str
    pod: int
    token: dict[str, Any] | None = None
    ip: str = HOME
    event: Callable[[Stamp, str], Signal] | None = None


USERS, SESSIONS, DEVICES = st.sampled_from(("ada", "bob")), st.sampled_from("st"), st.just("d")
IPS = st.sampled_from((HOME, AWAY, FAR))
TOKENS = st.fixed_dictionaries(
    {
        "user": USERS,
        "session": SESSIONS,
        "device": st.sampled_from(("", "d")),
        "acr": st.sampled_from(("single-factor", "mfa", "phishing-resistant")),
        "groups": st.sampled_from((frozenset(), frozenset({"staff"}), frozenset({"emergency"}))),
    }
)
SUBJECTS = st.one_of(
    st.builds(lambda user: {"user": user}, USERS),
    st.builds(lambda session: {"session": session}, SESSIONS),
    st.builds(lambda user, session: {"user": user, "session": session}, USERS, SESSIONS),
    st.builds(lambda device: {"device": device}, DEVICES),
)


def of(kind: Any, subject: dict[str, str], **more: Any) -> Callable[[Stamp, str], Signal]:
    def event(stamp: Stamp, issuer: str) -> Signal:
        found: Signal = kind(stamp=stamp, subject=Subject(**subject, issuer=issuer), **more)
        return found

    return event


BY_SESSION = st.builds(lambda session: {"session": session}, SESSIONS)
BY_BOTH = st.builds(lambda user, session: {"user": user, "session": session}, USERS, SESSIONS)
EVENTS = st.one_of(
    st.builds(
        lambda subject, level: of(RiskLevelChange, subject, level=level),
        SUBJECTS,
        st.sampled_from(RiskLevel),
    ),
    st.builds(lambda subject: of(SessionRevoked, subject), SUBJECTS),
    st.builds(
        lambda good: of(DeviceComplianceChange, {"device": "d"}, compliant=good), st.booleans()
    ),
    st.builds(
        lambda subject, segment: of(NetworkChange, subject, segment=segment),
        BY_SESSION,
        st.sampled_from(("office", "restricted")),
    ),
    st.builds(lambda subject, ip: of(SessionPresented, subject, ip=ip), BY_SESSION, IPS),
    st.builds(lambda subject: of(SessionEstablished, subject, acr="phr", auth_time=1000), BY_BOTH),
    st.builds(
        lambda subject, way: of(
            AssuranceLevelChange, subject, namespace="", level="mfa", direction=way
        ),
        BY_SESSION,
        st.sampled_from(("increase", "decrease")),
    ),
    st.builds(
        lambda subject: of(TokenClaimsChange, subject, claims=(("groups", ("emergency",)),)),
        BY_SESSION,
    ),
    st.builds(
        lambda subject, weight: of(RiskSignal, subject, name="odd", weight=weight, half_life=60.0),
        SUBJECTS,
        st.sampled_from((0.0, 90.0)),
    ),
    st.builds(lambda user: of(CredentialChange, {"user": user}), USERS),
)
STEPS = st.one_of(
    st.tuples(st.sampled_from((OURS, THEIRS)), st.integers(0, 1), TOKENS, IPS).map(
        lambda drawn: Step(*drawn)
    ),
    st.builds(
        lambda issuer, pod, event: Step(issuer, pod, event=event),
        st.sampled_from((OURS, THEIRS)),
        st.integers(0, 1),
        EVENTS,
    ),
)


def pods() -> tuple[Pod, Pod]:
    store, tokens = MemoryStore(), Tokens()
    partner = SourceSettings(name="partner", issuers=(THEIRS,))
    configured = msgspec.structs.replace(issuers(OURS, THEIRS), sources=(partner,))
    made = tuple(Pod(store, POLICIES, tokens, configured, name) for name in "ab")
    world = WORLD._replace(break_glass={OURS: EMERGENCY})
    for pod in made:
        pod.view.use(IncrementalEvaluator(POLICIES, world, Surroundings("", network_of)))
    return made[0], made[1]


async def played(history: list[Step], *, alone: bool) -> list[Any]:
    """Return what is answered at the first issuer, and how its sessions stand at the end."""
    both, answers = pods(), list[Any]()
    for second, step in enumerate(history, 1001):
        if alone and step.issuer != OURS:
            continue
        for pod in both:
            pod.now = float(second)
            pod.ids = itertools.count(1000 * second)  # so that a step has the same in both worlds
        pod = both[step.pod]
        if step.event is not None:
            await pod.intake.accept(step.event(at(second, f"e{second}"), step.issuer))
        elif step.token is not None:
            named = {"issuer": step.issuer, "namespace": step.issuer, "auth_time": second - 1}
            shown = pod.tokens.issue(f"t{second}", **named, **step.token)
            for context in ("c1", "c2"):
                answer = await pod.checker.check(Call(shown, frozenset({context}), ip=step.ip))
                answers.append((msgspec.structs.replace(answer, id=""), step.issuer))
        for each in both:
            await each.settle()
    ours = [answer for answer, issuer in answers if issuer == OURS]
    standings = [
        (live.user, live.session, live.standing(pod.view.evaluator, pod.now))
        for pod in both
        for live in sorted(pod.view, key=lambda live: live.identity)
        if live.namespace == OURS
    ]
    return [ours, standings]


@given(st.lists(STEPS, min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_what_happens_at_one_issuer_changes_nothing_at_another(history: list[Step]) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        return await played(history, alone=False), await played(history, alone=True)

    together, alone = trio.run(both)
    assert together == alone
