"""Checks of what must fit together in the configuration of operators."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from sidecar.wire.checks.reach import is_fetchable
from sidecar.wire.settings.admin import ADMIN, Admin, OpenIdSettings, Role
from sidecar.wire.yaml.tree import Problems, Table, place_of, shown

RETURN = "/console/sign-in/return"
"""The path of the console to which a provider sends browsers back."""


def check_operators(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Report operators who share a credential, once their credentials are read."""
    admin = values.get("admin")
    if not isinstance(admin, Admin):
        return
    for name, message in _openid_problems(admin.console.openid):
        field = f"admin.console.openid.{name}"
        problems.add(place_of(root, field), field, message)
    of_admin = admin.token.strip()
    owners = {of_admin: ADMIN} if of_admin else {}
    for index, operator in enumerate(admin.operators):
        field = f"admin.operators[{index}]"
        place = place_of(root, field)
        if not (operator.token or operator.token_file):
            problems.add(place, f"{field}.token_file", "is required: the file of its credential")
        if operator.name == ADMIN and of_admin:
            message = f"{ADMIN!r} is whose `admin.token` is"
            problems.add(place, f"{field}.name", message)
        if operator.role not in {None, Role.VIEWER} and not operator.acts:
            message = "says more than `acts: false`: leave that out"
            problems.add(place, f"{field}.role", message)
        credential = operator.token.strip()  # as a header has it
        if credential:
            owner = owners.setdefault(credential, operator.name)
            if owner != operator.name:
                message = f"holds the credential of {shown(owner)!r}: nobody could distinguish them"
                problems.add(place, f"{field}.token_file", message)


def _openid_problems(openid: OpenIdSettings) -> Iterator[tuple[str, str]]:
    """Yield what does not fit together: a key and a message each."""
    if not openid.issuer:
        if openid != OpenIdSettings():
            yield "issuer", "is required: nobody could sign in without it"
        return
    if not is_fetchable(openid.issuer):
        yield "issuer", _INSECURE
    if not openid.client_id:
        yield "client_id", "is required: the provider answers a client that it knows"
    if not openid.redirect_uri:
        yield "redirect_uri", f"is required: https://HOST{RETURN}, as the provider knows it"
    elif not is_fetchable(openid.redirect_uri):
        yield "redirect_uri", _INSECURE
    elif urlsplit(openid.redirect_uri)[2:] != (RETURN, "", ""):
        yield "redirect_uri", f"must have the path {RETURN}, and no query"
    if not openid.algorithms:
        yield "algorithms", "must not be empty: no ID token would do"
    yield from _role_problems(openid)


_INSECURE = "must be https://, or http:// on this machine itself"


def _role_problems(openid: OpenIdSettings) -> Iterator[tuple[str, str]]:
    if not any(values for _, values in openid.values):
        yield "viewers", "or `operators`, or `admins` is required: nobody would have a role"
    known: dict[str, Role] = {}
    for role, values in openid.values:
        for value in values:
            other = known.setdefault(value, role)
            if not value:
                yield f"{role}s", "has an empty value: that is nobody's"
            elif other is not role:
                yield f"{role}s", f"has {shown(value)!r}, which stands for {other} already"
