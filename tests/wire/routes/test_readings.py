"""One table of spellings, for the doors of the daemon and for what stands in an app."""

from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stepup_client.enforcement.readings import is_read_alike
from stepup_client.gate import Public

from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.yaml.scalars import Misspelt, public
from tests.wire.spellings import CLEAR, RAW, UNCLEAR, UNSEEN


def by_the_daemon(target: str) -> bool:
    try:
        normalise(target)
    except PathInvalid:
        return False
    return True


def by_the_target(target: str) -> bool:
    """Read a target as servers do that give it besides the path (ASGI)."""
    return is_read_alike(unquote(target.partition("?")[0]), target)


def by_the_decoded_path(target: str) -> bool:
    """Read a target as servers do that give the path alone (WSGI's, by PEP 3333)."""
    return is_read_alike(unquote_to_bytes(target.partition("?")[0]).decode("utf-8", "replace"))


@pytest.mark.parametrize("ask", [by_the_daemon, by_the_target])
def test_the_same_paths_are_read_alike_at_the_daemon_and_in_an_app(ask: Any) -> None:
    assert [path for path in (*UNCLEAR, *RAW) if ask(path)] == []
    assert [path for path in CLEAR if not ask(path)] == []


def test_where_the_path_alone_is_given_it_is_judged_as_the_app_itself_reads_it() -> None:
    assert [path for path in UNCLEAR if by_the_decoded_path(path)] == list(UNSEEN)
    assert [path for path in CLEAR if not by_the_decoded_path(path)] == []


segments = st.sampled_from(
    [
        "",
        ".",
        "..",
        "%2e",
        "a",
        "%61",
        ";",
        "%3b",
        "%2f",
        "%5c",
        "%00",
        "%25",
        "%252e",
        "é",
        "\uff0e",
        "%",
    ]
)


@given(
    st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts)) | st.text(max_size=12)
)
@example("/%25%32%35")
def test_what_an_app_passes_on_the_daemon_reads_alike_too(target: str) -> None:
    sent = target.encode("utf-8", "replace").decode("latin-1")
    path = unquote_to_bytes(sent.partition("?")[0].encode("latin-1")).decode("utf-8", "replace")
    if path and is_read_alike(path, sent):
        assert by_the_daemon(sent.encode("latin-1"))  # type: ignore[arg-type] # bytes are read, too


@pytest.mark.parametrize(
    "pattern", ["/a/../*", "/a//b", "/a;b", "/a\\b", "/a\tb", "/\uff0e\uff0e/*", "/a/./b", "/a%20b"]
)
def test_a_pattern_that_can_match_no_call_is_refused(pattern: str) -> None:
    with pytest.raises(Misspelt, match="can match no call"):
        public(pattern)
    with pytest.raises(ValueError, match="can match no call"):
        Public((pattern,))
    assert public("/a b/é/*") == "/a b/é/*"
    assert Public(("/a b/é/*",)).covers("/a b/é/x")
