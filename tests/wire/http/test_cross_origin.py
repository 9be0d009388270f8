from typing import Any

import pytest

from sidecar.wire.http.cross_origin import CrossOrigin
from sidecar.wire.http.messages import Fields, Request, Response
from sidecar.wire.settings.settings import Cors

ALLOW = (("Access-Control-Allow-Origin", "https://shop.example"),)
CREDENTIALS = (("Access-Control-Allow-Credentials", "true"),)
EXPOSED = (("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After"),)
VARY = (("Vary", "Origin"),)
REFUSAL = Response(401, (("WWW-Authenticate", "Bearer"),), b"{}")


def added(cors: Cors, *origins: bytes) -> Fields:
    headers = {b"origin": origins[0]} if origins else {}
    repeated = {b"origin": origins} if len(origins) > 1 else {}
    request = Request("GET", b"/v1/check", b"", headers, repeated=repeated)
    found = CrossOrigin(cors).readable(request, REFUSAL)
    assert (found.status, found.body) == (401, b"{}")
    assert found.fields[: len(REFUSAL.fields)] == REFUSAL.fields
    return found.fields[len(REFUSAL.fields) :]


ANY = (("Access-Control-Allow-Origin", "*"),)
TWO = ("https://shop.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("cors", "origins", "fields"),
    [
        (Cors(), [b"https://shop.example"], ()),
        (Cors(origins=TWO), [b"https://shop.example"], VARY + ALLOW + EXPOSED),
        (
            Cors(origins=TWO, credentials=True),
            [b"https://shop.example"],
            VARY + ALLOW + CREDENTIALS + EXPOSED,
        ),
        # No page of another origin is let in by what its own looks like.
        (Cors(origins=TWO), [], VARY),
        (Cors(origins=TWO), [b""], VARY),
        (Cors(origins=TWO), [b"null"], VARY),
        (Cors(origins=TWO), [b"https://shop.example.evil.example"], VARY),
        (Cors(origins=TWO), [b"https://shop.example:8443"], VARY),
        (Cors(origins=TWO), [b"http://shop.example"], VARY),
        (Cors(origins=TWO), [b"https://SHOP.example"], VARY),
        (Cors(origins=TWO), [b"https://shop.example/"], VARY),
        (Cors(origins=TWO), [b"https://shop.example", b"https://evil.example"], VARY),
        (Cors(origins=TWO), [b"https://shop.example", b"https://shop.example"], VARY),
        # `*` allows any, and never with credentials (the configuration refuses both together).
        (Cors(origins=("*",)), [b"https://b.example"], ANY + EXPOSED),
        (Cors(origins=("*",)), [], ()),
    ],
)
def test_a_refusal_is_readable_for_the_pages_of_allowed_origins_alone(
    cors: Any, origins: Any, fields: Fields
) -> None:
    assert added(cors, *origins) == fields
