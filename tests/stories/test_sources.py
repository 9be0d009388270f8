"""Who speaks at each door of running daemons, and what strangers, browsers and floods get."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import Changed, Circumstance, RiskLevel, UserRisk
from sidecar.wire.settings.settings import HttpEvents, Settings
from sidecar.wire.settings.sources import SourceSettings
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import AWAY, policy
from tests.stories.running import CREDENTIAL, Client, Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (
    policy(UserRisk(RiskLevel.HIGH), name="risk"),
    policy(Changed((Circumstance.COUNTRY,)), name="moved"),
)
SHOWN = {"Authorization": f"Bearer {CREDENTIAL}"}
SLOW = "the-credential-of-a-source-with-a-rate"
ON, OFF = 0, 1
"""The pods: one takes events of credentials over TCP, the other none."""


def change(settings: Settings, pod: int) -> Settings:
    directory = Path(settings.socket.path).parent
    (directory / "slow").write_text(SLOW)
    slow = SourceSettings(name="slow", token_file=str(directory / "slow"), rate=0.001, burst=3)
    http = msgspec.structs.replace(
        settings.http,
        events=HttpEvents.ON if pod == ON else HttpEvents.OFF,
        unix=str(directory / f"data{pod}.sock"),
    )
    return msgspec.structs.replace(settings, http=http, sources=(*settings.sources, slow))


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, 2, change) as both:
        yield both


def risk(user: str, level: str = "HIGH", **more: Any) -> dict[str, Any]:
    data = {"current_level": level}
    return {"type": "risk-level-change", "subject": {"user": user}, "data": data, **more}


def post(pods: Pods, pod: int, event: Any, **headers: str) -> httpx.Response:
    fields = {"Content-Type": "application/json", **headers}
    content = msgspec.json.encode(event)
    url = pods.addresses[pod].http[0] + "/v1/events"
    return plain_http.post(url, content=content, headers={k: v for k, v in fields.items() if v})


def over_unix(pods: Pods, pod: int, event: Any) -> httpx.Response:
    path = pods.addresses[pod].http[1].removeprefix("unix:")
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=path, verify=plain_http.NO_CERTIFICATES)
    ) as client:
        return client.post("http://anything/v1/events", json=event)


def test_over_tcp_events_are_off_by_default_and_else_take_a_credential(pods: Pods) -> None:
    event = risk(unique("user"))
    assert post(pods, OFF, event, **SHOWN).status_code == 404
    refused = post(pods, ON, event)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (
        401,
        'Bearer realm="events"',
    )
    assert post(pods, ON, event, Authorization="Bearer wrong").status_code == 401
    assert post(pods, ON, event, **SHOWN).status_code == 202
    assert over_unix(pods, OFF, event).status_code == 202, "by its uid, as on the local socket"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none, cross-site"}, 403),
        ({"Sec-Fetch-Site": "of-a-later-standard"}, 403),
        ({"Sec-Fetch-Site": "Same-Origin"}, 202),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8181"}, 403),
        ({"Sec-Fetch-Site": "none"}, 202),
        ({"Host": "localhost"}, 202),
    ],
)
def test_what_a_browser_sends_for_another_page_is_no_event(
    pods: Pods, headers: dict[str, str], status: int
) -> None:
    assert post(pods, ON, risk(unique("user")), **SHOWN, **headers).status_code == status


def test_authzen_is_closed_to_browsers_and_echoes_no_host(pods: Pods) -> None:
    base = pods.addresses[ON].http[0]
    question = {"subject": {"type": "session", "id": "s"}, "resource": {"type": "a", "id": "1"}}
    asked = {"action": {"name": "GET"}, **question}
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        answer = plain_http.post(f"{base}/access/v1/evaluation", json=asked, headers=headers)
        assert answer.status_code == 403
    configuration = f"{base}/.well-known/authzen-configuration"
    assert plain_http.get(configuration, headers={"Host": "evil.example"}).status_code == 403
    heard = plain_http.get(configuration, headers={"Host": "localhost"}).json()
    assert heard["policy_decision_point"] == base


def test_to_ask_about_a_session_without_its_token_takes_a_power(pods: Pods) -> None:
    session = unique("session")
    pods.clients[ON].check(token(unique("user"), session))
    url = pods.addresses[ON].http[0] + "/access/v1/evaluation"
    asked = {
        "subject": {"type": "session", "id": session},
        "action": {"name": "GET"},
        "resource": {"type": "account", "id": "1"},
    }
    refused = plain_http.post(url, json=asked)
    assert (refused.status_code, refused.json()["field"]) == (403, "subject")
    assert (
        plain_http.post(url, json=asked, headers={"Authorization": "Bearer x"}).status_code == 401
    )
    assert plain_http.post(url, json=asked, headers=SHOWN).json()["decision"] is True


def test_to_watch_every_session_takes_a_power_and_named_ones_none(pods: Pods) -> None:
    with Client(pods.addresses[ON].socket) as watcher:
        refused = watcher.ask(op="watch")
        assert (refused["error"], refused["field"]) == ("not_allowed", "sessions")
        assert "may_watch" in refused["message"]
        assert watcher.ask(op="watch", sessions=["s1"]) == {"ok": True}
        assert watcher.ask(op="watch", credential=CREDENTIAL) == {"ok": True}
        wrong = watcher.ask(op="watch", credential="nobody's")
        assert (wrong["error"], wrong["field"]) == ("not_allowed", "credential")


def test_a_credential_is_no_member_of_an_event_over_http(pods: Pods) -> None:
    event = risk(unique("user"), credential=CREDENTIAL)
    for answer in (post(pods, ON, event, **SHOWN), over_unix(pods, OFF, event)):
        assert (answer.status_code, answer.json()["field"]) == (400, "credential")


def test_a_namesake_without_a_token_hides_from_nobody_when_a_session_ends(pods: Pods) -> None:
    user, session, peer = unique("user"), unique("session"), pods.clients[OFF]
    assert peer.check(token(user, session))["decision"] == "allow"
    far = {"exp": int(now()) + 20 * 86400}
    subject = {"session": session, "user": user}
    refused = peer.event("session-established", subject, data=far)
    assert (refused["error"], refused["field"]) == ("not_allowed", "data.exp")
    assert peer.event("session-established", {**subject, "user": unique("other")})["ok"]
    with Client(pods.addresses[OFF].socket) as watcher:  # brings both into the view
        assert watcher.ask(op="watch", sessions=[session]) == {"ok": True}
        refused = peer.event("session-established", subject, data=far)
        assert (refused["error"], refused["field"]) == ("not_allowed", "data.exp")


def test_where_a_session_is_reported_to_have_been_before_excuses_no_call(pods: Pods) -> None:
    user, session, peer = unique("user"), unique("session"), pods.clients[OFF]
    mine = token(user, session, age=600, acr="mfa")
    assert peer.check(mine)["decision"] == "allow"
    assert peer.check(mine, ip=AWAY)["decision"] == "step_up"
    for before in (3600, 300):
        earlier = {"time": now() - before, "data": {"ip": AWAY}}
        assert peer.event("session-presented", {"session": session}, **earlier)["ok"]
    for pod in pods.clients:
        assert pod.check(mine, ip=AWAY)["decision"] == "step_up"


def test_a_peer_cannot_burn_an_id_of_the_identity_provider(pods: Pods) -> None:
    user, session, ident = unique("user"), unique("session"), unique("idp")
    weak = token(user, session)
    for pod in pods.clients:
        assert pod.check(weak)["decision"] == "allow"
    burnt = pods.clients[OFF].ask(op="event", **risk(user, "LOW", id=ident))
    assert burnt == {"ok": True, "id": ident}
    heard = pods.clients[ON].ask(op="event", credential=CREDENTIAL, **risk(user, id=ident))
    assert heard == {"ok": True, "id": ident}, "it is no duplicate"
    for pod in pods.clients:
        eventually(lambda of=pod: of.check(weak)["decision"], lambda one: one == "step_up")


def test_an_id_counts_once_and_with_other_content_it_is_an_error_everywhere(pods: Pods) -> None:
    user, ident = unique("user"), unique("id")
    here, there = pods.clients
    event = {"op": "event", **risk(user, id=ident)}
    assert "duplicate" not in here.ask(**event)
    assert here.ask(**event)["duplicate"] is True
    assert there.ask(**event)["duplicate"] is True
    for pod in (here, there):  # there, only the record remembers what it counted for
        other = pod.ask(op="event", **risk(user, "LOW", id=ident))
        assert (other["error"], other["field"]) == ("invalid_event", "id")
    elsewhere = here.ask(op="event", **risk(unique("user"), id=ident))
    assert (elsewhere["error"], elsewhere["field"]) == ("invalid_event", "id")


def test_a_loosening_that_is_dated_ahead_takes_back_nothing_that_comes_later(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    client = pods.clients[ON]
    assert client.check(weak)["decision"] == "allow"
    ahead = risk(user, "LOW", time=now() + 55)
    assert client.ask(op="event", credential=CREDENTIAL, **ahead)["ok"]
    assert client.ask(op="event", credential=CREDENTIAL, **risk(user))["ok"]
    assert client.check(weak)["decision"] == "step_up"


def test_what_an_event_calls_its_source_is_believed_by_nobody(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    client = pods.clients[ON]
    assert client.check(weak)["decision"] == "allow"
    assert client.ask(op="event", credential=CREDENTIAL, **risk(user))["ok"]
    assert client.ask(op="event", source="idp", **risk(user, "LOW"))["ok"]
    assert client.check(weak)["decision"] == "step_up"


def test_a_source_that_sends_too_much_is_overloaded_but_for_its_revocations(pods: Pods) -> None:
    client = pods.clients[ON]
    replies = [client.ask(op="event", credential=SLOW, **risk(unique("user"))) for _ in range(4)]
    assert [reply["ok"] for reply in replies] == [True, True, True, False]
    assert replies[-1]["error"] == "overloaded"
    gone = {"session": unique("session")}
    assert client.event("session-revoked", gone, credential=SLOW)["ok"] is True
    assert client.ask(op="event", **risk(unique("user")))["ok"] is True, "others are not held up"


def test_a_credential_that_is_replaced_counts_at_once_and_the_old_one_no_longer(
    pods: Pods,
) -> None:
    file = Path(pods.addresses[ON].socket).parent / "slow"
    client = pods.clients[ON]
    file.write_text("a-newer-credential-of-that-source")
    try:
        old = client.event("session-revoked", {"session": "s"}, credential=SLOW)
        assert (old["error"], old["field"]) == ("not_allowed", "credential")
        newer = "a-newer-credential-of-that-source"
        assert client.event("session-revoked", {"session": "s"}, credential=newer)["ok"]
        file.unlink()
        gone = client.event("session-revoked", {"session": "s"}, credential=newer)
        assert gone["error"] == "not_allowed"
    finally:
        file.write_text(SLOW)
        os.utime(file)


def test_what_is_refused_is_counted_by_source_and_type(pods: Pods) -> None:
    client = pods.clients[ON]
    refused = client.event(
        "assurance-level-change",
        {"session": unique("session")},
        data={"namespace": "n", "current_level": "phr"},
    )
    assert refused["error"] == "not_allowed"
    metrics = plain_http.get(pods.addresses[ON].admin[0] + "/metrics").text
    counted = 'sidecar_not_allowed_total{source="local:payroll",type="assurance-level-change"} 1.0'
    assert counted in metrics
    assert 'sidecar_not_allowed_total{source="slow",type="session-revoked"} 0.0' in metrics
