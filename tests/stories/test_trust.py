"""Who may be asked about opaque tokens, and whose answers count, as configured just now."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from sidecar.daemon.trust import Keys, Trust
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Introspection, Issuer, Tokens
from sidecar.wire.tokens.claims import Flaw, InvalidToken
from tests.adapters.identity import AUDIENCE, ISSUER, NOW
from tests.adapters.tokens.introspection_endpoint import Endpoint


def asking(port: int, **changes: object) -> Tokens:
    asked = Introspection(
        endpoint=f"http://127.0.0.1:{port}/introspect", only=True, bearer_token="b"
    )
    fields = {"issuer": ISSUER, "audiences": (AUDIENCE,), "introspection": asked, **changes}
    return Tokens(issuers=(Issuer(**fields),))  # type: ignore[arg-type] # by name


@asynccontextmanager
async def trusting(tokens: Tokens, judged: list[Keys]) -> AsyncIterator[Trust]:
    trust = Trust(
        tokens,
        on_refresh=lambda *_: None,
        on_answer=lambda *_: None,
        judged=judged.append,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(trust.run)
        yield trust
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Endpoint, int]]:
    endpoint = Endpoint()
    endpoint.active["tok"] = {"sub": "alice", "aud": AUDIENCE, "auth_time": int(NOW) - 9}
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, endpoint.handle, listeners)
        yield endpoint, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def flaw(trust: Trust) -> Flaw:
    with pytest.raises(InvalidToken) as caught:
        await trust.verifier.verify("tok", NOW)
    return caught.value.code


async def believed(trust: Trust) -> str:
    """The user, once the new endpoint's connections are open."""
    while True:
        try:
            return (await trust.verifier.verify("tok", NOW)).user
        except Unavailable:
            await trio.lowlevel.checkpoint()


async def test_an_endpoint_that_is_added_is_asked_and_one_that_is_taken_out_is_not() -> None:
    judged: list[Keys] = []
    async with served() as (endpoint, port), trusting(Tokens(), judged) as trust:
        assert await flaw(trust) is Flaw.MALFORMED
        trust.replace(asking(port))
        assert await believed(trust) == "alice"
        assert trust.verifier.cached("tok", NOW) is not None
        trust.replace(Tokens())
        assert trust.verifier.cached("tok", NOW) is None
        assert await flaw(trust) is Flaw.MALFORMED
        assert [(len(one.held), one.missing) for one in judged] == [(0, ()), (1, ()), (0, ())]
        assert len(endpoint.asked) == 1


async def test_what_was_answered_before_an_audience_was_taken_out_does_not_count() -> None:
    async with served() as (endpoint, port), trusting(asking(port), []) as trust:
        assert await believed(trust) == "alice"
        trust.replace(asking(port, audiences=("another",)))
        assert trust.verifier.cached("tok", NOW) is None
        while not endpoint.asked[1:]:
            try:
                assert await flaw(trust) is Flaw.WRONG_AUDIENCE
            except Unavailable:
                await trio.lowlevel.checkpoint()


async def test_an_answer_under_way_does_not_outlive_the_trust_in_who_gives_it() -> None:
    async with served() as (endpoint, port), trusting(asking(port), []) as trust:
        endpoint.gate = trio.Event()
        refused: list[Exception] = []

        async def call() -> None:
            with pytest.raises((InvalidToken, Unavailable)) as caught:
                await trust.verifier.verify("tok", NOW)
            refused.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await endpoint.arrived.wait()
            trust.replace(Tokens(issuers=(Issuer(issuer="https://other", audiences=("a",)),)))
            endpoint.gate.set()
        assert len(refused) == 1
        assert await flaw(trust) is Flaw.MALFORMED
