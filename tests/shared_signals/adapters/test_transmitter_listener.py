"""The management API and polling over real HTTP, as SSF 1.0's examples and tables have them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from sidecar.adapters.events.guesses import AT_ONCE
from sidecar.shared_signals.adapters.transmitter_listener import Endpoints
from tests.adapters.recipients import claims_of, name_of, verified
from tests.adapters.servers import Server
from tests.adapters.transmission import (
    AUDIENCE,
    CAEP,
    ISSUER,
    LOWERED,
    MINE,
    OTHERS,
    POLL,
    PUSH,
    SSF,
    STRANGER,
    Running,
    settings_of,
    transmission,
)
from tests.waiting import ask_until

ALL = sorted(
    CAEP + name
    for name in (
        "assurance-level-change",
        "session-revoked",
        "risk-level-change",
        "session-presented",
    )
)


@pytest.fixture
async def here(valkey_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with transmission(settings_of(tmp_path, valkey_url)) as running:
        yield running


async def test_the_metadata_is_anybodys_and_names_every_endpoint(here: Running) -> None:
    answer = await here.client.get("/.well-known/ssf-configuration")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "issuer": ISSUER,
        "spec_version": "1_0",
        "jwks_uri": f"{ISSUER}/jwks.json",
        "delivery_methods_supported": [PUSH, POLL],
        "configuration_endpoint": f"{ISSUER}/ssf/stream",
        "status_endpoint": f"{ISSUER}/ssf/status",
        "add_subject_endpoint": f"{ISSUER}/ssf/subjects:add",
        "remove_subject_endpoint": f"{ISSUER}/ssf/subjects:remove",
        "verification_endpoint": f"{ISSUER}/ssf/verify",
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6750"}],
        "default_subjects": "ALL",
    }


@pytest.mark.parametrize(
    ("issuer", "metadata", "keys"),
    [
        ("https://t.example", "/.well-known/ssf-configuration", "https://t.example/jwks.json"),
        (
            "https://t.example/issuer1",
            "/.well-known/ssf-configuration/issuer1",
            "https://t.example/issuer1/jwks.json",
        ),
    ],
)
def test_an_issuers_path_comes_after_well_known(issuer: str, metadata: str, keys: str) -> None:
    at = Endpoints(issuer)
    assert at.metadata == metadata
    assert at.url(at.keys) == keys


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/issuer1"])
async def test_a_request_is_counted_by_its_route_and_never_by_its_path(
    valkey_url: str, tmp_path: Path, issuer: str
) -> None:
    at = Endpoints(issuer)
    async with transmission(settings_of(tmp_path, valkey_url, issuer=issuer)) as here:
        for path, route in (
            (at.metadata, "ssf-configuration"),
            (at.polls + "x", "poll"),
            (at.polls + "x/y", "nowhere"),
        ):
            status = (await here.ask("GET", path)).status_code
            counted = f'{{route="transmitter {route}",status="{status}"}} 1.0'
            assert f"sidecar_http_requests_total{counted}" in here.telemetry.expose().body.decode()


async def test_keys_may_be_kept_for_less_than_a_new_one_waits(here: Running) -> None:
    answer = await here.client.get("/jwks.json")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=150"
    assert [key["use"] for key in answer.json()["keys"]] == ["sig"]
    head = await here.client.head("/jwks.json")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ssf/stream"),
        ("POST", "/ssf/stream"),
        ("PATCH", "/ssf/stream"),
        ("PUT", "/ssf/stream"),
        ("DELETE", "/ssf/stream?stream_id=x"),
        ("GET", "/ssf/status?stream_id=x"),
        ("POST", "/ssf/status"),
        ("POST", "/ssf/subjects:add"),
        ("POST", "/ssf/subjects:remove"),
        ("POST", "/ssf/verify"),
        ("POST", "/ssf/poll/x"),
    ],
)
async def test_without_the_right_credential_there_is_nothing_to_see(
    here: Running, method: str, path: str
) -> None:
    bare = await here.client.request(method, path, json={"stream_id": "x"})
    assert bare.status_code == 401
    assert bare.headers["www-authenticate"] == 'Bearer realm="shared signals"'
    for wrong in ("nonsense", MINE[:-1], MINE + "x", f"{MINE} {OTHERS}"):
        answer = await here.client.request(
            method, path, headers={"Authorization": f"Bearer {wrong}"}, json={}
        )
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert wrong not in answer.text


async def test_guesses_are_slowed_and_keep_no_recipient_out(here: Running) -> None:
    async def ask(credential: str) -> int:
        headers = {"Authorization": f"Bearer {credential}"}
        return (await here.client.get("/ssf/stream", headers=headers)).status_code

    assert [await ask("nonsense") for _ in range(AT_ONCE)] == [401] * AT_ONCE
    while await ask("nonsense") != 429:
        pass
    assert await ask(MINE) == 200


async def test_a_stream_is_created_with_what_was_asked_for(here: Running) -> None:
    risk = f"{CAEP}risk-level-change"
    stream = await here.create(
        delivery={
            "method": PUSH,
            "endpoint_url": "https://r.example/ssf/events",
            "authorization_header": "Bearer their-secret",
        },
        events_requested=[risk, "urn:example:secevent:events:type_4"],
        description="Stream for Receiver A",
    )
    made = dict(stream)
    assert sorted(made.pop("events_supported")) == ALL
    assert made == {
        "stream_id": stream["stream_id"],
        "iss": ISSUER,
        "aud": AUDIENCE,
        "delivery": {"method": PUSH, "endpoint_url": "https://r.example/ssf/events"},
        "events_requested": [risk, "urn:example:secevent:events:type_4"],
        "events_delivered": [risk],
        "min_verification_interval": 30,
        "description": "Stream for Receiver A",
    }
    name = stream["stream_id"]
    assert (await here.ask("GET", f"/ssf/stream?stream_id={name}")).json() == stream
    assert (await here.ask("GET", "/ssf/stream")).json() == [stream]


async def test_a_stream_nobody_said_anything_of_is_polled_and_has_everything(
    here: Running,
) -> None:
    answer = await here.ask("POST", "/ssf/stream")
    stream = answer.json()
    assert stream["delivery"] == {
        "method": POLL,
        "endpoint_url": f"{ISSUER}/ssf/poll/{stream['stream_id']}",
    }
    assert sorted(stream["events_delivered"]) == ALL


async def test_no_more_streams_than_a_recipient_may_have(here: Running) -> None:
    await here.create()
    await here.create()
    assert (await here.ask("POST", "/ssf/stream", json={})).status_code == 409
    other = await here.ask("POST", "/ssf/stream", json={}, headers=STRANGER)
    assert other.status_code == 201
    assert other.json()["aud"] == ["https://o.example", "https://o2.example"]


async def test_a_push_that_leads_elsewhere_is_refused(here: Running) -> None:
    delivery = {"method": PUSH, "endpoint_url": "https://internal.example/"}
    answer = await here.ask("POST", "/ssf/stream", json={"delivery": delivery})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert "delivery.endpoint_url" in answer.json()["detail"]
    assert "internal" not in answer.text


async def test_a_patch_changes_what_it_names_and_a_put_deletes_what_it_does_not(
    here: Running,
) -> None:
    push = {"method": PUSH, "endpoint_url": "https://r.example/ssf/1"}
    stream = await here.create(delivery=push, description="before")
    name = stream["stream_id"]
    asked = {"stream_id": name, "events_requested": [f"{CAEP}session-revoked"]}
    patched = (await here.ask("PATCH", "/ssf/stream", json=asked)).json()
    assert patched == {
        **stream,
        "events_requested": [f"{CAEP}session-revoked"],
        "events_delivered": [f"{CAEP}session-revoked"],
    }
    put = (await here.ask("PUT", "/ssf/stream", json={"stream_id": name})).json()
    assert put["delivery"]["method"] == POLL
    assert "description" not in put
    assert sorted(put["events_delivered"]) == ALL


async def test_what_the_transmitter_says_may_be_repeated_and_not_changed(here: Running) -> None:
    stream = await here.create()
    again = await here.ask("PUT", "/ssf/stream", json={**stream, "description": "mine"})
    assert again.json() == {**stream, "description": "mine"}
    for name, value in (
        ("iss", "https://evil.example"),
        ("aud", "https://evil.example"),
        ("events_delivered", []),
        ("events_supported", ["urn:x"]),
        ("min_verification_interval", 1),
    ):
        for method in ("PATCH", "PUT"):
            answer = await here.ask(
                method, "/ssf/stream", json={"stream_id": stream["stream_id"], name: value}
            )
            assert answer.status_code == 400
            assert answer.json()["detail"].startswith(f"{name}: ")


async def test_a_deleted_stream_is_gone(here: Running) -> None:
    name = (await here.create())["stream_id"]
    answer = await here.ask("DELETE", f"/ssf/stream?stream_id={name}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await here.ask("DELETE", f"/ssf/stream?stream_id={name}")).status_code == 404
    assert (await here.ask("GET", "/ssf/stream")).json() == []


async def test_another_recipients_stream_is_not_there(here: Running) -> None:
    name = (await here.create())["stream_id"]
    body = {"stream_id": name}
    subject = {**body, "subject": {"format": "opaque", "id": "x"}}
    for method, path, sent in (
        ("GET", f"/ssf/stream?stream_id={name}", None),
        ("PATCH", "/ssf/stream", body),
        ("PUT", "/ssf/stream", body),
        ("DELETE", f"/ssf/stream?stream_id={name}", None),
        ("GET", f"/ssf/status?stream_id={name}", None),
        ("POST", "/ssf/status", {**body, "status": "paused"}),
        ("POST", "/ssf/subjects:add", subject),
        ("POST", "/ssf/subjects:remove", subject),
        ("POST", "/ssf/verify", body),
        ("POST", f"/ssf/poll/{name}", {}),
    ):
        answer = await here.client.request(method, path, headers=STRANGER, json=sent)
        assert answer.status_code == 404, (method, path)
    assert (await here.client.get("/ssf/stream", headers=STRANGER)).json() == []


async def test_the_status_is_set_and_read(here: Running) -> None:
    name = (await here.create())["stream_id"]
    at = f"/ssf/status?stream_id={name}"
    assert (await here.ask("GET", at)).json() == {"stream_id": name, "status": "enabled"}
    paused = {"stream_id": name, "status": "paused", "reason": "Disabled by administrator action."}
    assert (await here.ask("POST", "/ssf/status", json=paused)).json() == paused
    assert (await here.ask("GET", at)).json() == paused
    nonsense = {"stream_id": name, "status": "asleep"}
    assert (await here.ask("POST", "/ssf/status", json=nonsense)).status_code == 400


async def test_a_paused_stream_holds_and_a_disabled_one_drops(here: Running) -> None:
    name = (await here.create())["stream_id"]

    async def status(status: str) -> None:
        sent = {"stream_id": name, "status": status}
        assert (await here.ask("POST", "/ssf/status", json=sent)).status_code == 200

    async def handed(stream: str = name) -> int:
        return (await here.streams.backlog(stream, 0)).count

    await status("paused")
    held = await here.announce("s1")
    await ask_until(handed, lambda n: n == 1)
    assert await here.poll(name) == {"sets": {}, "moreAvailable": False}
    await status("enabled")
    assert set((await here.poll(name))["sets"]) == {held}
    await status("disabled")
    assert await handed() == 0
    witness = (await here.create())["stream_id"]
    await here.announce("s2")
    await ask_until(lambda: handed(witness), lambda n: n == 1)
    await status("enabled")
    after = await here.announce("s3")
    await ask_until(handed, lambda n: n == 1)
    assert set((await here.poll(name))["sets"]) == {after}


async def test_a_verification_event_echoes_its_state(here: Running) -> None:
    name = (await here.create())["stream_id"]
    state = "VGhpcyBpcyBhbiBleGFtcGxlIHN0YXRlIHZhbHVlLgo="
    asked = {"stream_id": name, "state": state}
    answer = await here.ask("POST", "/ssf/verify", json=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    ((_, token),) = (await here.poll(name))["sets"].items()
    claims = verified(token, (await here.client.get("/jwks.json")).json(), AUDIENCE, ISSUER)
    assert claims["events"] == {f"{SSF}verification": {"state": state}}
    assert claims["sub_id"] == {"format": "opaque", "id": name}
    again = await here.ask("POST", "/ssf/verify", json=asked)
    assert again.status_code == 429
    assert 0 < int(again.headers["retry-after"]) <= 31


async def test_polling_gives_acknowledges_and_refuses(here: Running) -> None:
    name = (await here.create())["stream_id"]
    announced = [await here.announce(f"s{i}") for i in range(3)]
    first = await ask_until(lambda: here.poll(name), lambda answer: len(answer["sets"]) == 3)
    assert list(first["sets"]) == announced, "in order"
    assert first["moreAvailable"] is False
    two = await here.poll(name, maxEvents=2)
    assert (list(two["sets"]), two["moreAvailable"]) == (announced[:2], True)
    errors = {announced[1]: {"err": "invalid_request", "description": "no"}}
    rest = await here.poll(name, ack=[announced[0], "unknown"], setErrs=errors)
    assert list(rest["sets"]) == announced[2:]
    assert await here.poll(name, maxEvents=0) == {"sets": {}, "moreAvailable": True}
    assert here.counted("several", "delivered") == 1
    assert here.counted("several", "refused") == 1
    token = rest["sets"][announced[2]]
    claims = verified(token, (await here.client.get("/jwks.json")).json(), AUDIENCE, ISSUER)
    assert claims["jti"] == announced[2]
    assert name_of(claims) == "session-revoked"


async def test_a_poll_waits_until_something_comes(here: Running) -> None:
    name = (await here.create())["stream_id"]
    answers: list[dict[str, Any]] = []

    async def wait() -> None:
        answer = await here.ask("POST", f"/ssf/poll/{name}", json={})
        answers.append(answer.json())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.lowlevel.checkpoint()
        announced = await here.announce("s1")
    assert set(answers[0]["sets"]) == {announced}


async def test_only_what_a_stream_asked_for_is_handed_to_it(here: Running) -> None:
    some = (await here.create(events_requested=[f"{CAEP}assurance-level-change"]))["stream_id"]
    every = (await here.create())["stream_id"]
    await here.announce("s1")
    lowered = await here.announce("s1", LOWERED)
    await ask_until(lambda: here.poll(every), lambda answer: len(answer["sets"]) == 2)
    assert set((await here.poll(some))["sets"]) == {lowered}


async def test_a_removed_subject_is_not_announced_until_it_is_added_again(here: Running) -> None:
    name = (await here.create())["stream_id"]
    bob = {"stream_id": name, "subject": {"format": "opaque", "id": "bob"}}
    removed = await here.ask("POST", "/ssf/subjects:remove", json=bob)
    assert (removed.status_code, removed.content) == (204, b"")
    await here.announce("s1", user="bob")
    alice = await here.announce("s2", user="alice")
    await ask_until(lambda: here.poll(name), lambda answer: len(answer["sets"]) == 1)
    added = await here.ask("POST", "/ssf/subjects:add", json={**bob, "verified": True})
    assert (added.status_code, added.content) == (200, b"")
    again = await here.announce("s3", user="bob")
    answer = await ask_until(lambda: here.poll(name), lambda answer: len(answer["sets"]) == 2)
    assert set(answer["sets"]) == {alice, again}


async def test_where_nothing_is_announced_subjects_are_added(
    valkey_url: str, tmp_path: Path
) -> None:
    wanted = settings_of(tmp_path, valkey_url, default_subjects="NONE", max_subjects=1)
    async with transmission(wanted) as here:
        name = (await here.create())["stream_id"]
        await here.announce("s1", user="bob")
        bob = {"stream_id": name, "subject": {"format": "opaque", "id": "bob"}}
        assert (await here.ask("POST", "/ssf/subjects:add", json=bob)).status_code == 200
        assert (await here.ask("POST", "/ssf/subjects:add", json=bob)).status_code == 200
        full = {"stream_id": name, "subject": {"format": "email", "email": "a@b.example"}}
        assert (await here.ask("POST", "/ssf/subjects:add", json=full)).status_code == 403
        announced = await here.announce("s2", user="bob")
        await here.announce("s3", user="alice")
        # What came before may still have been on its way when the subject was added.
        answer = await ask_until(
            lambda: here.poll(name), lambda answer: announced in answer["sets"]
        )
        users = {claims_of(one)["sub_id"]["user"]["id"] for one in answer["sets"].values()}
        assert users == {"bob"}
        assert (await here.ask("POST", "/ssf/subjects:remove", json=bob)).status_code == 204


async def test_a_subject_that_is_none_is_refused_with_its_field(here: Running) -> None:
    name = (await here.create())["stream_id"]
    for subject in ({}, {"format": "email"}, {"format": "complex"}):
        sent = {"stream_id": name, "subject": subject}
        answer = await here.ask("POST", "/ssf/subjects:add", json=sent)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("subject")


async def test_a_stream_of_the_configuration_is_not_the_recipients_to_change(
    valkey_url: str, tmp_path: Path
) -> None:
    fixed = settings_of(tmp_path, valkey_url, push_to="http://127.0.0.1:9/ssf")
    async with transmission(fixed) as here:
        read = "/ssf/stream?stream_id=mine"
        await ask_until(lambda: here.ask("GET", read), lambda answer: answer.status_code == 200)
        for method, path in (("PATCH", "/ssf/stream"), ("DELETE", read)):
            answer = await here.ask(method, path, json={"stream_id": "mine", "description": "x"})
            assert answer.status_code == 403
        paused = {"stream_id": "mine", "status": "paused"}
        assert (await here.ask("POST", "/ssf/status", json=paused)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/ssf", 404),
        ("POST", "/jwks.json", 405),
        ("POST", "/.well-known/ssf-configuration", 405),
        ("PUT", "/ssf/verify", 405),
        ("GET", "/ssf/status", 400),
        ("GET", "/ssf/status?stream_id=a&stream_id=b", 400),
        ("DELETE", "/ssf/stream", 400),
    ],
)
async def test_requests_that_are_not_of_the_api_are_refused_so(
    here: Running, method: str, path: str, status: int
) -> None:
    assert (await here.ask(method, path)).status_code == status


async def test_a_body_that_is_too_large_is_not_read(here: Running) -> None:
    answer = await here.ask("POST", "/ssf/stream", content=b" " * 70_000)
    assert answer.status_code == 413


async def test_a_store_that_is_away_is_a_503(valkey_server: Server, tmp_path: Path) -> None:
    async with transmission(settings_of(tmp_path, valkey_server.url)) as here:
        with valkey_server.paused():
            answer = await here.ask("GET", "/ssf/stream", timeout=60)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
