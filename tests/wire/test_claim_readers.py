"""For each claim that is read: what it means that it is absent, null, empty, or of another type.

`unknown`: nothing is known by it, and the token is believed. `refused`: the token is not. `empty`:
there is none, which is something to know. `value`: it is read as it stands.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from sidecar.wire.settings.settings import ContextProof, Issuer
from sidecar.wire.tokens.claims import InvalidToken, Token, token_of, validity_of

ISSUER = Issuer(
    issuer="https://id.example",
    audiences=("api",),
    acrs_proof=ContextProof.AUTH_TIME,
    ip_claim="ipaddr",
)
BASE: dict[str, Any] = {"sub": "alice", "aud": "api", "exp": 2000, "auth_time": 1000, "iat": 1500}
ABSENT = object()
WRONG = {"an": "object"}


class Reader(NamedTuple):
    """A claim: what is read of it, and what its absence, null, emptiness and wrong type come to."""

    claim: str
    read: Callable[[Token], object]
    absent: str
    null: str
    empty: tuple[object, str]
    wrong: str
    unknown: object = ""


READERS = [
    Reader("sub", lambda t: t.user, "refused", "refused", ("", "refused"), "refused"),
    Reader("sid", lambda t: t.session[:2], "unknown", "unknown", ("", "unknown"), "refused", "u-"),
    Reader("deviceid", lambda t: t.device, "unknown", "unknown", ("", "unknown"), "refused"),
    Reader("aud", lambda t: t.audiences, "unknown", "unknown", ([], "empty"), "empty", ("api",)),
    Reader("azp", lambda t: t.client, "unknown", "unknown", ("", "unknown"), "refused"),
    Reader("acr", lambda t: t.authentication.acr, "unknown", "unknown", ("", "unknown"), "refused"),
    Reader(
        "amr", lambda t: t.authentication.amr, "unknown", "unknown", ([], "unknown"), "refused", ()
    ),
    Reader(
        "auth_time",
        lambda t: t.authentication.auth_time,
        *("unknown", "unknown", (0, "unknown"), "refused", 0),
    ),
    Reader("iat", lambda t: t.issued_at, "unknown", "unknown", (0, "unknown"), "refused", 0),
    Reader("exp", lambda t: t.expires_at, "refused", "refused", (0, "value"), "refused"),
    Reader("nbf", lambda t: t.user, "value", "value", (0, "value"), "refused"),
    Reader(
        "groups", lambda t: t.groups_known, "unknown", "unknown", ([], "empty"), "refused", False
    ),
    Reader("roles", lambda t: t.roles_known, "unknown", "unknown", ([], "empty"), "refused", False),
    Reader("cnf", lambda t: bool(t.binding), "unknown", "unknown", ({}, "refused"), "value", False),
    Reader("acrs", lambda t: t.contexts, "unknown", "unknown", ([], "unknown"), "unknown", ()),
    Reader(
        "xms_cc",
        lambda t: t.claims_capable,
        "unknown",
        "unknown",
        ([], "unknown"),
        "unknown",
        False,
    ),
    Reader("jti", lambda t: t.token_id, "unknown", "unknown", ("", "unknown"), "refused"),
    Reader("ipaddr", lambda t: t.signed_in_ip, "unknown", "unknown", ("", "unknown"), "refused"),
    Reader(
        "tier",
        lambda t: dict(t.claims).get("tier"),
        "unknown",
        "unknown",
        ([], "unknown"),
        "unknown",
        None,
    ),
]


def outcome(reader: Reader, value: object) -> str:
    claims = {**BASE, reader.claim: value}
    if value is ABSENT:
        del claims[reader.claim]
    try:
        validity_of(claims, ISSUER)
        token = token_of(claims, ISSUER, frozenset({"tier"}))
    except InvalidToken:
        return "refused"
    found = reader.read(token)
    if found == reader.unknown:
        return "unknown"
    return "empty" if found == () or (value == [] and found is True) else "value"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.claim)
def test_what_it_means_that_a_claim_is_not_there(reader: Reader) -> None:
    assert BASE.keys() <= {one.claim for one in READERS}
    found = {
        "absent": outcome(reader, ABSENT),
        "null": outcome(reader, None),
        "empty": outcome(reader, reader.empty[0]),
        "wrong": outcome(reader, WRONG),
    }
    assert found == {
        "absent": reader.absent,
        "null": reader.null,
        "empty": reader.empty[1],
        "wrong": reader.wrong,
    }
