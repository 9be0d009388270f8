"""Which groups and roles tokens have told of a session's user, and what it means that none has.

Theory. What a token leaves out is unknown, and what is known of the session stays. The tokens of
one sign-in may each tell another part (an issuer filters groups by client), so what they tell adds
up: of one sign-in a token takes away only by telling, later than all others, that there are none.
A later sign-in begins anew with what its tokens tell. A token that does not tell when its sign-in
was (0) counts as of the one that is known, since it may be of that one; and a token that does not
tell when it was issued takes nothing away. So leaving a claim out never makes a session's standing
milder, and neither does showing an older token again.
"""

from typing import Final

import msgspec

GROUPS: Final = "groups"
ROLES: Final = "roles"
KINDS: Final = (GROUPS, ROLES)

INCLUDED: Final = "included"
EXCLUDED: Final = "excluded"
DENY: Final = "deny"
"""What a policy that includes a group makes of a user whose groups are unknown."""


class TokenMemberships(msgspec.Struct, frozen=True, array_like=True):
    """What one token tells of its user's groups or roles.

    `names` None: nothing. `listed` False: nothing, which its issuer is configured to mean by it
    that there are none. `signed_in` and `issued_at` in seconds; 0: not told. `unknown` is what the
    issuer is configured for where nobody tells.
    """

    names: tuple[str, ...] | None
    listed: bool
    signed_in: int
    issued_at: int
    unknown: str = INCLUDED


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a user's groups or roles by a session's tokens.

    `names` is what the tokens of the latest sign-in told together. `issued_at` is when the latest
    of those was issued, `emptied_at` when the latest one that told that there are none.
    """

    names: tuple[str, ...] = ()
    known: bool = False
    signed_in: int = 0
    issued_at: int = 0
    emptied_at: int = 0
    unknown: str = INCLUDED


def told(held: Membership | None, telling: TokenMemberships) -> Membership:
    """Return what is known once a token has told this."""
    names = telling.names
    if held is None or not held.known:
        return _begun(telling)
    if names is None or _is_before(telling.signed_in, held.signed_in):
        return held
    if _is_before(held.signed_in, telling.signed_in):
        return _begun(telling)
    signed_in = max(held.signed_in, telling.signed_in)
    if not telling.listed:
        return msgspec.structs.replace(held, signed_in=signed_in)
    if not names and telling.issued_at > held.issued_at:
        at = telling.issued_at
        return Membership((), True, signed_in, at, at, held.unknown)
    if 0 < telling.issued_at < held.emptied_at:
        names = ()
    return msgspec.structs.replace(
        held,
        names=tuple(sorted({*held.names, *names})),
        signed_in=signed_in,
        issued_at=max(held.issued_at, telling.issued_at),
    )


def is_news(held: Membership, telling: TokenMemberships) -> bool:
    """Return whether what a token tells is later than all that is known.

    That an issuer leaves a claim out takes nothing from a session without a new sign-in.
    """
    if not held.known or _is_before(held.signed_in, telling.signed_in):
        return True
    older = _is_before(telling.signed_in, held.signed_in)
    return telling.listed and not older and telling.issued_at > held.issued_at


def _begun(telling: TokenMemberships) -> Membership:
    names = telling.names
    return Membership(
        tuple(sorted(names or ())),
        names is not None,
        telling.signed_in,
        telling.issued_at if telling.listed else 0,
        unknown=telling.unknown,
    )


def _is_before(one: int, other: int) -> bool:
    """Return whether a sign-in is known to be earlier than another."""
    return 0 < one < other
