import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.subjects import subject_ids
from sidecar.wire.subjects.subject_ids import (
    Account,
    Aliases,
    Complex,
    Did,
    Email,
    InvalidSubjectId,
    IpAddresses,
    IssuerSubject,
    JwtId,
    Opaque,
    PhoneNumber,
    Proprietary,
    SamlAssertionId,
    Uri,
    decode_subject,
    encode_subject,
)

ISSUER = "https://idp.example.com/123456789/"
EXAMPLES: list[tuple[dict[str, Any], Any]] = [
    (
        {"format": "account", "uri": "acct:example.user@service.example.com"},
        Account("acct:example.user@service.example.com"),
    ),
    ({"format": "email", "email": "user@example.com"}, Email("user@example.com")),
    (
        {"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"},
        IssuerSubject("https://issuer.example.com/", "145234573"),
    ),
    ({"format": "opaque", "id": "11112222333344445555"}, Opaque("11112222333344445555")),
    ({"format": "phone_number", "phone_number": "+12065550100"}, PhoneNumber("+12065550100")),
    ({"format": "did", "url": "did:example:123456"}, Did("did:example:123456")),
    ({"format": "uri", "uri": "urn:uuid:4e851e98"}, Uri("urn:uuid:4e851e98")),
    (
        {
            "format": "aliases",
            "identifiers": [
                {"format": "email", "email": "user@example.com"},
                {"format": "phone_number", "phone_number": "+12065550100"},
            ],
        },
        Aliases((Email("user@example.com"), PhoneNumber("+12065550100"))),
    ),
    ({"format": "jwt_id", "iss": ISSUER, "jti": "B70BA622"}, JwtId(ISSUER, "B70BA622")),
    (
        {"format": "saml_assertion_id", "issuer": ISSUER, "assertion_id": "_8e8dc5f6"},
        SamlAssertionId(ISSUER, "_8e8dc5f6"),
    ),
    (
        {"format": "ip-addresses", "ip-addresses": ["10.29.37.75", "2001:db8::8a2e"]},
        IpAddresses(("10.29.37.75", "2001:db8::8a2e")),
    ),
    (
        {"format": "catalog_item", "catalog_id": "c0384/winter/2354122"},
        Proprietary("catalog_item", (("catalog_id", "c0384/winter/2354122"),)),
    ),
    (
        {
            "format": "complex",
            "user": {"format": "email", "email": "bar@example.com"},
            "tenant": {"format": "iss_sub", "iss": "https://example.com/idp1", "sub": "1234"},
            "shelf": {"format": "opaque", "id": "7"},
        },
        Complex(
            (
                ("shelf", Opaque("7")),
                ("tenant", IssuerSubject("https://example.com/idp1", "1234")),
                ("user", Email("bar@example.com")),
            )
        ),
    ),
]


def refused(value: Any) -> InvalidSubjectId:
    with pytest.raises(InvalidSubjectId) as caught:
        decode_subject(value)
    return caught.value


def as_json(subject: Any) -> Any:
    return json.loads(json.dumps(encode_subject(subject)))


@pytest.mark.parametrize(("raw", "subject"), EXAMPLES)
def test_every_format_is_read_and_written(raw: Any, subject: Any) -> None:
    assert decode_subject(raw) == subject
    assert as_json(subject) == raw


def test_every_registered_format_has_an_example() -> None:
    assert set(subject_ids.FORMATS) < {raw["format"] for raw, _ in EXAMPLES}


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        ({"subject_type": "iss-sub", "iss": "i", "sub": "s"}, IssuerSubject("i", "s")),
        ({"subject_type": "phone", "phone": "+1"}, PhoneNumber("+1")),
        ({"format": "phone", "phone_number": "+12065550123"}, PhoneNumber("+12065550123")),
        (
            {"subject_type": "id_token_claims", "iss": "i", "sub": "s", "email": "e"},
            Aliases((IssuerSubject("i", "s"), Email("e"))),
        ),
        (
            {"user": {"format": "email", "email": "e"}, "tenant": {"format": "opaque", "id": "t"}},
            Complex((("tenant", Opaque("t")), ("user", Email("e")))),
        ),
    ],
)
def test_the_drafts_are_read_as_what_became_of_them(raw: Any, subject: Any) -> None:
    assert decode_subject(raw) == subject


def test_members_that_are_not_known_are_passed_over() -> None:
    assert decode_subject({"format": "email", "email": "e", "extra": [1]}) == Email("e")
    raw = {"format": "complex", "user": {"format": "email", "email": "e"}, "note": "text"}
    assert decode_subject(raw) == Complex((("user", Email("e")),))


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (None, "sub_id"),
        ("ada", "sub_id"),
        ({}, "sub_id.format"),
        ({"format": 7}, "sub_id.format"),
        ({"format": "email"}, "sub_id"),
        ({"format": "email", "email": ""}, "sub_id.email"),
        ({"format": "email", "email": "a\nb"}, "sub_id.email"),
        ({"format": "email", "email": "a\n"}, "sub_id.email"),
        ({"format": "opaque", "id": "x" * 1025}, "sub_id.id"),
        ({"format": "ip-addresses", "ip-addresses": []}, "sub_id.ip-addresses"),
        ({"format": "complex"}, "sub_id"),
        ({"format": "complex", "user": "ada"}, "sub_id.user"),
        ({"format": "complex", "user": {"format": "complex"}}, "sub_id.user.format"),
        ({"format": "aliases", "identifiers": []}, "sub_id.identifiers"),
        (
            {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": []}]},
            "sub_id.identifiers[0].format",
        ),
        ({"format": "item", "id": "a\x00"}, "sub_id.id"),
    ],
)
def test_what_is_no_subject_identifier_is_refused_with_its_place(raw: Any, field: str) -> None:
    assert refused(raw).field == field


def test_a_refusal_never_quotes_a_value() -> None:
    assert "\n" not in str(refused({"format": "email", "email": "secret\n"}))
    assert "secret" not in str(refused({"format": "email", "email": "secret\n"}))


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=20)
IDENTIFIERS = st.one_of(
    st.builds(Email, TEXT),
    st.builds(IssuerSubject, TEXT, TEXT),
    st.builds(JwtId, TEXT, TEXT),
    st.builds(IpAddresses, st.lists(TEXT, min_size=1, max_size=3).map(tuple)),
)
SIMPLE = IDENTIFIERS | st.builds(Aliases, st.lists(IDENTIFIERS, min_size=1, max_size=3).map(tuple))
SUBJECTS = SIMPLE | st.dictionaries(st.sampled_from(subject_ids.MEMBERS), SIMPLE, min_size=1).map(
    lambda members: Complex(tuple(sorted(members.items())))
)


@given(SUBJECTS)
def test_what_is_written_is_read_as_the_same(subject: Any) -> None:
    assert decode_subject(as_json(subject)) == subject


KEYS = st.sampled_from(["format", "subject_type", "user", "email", "identifiers", "iss", "sub"])
NAMES = st.sampled_from([*subject_ids.FORMATS, "complex", "aliases", "phone", "id_token_claims"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(), inner),
    max_leaves=12,
)


@given(JSON)
def test_nothing_makes_the_decoder_raise_anything_but_its_own_error(value: Any) -> None:
    try:
        decode_subject(value)
    except InvalidSubjectId as error:
        assert error.field.startswith("sub_id")  # noqa: PT017 - any of many inputs
