"""Logouts of an identity provider at a whole daemon's intake listener, over real HTTP."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trustme

from sidecar.adapters.clock import now
from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.adapters.identity import Signer
from tests.adapters.servers import Server
from tests.stories.logging_out import (
    CLIENT,
    ENDPOINT,
    EVENT,
    configured,
    iss_sub,
    logout,
    revoke,
    signed,
)
from tests.stories.running import CREDENTIAL, ISSUER, Pods, running, token, unique
from tests.waiting import eventually

FILES = (("cert", "crt"), ("key", "key"))
STRANGER = Signer("ES256", kid="stranger", number=9)


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, (), change=configured) as both:
        yield both


def test_a_logout_by_session_ends_that_session_at_every_sidecar_once_it_is_answered(
    pods: Pods,
) -> None:
    user, one, other = unique("user"), unique("session"), unique("session")
    ended, kept = token(user, one), token(user, other)
    for client in pods.clients:
        assert client.check(ended)["decision"] == client.check(kept)["decision"] == "allow"
    answer = logout(pods, signed(sub=user, sid=one))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    for client in pods.clients:
        assert client.check(ended)["decision"] != "allow"
        assert client.check(kept)["decision"] == "allow"


def test_a_logout_by_user_alone_ends_all_sessions_of_that_user_and_of_nobody_else(
    pods: Pods,
) -> None:
    user, other = unique("user"), unique("user")
    mine = [token(user, unique("session")) for _ in range(2)]
    theirs = token(other, unique("session"))
    for client in pods.clients:
        for one in (*mine, theirs):
            assert client.check(one)["decision"] == "allow"
    assert logout(pods, signed(sub=user), 1).status_code == 200
    for client in pods.clients:
        assert client.check(theirs)["decision"] == "allow"
        for one in (*mine, token(user, unique("session"))):  # an older sign-in, shown only now
            assert client.check(one)["decision"] != "allow"


def test_a_sign_in_after_the_logout_passes(pods: Pods) -> None:
    user = unique("user")
    issued = int(now()) - 5
    assert logout(pods, signed(sub=user, iat=issued)).status_code == 200
    assert pods.clients[1].check(token(user, unique("session"), age=30))["decision"] != "allow"
    assert pods.clients[1].check(token(user, unique("session"), age=0))["decision"] == "allow"


OTHER_EVENT: dict[str, Any] = {
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}
}
REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "no token": (lambda _: "", "the form must have one"),
    "no JWT": (lambda _: "a.b", "three parts"),
    "a forged signature": (
        lambda user: signed(Signer("ES256", number=9), sub=user),
        "the signature does not fit",
    ),
    "a key that nobody publishes": (lambda user: signed(STRANGER, sub=user), "is not known"),
    "a foreign issuer": (lambda user: signed(sub=user, iss="https://evil.example"), "iss:"),
    "no issuer": (lambda user: signed(sub=user, iss=...), "iss:"),
    "for another client": (lambda user: signed(sub=user, aud="another"), "aud:"),
    "for nobody": (lambda user: signed(sub=user, aud=...), "aud must be"),
    "expired": (
        lambda user: signed(sub=user, iat=int(now()) - 300, exp=int(now()) - 180),
        "exp: it has expired",
    ),
    "no expiry": (lambda user: signed(sub=user, exp=...), "exp must be"),
    "issued too long ago": (lambda user: signed(sub=user, iat=int(now()) - 3600), "iat: it was"),
    "issued in the future": (lambda user: signed(sub=user, iat=int(now()) + 600), "iat lies"),
    "no iat": (lambda user: signed(sub=user, iat=...), "iat must be"),
    "no jti": (lambda user: signed(sub=user, jti=...), "jti must be"),
    "an ID token": (lambda user: signed(sub=user, nonce="n"), "nonce must not be present"),
    "no events": (lambda user: signed(sub=user, events=...), "events must be"),
    "another event": (lambda user: signed(sub=user, events=OTHER_EVENT), "events must be"),
    "an event that is no object": (
        lambda user: signed(sub=user, events={EVENT: True}),
        "events must be",
    ),
    "neither sub nor sid": (lambda _: signed(sub=...), "sub or sid is required"),
    "a sub that is no text": (lambda _: signed(sub=7), "neither session nor user"),
    "a sid that is no text": (lambda user: signed(sub=user, sid=["s"]), "sid must be a text"),
    "an access token": (lambda user: signed(typ="at+jwt", sub=user), "typ"),
    "a SET": (lambda user: signed(typ="secevent+jwt", sub=user), "typ"),
}


def test_what_is_no_logout_token_of_ours_does_nothing_and_says_why(pods: Pods) -> None:
    for name, (make, words) in REFUSED.items():
        user = unique("user")
        session = token(user, unique("session"))
        assert pods.clients[0].check(session)["decision"] == "allow", name
        answer = logout(pods, make(user))
        assert answer.status_code == 400, name
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json"
        heard = answer.json()
        assert heard["error"] == "invalid_request", name
        assert words in heard["error_description"], (name, heard)
        assert user not in answer.text, name
        assert pods.clients[0].check(session)["decision"] == "allow", name


def test_the_typ_may_be_left_out_and_the_audience_be_a_list(pods: Pods) -> None:
    for text in (
        signed(typ=None, sub=unique("user")),
        signed(typ="JWT", sub=unique("user")),
        signed(aud=["other", CLIENT], sub=unique("user")),
    ):
        assert logout(pods, text).status_code == 200


def test_a_replayed_logout_token_does_nothing_at_any_sidecar_and_says_so(pods: Pods) -> None:
    user = unique("user")
    text = signed(sub=user, iat=int(now()) - 30)
    assert logout(pods, text).status_code == 200
    anew = token(user, unique("session"), age=10)
    assert pods.clients[0].check(anew)["decision"] == "allow"
    for index in (0, 1):
        answer = logout(pods, text, index)
        assert answer.status_code == 400
        assert "it has counted before" in answer.json()["error_description"]
        assert pods.clients[index].check(anew)["decision"] == "allow"
    metrics = plain_http.get(f"{pods.addresses[1].admin[0]}/metrics", timeout=20).text
    assert 'sidecar_logouts_total{outcome="replayed",request="logout"} 1.0' in metrics


def logouts(pods: Pods, outcome: str) -> float:
    name = f'sidecar_logouts_total{{outcome="{outcome}",request="logout"}}'
    texts = [plain_http.get(f"{one.admin[0]}/metrics", timeout=20).text for one in pods.addresses]
    lines = [line for text in texts for line in text.splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_logout_of_a_session_that_nobody_has_shown_is_counted_as_such(pods: Pods) -> None:
    user = unique("user")
    session = token(user, unique("session"))
    assert pods.clients[0].check(session)["decision"] == "allow"
    before = logouts(pods, "unknown_session")
    assert logout(pods, signed(sub=user, sid=unique("elsewhere"))).status_code == 200
    assert logouts(pods, "unknown_session") == before + 1
    assert pods.clients[0].check(session)["decision"] == "allow", "another session was meant"


def test_where_tokens_name_no_session_a_logout_of_one_ends_the_users_or_says_that_it_ends_none(
    valkey_server: Server,
) -> None:
    def by_itself(settings: Settings, index: int) -> Settings:
        settings = configured(settings, index)
        store = msgspec.structs.replace(settings.store, prefix="nameless")
        intake = msgspec.structs.replace(settings.intake, wait=0.5)
        return msgspec.structs.replace(settings, store=store, intake=intake)

    with running(valkey_server.url, (), count=2, change=by_itself) as pods:
        user, other = unique("user"), unique("user")
        shown = {name: token(name, None, jti=unique("jti")) for name in (user, other)}
        for one in shown.values():
            assert pods.clients[0].check(one)["decision"] == "allow"
        answer = logout(pods, signed(sub=..., sid="at-the-provider"))
        assert answer.status_code == 400
        assert "do not name their session" in answer.json()["error_description"]
        assert logouts(pods, "no_session") == 1
        assert pods.clients[0].check(shown[user])["decision"] == "allow"
        # The other sidecar has seen no token yet: the store knows whose sessions have no name.
        assert logout(pods, signed(sub=user, sid="at-the-provider"), 1).status_code == 200
        assert logouts(pods, "all_sessions") == 1
        assert [pods.clients[0].check(one)["decision"] for one in shown.values()] == [
            "deny",
            "allow",
        ]
        _retried(pods, valkey_server)


def _retried(pods: Pods, server: Server) -> None:
    """A logout that is not everywhere in time is tried again by the provider, and not replayed."""
    user = unique("user")
    shown = token(user, None)
    assert pods.clients[0].check(shown)["decision"] == "allow"
    text = signed(sub=user)
    with server.client() as store:
        store.zadd("nameless:{sidecars}:x", {"one-that-does-not-answer": (now() + 60) * 1000})
        for index in (0, 1):
            answer = logout(pods, text, index)
            assert answer.status_code == 503
            assert "it is durable" in answer.json()["error_description"]
        assert pods.clients[0].check(shown)["decision"] == "deny"
        store.zrem("nameless:{sidecars}:x", "one-that-does-not-answer")
    assert logout(pods, text).status_code == 200
    for index in (0, 1):
        assert logout(pods, text, index).status_code == 400, "now it was answered as done"
    assert (logouts(pods, "unsettled"), logouts(pods, "replayed")) == (2, 2)


def test_universal_logout_ends_all_sessions_of_a_user_by_either_name_of_the_subject(
    pods: Pods,
) -> None:
    for body in (
        lambda user: {"sub_id": iss_sub(user)},
        lambda user: {"subject": iss_sub(user)},
        lambda user: {"sub_id": {"format": "email", "email": user.upper()}},
    ):
        user = unique("user") + "@example.com"
        session = token(user, unique("session"))
        for client in pods.clients:
            assert client.check(session)["decision"] == "allow"
        answer = revoke(pods, body(user))
        assert (answer.status_code, answer.content) == (204, b"")
        for client in pods.clients:
            assert client.check(session)["decision"] != "allow"


def test_universal_logout_says_by_its_status_what_is_wrong(pods: Pods) -> None:
    user = unique("user")
    session = token(user, unique("session"))
    assert pods.clients[0].check(session)["decision"] == "allow"
    good = {"sub_id": iss_sub(user)}
    cases: list[tuple[httpx.Response, int]] = [
        (revoke(pods, {}), 400),
        (revoke(pods, []), 400),
        (revoke(pods, {"sub_id": {"format": ["email"], "email": user}}), 400),
        (revoke(pods, {"sub_id": {"format": "phone_number", "phone_number": "+12065550100"}}), 400),
        (revoke(pods, {**good, "subject": iss_sub(user)}), 400),
        (revoke(pods, good, bearer=""), 401),
        (revoke(pods, good, bearer="nonsense"), 401),
        (revoke(pods, good, signer=Signer("ES256", number=9)), 401),
        (revoke(pods, good, typ="logout+jwt"), 401),
        (revoke(pods, good, aud="https://elsewhere.example"), 401),
        (revoke(pods, good, exp=int(now()) - 180, iat=int(now()) - 300), 401),
        (revoke(pods, {"sub_id": iss_sub(user, "https://else.example")}), 404),
        (revoke(pods, {"sub_id": iss_sub(unique("nobody"))}), 404),
    ]
    for answer, status in cases:
        assert answer.status_code == status, (answer.text, status)
        assert ("www-authenticate" in answer.headers) is (status == 401)
    assert pods.clients[0].check(session)["decision"] == "allow"


def test_a_bearer_of_universal_logout_serves_for_one_user_alone(pods: Pods) -> None:
    one, other = unique("user"), unique("user")
    sessions = [token(user, unique("session")) for user in (one, other)]
    for session in sessions:
        assert pods.clients[0].check(session)["decision"] == "allow"
    bearer = signed(aud=ENDPOINT, typ="global-token-revocation+jwt", events=..., sub=ISSUER)
    assert revoke(pods, {"sub_id": iss_sub(one)}, bearer).status_code == 204
    for index in (0, 1):
        assert revoke(pods, {"sub_id": iss_sub(other)}, bearer, index).status_code == 401
        assert revoke(pods, {"sub_id": iss_sub(one)}, bearer, index).status_code == 204
    assert [pods.clients[0].check(one)["decision"] for one in sessions] == ["deny", "allow"]


def test_a_source_says_events_with_its_credential_and_nobody_without(pods: Pods) -> None:
    user = unique("user")
    session = token(user, unique("session"))
    assert pods.clients[1].check(session)["decision"] == "allow"
    url = f"{pods.addresses[0].intake[0]}/v1/events"
    event = {"type": "session-revoked", "subject": {"user": user}, "wait": "everywhere"}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert plain_http.post(url, json=event, headers=headers, timeout=20).status_code == 401
    right = {"Authorization": f"Bearer {CREDENTIAL}"}
    page = {**right, "Origin": "https://evil.example"}
    assert plain_http.post(url, json=event, headers=page, timeout=20).status_code == 403
    assert pods.clients[1].check(session)["decision"] == "allow"
    answer = plain_http.post(url, json=event, headers=right, timeout=20)
    assert (answer.status_code, answer.json()["settled"]) == (202, True)
    assert pods.clients[1].check(session)["decision"] == "deny"


def test_there_are_three_addresses_and_one_method(pods: Pods) -> None:
    url = pods.addresses[0].intake[0]
    assert plain_http.get(f"{url}/v1/logout", timeout=20).status_code == 405
    assert plain_http.post(f"{url}/v1/sessions", timeout=20).status_code == 404
    answer = plain_http.post(f"{url}/v1/logout", json={"logout_token": signed()}, timeout=20)
    assert "content type" in answer.json()["error_description"]


def test_it_speaks_tls_and_a_right_bearer_passes_after_many_wrong_ones(
    valkey_server: Server, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def secure(settings: Settings, index: int) -> Settings:
        settings = configured(settings, index)
        files = {f"tls_{name}_file": str(tmp_path / f"tls.{end}") for name, end in FILES}
        intake = msgspec.structs.replace(settings.intake, **files)
        return msgspec.structs.replace(settings, intake=intake)

    with (
        running(valkey_server.url, (), count=1, change=secure) as pods,
        httpx.Client(verify=context, timeout=20) as client,
    ):
        url = pods.addresses[0].intake[0]
        assert url.startswith("https://")
        user = unique("user")
        assert pods.clients[0].check(token(user, unique("session")))["decision"] == "allow"
        form = {"logout_token": signed(sub=unique("user"))}
        assert client.post(f"{url}/v1/logout", data=form).status_code == 200
        where, body = f"{url}/v1/global-token-revocation", {"sub_id": iss_sub(user)}
        wrong = {"Authorization": "Bearer wrong"}
        statuses = [client.post(where, json=body, headers=wrong).status_code for _ in range(25)]
        assert set(statuses) == {401, 429}
        bearer = signed(aud=ENDPOINT, typ="global-token-revocation+jwt", events=..., sub=ISSUER)
        right = {"Authorization": f"Bearer {bearer}"}
        assert client.post(where, json=body, headers=right).status_code == 204


def test_who_leaves_before_the_body_is_there_is_no_error_of_ours(pods: Pods) -> None:
    url = httpx.URL(pods.addresses[0].intake[0])
    request = (
        f"POST /v1/logout HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 100\r\n\r\nlogout_token="
    )

    def counted(name: str) -> float:
        text = plain_http.get(f"{pods.addresses[0].admin[0]}/metrics", timeout=20).text
        return sum(float(one.split()[-1]) for one in text.splitlines() if one.startswith(name))

    refused = 'sidecar_http_requests_total{route="intake /v1/logout",status="400"}'
    before = counted(refused)
    with socket.create_connection((url.host, url.port)) as peer:
        peer.sendall(request.encode())
    eventually(lambda: counted(refused), lambda count: count == before + 1)
    assert counted('sidecar_worker_errors_total{where="intake"}') == 0
