"""The admin listener's dead letters: looked at, put back, dropped.

GET     /v1/dead-letters?limit=&cursor=     a page, oldest first
GET     /v1/dead-letters/{id}               one
POST    /v1/dead-letters/{id}/retry         put it back
DELETE  /v1/dead-letters/{id}               forget it
"""

import re
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from sidecar.service.admin.inspection import InvalidQuery

LIST = "/v1/dead-letters"
ONE = f"{LIST}/{{id}}"
RETRY = f"{ONE}/retry"
METHODS = {LIST: ("GET", "HEAD"), ONE: ("GET", "HEAD", "DELETE"), RETRY: ("POST",)}
"""The routes, as templates, and what each takes."""

LIMIT, MOST = 100, 1000
_PATH = re.compile(rf"{LIST}/(?P<id>[0-9]{{1,20}}-[0-9]{{1,20}})(?P<retry>/retry)?")
_CURSOR = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class Letters(Protocol):
    """The dead letters. All raise `Unavailable`, `Overloaded`."""

    async def page(self, limit: int, after: str = "") -> object:
        """Some letters, after the one with this id."""

    async def find(self, letter: str, /) -> object | None:
        """One letter; None where there is none."""

    async def retry(self, letter: str, /) -> object | None:
        """Put one back; None likewise."""

    async def drop(self, letter: str, /) -> bool:
        """Forget one; False likewise."""


class Where(NamedTuple):
    """A route as a template, and the letter that the path names."""

    route: str
    letter: str = ""


def where_of(path: str) -> Where | None:
    """What a path asks for; None where it is not about dead letters."""
    if path == LIST:
        return Where(LIST)
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    return Where(RETRY if found["retry"] else ONE, found["id"])


async def answer(letters: Letters, where: Where, method: str, query: bytes) -> object | None:
    """The answer, which msgspec can encode; None where there is no such letter.

    Raises `InvalidQuery`, `Unavailable`, `Overloaded`.
    """
    if where.route == LIST:
        return await letters.page(*_page_of(query))
    if where.route == RETRY:
        return await letters.retry(where.letter)
    if method == "DELETE":
        dropped = await letters.drop(where.letter)
        return {"id": where.letter, "dropped": True} if dropped else None
    return await letters.find(where.letter)


def _page_of(query: bytes) -> tuple[int, str]:
    given: dict[str, Any] = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    limit, cursor = str(given.pop("limit", LIMIT)), str(given.pop("cursor", ""))
    if given:
        raise InvalidQuery(min(given), "is not known here; known are cursor, limit")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST):
        raise InvalidQuery("limit", f"is 1 to {MOST}")
    if cursor and not _CURSOR.fullmatch(cursor):
        raise InvalidQuery("cursor", "was not given by a page before")
    return int(limit), cursor
