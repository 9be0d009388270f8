"""The names under which bundles and their signatures lie in a directory or below an address."""

import re

SIGNATURE = ".minisig"
NEWEST = "policies-newest"
"""A file below an address that holds the highest number that is published there."""

_NUMBER = re.compile(r"[1-9][0-9]{0,12}")
_NAME = re.compile(r"policies-([1-9][0-9]{0,12})\.tar")


def file_of(sequence: int) -> str:
    """Return the name of the file of a bundle; that of its signature has `.minisig` behind it."""
    return f"policies-{sequence}.tar"


def number_in(text: str) -> int:
    """Return the number that a text is; 0: it is none of a bundle."""
    return int(text) if _NUMBER.fullmatch(text) else 0


def sequence_of(name: str) -> int:
    """Return the number of the bundle whose file has this name; 0: it is no bundle's."""
    found = _NAME.fullmatch(name)
    return int(found.group(1)) if found else 0
