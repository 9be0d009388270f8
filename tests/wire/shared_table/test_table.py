"""The table's words: what is written, what is found, and that a reader has the same layout."""

from collections.abc import Iterator

import pytest
import stepup_client.shared.layout as readers
from hypothesis import given
from hypothesis import strategies as st
from stepup_client import VerifiedToken

from sidecar.wire.shared_table import layout
from sidecar.wire.shared_table.layout import (
    Description,
    TableSession,
    decision_of,
    key_of,
    numbered,
)
from sidecar.wire.shared_table.table import ClockReading, TableOrigin, TableWriter

NOW = ClockReading(1_000_000_000_000, 5_000_000_000)
SLOTS = 64


def made(slots: int = SLOTS) -> tuple[TableWriter, memoryview]:
    words = memoryview(bytearray(layout.size_of(slots))).cast("Q")
    origin = TableOrigin(b"b" * 16, 7, b"k" * layout.KEY_BYTES)
    table = TableWriter(words, origin, Description({}), patience=2_000_000_000, now=NOW)
    return table, words


def names_of(module: object) -> Iterator[str]:
    return (name for name in vars(module) if name.isupper())


def test_readers_have_the_layout_of_the_writer() -> None:
    theirs = {name: getattr(readers, name) for name in names_of(readers)}
    assert theirs == {name: getattr(layout, name) for name in theirs}
    assert len(theirs) > 20


def test_the_signs_of_life_lie_together_as_readers_read_them() -> None:
    signs = [layout.AT_STATE, layout.AT_BEAT, layout.AT_FRESH, layout.AT_OFFSET]
    assert signs == list(range(layout.AT_STATE, layout.AT_STATE + 4))


def test_keys_and_decisions_fill_the_table_and_do_not_overlap() -> None:
    table, words = made()
    places = {table.publish((number, 1), 1, 2000.0) for number in range(SLOTS)}
    assert places == set(range(layout.decisions_at(SLOTS), len(words)))
    assert table.publish((SLOTS, 1), 1, 2000.0) is None


@given(st.tuples(*[st.text()] * 3), st.integers(), st.text(), st.text())
def test_a_reader_makes_the_same_text_of_a_token(
    whose: tuple[str, str, str], auth_time: int, acr: str, token: str
) -> None:
    issuer, user, session = whose
    shown = VerifiedToken(
        token, issuer=issuer, user=user, session=session, auth_time=auth_time, acr=acr
    )
    assert shown.text == layout.shown_text(
        TableSession(issuer, user, session), auth_time, acr, token
    )


def test_a_table_is_believed_from_its_birth_to_its_death() -> None:
    table, words = made()
    assert words[layout.AT_STATE] == layout.UNBORN
    table.go_live()
    assert words[layout.AT_STATE] == layout.LIVE
    table.die()
    assert words[layout.AT_STATE] == layout.DEAD


def test_a_decision_is_one_word_and_its_slot_keeps_its_key() -> None:
    table, words = made()
    place = table.publish((3, 4), 0b101, 1010.0)
    assert place is not None
    key_at = layout.HEADER_WORDS + (place - layout.decisions_at(SLOTS)) * layout.KEY_OF_CALL_WORDS
    assert key_at == layout.HEADER_WORDS + 3 * layout.KEY_OF_CALL_WORDS
    assert words[key_at : key_at + 2].tolist() == [3, 4]
    assert words[place] == decision_of(0b101, 160)
    table.withdraw(place)
    assert words[key_at : key_at + 2].tolist() == [3, 4]
    assert words[place] == 0
    assert table.publish((3, 4), 1, 1010.0) == place
    assert (table.used, table.live) == (1, 1)


@pytest.mark.parametrize(
    ("bits", "until"), [(0, 1010.0), (1, 1000.0), (1, 999.0), (1, 1000.06)], ids=str
)
def test_what_does_not_pass_any_more_is_no_decision(bits: int, until: float) -> None:
    table, words = made()
    place = table.publish((3, 4), bits, until)
    assert place is not None
    assert words[place] == 0
    assert table.live == 0


def test_a_decision_never_holds_longer_than_was_said() -> None:
    table, words = made()
    for number, until in enumerate((1000.0625, 1000.1, 1003.99, 1e12, float("inf"))):
        place = table.publish((number + 1, 1), 1, until)
        assert place is not None
        ticks = words[place] >> layout.CONTEXT_BITS
        assert NOW.wall + ticks * layout.TICK <= until * 1e9
        assert ticks <= layout.LATEST_TICK


def test_a_key_that_finds_no_slot_is_left_out() -> None:
    table, _ = made()
    places = [table.publish((5, number + 1), 1, 2000.0) for number in range(layout.PROBES + 2)]
    assert places.count(None) == 2
    assert len(set(places)) == layout.PROBES + 1


def test_contexts_beyond_the_bits_are_left_out() -> None:
    contexts = {f"c{number}": 10.0 for number in range(1, 100)}
    bits, description = numbered(contexts, {"payments": "c2", "far": "c99"})
    assert sorted(bits.values()) == list(range(1, layout.CONTEXT_BITS))
    assert "c31" in bits
    assert "c32" not in bits
    assert description.contexts["payments"] == description.contexts["c2"]
    assert "far" not in description.contexts


def test_names_cannot_be_cut_so_that_another_call_has_the_same_text() -> None:
    shown = layout.shown_text(TableSession("i", "u", "s"), 1, "a", "x.y.z")
    texts = {layout.call_text(shown, ip, agent) for ip, agent in [("1", "23"), ("12", "3")]}
    assert len(texts) == 2
    keys = {key_of(text, b"k" * layout.KEY_BYTES) for text in texts}
    assert len(keys) == 2
    assert keys != {key_of(text, b"l" * layout.KEY_BYTES) for text in texts}


_ZEROS = st.text(alphabet="\x001a", max_size=6)


@given(_ZEROS, _ZEROS, _ZEROS, _ZEROS)
def test_no_other_call_has_the_text_of_one_that_may_be_in_the_table(
    ip: str, agent: str, other_ip: str, other_agent: str
) -> None:
    is_the_same = layout.call_text("", ip, agent) == layout.call_text("", other_ip, other_agent)
    if layout.has_own_text(ip, agent) and is_the_same:
        assert (ip, agent) == (other_ip, other_agent)


SAME_END = [
    ("h.p.s", TableSession("i", "u", "s")),
    ("h.q.s", TableSession("i", "u", "s")),
    ("s", TableSession("i", "u", "s")),
    ("h.p.s", TableSession("i", "u\0s", "")),
    ("h.p.s", TableSession("i\0u", "s", "")),
]


def test_a_token_has_a_text_of_its_own_whatever_it_ends_with_and_whatever_names_it_bears() -> None:
    """A token that nobody has verified may end with the signature of another one."""
    assert len({layout.shown_text(whose, 1, "a", token) for token, whose in SAME_END}) == 5


def test_names_with_separators_in_them_are_not_taken_for_another_call() -> None:
    mine = layout.shown_text(TableSession("i", "me", "s"), 0, "", "a.b.mine")
    assert not layout.has_own_text("1", "\0s2")
    written = layout.call_text(mine, "1", "\0s2\x000\0\0barred\x000\0")
    named = TableSession("i", "me\0s\x000\0\0mine\x001\x001", "s2")
    barred = layout.shown_text(named, 0, "", "a.b.barred")
    assert layout.call_text(barred, "", "") != written


def test_as_many_contexts_as_there_are_bits_fit_the_header_with_the_longest_names() -> None:
    contexts = {f"c{number}": 1e9 for number in range(1, 100)}
    aliases = {f"{'a' * 60}{number:03}": f"c{number}" for number in range(1, 32)}
    _, description = numbered(contexts, aliases)
    words = memoryview(bytearray(layout.size_of(SLOTS))).cast("Q")
    TableWriter(words, TableOrigin(b"b" * 16, 7, b"k" * 32), description, patience=1, now=NOW)
