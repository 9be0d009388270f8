import email.utils
import json
import re
import socket
from collections.abc import AsyncIterator

import pytest

from sidecar.service.ports.calls import Unavailable
from sidecar.shared_signals.adapters.push_client import Courier
from sidecar.shared_signals.service.push_delivery import PushResponse, PushResult
from tests.adapters.recipients import Scripted, receiving

NOW = 1_800_000_000.0


@pytest.fixture
async def courier() -> AsyncIterator[Courier]:
    one = Courier(5.0, lambda: NOW)
    yield one
    await one.aclose()


def refusal(err: str, status: int = 400) -> Scripted:
    body = json.dumps({"err": err, "description": "no, said the <script>"}).encode()
    return status, {"content-type": "application/json"}, body


async def test_a_token_is_posted_as_the_rfc_says(courier: Courier) -> None:
    with receiving() as recipient:
        assert await courier.post(recipient.url, "a.b.c", "Bearer x") == PushResponse(
            PushResult.ACCEPTED
        )
        assert await courier.post(recipient.url, "d.e.f", "") == PushResponse(PushResult.ACCEPTED)
    (headers, body), (bare, _) = recipient.posts
    assert body == b"a.b.c"
    assert headers["content-type"] == "application/secevent+jwt"
    assert headers["accept"] == "application/json"
    assert headers["authorization"] == "Bearer x"
    assert "authorization" not in bare


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_success_is_one(courier: Courier, status: int) -> None:
    with receiving() as recipient:
        recipient.always = (status, {}, b"")
        assert (await courier.post(recipient.url, "t", "")).fate is PushResult.ACCEPTED


async def test_only_what_is_wrong_with_the_event_itself_is_final(courier: Courier) -> None:
    with receiving() as recipient:
        for err in ("invalid_request", "invalid_state"):
            recipient.always = refusal(err)
            answer = await courier.post(recipient.url, "t", "")
            assert answer == PushResponse(PushResult.REFUSED, f"status 400, {err}")
        for err in (
            "invalid_key",
            "invalid_issuer",
            "invalid_audience",
            "authentication_failed",
            "access_denied",
        ):
            recipient.always = refusal(err)
            answer = await courier.post(recipient.url, "t", "")
            assert answer == PushResponse(PushResult.FAILED, f"status 400, {err}")


@pytest.mark.parametrize(
    "answer",
    [
        (400, {}, b""),
        (400, {}, b"[]"),
        (400, {}, b"\xff"),
        refusal("made up"),
        (400, {}, b'{"err": ["invalid_request"]}'),
        (400, {}, b'{"err":' + b"[" * 5_000),
        (400, {}, b"{" + b" " * 100_000),
        refusal("invalid_request", 401),
        (403, {}, b""),
        (500, {}, b"oops"),
        (307, {"location": "https://elsewhere.example"}, b""),
    ],
)
async def test_whatever_else_it_says_is_tried_again_and_never_quoted(
    courier: Courier, answer: Scripted
) -> None:
    with receiving() as recipient:
        recipient.always = answer
        got = await courier.post(recipient.url, "t", "")
    assert got == PushResponse(PushResult.FAILED, f"status {answer[0]}")
    assert len(recipient.posts) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
        ("999999999", 86400.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("", 0.0),
    ],
)
async def test_retry_after_is_read_in_both_forms(
    courier: Courier, value: str, seconds: float
) -> None:
    with receiving() as recipient:
        recipient.always = (503, {"retry-after": value}, b"")
        assert (await courier.post(recipient.url, "t", "")).retry_after == seconds


async def test_a_recipient_that_is_not_there_is_a_failure(courier: Courier) -> None:
    with receiving() as recipient:
        pass
    answer = await courier.post(recipient.url, "t", "")
    assert answer.fate is PushResult.FAILED
    assert re.fullmatch(
        r"the post failed: Error connecting to .*: Connection refused", answer.detail
    )


async def test_one_that_does_not_answer_is_given_up_in_time() -> None:

    with socket.create_server(("127.0.0.1", 0)) as silent:
        courier = Courier(0.05, lambda: NOW)
        answer = await courier.post(f"http://127.0.0.1:{silent.getsockname()[1]}/", "t", "")
        await courier.aclose()
    assert answer == PushResponse(PushResult.FAILED, "no answer in time")


async def test_an_address_that_is_none_is_a_failure(courier: Courier) -> None:
    assert (await courier.post("http://[", "t", "")).fate is PushResult.FAILED


async def test_a_proxy_that_is_no_address_is_reported_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:tiger5@proxy:port")
    with pytest.raises(Unavailable, match="no address such as http://proxy:3128") as caught:
        Courier(1.0, lambda: 0.0)
    assert "tiger5" not in str(caught.value)
