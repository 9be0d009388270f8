"""Names, of which every door has the same definition."""

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.socket_lines import Refusal, WatchRequest, decode_line
from sidecar.wire.http.authzen import BySession, InvalidEvaluation, decode_evaluation
from sidecar.wire.names import MAX_NAME, InvalidName, name_of
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import Issuer, Settings
from sidecar.wire.tokens.claims import InvalidToken, token_of
from sidecar.wire.yaml.scalars import Misspelt
from sidecar.wire.yaml.scalars import name as configured
from sidecar.wire.yaml.tree import ConfigError

ISSUER = Issuer(issuer="https://id.example", audiences=("api",))


def of_token(text: str) -> str:
    return token_of({"sub": text, "aud": "api", "exp": 1}, ISSUER).user


def of_event(text: str) -> str:
    event = {"type": "credential-change", "subject": {"user": text}}
    return decode_event(event, now=1, skew=0, new_id="n").subject.user


def of_watch(text: str) -> str:
    line = json.dumps({"op": "watch", "sessions": [text]}).encode()
    request = decode_line(line, now=1, skew=0, new_id=lambda: "n")
    if isinstance(request, Refusal):
        raise InvalidSignal(request.field, request.message)
    assert isinstance(request, WatchRequest)
    return next(iter(request.sessions or ()))


def of_authzen(text: str) -> str:
    raw: dict[str, Any] = {
        "subject": {"type": "session", "id": text},
        "action": {"name": "can_pay"},
        "resource": {"type": "context", "id": "c1"},
    }
    who = decode_evaluation(json.dumps(raw).encode()).who
    assert isinstance(who, BySession)
    return who.session


DOORS: list[Callable[[str], str]] = [of_token, of_event, of_watch, of_authzen, configured]
REFUSALS = (InvalidToken, InvalidSignal, InvalidEvaluation, Misspelt, InvalidName)
letters = st.characters(codec="utf-8")
texts = st.text(letters, min_size=1, max_size=12) | st.builds(
    lambda letter, length: letter * length,
    st.sampled_from(["a", "e\u0301", "\u0958"]),
    st.sampled_from([255, 256, 257, 511, 512, 513]),
)


def read(door: Callable[[str], str], text: str) -> str | None:
    try:
        return door(text)
    except REFUSALS:
        return None


@given(texts)
@example("Jose\u0301")
@example("a\x80")
@example("a\x7f")
@example("a\nb")
@example("x" * 513)
@example("e\u0301" * 512)
def test_what_one_door_takes_for_a_name_all_do_and_it_is_the_same(text: str) -> None:
    expected = read(name_of, text)
    assert [read(door, text) for door in DOORS] == [expected] * len(DOORS)


@given(texts)
def test_a_name_is_a_name_of_itself_composed_and_within_bounds(text: str) -> None:
    found = read(name_of, text)
    if found is not None:
        assert name_of(found) == found == unicodedata.normalize("NFC", text)
        assert 1 <= len(found) <= MAX_NAME


@pytest.mark.parametrize(
    "text", ["", "a\0", "a\x1f", "a\x7f", "a\x80", "a\x9f", "\ud800", "x" * 513]
)
def test_what_goes_into_no_header_log_or_key_is_no_name(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        name_of(text)
    assert "x" * 5 not in str(caught.value)


def test_a_policy_names_users_as_tokens_do() -> None:
    (policy,) = read_policies(
        [("p.yaml", "policies: [{id: a, grant: mfa, users: ['Jose\u0301']}]")], Settings()
    )
    assert policy.users.include is not None
    assert policy.users.include.users == {of_token("Jos\u00e9")}
    with pytest.raises(ConfigError):
        read_policies(
            [("p.yaml", f"policies: [{{id: a, grant: mfa, users: [{'x' * 513}]}}]")], Settings()
        )
