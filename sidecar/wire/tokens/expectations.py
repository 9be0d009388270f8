"""Says what was expected of a token that is refused: for the operator's log, never for the sender.

Of the token only names are shown (issuer, audience, key, algorithm, type), cut and printable, since
anybody can write them; never the token.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.claims import Flaw
from sidecar.wire.tokens.jws import Unverified
from sidecar.wire.yaml.tree import shown

_MOST = 8
"""So many names of a list are shown."""


class Configured(NamedTuple):
    """All `issuers`; the one that a token is of, if it is known, and the names of its `keys`."""

    issuers: Collection[str]
    issuer: Issuer | None = None
    keys: Iterable[str | None] = ()


def expected_of(flaw: Flaw, parts: Unverified, configured: Configured, now: float) -> str:
    """Return what was expected; empty where the description of the flaw says it already."""
    issuers, issuer, keys = configured
    if flaw is Flaw.UNKNOWN_ISSUER or issuer is None:
        return _of_issuer(flaw, parts, issuers)
    match flaw:
        case Flaw.WRONG_AUDIENCE:
            found = _name(parts.claims.get("aud"))
            return f"its aud is {found}; expected is {names_of(issuer.audiences)}"
        case Flaw.ALGORITHM_NOT_ALLOWED:
            return f"its alg is {_name(parts.algorithm)}; allowed is {names_of(issuer.algorithms)}"
        case Flaw.TYPE_NOT_ALLOWED:
            return f"its typ is {_name(parts.type)}; allowed is {names_of(issuer.types)}"
        case Flaw.UNKNOWN_KEY:
            held = names_of(str(key) for key in keys if key is not None)
            return f"its kid is {_name(parts.key_id)} for {_name(parts.algorithm)}; held are {held}"
        case Flaw.BAD_SIGNATURE:
            return f"its kid is {_name(parts.key_id)}, and no key of that name signed it"
        case Flaw.EXPIRED:
            ago = _seconds(parts.claims, "exp", now)
            return f"its exp is {ago} s ago, leeway {issuer.leeway:g} s"
        case Flaw.NOT_YET_VALID:
            return f"its nbf, iat or auth_time is ahead of this clock, leeway {issuer.leeway:g} s"
        case _:
            return ""


def _of_issuer(flaw: Flaw, parts: Unverified, issuers: Collection[str]) -> str:
    if flaw is not Flaw.UNKNOWN_ISSUER:
        return ""
    found = parts.claims.get("iss")
    words = f"its iss is {_name(found)}; configured is {names_of(issuers)}"
    alike = isinstance(found, str) and any(
        found != one and found.rstrip("/") == one.rstrip("/") for one in issuers
    )
    return f"{words}; they differ by the slash at the end" if alike else words


def _name(found: object) -> str:
    match found:
        case None | "":
            return "not given"
        case str():
            return repr(shown(found))
        case list():
            return names_of(one for one in found if isinstance(one, str))
        case _:
            return "no text"


def names_of(found: Iterable[str]) -> str:
    """Return names as a sentence has them, cut and printable."""
    names = [repr(shown(name)) for name in found]
    if not names:
        return "none"
    more = len(names) - _MOST
    return " or ".join(names[:_MOST]) + (f" or {more} more" if more > 0 else "")


def _seconds(claims: Mapping[str, object], name: str, now: float) -> str:
    at = claims.get(name)
    return f"{now - at:.0f}" if isinstance(at, int | float) else "some"
