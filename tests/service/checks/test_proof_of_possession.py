"""The proof that who shows a token holds its key, and the worth of a change of that key."""

import contextlib
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import Signals
from sidecar.service.checks.proof_of_possession import SHARE, Possessions, Proofs, ShownProof
from sidecar.service.ports.calls import Call, Overloaded, TokenPresentation
from sidecar.wire.settings.tokens import Binding, Possession
from sidecar.wire.tokens.claims import Bound, Flaw, InvalidToken, Token
from sidecar.wire.tokens.jwks import thumbprint_of_client
from tests.adapters.identity import Signer, twin
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens
from tests.wire.tokens.proofs import CLIENT, TOKEN, proof

NOW = 1000.0
KEY = thumbprint_of_client(CLIENT.jwk())
VERIFY = Binding(possession=Possession.VERIFY)
_numbers = itertools.count()


def token_bound_to(**bound: str) -> Token:
    tokens = Tokens()
    tokens.issue("t", binding=Bound(**bound))
    return tokens.known["t"]


KEYED = token_bound_to(key=KEY)


def call(dpop: str | None = None, certificate: str = "") -> Call:
    shown = TokenPresentation(dpop, certificate)
    return Call(TOKEN, method="POST", host="app.example", path="/pay/7", shown=shown, now=NOW)


def later(what: Call, now: float) -> Call:
    return msgspec.structs.replace(what, now=now)


def fresh(*, signer: Signer = CLIENT, **changes: Any) -> str:
    return proof(signer, jti=f"fresh-{next(_numbers)}", **changes)


def flaw(possessions: Possessions, token: Token, what: Call) -> Flaw:
    with pytest.raises(InvalidToken) as caught:
        possessions.check(token, what)
    return caught.value.code


def test_a_proof_counts_once() -> None:
    possessions = Possessions(VERIFY)
    shown = call(fresh())
    possessions.check(KEYED, shown)
    assert flaw(possessions, KEYED, later(shown, NOW + 1)) is Flaw.PROOF_REPLAYED
    possessions.check(KEYED, call(fresh()))


def test_no_other_text_of_a_proof_counts_again() -> None:
    possessions = Possessions(VERIFY)
    text = fresh()
    possessions.check(KEYED, call(text))
    assert flaw(possessions, KEYED, call(twin(text))) is Flaw.PROOF_REPLAYED
    # Bits that base64 ignores: 64 bytes leave four of the last character's over.
    for letter in "BCD":
        assert flaw(possessions, KEYED, call(text[:-1] + letter)) is Flaw.PROOF_INVALID


@pytest.mark.parametrize(("age", "counts"), [(-61, False), (-60, True), (60, True), (61, False)])
def test_a_proof_counts_within_its_window(age: float, counts: bool) -> None:
    possessions = Possessions(VERIFY)
    shown = call(fresh(iat=NOW - age))
    if counts:
        possessions.check(KEYED, shown)
    else:
        assert flaw(possessions, KEYED, shown) is Flaw.PROOF_INVALID


def test_no_moment_lets_a_proof_count_twice() -> None:
    possessions = Possessions(VERIFY)
    shown = call(fresh(iat=NOW + 60))
    possessions.check(KEYED, shown)
    for now in (NOW + 1, NOW + 60, NOW + 119, NOW + 120):
        possessions.check(KEYED, later(call(fresh(iat=now)), now))
        assert flaw(possessions, KEYED, later(shown, now)) is Flaw.PROOF_REPLAYED
    assert flaw(possessions, KEYED, later(shown, NOW + 121)) is Flaw.PROOF_INVALID


OTHERS = [Signer("ES256", number=number) for number in range(1, 9)]


def flood(possessions: Possessions, key: Signer, count: int, now: float = NOW) -> list[Call]:
    """Show proofs by a key; those that were taken."""
    keyed = token_bound_to(key=thumbprint_of_client(key.jwk()))
    taken = []
    for _ in range(count):
        shown = later(call(fresh(signer=key, iat=now)), now)
        with contextlib.suppress(Overloaded):
            possessions.check(keyed, shown)
            taken.append(shown)
    return taken


def small(bound: int) -> Possessions:
    return Possessions(Binding(possession=Possession.VERIFY, dpop_replays=bound))


def test_a_flood_by_one_key_makes_no_proof_good_again_and_keeps_nobody_out() -> None:
    possessions = small(200)
    (ada,) = flood(possessions, CLIENT, 1)
    mallory = flood(possessions, OTHERS[0], 205)
    assert len(mallory) == 200 // SHARE
    assert flaw(possessions, KEYED, ada) is Flaw.PROOF_REPLAYED
    assert len(flood(possessions, CLIENT, 20)) == 20


def test_a_flood_by_many_keys_leaves_room_for_those_that_show_few() -> None:
    possessions = small(400)
    (ada,) = flood(possessions, CLIENT, 1)
    taken = [len(flood(possessions, key, 110)) for key in OTHERS]
    assert taken == [100, 100, 99, 16, 16, 16, 16, 16]
    assert flaw(possessions, KEYED, ada) is Flaw.PROOF_REPLAYED
    assert len(flood(possessions, CLIENT, 5)) == 5


def test_where_the_memory_is_full_proofs_are_turned_away_until_others_have_ended() -> None:
    possessions = small(4)
    (first,) = flood(possessions, CLIENT, 1)
    assert [len(flood(possessions, key, 2)) for key in OTHERS[:4]] == [1, 1, 1, 0]
    assert flaw(possessions, KEYED, first) is Flaw.PROOF_REPLAYED
    with pytest.raises(Overloaded):
        possessions.check(KEYED, call(fresh()))
    assert len(flood(possessions, CLIENT, 1, NOW + 61)) == 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 240)), max_size=60),
    st.integers(1, 12),
)
def test_no_proof_ever_counts_twice(calls: list[tuple[int, int, int]], bound: int) -> None:
    settings = Binding(possession=Possession.VERIFY, dpop_replays=bound)
    proofs = Proofs()
    taken: set[tuple[int, int]] = set()
    for key, number, at in sorted(calls, key=lambda one: one[2]):
        ended = 240.0 + number  # whenever it is shown, it is still good
        with contextlib.suppress(Overloaded, InvalidToken):
            proofs.remember(ShownProof(ended, f"k{key}", bytes([number])), at, settings)
            assert (key, number) not in taken
            taken.add((key, number))
    assert len(taken) <= bound


@pytest.mark.parametrize(
    ("dpop", "expected"),
    [
        (None, Flaw.PROOF_MISSING),
        ("", Flaw.PROOF_MISSING),
        ("a.b.c", Flaw.PROOF_INVALID),
        (proof(Signer("ES256", number=1)), Flaw.PROOF_INVALID),
    ],
)
def test_a_token_of_a_key_takes_a_proof_by_that_key(dpop: str | None, expected: Flaw) -> None:
    assert flaw(Possessions(VERIFY), KEYED, call(dpop)) is expected


def test_a_token_of_a_certificate_takes_that_certificate() -> None:
    bound = token_bound_to(certificate="c" * 43)
    possessions = Possessions(VERIFY)
    possessions.check(bound, call(certificate="c" * 43))
    for other in ("", "d" * 43):
        assert flaw(possessions, bound, call(certificate=other)) is Flaw.WRONG_CERTIFICATE


def test_a_token_of_both_takes_both() -> None:
    bound = token_bound_to(key=KEY, certificate="c" * 43)
    possessions = Possessions(VERIFY)
    possessions.check(bound, call(fresh(), "c" * 43))
    assert flaw(possessions, bound, call(fresh())) is Flaw.WRONG_CERTIFICATE
    assert flaw(possessions, bound, call(None, "c" * 43)) is Flaw.PROOF_MISSING


def test_a_binding_that_is_not_known_cannot_be_shown() -> None:
    assert flaw(Possessions(VERIFY), token_bound_to(other="x"), call()) is Flaw.NOT_BOUND


def test_a_bearer_token_passes_unless_bound_ones_are_required() -> None:
    bearer = token_bound_to()
    Possessions(VERIFY).check(bearer, call())
    assert flaw(Possessions(VERIFY), bearer, call(fresh())) is Flaw.NOT_BOUND
    required = Possessions(Binding(possession=Possession.REQUIRE))
    assert flaw(required, bearer, call()) is Flaw.NOT_BOUND


def test_what_is_not_seen_or_not_to_be_verified_is_not() -> None:
    Possessions(Binding()).check(KEYED, call())
    Possessions(VERIFY).check(KEYED, Call(TOKEN, now=NOW))


CHANGED = policy(Signals(frozenset({"token-binding-change"})), name="binding")


async def pod_with(*bindings: Bound, auth_times: tuple[int, ...] = ()) -> tuple[Pod, list[str]]:
    tokens = Tokens()
    pod = Pod(MemoryStore(), (CHANGED,), tokens)
    times = auth_times or (999,) * len(bindings)
    names = [
        tokens.issue(f"t{n}", binding=bound, auth_time=at)
        for n, (bound, at) in enumerate(zip(bindings, times, strict=True))
    ]
    return pod, names


async def verdicts(pod: Pod, *names: str) -> list[Verdict]:
    found = []
    for name in names:
        found.append((await pod.check(name)).verdict)
        pod.now += 10
    return found


ALLOW, STEP_UP = Verdict.ALLOW, Verdict.STEP_UP


@pytest.mark.parametrize(
    "other", [Bound("k" * 43), Bound(), Bound("", "c" * 43), Bound("", "", "x")]
)
async def test_another_binding_without_another_sign_in_is_a_signal(other: Bound) -> None:
    pod, (first, second) = await pod_with(Bound(KEY), other)
    assert await verdicts(pod, first, first, second) == [ALLOW, ALLOW, STEP_UP]
    assert await verdicts(pod, first) == [STEP_UP], "the mark is the session's"


async def test_another_binding_that_comes_with_a_later_sign_in_is_none() -> None:
    pod, names = await pod_with(Bound(KEY), Bound("k" * 43), auth_times=(999, 1005))
    assert await verdicts(pod, *names) == [ALLOW, ALLOW]


async def test_a_session_that_becomes_bound_is_no_worse_for_it() -> None:
    pod, names = await pod_with(Bound(), Bound(KEY), Bound(KEY))
    assert await verdicts(pod, *names) == [ALLOW, ALLOW, ALLOW]


async def test_going_back_and_forth_between_known_bindings_signals_nothing_more() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), (CHANGED,), tokens)
    one = tokens.issue("one", binding=Bound(KEY))
    two = tokens.issue("two", binding=Bound("k" * 43))
    assert await verdicts(pod, one, two) == [ALLOW, STEP_UP]
    proof_of_both = tokens.issue("proof", binding=Bound("k" * 43), auth_time=1015, acr="mfa")
    assert await verdicts(pod, proof_of_both, one, two, proof_of_both) == [
        ALLOW,
        STEP_UP,
        STEP_UP,
        ALLOW,
    ], "each is judged by its own sign-in"
    latest = tokens.issue("latest", binding=Bound(KEY), auth_time=1020, acr="mfa")
    assert await verdicts(pod, latest) == [ALLOW]
    assert await verdicts(pod, proof_of_both, latest) == [ALLOW, ALLOW]


async def test_each_app_of_a_session_has_its_own_client() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), (CHANGED,), tokens)
    portal = tokens.issue("a", binding=Bound(KEY), app="portal")
    mail = tokens.issue("b", binding=Bound("k" * 43), app="mail")
    assert await verdicts(pod, portal, mail, portal) == [ALLOW] * 3
