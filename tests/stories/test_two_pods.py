"""Two whole daemons on one real store: what one learns the other knows."""

from collections.abc import Iterator

import pytest

from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Device,
    Networks,
    RiskLevel,
    Selection,
    UserRisk,
)
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Client, Pods, running, token, unique
from tests.waiting import eventually, into_next_second

POLICIES = (
    policy(Changed((Circumstance.COUNTRY,)), name="moved"),
    policy(Networks(Selection(frozenset({"restricted", "lab"}))), name="segment"),
    policy(Device(compliant=False), name="device"),
    policy(UserRisk(RiskLevel.MEDIUM), "phishing-resistant", name="risk"),
)
BERLIN, LISBON = "192.0.2.1", "198.51.100.1"


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    # Sessions that others left would be re-scored by these policies, and counted.
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, POLICIES) as both:
        yield both


def challenged(answer: dict[str, object]) -> bool:
    return answer["decision"] == "step_up"


def allowed(answer: dict[str, object]) -> bool:
    return answer["decision"] == "allow"


def test_an_event_into_one_challenges_the_next_sensitive_call_at_the_other(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert allowed(b.check(weak))
    taken = a.event("network-change", {"session": session}, data={"segment": "restricted"})
    assert taken["ok"] is True
    answer = eventually(lambda: b.check(weak), challenged)
    assert answer["status"] == 401
    assert answer["acr_values"] == "mfa"
    assert [reason["signal"] for reason in answer["reasons"]] == ["network-change"]
    routine = b.check(weak, context="")
    assert allowed(routine)
    assert routine["step_up_pending"] is True
    into_next_second()
    strong = token(user, session, age=0, acr="mfa")
    assert allowed(a.check(strong))
    assert allowed(b.check(strong))
    for pod in (a, b):
        assert challenged(pod.check(weak)), "a stolen older token does not ride on it"
        assert pod.check(weak, context="")["assurance"] == "single-factor"


def test_an_event_that_is_settled_everywhere_is_in_force_everywhere(pods: Pods) -> None:
    a, b = pods.clients
    for _ in range(20):
        user, session = unique("user"), unique("session")
        weak = token(user, session)
        assert allowed(b.check(weak))
        reply = a.event(
            "risk-level-change",
            {"user": user},
            data={"current_level": "HIGH"},
            wait="everywhere",
            timeout=5,
        )
        assert (reply["ok"], reply["settled"], reply["have"]) == (True, True, 2)
        assert challenged(b.check(weak))


def test_the_sidecar_that_took_an_event_knows_of_it_when_it_answers(pods: Pods) -> None:
    a, _ = pods.clients
    for _ in range(20):
        user, session = unique("user"), unique("session")
        weak = token(user, session)
        a.send(
            {"op": "check", "token": weak, "context": "c1", "ip": BERLIN},
            {
                "op": "event",
                "type": "risk-level-change",
                "subject": {"user": user},
                "data": {"current_level": "HIGH"},
            },
            {"op": "check", "token": weak, "context": "c1", "ip": BERLIN},
        )
        assert [a.read().get("decision") for _ in range(3)] == ["allow", None, "step_up"]


def test_a_token_issued_before_the_mark_never_clears_it_however_strong(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert allowed(a.check(weak, ip=BERLIN))
    assert challenged(a.check(weak, ip=LISBON))
    older = token(user, session, age=30, acr="phrh")
    for _ in range(3):
        assert challenged(a.check(older, ip=LISBON))
        assert challenged(b.check(older, ip=LISBON))
    into_next_second()
    proof = token(user, session, age=0, acr="mfa")
    for pod in (b, a):
        assert allowed(pod.check(proof, ip=LISBON))
        assert challenged(pod.check(older, ip=LISBON)), "nor does it pass when another one does"


def test_a_check_over_http_is_challenged_as_over_the_socket(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    headers = {"Authorization": f"Bearer {weak}", "X-Auth-Context": "c1"}
    url = pods.addresses[1].http[0] + "/v1/check"
    passed = plain_http.get(url, headers=headers)
    assert (passed.status_code, passed.headers["X-Sidecar-Decision"]) == (200, "allow")
    assert passed.headers["X-Sidecar-Subject"] == user
    event = {
        "type": "network-change",
        "subject": {"session": session},
        "data": {"segment": "restricted"},
    }
    posted = plain_http.post(pods.addresses[0].http[0] + "/v1/events", json=event)
    assert posted.status_code in {200, 202}
    refused = eventually(
        lambda: plain_http.get(url, headers=headers), lambda answer: answer.status_code == 401
    )
    challenge = refused.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert 'acr_values="mfa"' in challenge
    assert refused.headers["Content-Type"] == "application/problem+json"
    routine = plain_http.get(
        url.replace("check", "ext_authz/routine"), headers={"Authorization": f"Bearer {weak}"}
    )
    assert (routine.status_code, routine.headers["X-Sidecar-Step-Up"]) == (200, "pending")


def test_an_app_that_watches_is_notified_while_its_stream_is_open(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    assert allowed(b.check(token(user, session)))
    with Client(pods.addresses[1].socket) as watcher:
        assert watcher.ask(op="watch", sessions=[session]) == {"ok": True}
        a.event("risk-level-change", {"user": user}, data={"current_level": "HIGH"})
        line = watcher.read()
        heard = (line["event"], line["session"], line["standing"])
        assert heard == ("standing", session, "step_up")
        a.event("session-revoked", {"user": user})
        assert watcher.read()["standing"] == "revoked"


def test_a_revoked_session_is_refused_everywhere_until_a_later_sign_in(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert allowed(b.check(weak))
    a.event("session-revoked", {"session": session}, data={"reason": "lost laptop"})
    answer = eventually(lambda: b.check(weak, context=""), lambda one: one["decision"] == "deny")
    assert answer["status"] == 401
    assert 'error="invalid_token"' in answer["www_authenticate"]
    into_next_second()
    assert allowed(b.check(token(user, session, age=0), context=""))


def test_what_is_refused_at_the_socket_is_reported_counted_and_disturbs_nobody(pods: Pods) -> None:
    a, _ = pods.clients

    def invalid() -> float:
        lines = plain_http.get(pods.addresses[0].admin[0] + "/metrics").text.splitlines()
        wanted = 'sidecar_events_total{outcome="invalid",type="unknown"}'
        return sum(float(line.split()[1]) for line in lines if line.startswith(wanted))

    before = invalid()
    a.send(
        {"op": "event", "type": "no-such-type", "subject": {"user": "u"}},
        {"op": "event", "type": "risk-level-change", "subject": {}, "data": {}},
        {
            "op": "event",
            "type": "device-compliance-change",
            "subject": {"device": "d"},
            "data": {"current_status": "broken"},
        },
        {"op": "ping"},
    )
    replies = [a.read() for _ in range(4)]
    assert [reply.get("error") for reply in replies] == [*["invalid_event"] * 3, None]
    assert replies[2]["field"] == "data.current_status"
    assert invalid() == before + 3


def test_metrics_count_each_mark_and_clear_once_over_both(pods: Pods) -> None:
    def total(name: str, **labels: str) -> float:
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for address in pods.addresses
            for line in plain_http.get(address.admin[0] + "/metrics").text.splitlines()
            if line.startswith(name + "{") and all(one in line for one in wanted)
        )

    a, b = pods.clients
    before = total("sidecar_marks_total", policy="device")
    cleared = total("sidecar_marks_cleared_total")
    user, device = unique("user"), unique("device")
    sessions = [unique("session") for _ in range(5)]
    for session in sessions:
        b.check(token(user, session, deviceid=device))
    eventually(
        lambda: a.event(
            "device-compliance-change",
            {"device": device},
            data={"current_status": "not-compliant"},
        ),
        lambda reply: reply["ok"],
    )
    for session in sessions:
        eventually(lambda s=session: b.check(token(user, s, deviceid=device)), challenged)
    eventually(
        lambda: total("sidecar_marks_total", policy="device"), lambda count: count >= before + 5
    )
    into_next_second()
    for session in sessions:
        assert allowed(a.check(token(user, session, age=0, acr="mfa", deviceid=device)))
    eventually(lambda: total("sidecar_marks_cleared_total"), lambda count: count >= cleared + 5)
    pods.sweep()
    assert total("sidecar_marks_total", policy="device") == before + 5
    assert total("sidecar_marks_cleared_total") == cleared + 5
