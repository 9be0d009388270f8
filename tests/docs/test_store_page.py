"""The page on the store says what the code does."""

from docs import generate


def test_its_rights_are_those_that_the_daemon_goes_by() -> None:
    assert generate.STORE.read_text() == generate.store_page(), "run `python docs/generate.py`"
