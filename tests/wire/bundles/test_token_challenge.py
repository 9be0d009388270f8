"""Challenges of registries, and what token servers answer."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.bundles.token_challenge import (
    LONGEST_LIFE,
    SHORTEST_LIFE,
    InvalidGrant,
    TokenChallenge,
    read_challenges,
    read_grant,
)

SPECIFIED = (
    'Bearer realm="https://auth.example/token",service="registry.example",'
    'scope="repository:samalba/my-app:pull,push"'
)


def test_the_challenge_of_the_specification_is_read() -> None:
    assert read_challenges(["Negotiate", SPECIFIED]) == TokenChallenge(
        "https://auth.example/token", "registry.example", "repository:samalba/my-app:pull,push"
    )


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], ""),
        (['Basic realm="registry"'], "basic"),
        (['Basic realm="a"', 'bearer realm="b"'], TokenChallenge("b", "", "")),
        (['Bearer realm = "a\\"b" , service=c'], TokenChallenge('a"b', "c", "")),
        (['Bearer service="b"'], ""),
        (['Bearer realm="a",realm="b"'], ""),
        (['Bearer realm="a'], ""),
        (['Bearer realm="a\r\nX: y"'], ""),
        (['Bearer realm="' + "a" * 5000 + '"'], ""),
        (["Digest realm=a"], ""),
    ],
)
def test_what_is_asked_for(texts: list[str], found: object) -> None:
    assert read_challenges(texts) == found


@given(st.lists(st.text(max_size=200), max_size=3))
def test_no_text_breaks_the_reading(texts: list[str]) -> None:
    read_challenges([*texts, *(f"Bearer {one}" for one in texts)])


def test_a_token_lives_as_long_as_is_said_within_bounds() -> None:
    assert read_grant(b'{"token": "a.b", "access_token": "c"}') == ("a.b", SHORTEST_LIFE)
    assert read_grant(b'{"access_token": "c", "expires_in": 300}') == ("c", 300)
    assert read_grant(b'{"token": "a", "expires_in": 1e9}').seconds == LONGEST_LIFE
    assert read_grant(b'{"token": "a", "expires_in": -5}').seconds == SHORTEST_LIFE


@given(st.binary(max_size=100))
def test_no_answer_breaks_the_reading(body: bytes) -> None:
    with contextlib.suppress(InvalidGrant):
        assert read_grant(body).token
