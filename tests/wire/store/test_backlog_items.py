import pytest

from sidecar.wire.store.backlog_items import (
    CountAll,
    Item,
    SessionPage,
    WalkAll,
    WalkIndex,
    decode_item,
    encode_item,
    page_of,
)
from sidecar.wire.store.keys import SessionName


@pytest.mark.parametrize(
    "item",
    [
        CountAll(),
        WalkAll(b"42"),
        WalkIndex("policies", b"x", b"7"),
        SessionPage("policies", (b"a",)),
    ],
)
def test_an_item_is_read_as_it_was_written(item: Item) -> None:
    assert decode_item(encode_item(item)) == item


@pytest.mark.parametrize("body", [b"", b"\xff", b"\x81\xa4type\xa6newest", b"{}"])
def test_what_is_no_item_of_this_version_is_none(body: bytes) -> None:
    assert decode_item(body) is None


def test_a_page_gives_back_its_sessions_and_leaves_out_what_is_no_name() -> None:
    names = [SessionName(user="ada", session="s1"), SessionName(user="bob", session="s2")]
    page = page_of("policies", names)
    assert page.names() == names
    assert SessionPage("policies", (*page.members, b"\xff\xfe")).names() == names
