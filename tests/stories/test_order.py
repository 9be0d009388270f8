"""The same events in any order, doubled, spread over two daemons: one state, on a real store."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Changed,
    Circumstance,
    Device,
    Networks,
    RiskLevel,
    Score,
    Selection,
    UserRisk,
)
from sidecar.wire.history.entries import EntryKind
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import CREDENTIAL, Pods, running, token, unique
from tests.waiting import eventually

HISTORY = frozenset(EntryKind) - {EntryKind.REVOKED}
"""What a timeline has from the history; of revocations it has the facts."""
RESTRICTED = Networks(Selection(frozenset({"restricted"})))
POLICIES = (
    policy(Changed((Circumstance.COUNTRY,)), name="moved"),
    policy(Changed((Circumstance.COUNTRY,)), name="moved-sticky", sticky=True),
    policy(RESTRICTED, "phishing-resistant", name="segment"),
    policy(All((Device(compliant=False), UserRisk(RiskLevel.MEDIUM))), name="both", sticky=True),
    policy(AnyOf((Device(compliant=False), RESTRICTED)), name="either"),
    policy(Score(40), name="score", contexts=frozenset({"c2"})),
)

EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("session-presented"),
            st.fixed_dictionaries(
                {"ip": st.sampled_from(["192.0.2.1", "198.51.100.1", "203.0.113.1"])}
            ),
        ),
        st.tuples(
            st.just("network-change"),
            st.fixed_dictionaries({"segment": st.sampled_from(["restricted", "office"])}),
        ),
        st.tuples(
            st.just("device-compliance-change"),
            st.fixed_dictionaries(
                {"current_status": st.sampled_from(["compliant", "not-compliant"])}
            ),
        ),
        st.tuples(
            st.just("risk-level-change"),
            st.fixed_dictionaries({"current_level": st.sampled_from(["LOW", "MEDIUM", "HIGH"])}),
        ),
        st.tuples(
            st.just("assurance-level-change"),
            st.fixed_dictionaries(
                {"namespace": st.just("RFC8176"), "current_level": st.sampled_from(["mfa", "phr"])}
            ),
        ),
        st.tuples(
            st.just("risk-signal"),
            st.fixed_dictionaries({"name": st.just("odd"), "weight": st.just(45)}),
        ),
        st.tuples(st.just("session-revoked"), st.just({})),
    ),
    min_size=1,
    max_size=10,
)
SUBJECT_OF = {"device-compliance-change": "device", "risk-level-change": "user"}


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES) as both:
        yield both


class Script:
    """One made-up user's session and its events, at fixed times in the last hours."""

    def __init__(self, events: list[tuple[str, dict[str, Any]]], start: int) -> None:
        self.start = start
        self.subject = {name: unique(name) for name in ("user", "device", "session")}
        established = {
            "type": "session-established",
            "id": f"e0-{self.subject['session']}",
            "time": start,
            "subject": self.subject,
            "data": {
                "ip": "192.0.2.1",
                "app": "payroll",
                "acr": "single-factor",
                "auth_time": start,
            },
        }
        self.events = [established]
        for number, (kind, data) in enumerate(events, 1):
            part = SUBJECT_OF.get(kind, "session")
            self.events.append(
                {
                    "type": kind,
                    "id": f"e{number}-{self.subject['session']}",
                    "time": start + 10 * number,
                    "subject": {part: self.subject[part]},
                    "data": data,
                }
            )

    def play(self, pods: Pods, events: list[dict[str, Any]], choose: random.Random) -> None:
        for event in events:
            client = choose.choice(pods.clients)
            reply = client.ask(op="event", credential=CREDENTIAL, **event)
            assert reply["ok"] is True, reply

    def outcome(self, pods: Pods, pod: int) -> dict[str, Any]:
        """How the session stands, as reported by a pod: without what differs by name."""
        url = f"{pods.addresses[pod].admin[0]}/v1/sessions/{self.subject['session']}"
        answer = plain_http.get(url, headers={"Authorization": "Bearer operator"})
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        summary = shown["summary"]
        names = {value: key for key, value in self.subject.items()}
        for mark in summary["marks"]:
            for value, key in names.items():
                mark["text"] = mark["text"].replace(value, key)
        kept = ("standing", "marks", "ip", "network", "assurance", "auth_time")
        outcome = {name: summary[name] for name in kept}
        outcome["proven"] = sorted(one for one in shown["proven"] if not one.startswith("device="))
        # The history says in which order things came to be known; marks are compared above.
        facts = (one for one in shown["timeline"] if one["kind"] not in HISTORY)
        outcome["events"] = sorted({(one["kind"], one["time"]) for one in facts})
        return outcome

    def verdicts(self, pods: Pods, pod: int) -> list[str]:
        weak = token(
            self.subject["user"],
            self.subject["session"],
            age=now() - self.start,
            deviceid=self.subject["device"],
        )
        return [
            pods.clients[pod].check(weak, context=context, ip="")["decision"]
            for context in ("c1", "c2", "")
        ]


@example(
    events=[("session-presented", {"ip": "203.0.113.1"}), ("session-revoked", {})],
    choose=random.Random(1),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, choose=st.randoms(use_true_random=False))
def test_events_in_any_order_and_doubled_over_two_daemons_give_the_same_state(
    pods: Pods, events: list[tuple[str, dict[str, Any]]], choose: random.Random
) -> None:
    start = int(now()) - 7200
    ordered = Script(events, start)
    mixed = Script(events, start)
    ordered.play(pods, ordered.events, choose)
    shuffled = mixed.events * 2
    choose.shuffle(shuffled)
    mixed.play(pods, shuffled, choose)
    expected = ordered.outcome(pods, 0)
    for pod in (0, 1):
        assert mixed.outcome(pods, pod) == expected
        assert ordered.outcome(pods, pod) == expected
    verdicts = ordered.verdicts(pods, 0)
    for pod in (0, 1):
        eventually(lambda p=pod: mixed.verdicts(pods, p), lambda found: found == verdicts)
