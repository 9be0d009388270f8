"""Memberships of a session's user: groups and roles by its tokens, and what an omission means.

Theory. What a token leaves out is unknown, and what is known of the session stays. The tokens of
one sign-in may each name another part (an issuer filters groups by client), so what they name adds
up: of one sign-in a token takes away only by saying, later than all others, that there are none.
A later sign-in begins anew with what its tokens name. A token without the time of its sign-in (0)
counts as of the one that is known, since it may be of that one; and a token without the time of
its issue takes nothing away. So leaving a claim out never makes a session's standing
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


class TokenMemberships(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The groups or roles of a user as one token shows them.

    `names` None: nothing. `listed` False: nothing, which its issuer is configured to mean by it
    that there are none. `signed_in` and `issued_at` in seconds; 0: unknown. `unknown` is what the
    issuer is configured for where nobody names any.
    """

    names: tuple[str, ...] | None
    listed: bool
    signed_in: int
    issued_at: int
    unknown: str = INCLUDED


class Membership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The groups or roles of a user as far as a session's tokens have shown them.

    `names` is what the tokens of the latest sign-in name together. `issued_at` is when the latest
    of those was issued, `emptied_at` when the latest one that says that there are none.
    """

    names: tuple[str, ...] = ()
    known: bool = False
    signed_in: int = 0
    issued_at: int = 0
    emptied_at: int = 0
    unknown: str = INCLUDED


def updated(held: Membership | None, shown: TokenMemberships) -> Membership:
    """Return what is known once a token has shown this."""
    names = shown.names
    if held is None or not held.known:
        return _begun(shown)
    if names is None or _is_before(shown.signed_in, held.signed_in):
        return held
    if _is_before(held.signed_in, shown.signed_in):
        return _begun(shown)
    signed_in = max(held.signed_in, shown.signed_in)
    if not shown.listed:
        return msgspec.structs.replace(held, signed_in=signed_in)
    if not names and shown.issued_at > held.issued_at:
        at = shown.issued_at
        return Membership((), True, signed_in, at, at, held.unknown)
    if 0 < shown.issued_at < held.emptied_at:
        names = ()
    return msgspec.structs.replace(
        held,
        names=tuple(sorted({*held.names, *names})),
        signed_in=signed_in,
        issued_at=max(held.issued_at, shown.issued_at),
    )


def is_news(held: Membership, shown: TokenMemberships) -> bool:
    """Return whether what a token shows is later than all that is known.

    That an issuer leaves a claim out takes nothing from a session without a new sign-in.
    """
    if not held.known or _is_before(held.signed_in, shown.signed_in):
        return True
    older = _is_before(shown.signed_in, held.signed_in)
    return shown.listed and not older and shown.issued_at > held.issued_at


def _begun(shown: TokenMemberships) -> Membership:
    names = shown.names
    return Membership(
        tuple(sorted(names or ())),
        names is not None,
        shown.signed_in,
        shown.issued_at if shown.listed else 0,
        unknown=shown.unknown,
    )


def _is_before(one: int, other: int) -> bool:
    """Return whether a sign-in is known to be earlier than another."""
    return 0 < one < other
