"""A transmitter's answers are not trusted: each of its mistakes is reported as what it is."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.adapters.transmitter_client import (
    MAX_BYTES,
    PollEndpoint,
    TransmitterApi,
    TransmitterRefused,
)
from sidecar.shared_signals.wire.security_event_tokens import SetError
from sidecar.shared_signals.wire.stream_api import PollRequest, PollResponse
from tests.adapters.identity import Answer, Provider, Signer, serve
from tests.adapters.transmitter import TOKEN, Transmitter, transmit


@pytest.fixture
async def provider(nursery: trio.Nursery) -> Provider:
    return await serve(nursery)


async def token() -> str:
    return TOKEN


def api(url: str, **changes: Any) -> TransmitterApi:
    return TransmitterApi(url, **{"token": token, "timeout": 20.0, **changes})


async def poll(provider: Provider, answer: Answer) -> PollResponse:
    provider.paths["/poll"] = answer
    return await PollEndpoint(api(provider.url), f"{provider.url}/poll").poll(PollRequest())


async def test_a_poll_acknowledges_refuses_and_fetches(nursery: trio.Nursery) -> None:
    transmitter: Transmitter = await nursery.start(transmit, Signer())
    transmitter.waiting = {"1": "a.b.c", "2": "d.e.f", "3": "g.h.i"}
    endpoint = PollEndpoint(api(transmitter.url), f"{transmitter.url}/poll")
    first = await endpoint.poll(PollRequest(max_events=2))
    assert first == PollResponse(sets={"1": "a.b.c", "2": "d.e.f"}, more_available=True)
    errors = {"2": SetError("invalid_key", "unknown")}
    second = await endpoint.poll(PollRequest(ack=("1",), set_errs=errors))
    assert second == PollResponse(sets={"3": "g.h.i"})
    assert transmitter.acknowledged == ["1"]
    assert transmitter.refused == {"2": {"err": "invalid_key", "description": "unknown"}}


async def test_a_token_that_rotates_counts_with_the_next_poll_and_the_last_one_is_kept(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    transmitter: Transmitter = await nursery.start(transmit, Signer())
    file = tmp_path / "token"
    file.write_text("of-no-use")
    asking = api(transmitter.url, token=SecretFile(str(file)).text)
    endpoint = PollEndpoint(asking, f"{transmitter.url}/poll")
    with pytest.raises(Unavailable):
        await endpoint.poll(PollRequest())
    file.write_text(TOKEN)
    assert await endpoint.poll(PollRequest()) == PollResponse(sets={})
    file.unlink()
    assert await endpoint.poll(PollRequest()) == PollResponse(sets={})


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"not JSON"),
        Answer(b"[]"),
        Answer(b'{"sets": []}'),
        Answer(b'{"sets": {"1": 2}}'),
        Answer(b'{"sets": {}, "sets": {}}'),
        Answer(status=500),
        Answer(status=401),
        Answer(status=302, headers={"Location": "/else"}),
        Answer(b'{"sets": {}}', headers={"Content-Length": "9999"}),
    ],
)
async def test_an_answer_that_is_none_makes_a_transmitter_unavailable(
    provider: Provider, answer: Answer
) -> None:
    with pytest.raises(Unavailable):
        await poll(provider, answer)
    assert provider.asked == ["/poll"]


async def test_an_answer_without_end_is_not_read_to_its_end(provider: Provider) -> None:
    with pytest.raises(Unavailable, match="too large"):
        await poll(provider, Answer(b" " * (MAX_BYTES + 1)))


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, "7", 7), (503, "0", 0), (503, "soon", 1), (429, "9" * 5000, 3600), (503, "", 1)],
)
async def test_a_transmitter_that_asks_to_wait_says_for_how_long(
    provider: Provider, status: int, header: str, seconds: int
) -> None:
    headers = {"Retry-After": header} if header else {}
    with pytest.raises(Overloaded) as caught:
        await poll(provider, Answer(status=status, headers=headers))
    assert caught.value.retry_after == seconds


async def test_a_transmitter_that_does_not_answer_is_not_waited_for_for_ever(
    provider: Provider,
) -> None:
    provider.paths["/poll"] = Answer(gate=trio.Event())
    endpoint = PollEndpoint(api(provider.url, timeout=0.1), f"{provider.url}/poll")
    with pytest.raises(Unavailable, match="in time"):
        await endpoint.poll(PollRequest())


@pytest.mark.parametrize("url", ["http://transmitter.example/poll", "ftp://localhost/poll", "poll"])
async def test_our_token_goes_over_no_wire_that_others_can_read(url: str) -> None:
    with pytest.raises(Unavailable, match=r"https|URL"):
        await PollEndpoint(api("https://transmitter.example"), url).poll(PollRequest())


async def test_what_a_refusal_says_is_reported_as_far_as_it_can_be_printed(
    provider: Provider,
) -> None:
    body = json.dumps({"detail": "push\x1b[2J " + "x" * 300}).encode()
    provider.paths["/streams?stream_id=s"] = Answer(body, status=400)
    with pytest.raises(TransmitterRefused) as caught:
        await api(provider.url).streams(f"{provider.url}/streams", "s")
    assert "push?[2J" in str(caught.value)
    assert len(str(caught.value)) < 300


async def test_a_stream_or_metadata_of_another_issuer_is_not_taken(provider: Provider) -> None:
    stream = {"stream_id": "s", "iss": "https://else", "aud": "us", "delivery": {"method": "m"}}
    provider.paths["/streams"] = Answer(json.dumps(stream).encode())
    with pytest.raises(Unavailable, match="another issuer"):
        await api(provider.url).streams(f"{provider.url}/streams")
    metadata = Answer(b'{"issuer": "https://else"}')
    provider.paths["/.well-known/ssf-configuration"] = metadata
    with pytest.raises(Unavailable, match="metadata are of the issuer 'https://else', and"):
        await api(provider.url).metadata()
