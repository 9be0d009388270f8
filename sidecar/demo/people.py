"""The people who sign in at the demo's provider, and the methods by which they do."""

from typing import NamedTuple


class Method(NamedTuple):
    """A way to sign in: its strength among the others, and what a token says of it.

    `acr` is OpenID's (EAP ACR values for `phr`), `amr` as registered by RFC 8176.
    """

    strength: int
    acr: str
    amr: tuple[str, ...]
    words: str


PASSWORD = Method(1, "single-factor", ("pwd",), "password")
PASSWORD_AND_KEY = Method(2, "mfa", ("pwd", "hwk", "mfa"), "password and security key")
SECURITY_KEY = Method(3, "phr", ("hwk", "user", "pin"), "security key with its PIN")
METHODS = {method.acr: method for method in (SECURITY_KEY, PASSWORD_AND_KEY, PASSWORD)}
"""By `acr`, the strongest first."""


class Person(NamedTuple):
    """Somebody who can sign in, with what the provider knows of them."""

    name: str
    device: str
    groups: tuple[str, ...] = ("finance",)


ALICE = Person("alice", "alice-laptop")
BOB = Person("bob", "bob-laptop")
CAROL = Person("carol", "carol-laptop")
PEOPLE = {person.name: person for person in (ALICE, BOB, CAROL)}
