"""Asking an issuer about opaque tokens, over real HTTP."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives import serialization

from sidecar.adapters.tokens.circuit_breaker import FAILURES, FIRST_PAUSE
from sidecar.adapters.tokens.introspection import IntrospectionOutcome, Introspector
from sidecar.adapters.tokens.keys import KeySource
from sidecar.adapters.tokens.verifier import TokenVerifier
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Introspection, Issuer, Tokens
from sidecar.wire.tokens.claims import Flaw, InvalidToken
from tests.adapters.identity import AUDIENCE, ISSUER, NOW, Signer, key_set, private_key
from tests.adapters.tokens.introspection_endpoint import Endpoint


class Questions(list[tuple[IntrospectionOutcome, str]]):
    def __call__(
        self, issuer: str, outcome: IntrospectionOutcome, seconds: float, detail: str
    ) -> None:
        assert issuer == ISSUER
        assert seconds >= 0
        self.append((outcome, detail))

    @property
    def outcomes(self) -> list[IntrospectionOutcome]:
        return [outcome for outcome, _ in self]


class World:
    def __init__(
        self,
        endpoint: Endpoint,
        verifier: TokenVerifier,
        questions: Questions,
        introspector: Introspector,
    ) -> None:
        self.endpoint, self.verifier, self.questions = endpoint, verifier, questions
        self.introspector = introspector

    async def flaw(self, token: str, now: float = NOW) -> Flaw:
        with pytest.raises(InvalidToken) as caught:
            await self.verifier.verify(token, now)
        return caught.value.code


@asynccontextmanager
async def world(
    cache: int = 100, jwks: Path | None = None, **settings: Any
) -> AsyncIterator[World]:
    endpoint, questions = Endpoint(), Questions()
    endpoint.active["tok"] = {"sub": "alice", "sid": "s-1", "auth_time": int(NOW) - 9}
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, endpoint.handle, listeners)
        how = {"client_id": "sidecar", "client_secret": "s3cret"} | settings
        asked = Introspection(endpoint=f"http://127.0.0.1:{port}/introspect", **how)
        issuer = Issuer(issuer=ISSUER, audiences=(AUDIENCE,), introspection=asked)
        keys = None
        if jwks is not None:
            issuer = msgspec.structs.replace(issuer, jwks_file=str(jwks))
            keys = KeySource(issuer, Tokens())
        introspector = Introspector(
            issuer, cache, keys=keys, on_answer=questions, jitter=lambda: 0.0
        )
        await nursery.start(introspector.run)
        verifier = TokenVerifier([], Tokens(cache=cache), [introspector])
        yield World(endpoint, verifier, questions, introspector)
        nursery.cancel_scope.cancel()


async def test_an_active_token_is_believed_and_asked_about_once() -> None:
    async with world() as one:
        token = await one.verifier.verify("tok", NOW)
        assert (token.user, token.session) == ("alice", "s-1")
        assert one.verifier.cached("tok", NOW + 59) is token
        assert await one.verifier.verify("tok", NOW + 59) is token
        assert one.endpoint.asked == [{"token": "tok", "token_type_hint": "access_token"}]
        assert one.questions.outcomes == [IntrospectionOutcome.ACTIVE]
        assert "Authorization: Basic c2lkZWNhcjpzM2NyZXQ=" in one.endpoint.headers[0]


async def test_after_a_while_it_is_asked_about_again() -> None:
    async with world() as one:
        await one.verifier.verify("tok", NOW)
        assert one.verifier.cached("tok", NOW + 60) is None
        one.endpoint.active.clear()
        assert await one.flaw("tok", NOW + 60) is Flaw.NOT_ACTIVE
        assert one.verifier.cached("tok", NOW + 60) is None


async def test_it_counts_no_longer_than_it_says_itself() -> None:
    async with world() as one:
        one.endpoint.active["tok"]["exp"] = int(NOW) + 5
        await one.verifier.verify("tok", NOW)
        assert one.verifier.cached("tok", NOW + 34) is not None, "leeway"
        assert one.verifier.cached("tok", NOW + 35) is None
        assert await one.flaw("tok", NOW + 35) is Flaw.EXPIRED


async def test_a_token_that_is_not_active_is_refused_for_a_while_without_asking() -> None:
    async with world() as one:
        assert await one.flaw("bad") is Flaw.NOT_ACTIVE
        assert await one.flaw("bad", NOW + 9) is Flaw.NOT_ACTIVE
        assert len(one.endpoint.asked) == 1
        one.endpoint.active["bad"] = {"sub": "bob"}
        assert (await one.verifier.verify("bad", NOW + 10)).user == "bob"


async def test_what_was_said_before_a_revocation_does_not_count() -> None:
    async with world() as one:
        token = await one.verifier.verify("tok", NOW)
        assert await one.verifier.verify("tok", NOW + 5, NOW - 1) is token
        again = await one.verifier.verify("tok", NOW + 5, NOW + 3)
        assert again.confirmed_at == NOW + 5
        one.endpoint.active.clear()
        with pytest.raises(InvalidToken):
            await one.verifier.verify("tok", NOW + 7, NOW + 900)


async def test_concurrent_callers_share_one_question() -> None:
    async with world() as one:
        one.endpoint.gate = trio.Event()
        users = []

        async def verify() -> None:
            users.append((await one.verifier.verify("tok", NOW)).user)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(verify)
            await one.endpoint.arrived.wait()
            await trio.testing.wait_all_tasks_blocked()
            one.endpoint.gate.set()
        assert users == ["alice"] * 20
        assert len(one.endpoint.asked) == 1


async def test_a_caller_that_leaves_takes_nobodys_answer_with_it() -> None:
    async with world() as one:
        one.endpoint.gate = trio.Event()
        users = []

        async def verify() -> None:
            users.append((await one.verifier.verify("tok", NOW)).user)

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as leaving:
                leaving.start_soon(verify)
                await one.endpoint.arrived.wait()
                nursery.start_soon(verify)
                await trio.testing.wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
            one.endpoint.gate.set()
        assert users == ["alice"]
        assert len(one.endpoint.asked) == 2


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (500, b"", IntrospectionOutcome.FAILED),
        (401, b"", IntrospectionOutcome.FAILED),
        (503, b"", IntrospectionOutcome.FAILED),
        (429, b"", IntrospectionOutcome.FAILED),
        (302, b"", IntrospectionOutcome.INVALID),
        (400, b'{"error":"invalid_request"}', IntrospectionOutcome.INVALID),
        (403, b"<html>", IntrospectionOutcome.INVALID),
        (404, b"", IntrospectionOutcome.INVALID),
        (200, b"<html>", IntrospectionOutcome.INVALID),
        (200, b'{"active":"yes"}', IntrospectionOutcome.INVALID),
        (200, b"x" * 2_000_000, IntrospectionOutcome.INVALID),
    ],
)
async def test_no_answer_says_nothing_of_a_new_token(
    status: int, body: bytes, outcome: IntrospectionOutcome
) -> None:
    async with world() as one:
        one.endpoint.status, one.endpoint.body = status, body
        with pytest.raises(Unavailable):
            await one.verifier.verify("tok", NOW)
        assert one.questions.outcomes == [outcome]
        assert not any("tok" in detail for _, detail in one.questions)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error":"invalid_token"}'),
        (403, b"<html>"),
        (404, b""),
        (200, b"<html>"),
        (200, b'{"active":"true"}'),
    ],
)
async def test_what_is_answered_of_one_token_concerns_no_other(status: int, body: bytes) -> None:
    async with world() as one:
        one.endpoint.odd = (status, body)
        for number in range(40):
            with pytest.raises(Unavailable):
                await one.verifier.verify(f"odd/./../etc/passwd/{number}", NOW)
            user = f"user{number}"
            one.endpoint.active[user] = {"sub": user}
            assert (await one.verifier.verify(user, NOW)).user == user
            assert (await one.verifier.verify("tok", NOW + 61 * number)).unconfirmed is False
        assert one.questions.outcomes.count(IntrospectionOutcome.SKIPPED) == 0


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_one_token_that_its_issuer_stumbles_over_stops_nobody(status: int) -> None:
    async with world() as one:
        one.endpoint.odd = (status, b"")
        for _ in range(3 * FAILURES):
            with pytest.raises(Unavailable):
                await one.verifier.verify("odd/./../etc/passwd", NOW)
        assert [asked["token"] for asked in one.endpoint.asked] == ["odd/./../etc/passwd"]
        assert (await one.verifier.verify("tok", NOW)).user == "alice"


async def test_tokens_that_their_issuer_stumbles_over_stop_no_known_one_for_long(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with world() as one:
        await one.verifier.verify("tok", NOW)
        one.endpoint.odd = (500, b"")
        for number in range(3 * FAILURES):
            with pytest.raises(Unavailable):
                await one.verifier.verify(f"odd{number}", NOW)
        assert (
            one.questions.outcomes[1:]
            == [IntrospectionOutcome.FAILED] * FAILURES + [IntrospectionOutcome.SKIPPED] * 10
        )
        assert (await one.verifier.verify("tok", NOW + 61)).unconfirmed
        for pause in (1, 2, 4):  # they prolong the pause for others alone
            mock_clock.jump(pause)
            with pytest.raises(Unavailable):
                await one.verifier.verify(f"odd/{pause}", NOW)
        assert one.questions.outcomes[-3:] == [IntrospectionOutcome.FAILED] * 3
        mock_clock.jump(FIRST_PAUSE)
        assert not (await one.verifier.verify("tok", NOW + 61)).unconfirmed
        one.endpoint.active["new"] = {"sub": "bob"}
        assert (await one.verifier.verify("new", NOW)).user == "bob"


async def test_questions_about_new_tokens_leave_turns_for_known_ones() -> None:
    async with world(concurrent=4, timeout=5.0) as one:
        await one.verifier.verify("tok", NOW)
        one.endpoint.gate = trio.Event()
        async with trio.open_nursery() as flood:
            for number in range(20):
                flood.start_soon(one.flaw, f"slow{number}")
            while len(one.endpoint.asked) < 4:  # and no more than three of them come through
                one.endpoint.arrived = trio.Event()
                await one.endpoint.arrived.wait()
            one.endpoint.free.add("tok")
            assert not (await one.verifier.verify("tok", NOW + 61)).unconfirmed
            one.endpoint.gate.set()


async def test_waiting_for_a_turn_is_no_failure_of_the_issuer() -> None:
    async with world(concurrent=1, timeout=0.2) as one:
        one.endpoint.gate = trio.Event()
        async with trio.open_nursery() as flood:

            async def ask(token: str) -> None:
                with contextlib.suppress(Unavailable, InvalidToken):
                    await one.verifier.verify(token, NOW)

            for number in range(3 * FAILURES):
                flood.start_soon(ask, f"slow{number}")
        details = [detail for _, detail in one.questions]
        assert details.count("it did not answer in time") < FAILURES
        one.endpoint.gate = None
        assert (await one.verifier.verify("tok", NOW)).user == "alice"


async def test_an_issuer_that_fails_is_left_alone_for_a_while() -> None:
    async with world() as one:
        one.endpoint.status = 503
        for number in range(FAILURES):
            with pytest.raises(Unavailable):
                await one.verifier.verify(f"other{number}", NOW)
        with pytest.raises(Unavailable):
            await one.verifier.verify("tok", NOW)
        assert len(one.endpoint.asked) == FAILURES
        assert one.questions.outcomes == [IntrospectionOutcome.FAILED] * FAILURES + [
            IntrospectionOutcome.SKIPPED
        ]
        one.endpoint.status = 200
        with trio.fail_after(10 * FIRST_PAUSE):
            while one.questions.outcomes[-1] is not IntrospectionOutcome.ACTIVE:
                with contextlib.suppress(Unavailable):
                    await one.verifier.verify("tok", NOW)
                await trio.sleep(0.02)  # the pace of asking


async def test_an_issuer_that_refused_us_is_asked_at_once_with_another_secret() -> None:
    async with world() as one:
        one.endpoint.status = 401
        for number in range(FAILURES + 1):
            with pytest.raises(Unavailable):
                await one.verifier.verify(f"other{number}", NOW)
        assert one.questions.outcomes[-1] is IntrospectionOutcome.SKIPPED
        one.endpoint.status = 200
        issuer = one.introspector.issuer
        asked = msgspec.structs.replace(issuer.introspection, client_secret="another")
        one.introspector.show(msgspec.structs.replace(issuer, introspection=asked))
        assert (await one.verifier.verify("tok", NOW)).user == "alice"
        assert "Authorization: Basic c2lkZWNhcjphbm90aGVy" in one.endpoint.headers[-1]


async def test_a_slow_issuer_is_given_up() -> None:
    async with world(timeout=0.05) as one:
        one.endpoint.gate = trio.Event()
        with pytest.raises(Unavailable):
            await one.verifier.verify("tok", NOW)
        ((outcome, detail),) = one.questions
        assert outcome is IntrospectionOutcome.FAILED
        assert detail.endswith("/introspect: it did not answer in time")


async def test_a_token_that_was_active_lately_is_handed_out_as_unconfirmed() -> None:
    async with world() as one:
        await one.verifier.verify("tok", NOW)
        one.endpoint.status = 503
        stale = await one.verifier.verify("tok", NOW + 61)
        assert stale.unconfirmed
        assert stale.confirmed_at == NOW
        assert await one.verifier.verify("tok", NOW + 100) is stale, "one value, no new sighting"
        with pytest.raises(Unavailable):
            await one.verifier.verify("tok", NOW + 60 + 300)


async def test_a_known_token_that_has_expired_is_not_handed_out() -> None:
    async with world() as one:
        one.endpoint.active["tok"]["exp"] = int(NOW) + 10
        await one.verifier.verify("tok", NOW)
        one.endpoint.status = 503
        with pytest.raises(Unavailable):
            await one.verifier.verify("tok", NOW + 61)


async def test_both_caches_are_bounded() -> None:
    async with world(cache=3) as one:
        for number in range(6):
            one.endpoint.active[f"good{number}"] = {"sub": "alice"}
            await one.verifier.verify(f"good{number}", NOW)
            await one.flaw(f"bad{number}")
        kept = [n for n in range(6) if one.verifier.cached(f"good{n}", NOW)]
        assert kept == [3, 4, 5]
        asked = len(one.endpoint.asked)
        await one.flaw("bad0")
        assert len(one.endpoint.asked) == asked + 1


@pytest.mark.parametrize("token", ["a b", "tök", "a,b", 'a"b', "a\\b", "=a"])
async def test_what_is_no_token_is_not_asked_about(token: str) -> None:
    async with world() as one:
        assert await one.flaw(token) is Flaw.MALFORMED
        assert one.endpoint.asked == []


async def test_a_jwt_is_not_asked_about() -> None:
    async with world() as one:
        assert await one.flaw(Signer().token()) is Flaw.UNKNOWN_ISSUER
        assert one.endpoint.asked == []


async def test_a_prefix_says_whose_token_it_is() -> None:
    async with world(prefix="ours_") as one:
        one.endpoint.active["ours_1"] = {"sub": "alice"}
        assert (await one.verifier.verify("ours_1", NOW)).user == "alice"
        assert await one.flaw("theirs_1") is Flaw.MALFORMED
        assert len(one.endpoint.asked) == 1


async def test_a_client_may_show_itself_with_an_assertion(tmp_path: Path) -> None:
    key = private_key("ES256")
    file = tmp_path / "key.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    how: dict[str, Any] = {"private_key_file": str(file), "private_key_id": "k1"}
    async with world(client_secret="", **how) as one:
        await one.verifier.verify("tok", NOW)
        (asked,) = one.endpoint.asked
        assertion = asked["client_assertion"]
        assert jwt.get_unverified_header(assertion)["kid"] == "k1"
        claims = jwt.decode(
            assertion,
            key.public_key(),
            ["ES256"],
            audience=ISSUER,
            options={"verify_exp": False, "verify_iat": False},
        )
        assert claims["sub"] == "sidecar"
        assert "Authorization" not in one.endpoint.headers[0]
        file.write_text("no key")
        with pytest.raises(Unavailable):
            await one.verifier.verify("other", NOW)
        assert one.questions[-1][1] == "the private key is not one for its algorithm"


def signed(signer: Signer, **changes: Any) -> bytes:
    """A signed answer that says `active` of alice."""
    claims = {
        "iss": ISSUER,
        "aud": "sidecar",
        "iat": NOW,
        "token_introspection": {"active": True, "sub": "alice"},
        **changes,
    }
    headers = {"typ": "token-introspection+jwt", "kid": signer.kid}
    return jwt.encode(claims, signer.private, signer.algorithm, headers=headers).encode()


async def test_a_signed_answer_is_believed_by_the_issuers_keys_alone(tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(key_set(Signer()))
    async with world(jwks=jwks, signed=True) as one:
        one.endpoint.body = signed(Signer())
        assert (await one.verifier.verify("tok", NOW)).user == "alice"
        assert "Accept: application/token-introspection+jwt" in one.endpoint.headers[0]
        one.endpoint.body = signed(Signer(), token_introspection={"active": False})
        assert await one.flaw("gone") is Flaw.NOT_ACTIVE


async def test_a_key_of_signed_answers_may_be_replaced_under_its_kid(tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(key_set(Signer()))
    async with world(jwks=jwks, signed=True) as one:
        one.endpoint.body = signed(Signer())
        await one.verifier.verify("tok", NOW)
        jwks.write_bytes(key_set(Signer(number=1)))
        one.endpoint.body = signed(Signer(number=1))
        assert (await one.verifier.verify("other", NOW)).user == "alice"


@pytest.mark.parametrize(
    "body",
    [
        signed(Signer(number=1)),
        signed(Signer("ES384", "k1")),
        signed(Signer(), aud="other"),
        b'{"active":true,"sub":"alice"}',
        b"\xff",
    ],
    ids=["another-key", "another-algorithm", "another-audience", "not-signed", "not-text"],
)
async def test_where_answers_are_to_be_signed_no_other_counts(tmp_path: Path, body: bytes) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(key_set(Signer()))
    async with world(jwks=jwks, signed=True) as one:
        one.endpoint.body = body
        with pytest.raises(Unavailable):
            await one.verifier.verify("tok", NOW)
        assert one.questions.outcomes == [IntrospectionOutcome.INVALID]
