"""Calls and what happens between them, in random histories of one pod."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Device,
    EveryTime,
    Grant,
    Locations,
    Networks,
    Policy,
    PolicyState,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    UserRisk,
)
from sidecar.domain.values.stamp import at
from sidecar.service.ports.calls import Call, TokenPresentation
from sidecar.wire.settings.settings import App, ChallengeStyle, Log, Settings
from tests.domain.scenes import AWAY, HOME, policy
from tests.service.memory import SETTINGS, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")


def with_controls(name: str, **controls: Any) -> Policy:
    made = policy(None, name=name, contexts=frozenset({"c2"}))
    return msgspec.structs.replace(made, grant=Grant(), session=SessionControls(**controls))


def tried(rule: Policy) -> Policy:
    return msgspec.structs.replace(rule, id=f"{rule.id}-tried", state=PolicyState.REPORT_ONLY)


POLICIES = (
    RISKY,
    policy(Networks(Selection(frozenset({"restricted"}))), name="network"),
    policy(Changed((Circumstance.COUNTRY,)), "phishing-resistant", name="moved"),
    policy(Device(compliant=False), name="device", contexts=frozenset({"c2"}), block=True),
    policy(Score(40.0), name="score"),
    policy(Locations(Selection(None, frozenset({"home"})), strict=True), name="strict"),
    msgspec.structs.replace(policy(UserRisk(RiskLevel.LOW), name="graceful"), grace=5),
    with_controls("young", sign_in_frequency=60),
    with_controls("capped", max_lifetime=90),
    with_controls("each", every_time=EveryTime(grace=5, within=30)),
    tried(policy(UserRisk(RiskLevel.HIGH), name="high")),
)
CONTEXTS = ("", "c1", "c2", "c1 c2")


class Asked(NamedTuple):
    """A call, by what it shows; asked twice, so that the second may be answered at once."""

    token: str
    contexts: str
    ip: str
    agent: str
    path: str
    dpop: bool


ASKED = st.builds(
    Asked,
    st.sampled_from(("plain", "stronger", "apps", "asked-about", "gone")),
    st.sampled_from(CONTEXTS),
    st.sampled_from(("", HOME, AWAY)),
    st.sampled_from(("", "Firefox", "curl")),
    st.sampled_from(("", "/pay/now")),
    st.booleans(),
)
Event = Callable[[float], Signal]
EVENTS_BY_NAME: dict[str, Event] = {
    "risk": lambda t: RiskLevelChange(
        stamp=at(t, f"e{t}"), subject=Subject("alice"), level=RiskLevel.HIGH
    ),
    "no-risk": lambda t: RiskLevelChange(
        stamp=at(t, f"e{t}"), subject=Subject("alice"), level=RiskLevel.LOW
    ),
    "revoked": lambda t: SessionRevoked(stamp=at(t, f"e{t}"), subject=Subject(session="s1")),
    "network": lambda t: NetworkChange(
        stamp=at(t, f"e{t}"), subject=Subject(session="s1"), segment="restricted"
    ),
    "device": lambda t: DeviceComplianceChange(
        stamp=at(t, f"e{t}"), subject=Subject(device="d"), compliant=False
    ),
    "presented": lambda t: SessionPresented(
        stamp=at(t, f"e{t}"), subject=Subject(session="s1"), ip=AWAY
    ),
    "odd": lambda t: RiskSignal(
        stamp=at(t, f"e{t}"), subject=Subject("alice"), name="odd", weight=90.0, half_life=9.0
    ),
}
EVENTS = st.sampled_from(tuple(EVENTS_BY_NAME.values()))
STEPS = st.one_of(
    ASKED,
    ASKED,
    EVENTS,
    st.sampled_from((0.25, 1.0, 7.0, 61.0)),
    st.sampled_from(("policies", "settings", "stale", "fresh", "evict")),
)


def settings_of(style: ChallengeStyle, app: str, *, logs: bool) -> Settings:
    log = Log(checks=logs)
    return msgspec.structs.replace(SETTINGS, app=App(id=app, challenge=style), log=log)


def tokens_shown() -> Tokens:
    tokens = Tokens()
    tokens.issue("plain", device="d")
    tokens.issue("stronger", acr="phr", auth_time=1005)
    tokens.issue("apps", audiences=("payroll", "ledger"))
    tokens.issue("asked-about", confirmed_at=1000.0)
    return tokens


def call_of(asked: Asked) -> Call:
    shown = TokenPresentation("proof" if asked.dpop else None)
    named = frozenset(asked.contexts.split())
    return Call(asked.token, named, "GET", "", asked.path, asked.ip, asked.agent, shown)
