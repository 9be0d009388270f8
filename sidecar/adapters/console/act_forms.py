"""Reads the forms by which operators act, as the orders that the admin API takes."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from sidecar.adapters.console.requests import field_of
from sidecar.adapters.listening.application import RequestRefused
from sidecar.wire.events.operator_acts import Where, where_of

_PLURALS = {"session": "sessions", "user": "users", "device": "devices"}


class ActForm(NamedTuple):
    """An act as a form asks for it: where, and the body that the admin API would get."""

    where: Where
    body: bytes


def act_of(form: Mapping[str, list[str]]) -> ActForm:
    """Return the act of a form. Raises `RequestRefused`; the rest is read as the API reads it."""
    plural = _PLURALS.get(field_of(form, "on"), "")
    path = f"/v1/{plural}/{quote(field_of(form, 'name'), safe='')}/{field_of(form, 'act')}"
    where = where_of(path)
    if where is None:
        raise RequestRefused(400, "the form asks for no act that is known")
    body: dict[str, object] = {"reason": field_of(form, "reason")}
    for name in ("issuer", "user", "acr"):
        if value := field_of(form, name):
            body[name] = value
    if contexts := [one for one in form.get("contexts", ()) if one]:
        body["contexts"] = contexts
    if age := field_of(form, "max_age"):
        body["max_age"] = _whole(age)
    for name in ("confirm_risk", "dismiss_risk"):
        if field_of(form, name):
            body[name] = True
    return ActForm(where, msgspec.json.encode(body))


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestRefused(400, "max_age must be whole seconds")
    return int(text)
