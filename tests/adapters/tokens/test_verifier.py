import hashlib
import hmac
import json
import string
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.tokens import verifier as verifier_module
from sidecar.adapters.tokens.cache import MAX_TEXTS
from sidecar.adapters.tokens.keys import BURST, KeySource
from sidecar.adapters.tokens.verifier import REFUSAL_LIFE, TokenVerifier
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Issuer, Tokens
from sidecar.wire.tokens.claims import Flaw, InvalidToken, Token
from sidecar.wire.tokens.jwks import Key, signed_by
from tests.adapters.identity import (
    ALGORITHMS,
    AUDIENCE,
    ISSUER,
    NOW,
    Answer,
    Signer,
    claims,
    encode,
    key_set,
    serve,
    twin,
)

EC = Signer("ES256", "ec")
EVERY = [Signer(algorithm, algorithm) for algorithm in ALGORITHMS]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    file.write_bytes(key_set(EC))
    return file


def publish(file: Path, *keys: Signer | dict[str, Any]) -> None:
    file.write_bytes(key_set(*keys))


def issuer_of(file: Path, **changes: Any) -> Issuer:
    settings = {"issuer": ISSUER, "audiences": (AUDIENCE,), "jwks_file": str(file), **changes}
    return Issuer(**settings)


def verifier_of(file: Path, settings: Tokens | None = None, **changes: Any) -> TokenVerifier:
    settings = settings or Tokens()
    return TokenVerifier([KeySource(issuer_of(file, **changes), settings)], settings)


async def flaw(verifier: TokenVerifier, token: str, now: float = NOW) -> Flaw:
    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(token, now)
    return caught.value.code


@pytest.mark.parametrize("signer", EVERY, ids=lambda signer: signer.algorithm)
async def test_a_token_of_every_algorithm_is_verified(file: Path, signer: Signer) -> None:
    publish(file, *EVERY)
    verifier = verifier_of(file, algorithms=ALGORITHMS)
    token = await verifier.verify(signer.token(), NOW)
    assert (token.user, token.session, token.app) == ("alice", "s-1", "payroll-api")
    assert token.authentication.auth_time == NOW - 100


@pytest.mark.parametrize("signer", EVERY, ids=lambda signer: signer.algorithm)
async def test_a_signature_of_every_algorithm_by_another_key_is_refused(
    file: Path, signer: Signer
) -> None:
    publish(file, *EVERY)
    verifier = verifier_of(file, algorithms=ALGORITHMS)
    forger = Signer(signer.algorithm, signer.kid, number=1)
    assert await flaw(verifier, forger.token()) is Flaw.BAD_SIGNATURE


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_with_any_part_from_another_is_refused(file: Path, part: int) -> None:
    verifier = verifier_of(file)
    mine, other = EC.token().split("."), EC.token({"x": 1}, sub="mallory").split(".")
    mine[part] = other[part]
    assert await flaw(verifier, ".".join(mine)) is Flaw.BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS256", "hs256"])
@pytest.mark.parametrize("signature", ["", "AAAA"])
async def test_no_spelling_of_none_is_an_algorithm(
    file: Path, algorithm: str, signature: Any
) -> None:
    verifier = verifier_of(file, algorithms=(algorithm, "ES256"))
    header = json.dumps({"alg": algorithm, "kid": "ec"}).encode()
    token = f"{encode(header)}.{encode(json.dumps(claims()).encode())}.{signature}"
    assert await flaw(verifier, token) is Flaw.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("allowed", [("RS256",), ("RS256", "HS256")])
@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_a_public_key_is_never_a_shared_secret(file: Path, allowed: Any, form: str) -> None:
    rsa = Signer("RS256", "rsa")
    publish(file, rsa)
    pem = rsa.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secret = pem if form == "pem" else json.dumps(rsa.jwk()).encode()
    signed = ".".join(
        encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "rsa"}, claims())
    )
    token = signed + "." + encode(hmac.digest(secret, signed.encode(), hashlib.sha256))
    verifier = verifier_of(file, algorithms=allowed)
    assert await flaw(verifier, token) is Flaw.ALGORITHM_NOT_ALLOWED


async def test_an_algorithm_of_another_curve_finds_no_key(file: Path) -> None:
    p384 = Signer("ES384", "k")
    publish(file, p384)
    verifier = verifier_of(file, algorithms=("ES256", "ES384"))
    token = p384.raw(b'{"alg":"ES256","kid":"k"}', json.dumps(claims()).encode())
    assert await flaw(verifier, token) is Flaw.UNKNOWN_KEY


async def test_an_algorithm_that_the_issuer_does_not_use_is_refused(file: Path) -> None:
    verifier = verifier_of(file, algorithms=("RS256",))
    assert await flaw(verifier, EC.token()) is Flaw.ALGORITHM_NOT_ALLOWED


async def test_a_key_for_one_algorithm_does_not_verify_another_of_its_kind(file: Path) -> None:
    rsa = Signer("RS256", "rsa")
    publish(file, rsa.jwk(alg="PS256"))
    assert await flaw(verifier_of(file), rsa.token()) is Flaw.UNKNOWN_KEY


@pytest.mark.parametrize("number", [0, 1])
async def test_keys_that_the_token_brings_along_are_ignored(file: Path, number: int) -> None:
    forger = Signer("ES256", "ec", number=number)
    brought = {"jwk": forger.jwk(), "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}
    token = forger.token(brought)
    if number:
        assert await flaw(verifier_of(file), token) is Flaw.BAD_SIGNATURE
    else:
        assert (await verifier_of(file).verify(token, NOW)).user == "alice"


async def test_a_header_with_a_member_named_twice_is_refused(file: Path) -> None:
    token = EC.raw(b'{"alg":"ES256","kid":"ec","kid":"ec"}', json.dumps(claims()).encode())
    assert await flaw(verifier_of(file), token) is Flaw.MALFORMED


async def test_a_payload_with_a_member_named_twice_is_refused(file: Path) -> None:
    payload = json.dumps(claims())[:-1] + ',"sub":"mallory"}'
    token = EC.raw(b'{"alg":"ES256","kid":"ec"}', payload.encode())
    assert await flaw(verifier_of(file), token) is Flaw.MALFORMED


@pytest.mark.parametrize("mark", ["=", " ", "\n", "\t", "\0", "é", "\ud800"])
async def test_nothing_may_be_added_to_a_token(file: Path, mark: str) -> None:
    verifier = verifier_of(file)
    await verifier.verify(EC.token(), NOW)
    for token in (EC.token() + mark, mark + EC.token(), EC.token().replace(".", mark + ".", 1)):
        assert verifier.cached(token, NOW) is None
        assert await flaw(verifier, token) is Flaw.MALFORMED


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt", ""])
async def test_configured_types_are_accepted_in_any_case(file: Path, kind: str) -> None:
    assert (await verifier_of(file).verify(EC.token({"typ": kind}), NOW)).user == "alice"


@pytest.mark.parametrize("kind", ["secevent+jwt", "logout+jwt", "dpop+jwt", "at+jwt "])
async def test_a_token_made_for_something_else_is_refused(file: Path, kind: str) -> None:
    assert await flaw(verifier_of(file), EC.token({"typ": kind})) is Flaw.TYPE_NOT_ALLOWED


async def test_a_type_may_be_required(file: Path) -> None:
    token = EC.raw(b'{"alg":"ES256","kid":"ec"}', json.dumps(claims()).encode())
    assert (await verifier_of(file).verify(token, NOW)).user == "alice"
    assert await flaw(verifier_of(file, types=("at+jwt",)), token) is Flaw.TYPE_NOT_ALLOWED


@pytest.mark.parametrize("name", ["exp", "iss", "aud", "sub"])
async def test_a_required_claim_is_required(file: Path, name: str) -> None:
    assert await flaw(verifier_of(file), EC.token(**{name: None})) is Flaw.MISSING_CLAIM


@pytest.mark.parametrize("issuer", ["https://evil.example", ISSUER + "/", ISSUER.upper()])
async def test_an_issuer_that_is_not_configured_is_refused(file: Path, issuer: Any) -> None:
    assert await flaw(verifier_of(file), EC.token(iss=issuer)) is Flaw.UNKNOWN_ISSUER


@pytest.mark.parametrize("issuer", [[ISSUER], {"a": 1}, 7], ids=str)
async def test_an_issuer_that_is_no_text_is_refused(file: Path, issuer: Any) -> None:
    payload = json.dumps(claims(iss=issuer)).encode()
    token = EC.raw(b'{"alg":"ES256","kid":"ec"}', payload)
    assert await flaw(verifier_of(file), token) is Flaw.UNKNOWN_ISSUER


async def test_one_issuer_cannot_speak_for_another(tmp_path: Path) -> None:
    settings = Tokens()
    sources: list[KeySource] = []
    for name in ("one", "two"):
        keys = tmp_path / name
        keys.write_bytes(key_set(Signer("ES256", name, number=len(sources))))
        issuer = issuer_of(keys, issuer=f"https://{name}.example")
        sources.append(KeySource(issuer, settings))
    verifier = TokenVerifier(sources, settings)
    two = Signer("ES256", "two", number=1)
    assert (await verifier.verify(two.token(iss="https://two.example"), NOW)).issuer
    assert await flaw(verifier, two.token(iss="https://one.example")) is Flaw.UNKNOWN_KEY
    posing = Signer("ES256", "one", number=1)
    assert await flaw(verifier, posing.token(iss="https://one.example")) is Flaw.BAD_SIGNATURE


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]], ids=str)
async def test_the_audience_may_be_one_or_a_list(file: Path, audience: Any) -> None:
    assert (await verifier_of(file).verify(EC.token(aud=audience), NOW)).user == "alice"


@pytest.mark.parametrize("audience", ["other", ["other"], [[AUDIENCE]], {AUDIENCE: 1}], ids=str)
async def test_another_audience_is_refused(file: Path, audience: Any) -> None:
    assert await flaw(verifier_of(file), EC.token(aud=audience)) is Flaw.WRONG_AUDIENCE


@pytest.mark.parametrize("audience", [[], ""], ids=str)
async def test_an_empty_audience_is_none(file: Path, audience: Any) -> None:
    assert await flaw(verifier_of(file), EC.token(aud=audience)) is Flaw.MISSING_CLAIM


async def test_without_configured_audiences_no_token_is_accepted(file: Path) -> None:
    assert await flaw(verifier_of(file, audiences=()), EC.token()) is Flaw.WRONG_AUDIENCE


async def test_exp_ends_a_token_exactly_leeway_later(file: Path) -> None:
    verifier = verifier_of(file, leeway=30.0)
    token, end = EC.token(exp=int(NOW)), NOW + 30
    assert await flaw(verifier, token, end) is Flaw.EXPIRED
    assert (await verifier_of(file, leeway=30.0).verify(token, end - 0.001)).user == "alice"


@pytest.mark.parametrize("name", ["nbf", "iat", "auth_time"])
async def test_a_token_begins_exactly_leeway_before_its_times(file: Path, name: str) -> None:
    verifier = verifier_of(file, leeway=30.0)
    token, begin = EC.token(None, **{name: int(NOW)}), NOW - 30
    assert await flaw(verifier, token, begin - 0.001) is Flaw.NOT_YET_VALID
    assert (await verifier.verify(token, begin)).user == "alice"


async def test_a_cached_token_never_outlives_exp(file: Path) -> None:
    verifier = verifier_of(file, leeway=30.0)
    token = EC.token(exp=int(NOW) + 60)
    assert verifier.cached(token, NOW) is None
    believed = await verifier.verify(token, NOW)
    assert verifier.cached(token, NOW + 89.999) is believed
    assert verifier.cached(token, NOW + 90) is None
    assert await flaw(verifier, token, NOW + 90) is Flaw.EXPIRED


async def test_a_cached_token_does_not_count_before_it_begins(file: Path) -> None:
    verifier = verifier_of(file, leeway=0.0)
    token = EC.token(nbf=int(NOW))
    await verifier.verify(token, NOW)
    assert verifier.cached(token, NOW - 1) is None


async def test_two_texts_of_one_token_are_one_token(file: Path) -> None:
    verifier = verifier_of(file, Tokens(cache=2))
    token = EC.token()
    believed = await verifier.verify(token, NOW)
    assert twin(token) != token
    assert verifier.cached(twin(token), NOW) is None, "nobody has looked at this signature"
    again = EC.token()  # the same claims, signed once more
    for other in (twin(token), again, twin(again), token):
        assert await verifier.verify(other, NOW) is believed
    # They take one place of the cache: another's has not been taken for it.
    await verifier.verify(EC.token(sub="bob"), NOW)
    for text in (token, twin(token)):
        assert await verifier.verify(text, NOW) is believed
        assert verifier.cached(text, NOW) is believed


async def test_what_is_signed_is_believed_with_a_good_signature_only(file: Path) -> None:
    verifier = verifier_of(file)
    token = EC.token()
    await verifier.verify(token, NOW)
    signed, _, signature = token.rpartition(".")
    other = EC.token(sub="bob").rpartition(".")[2]
    noise = encode(bytes(64))
    for bad in (other, noise, "", signature[:-4], f"{signature}AAAA"):
        assert verifier.cached(f"{signed}.{bad}", NOW) is None
        with pytest.raises(InvalidToken):
            await verifier.verify(f"{signed}.{bad}", NOW)
    assert verifier.cached(signed, NOW) is None
    assert verifier.cached(f"{token}.", NOW) is None
    assert verifier.cached(token, NOW) is not None


async def test_no_token_has_more_texts_than_are_kept(file: Path) -> None:
    verifier = verifier_of(file)
    texts = [EC.token() for _ in range(MAX_TEXTS + 3)]
    believed = {id(await verifier.verify(text, NOW)) for text in texts}
    assert len(believed) == 1
    known = [text for text in texts if verifier.cached(text, NOW) is not None]
    assert known == texts[-MAX_TEXTS:]


async def test_the_cache_is_bounded_and_keeps_what_is_used(file: Path) -> None:
    verifier = verifier_of(file, Tokens(cache=3))
    tokens = [EC.token(jti=f"t-{number}") for number in range(4)]
    for token in tokens[:3]:
        await verifier.verify(token, NOW)
    assert verifier.cached(tokens[0], NOW)
    await verifier.verify(tokens[3], NOW)
    held = [verifier.cached(token, NOW) is not None for token in tokens]
    assert held == [True, False, True, True]


async def test_a_key_that_is_removed_invalidates_cached_tokens(file: Path) -> None:
    source = KeySource(issuer_of(file), Tokens())
    verifier = TokenVerifier([source], Tokens())
    other = Signer("ES256", "other", number=1)
    await verifier.verify(EC.token(), NOW)
    publish(file, EC, other)
    await source.renew()
    token = EC.token(jti="stays")
    await verifier.verify(token, NOW)
    publish(file, other)
    await source.renew()
    assert verifier.cached(token, NOW) is None
    assert await flaw(verifier, token) is Flaw.UNKNOWN_KEY


async def test_a_refresh_that_brings_the_same_keys_leaves_the_cache(file: Path) -> None:
    source = KeySource(issuer_of(file), Tokens())
    verifier = TokenVerifier([source], Tokens())
    token = EC.token()
    believed = await verifier.verify(token, NOW)
    await source.renew()
    assert verifier.cached(token, NOW) is believed


async def test_replaced_issuers_invalidate_cached_tokens(file: Path) -> None:
    verifier = verifier_of(file)
    token = EC.token()
    await verifier.verify(token, NOW)
    changed = KeySource(issuer_of(file, audiences=("other",)), Tokens())
    verifier.replace([changed], Tokens())
    assert verifier.cached(token, NOW) is None
    assert await flaw(verifier, token) is Flaw.WRONG_AUDIENCE


async def test_a_verification_under_way_does_not_outlive_a_replacement(
    nursery: trio.Nursery,
) -> None:
    provider = await serve(nursery)
    gate = trio.Event()
    provider.paths["/jwks"] = Answer(key_set(EC), gate=gate)
    issuer = Issuer(issuer=ISSUER, audiences=(AUDIENCE,), jwks_uri=provider.url + "/jwks")
    verifier = TokenVerifier([KeySource(issuer, Tokens())], Tokens())
    token = EC.token()
    async with trio.open_nursery() as callers:
        flaws: list[Flaw] = []

        async def call() -> None:
            flaws.append(await flaw(verifier, token))

        callers.start_soon(call)
        await provider.asked_now.wait()
        verifier.replace([], Tokens())
        gate.set()
    assert flaws == [Flaw.UNKNOWN_ISSUER]
    assert verifier.cached(token, NOW) is None
    assert await flaw(verifier, token) is Flaw.UNKNOWN_ISSUER
    nursery.cancel_scope.cancel()


class Counting(KeySource):
    """Counts how often a token got as far as its key."""

    found = 0

    def held(self, key_id: str | None, algorithm: str) -> tuple[Key, ...]:
        keys = super().held(key_id, algorithm)
        self.found += bool(keys)
        return keys


async def test_a_bad_token_is_refused_unseen_but_only_for_a_while(file: Path) -> None:
    source = Counting(issuer_of(file), Tokens())
    verifier = TokenVerifier([source], Tokens())
    token = EC.token(aud="other")
    for moment, found in ((0, 1), (REFUSAL_LIFE - 0.001, 1), (REFUSAL_LIFE, 2), (0, 3)):
        assert await flaw(verifier, token, NOW + moment) is Flaw.WRONG_AUDIENCE
        assert source.found == found


async def test_the_memory_of_bad_tokens_is_bounded(file: Path) -> None:
    source = Counting(issuer_of(file), Tokens())
    verifier = TokenVerifier([source], Tokens(cache=2))
    first, *others = (EC.token(aud="other", jti=f"t-{number}") for number in range(3))
    for token in (first, *others, *others):
        await flaw(verifier, token)
    assert source.found == 3
    await flaw(verifier, first)
    assert source.found == 4


async def test_a_token_refused_for_its_signature_is_looked_at_again_with_new_keys(
    file: Path,
) -> None:
    source = KeySource(issuer_of(file), Tokens())
    verifier = TokenVerifier([source], Tokens())
    replaced = Signer("ES256", "ec", number=1)
    token = replaced.token()
    assert await flaw(verifier, token) is Flaw.BAD_SIGNATURE
    publish(file, replaced)
    await source.renew()
    assert (await verifier.verify(token, NOW)).user == "alice"


async def test_a_token_refused_before_its_key_was_known_is_accepted_after(file: Path) -> None:
    source = KeySource(issuer_of(file), Tokens())
    verifier = TokenVerifier([source], Tokens())
    new = Signer("ES256", "new", number=1)
    token = new.token()
    assert await flaw(verifier, token) is Flaw.UNKNOWN_KEY
    publish(file, EC, new)
    assert (await verifier.verify(token, NOW)).user == "alice"


async def test_a_token_without_kid_tries_the_keys_that_fit(file: Path) -> None:
    publish(file, Signer(kid="a", number=1), Signer("RS256"), Signer(kid=None))
    assert (await verifier_of(file).verify(Signer(kid=None).token(), NOW)).user == "alice"


async def test_a_key_that_was_replaced_under_its_kid_is_fetched_at_the_first_token(
    nursery: trio.Nursery,
) -> None:
    provider = await serve(nursery)
    provider.paths["/jwks"] = Answer(key_set(EC))
    issuer = Issuer(issuer=ISSUER, audiences=(AUDIENCE,), jwks_uri=provider.url + "/jwks")
    settings = Tokens(jwks_min_interval=3600.0)
    verifier = TokenVerifier([KeySource(issuer, settings)], settings)
    old = EC.token()
    await verifier.verify(old, NOW)
    replaced = Signer("ES256", "ec", number=1)
    provider.paths["/jwks"] = Answer(key_set(replaced))
    assert (await verifier.verify(replaced.token(), NOW)).user == "alice"
    assert verifier.cached(old, NOW) is None
    assert await flaw(verifier, old) is Flaw.BAD_SIGNATURE
    nursery.cancel_scope.cancel()


async def test_a_flood_of_forged_tokens_fetches_no_more_than_the_burst(
    nursery: trio.Nursery,
) -> None:
    provider = await serve(nursery)
    provider.paths["/jwks"] = Answer(key_set(EC))
    issuer = Issuer(issuer=ISSUER, audiences=(AUDIENCE,), jwks_uri=provider.url + "/jwks")
    settings = Tokens(jwks_min_interval=3600.0)
    verifier = TokenVerifier([KeySource(issuer, settings)], settings)
    forger = Signer("ES256", "ec", number=1)
    for number in range(50):
        assert await flaw(verifier, forger.token(jti=str(number))) is Flaw.BAD_SIGNATURE
    assert len(provider.asked) == BURST
    assert (await verifier.verify(EC.token(), NOW)).user == "alice"
    nursery.cancel_scope.cancel()


async def test_a_rotation_is_noticed_without_kids(file: Path) -> None:
    publish(file, Signer(kid=None))
    verifier = verifier_of(file)
    await verifier.verify(Signer(kid=None).token(), NOW)
    rotated = Signer(kid=None, number=1)
    publish(file, rotated)
    assert (await verifier.verify(rotated.token(), NOW)).user == "alice"


async def test_the_size_limit_is_exact(file: Path) -> None:
    token = EC.token()
    assert (
        await verifier_of(file, Tokens(max_bytes=len(token))).verify(token, NOW)
    ).user == "alice"
    small = verifier_of(file, Tokens(max_bytes=len(token) - 1))
    assert await flaw(small, token) is Flaw.TOO_LARGE


async def test_without_keys_a_token_is_neither_valid_nor_invalid(tmp_path: Path) -> None:
    verifier = verifier_of(tmp_path / "missing")
    with pytest.raises(Unavailable):
        await verifier.verify(EC.token(), NOW)


async def test_a_token_is_never_repeated_in_its_refusal(file: Path) -> None:
    token = EC.token(sub='secret"name', groups=[["secret"]], exp="secret")
    with pytest.raises(InvalidToken) as caught:
        await verifier_of(file).verify(token, NOW)
    assert "secret" not in str(caught.value)


async def test_calls_that_show_one_token_have_it_verified_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = verifier_of(file)
    await verifier.verify(EC.token(), NOW)
    other = Signer("ES256", "other")
    publish(file, EC, other)
    token, found, computed = other.token(), [], []

    def counting(*signed: Any) -> bool:
        computed.append(signed)
        return signed_by(*signed)

    monkeypatch.setattr(verifier_module, "signed_by", counting)

    async def show() -> None:
        found.append(await verifier.verify(token, NOW))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(show)
    assert len(computed) == 1
    assert all(one is found[0] for one in found)


async def test_what_is_verified_at_once_is_what_verification_comes_to(file: Path) -> None:
    verifier = verifier_of(file)
    token, other = EC.token(), Signer("ES256", "other")
    assert verifier.verify_at_once(token, NOW) is None  # no key is held yet
    believed = await verifier.verify(token, NOW)
    assert verifier_of(file).verify_at_once(token, NOW) is None
    assert verifier.verify_at_once(token, NOW) is believed
    assert verifier.verify_at_once(other.token(), NOW) is None  # its issuer may have a newer key
    publish(file, EC, other)
    assert (await verifier.verify(other.token(), NOW)).issuer == ISSUER
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify_at_once(EC.token(aud="other"), NOW)
    assert refusal.value.code is Flaw.WRONG_AUDIENCE
    assert verifier.verify_at_once("opaque", NOW) is None


letters = st.text(string.ascii_letters + string.digits + "-_.=", max_size=200)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def module_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "jwks.json"
    publish(file, EC)
    return file


def refused_or_believed(verifier: TokenVerifier, token: str) -> Token | None:
    async def verify() -> Token | None:
        try:
            return await verifier.verify(token, NOW)
        except InvalidToken:
            return None

    return trio.run(verify)


@given(
    text=st.text()
    | letters
    | st.tuples(st.binary(), st.binary(), st.binary()).map(lambda p: ".".join(map(encode, p)))
)
def test_no_text_is_believed_or_raises_anything_but_invalid_token(
    module_file: Path, text: str
) -> None:
    assert refused_or_believed(verifier_of(module_file), text) is None


@given(
    header=st.dictionaries(st.sampled_from(["typ", "kid", "alg", "crit", "x"]), json_values),
    changes=st.dictionaries(st.sampled_from([*claims(), "nbf", "groups", "jti"]), json_values),
)
def test_no_signed_token_raises_anything_but_invalid_token(
    module_file: Path, header: Any, changes: Any
) -> None:
    document = json.dumps({"alg": "ES256", "kid": "ec", **header}).encode()
    token = EC.raw(document, json.dumps({**claims(), **changes}).encode())
    believed = refused_or_believed(verifier_of(module_file), token)
    assert believed is None or believed.issuer == ISSUER


@given(signature=st.binary(max_size=300))
def test_no_signature_bytes_are_believed(module_file: Path, signature: Any) -> None:
    for signer in (EC, Signer("RS256", "rsa"), Signer("EdDSA", "ed")):
        signed = signer.token().rpartition(".")[0]
        module_file.write_bytes(key_set(signer))
        assert (
            refused_or_believed(verifier_of(module_file), f"{signed}.{encode(signature)}") is None
        )
    module_file.write_bytes(key_set(EC))
