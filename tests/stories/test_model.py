"""Whole daemons against a model that a page holds: sign-ins, signals, acts, checks and proofs.

The model reads the delivered events in the order of their times, one after the other, with a few
variables: what the daemons make of facts, timelines and joins must come to the same. A call is
judged by its own token: the model of it knows no later sign-in, and lets no other one stand for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sidecar.adapters.clock import now
from sidecar.domain.facts.signal import OperatorClear, OperatorMark, Subject
from sidecar.domain.policy.conditional_access import (
    Device,
    Networks,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.domain.values.stamp import at
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import CREDENTIAL, ISSUER, Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (
    policy(UserRisk(RiskLevel.MEDIUM), name="risk"),
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
    policy(
        Device(compliant=False),
        "phishing-resistant",
        name="device",
        contexts=frozenset({"c2"}),
    ),
)
HEIGHT = {"LOW": 0, "MEDIUM": 1, "HIGH": 2}
RANK = {"single-factor": 1, "mfa": 2, "phr": 4}


IDP, PEER = "idp", "peer"


@dataclass
class Said:
    """What one source says of a session, reported in order: its newest word counts."""

    risk_since: dict[int, int] = field(default_factory=dict)
    network: str = ""
    network_since: int = 0
    compliant: bool = True
    broken_since: int = 0

    def take(self, second: int, kind: str, value: str, cleared: int) -> None:
        """What it says again goes on, unless an operator has cleared it meanwhile."""
        if kind == "risk":
            for height in (1, 2):
                if HEIGHT[value] < height:
                    self.risk_since.pop(height, None)
                elif self.risk_since.get(height, -1) < cleared:
                    self.risk_since[height] = second
        elif kind == "network" and (value != self.network or self.network_since < cleared):
            self.network, self.network_since = value, second
        elif kind == "compliance":
            if value == "not-compliant" and (self.compliant or self.broken_since < cleared):
                self.broken_since = second
            self.compliant = value == "compliant"


@dataclass
class Model:
    """One session: of what several sources say the strictest counts."""

    said: dict[str, Said] = field(default_factory=lambda: {IDP: Said(), PEER: Said()})
    revoked: int = -1
    marked: int = -1
    cleared: int = 0

    def take(self, second: int, kind: str, value: str, source: str) -> None:
        match kind:
            case "revoked":
                self.revoked = second
            case "mark":
                self.marked = second
            case "clear":
                self.marked, self.cleared = -1, second
            case _:
                self.said[source].take(second, kind, value, self.cleared)

    def verdict(self, context: str, own: tuple[int, str]) -> str:
        signed_in, rank = own[0], RANK[own[1]]
        if self.revoked >= signed_in:
            return "deny"
        asked = bool(context) and self.marked >= 0 and (rank < 2 or signed_in <= self.marked)
        for said in self.said.values():
            risks = [since for since in said.risk_since.values() if since > self.cleared]
            if context == "c1" and risks:
                asked = asked or rank < 2 or signed_in <= max(risks)
            segment = said.network == "restricted" and said.network_since > self.cleared
            if context == "c1" and segment:
                asked = asked or rank < 2 or signed_in <= said.network_since
            if context == "c2" and not said.compliant and said.broken_since > self.cleared:
                asked = asked or rank < 4 or signed_in <= said.broken_since
        return "step_up" if asked else "allow"


class Daemons(RuleBasedStateMachine):
    """Events are delivered to either daemon, at once or held back for later."""

    pods: ClassVar[Pods]

    @initialize()
    def establish(self) -> None:
        self.start = int(now()) - 80_000
        self.second = self.start
        self.subject = {name: unique(name) for name in ("user", "device", "session")}
        self.delivered: list[tuple[int, str, str, str]] = []
        self.held: list[tuple[int, str, str, str]] = []
        self.number = 0
        self._send(
            0,
            "session-established",
            self.subject,
            {"ip": "192.0.2.1", "acr": "single-factor", "auth_time": self.start},
            IDP,
        )
        self.delivered.append((self.start, "sign-in", "single-factor", IDP))

    def _send(
        self, pod: int, kind: str, subject: dict[str, str], data: dict[str, Any], source: str
    ) -> None:
        self.number += 1
        credential = {"credential": CREDENTIAL} if source == IDP else {}
        reply = self.pods.clients[pod].ask(
            op="event",
            type=kind,
            id=f"n{self.number}-{self.subject['session']}",
            time=self.second,
            subject=subject,
            data=data,
            **credential,
        )
        assert reply["ok"] is True, reply

    def _event(self, pod: int, kind: str, value: str, source: str) -> None:
        session = {"session": self.subject["session"]}
        match kind:
            case "risk":
                user = {"user": self.subject["user"]}
                self._send(pod, "risk-level-change", user, {"current_level": value}, source)
            case "network":
                self._send(pod, "network-change", session, {"segment": value}, source)
            case "compliance":
                device = {"device": self.subject["device"]}
                status = {"current_status": value}
                self._send(pod, "device-compliance-change", device, status, source)
            case "revoked":
                self._send(pod, "session-revoked", session, {}, source)
            case "mark" | "clear":
                self._act(pod, kind, value)
            case _:
                self._send(
                    pod,
                    "assurance-level-change",
                    session,
                    {"namespace": "RFC6711", "current_level": value},
                    source,
                )

    def _act(self, pod: int, kind: str, on: str) -> None:
        self.number += 1
        act = OperatorMark if kind == "mark" else OperatorClear
        self.pods.take(
            pod,
            act(
                stamp=at(self.second, f"n{self.number}-{self.subject['session']}"),
                subject=Subject(**{on: self.subject[on]}, issuer=ISSUER),
                source="operator:admin",
            ),
        )

    HAPPENING = st.one_of(
        st.tuples(st.just("risk"), st.sampled_from(sorted(HEIGHT)), st.sampled_from([IDP, PEER])),
        st.tuples(
            st.just("network"),
            st.sampled_from(["restricted", "office"]),
            st.sampled_from([IDP, PEER]),
        ),
        # A peer may say that a device is well only where it has said otherwise itself.
        st.tuples(
            st.just("compliance"), st.sampled_from(["compliant", "not-compliant"]), st.just(IDP)
        ),
        st.tuples(st.just("compliance"), st.just("not-compliant"), st.just(PEER)),
        st.tuples(st.just("sign-in"), st.sampled_from(sorted(RANK)), st.just(IDP)),
        st.tuples(st.just("revoked"), st.just(""), st.sampled_from([IDP, PEER])),
        st.tuples(
            st.sampled_from(["mark", "clear"]), st.sampled_from(["user", "session"]), st.just("")
        ),
    )

    @rule(pod=st.integers(0, 1), happening=HAPPENING, late=st.integers(0, 3))
    def happens(self, pod: int, happening: tuple[str, str, str], late: int) -> None:
        self.second += 10
        one = (self.second, *happening)
        if late == 0:
            self.held.append(one)
            return
        self._event(pod, *happening)
        self.delivered.append(one)

    @precondition(lambda self: self.held)
    @rule(pod=st.integers(0, 1))
    def arrives_late(self, pod: int) -> None:
        latest, self.second = self.second, self.held[0][0]
        one = self.held.pop(0)
        self._event(pod, *one[1:])
        self.second = latest
        self.delivered.append(one)

    @rule(
        pod=st.integers(0, 1),
        context=st.sampled_from(["c1", "c2", ""]),
        which=st.integers(0, 10),
    )
    def is_checked(self, pod: int, context: str, which: int) -> None:
        shown = [(s, value) for s, kind, value, _ in self.delivered if kind == "sign-in"]
        own = shown[-1 - which % len(shown)]
        model = Model()
        for second, kind, value, source in sorted(self.delivered):
            if kind != "sign-in":
                model.take(second, kind, value, source)
        expected = model.verdict(context, own)
        called_with = token(
            self.subject["user"],
            self.subject["session"],
            age=now() - own[0],
            acr=own[1],
            deviceid=self.subject["device"],
        )
        eventually(
            lambda: self.pods.clients[pod].check(called_with, context, "")["decision"],
            lambda found: found == expected,
            within=3,
        )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES) as both:
        yield both


def test_two_daemons_do_as_the_model_does(pods: Pods) -> None:
    Daemons.pods = pods
    run_state_machine_as_test(
        Daemons,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
