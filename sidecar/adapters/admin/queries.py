"""Queries of the admin listener and of the console's pages, as values."""

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from sidecar.service.admin.inspection import InvalidQuery
from sidecar.wire.http.form_fields import UnreadableFields, single_fields

MOST = 64
"""Fields of a query at most."""

T = TypeVar("T", bound=msgspec.Struct)


def given_in(request: Request, *, blank: bool = True) -> dict[str, Any]:
    """Return a query's fields; without a value only where `blank`. Raises `InvalidQuery`."""
    try:
        return dict(single_fields(request.scope["query_string"], MOST, blank=blank))
    except UnreadableFields as error:
        raise InvalidQuery(error.name or "query", error.words) from None


def query_of(request: Request, kind: type[T], *, blank: bool = True, **more: Any) -> T:
    """Return a query, and what is known beside it, as a value. Raises `InvalidQuery`."""
    given = given_in(request, blank=blank)
    for name in more.keys() & given.keys():
        raise InvalidQuery(name, "is given twice")
    try:
        return msgspec.convert({**given, **more}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidQuery("query", str(error)) from error
