"""Fields of queries and forms: what is doubtful is refused, and nothing is replaced."""

import pytest

from sidecar.wire.http.form_fields import UnreadableFields, fields_of, single_fields


def test_fields_come_in_their_order_and_may_come_twice() -> None:
    raw = b"b=1&a=%C3%A4+x&b=2"
    assert fields_of(raw, 3, blank=True) == [("b", "1"), ("a", "\u00e4 x"), ("b", "2")]


def test_a_field_without_a_value_counts_where_that_is_asked_for() -> None:
    assert single_fields(b"a=&b&c=1", 3, blank=True) == {"a": "", "b": "", "c": "1"}
    assert single_fields(b"a=&b&c=1", 3, blank=False) == {"c": "1"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"a=%FF", "cannot be read"),
        (b"%ED%A0%80=1", "cannot be read"),
        ("a=\u00e4".encode(), "cannot be read"),
        (b"a=1&b=2&c=3&d=4", "has too many fields; 3 is the most"),
        (b"&&&", "has too many fields"),
        (b"a=1&a=1", "a: is given twice"),
        (b"a=1&%61=2", "a: is given twice"),
    ],
)
def test_what_is_doubtful_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(UnreadableFields, match=words):
        single_fields(raw, 3, blank=True)


def test_nothing_is_no_fields() -> None:
    assert single_fields(b"", 1, blank=True) == {}
