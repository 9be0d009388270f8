"""Requests of the admin listener about dead letters: to show, put back or drop them.

GET     /v1/dead-letters?limit=&cursor=     a page, oldest first
GET     /v1/dead-letters/{id}               one
POST    /v1/dead-letters/{id}/retry         put it back
DELETE  /v1/dead-letters/{id}               forget it
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from starlette.convertors import StringConvertor, register_url_convertor

from sidecar.service.admin.inspection import InvalidQuery

LIST = "/v1/dead-letters"
ONE = f"{LIST}/{{id:letter}}"
RETRY = f"{ONE}/retry"

LIMIT, MOST = 100, 1000
_ID = "[0-9]{1,20}-[0-9]{1,20}"
_CURSOR = re.compile(_ID)


class _LetterConvertor(StringConvertor):
    """The pattern of a letter's id in a route."""

    regex = _ID


register_url_convertor("letter", _LetterConvertor())


class Letters(Protocol):
    """Shows dead letters, puts them back and drops them. All raise `Unavailable`, `Overloaded`."""

    async def page(self, limit: int, after: str = "") -> object:
        """Return some letters, after the one with this id."""

    async def find(self, letter: str, /) -> object | None:
        """Return one letter; None if there is none."""

    async def retry(self, letter: str, /) -> object | None:
        """Put one letter back; return None if there is none."""

    async def drop(self, letter: str, /) -> bool:
        """Drop one letter; return False if there is none."""


class PageQuery(NamedTuple):
    """A question for a page of `limit` letters, after the letter `cursor`."""

    limit: int
    cursor: str


def page_of(query: Mapping[str, str]) -> PageQuery:
    """Return the page that a query asks for. Raises `InvalidQuery`."""
    given = dict(query)
    limit, cursor = given.pop("limit", str(LIMIT)), given.pop("cursor", "")
    if given:
        raise InvalidQuery(min(given), "is not known here; known are cursor, limit")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST):
        raise InvalidQuery("limit", f"is 1 to {MOST}")
    if cursor and not _CURSOR.fullmatch(cursor):
        raise InvalidQuery("cursor", "was not given by a page before")
    return PageQuery(int(limit), cursor)
