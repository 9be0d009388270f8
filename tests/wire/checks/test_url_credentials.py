"""Messages about a URL that somebody else wrote."""

import pytest

from sidecar.wire.checks.url_credentials import without_credentials

AT_MOST = 2048


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://id.example/keys", "https://id.example/keys"),
        ("https://ada:pw@id.example/keys", "https://id.example/keys"),
        ("https://id.example/keys?client_secret=s3#frag", "https://id.example/keys"),
    ],
)
def test_it_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize("begin", ["https://", "https://ada:", "//" * 20])
def test_of_a_longer_one_than_any_that_is_meant_its_length_is_shown(begin: str) -> None:
    """To look for a user in it would hold all else up: the time grows with its length's square."""
    longest = begin.ljust(AT_MOST, "a")
    assert without_credentials(longest).startswith(("https://", "//"))
    assert without_credentials(longest + "a") == f"a URL of {AT_MOST + 1} characters"
