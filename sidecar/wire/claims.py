"""What a verified token says, as a value.

Nothing here verifies a signature: `adapters.tokens` does, and hands the claims on. What is harmless
to read tolerantly is read so (an `amr` that is one string); what would silently weaken a policy if
it were skipped (groups that are no list of strings) refuses the token and names the claim.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple, assert_never

import msgspec

from sidecar.domain.address import canonical
from sidecar.domain.assurance import Authentication
from sidecar.wire.settings import CONTEXT, ContextProof, Issuer

LATEST_TIME = 9_999_999_999
"""The last second a stamp can carry; a claim beyond it is no time."""

MAX_NAME = 512
"""Characters of a user, session, device, app, group, role, `acr`, `amr` or `jti`."""

MAX_CLAIMS = 64
"""How many other claims are kept, the first by name."""

MAX_CLAIM_VALUE = 512
"""Characters of another claim's value; a longer value is left out, since a cut one would lie."""

CLAIMS_CAPABLE = "cp1"
"""What `xms_cc` has where the client can handle Microsoft's claims challenge."""

_NOT_KEPT = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "updated_at"}
    | {"nonce", "at_hash", "c_hash", "s_hash", "sid"}
    | {"uti", "aio", "rh", "xms_ftd"}  # Entra's opaque values, another one in each token
)
_SPACE_SEPARATED = frozenset({"scope", "scp"})  # RFC 9068, section 2.2.3; Entra's `scp`
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 in base64url
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNFIT = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750, section 3
_CLIENT_CLAIMS = ("azp", "client_id", "appid")


class Flaw(StrEnum):
    """Why a token was refused: a closed set, fit for a metric's label."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    CRIT_NOT_UNDERSTOOD = "crit-not-understood"
    TYPE_NOT_ALLOWED = "type-not-allowed"
    ALGORITHM_NOT_ALLOWED = "algorithm-not-allowed"
    UNKNOWN_ISSUER = "unknown-issuer"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    WRONG_AUDIENCE = "wrong-audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    NOT_ACTIVE = "not-active"
    NOT_BOUND = "not-bound"
    WRONG_CERTIFICATE = "wrong-certificate"
    PROOF_MISSING = "proof-missing"
    PROOF_INVALID = "proof-invalid"
    PROOF_REPLAYED = "proof-replayed"
    MISSING_CLAIM = "missing-claim"
    WRONG_TYPE = "wrong-type"


class InvalidToken(Exception):  # noqa: N818 - named by who must act: the sender
    """The token is not to be believed.

    `code` says why. `description` may stand in a `WWW-Authenticate` header as it is (RFC 6750,
    section 3: printable ASCII without quote and backslash) and never repeats what the token says.
    """

    def __init__(self, code: Flaw, description: str) -> None:
        self.code = code
        self.description = _UNFIT.sub("?", description)
        super().__init__(f"{code.value}: {self.description}")


class Bound(NamedTuple):
    """What a token is bound to (`cnf`, RFC 7800): thumbprints of a key and of a certificate.

    `other` is a digest of what it says besides, which is not known here.
    """

    key: str = ""
    certificate: str = ""
    other: str = ""

    def __bool__(self) -> bool:
        return any(self)

    @property
    def name(self) -> str:
        """A short name for it; empty for a bearer token."""
        told = zip(("jkt", "x5t", "cnf"), self, strict=True)
        return " ".join(f"{kind}={value}" for kind, value in told if value)


class Token(msgspec.Struct, frozen=True):
    """A believed token. Times are whole seconds since the epoch, 0 where the token does not tell.

    `user`, `session`, `device` and `groups` are names of `namespace`.

    `session` is the configured claim, else a digest of issuer, subject, client and `auth_time`;
    never `jti`, which a refresh changes. `authentication.auth_time` is never taken from `iat`, or
    a refresh would launder a mark. `claims` holds the other claims as strings, sorted by name.

    `groups_known` is False where Entra left the groups out because there are too many ("overage":
    `hasgroups`, or `groups` among `_claim_names`): then `groups` is empty and says nothing.
    `contexts` are the authentication contexts that the issuer is trusted to have enforced as of
    second `contexts_at`. `claims_capable`: the client says that it can handle a claims challenge
    (`xms_cc`: `cp1`).

    `binding` is what its client must hold to show it. `confirmed_at` is when the issuer was asked
    about it (seconds; 0: it is signed), `unconfirmed` that it could not be asked again since: so it
    was, not so it is. `signed_in_ip` is from where the issuer says that its user signed in.
    """

    issuer: str
    user: str
    session: str
    device: str
    app: str
    authentication: Authentication
    issued_at: int
    expires_at: int
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    token_id: str = ""
    groups_known: bool = True
    claims_capable: bool = False
    contexts: tuple[str, ...] = ()
    contexts_at: int = 0
    binding: Bound = Bound()
    confirmed_at: float = 0.0
    unconfirmed: bool = False
    namespace: str = ""
    signed_in_ip: str = ""


class Validity(NamedTuple):
    """When a token counts: from second `begins` on, and before second `ends`; leeway included."""

    begins: float
    ends: float

    def check(self, now: float) -> None:
        """Raise `InvalidToken` outside of it (RFC 7519, sections 4.1.4 and 4.1.5)."""
        if now >= self.ends:
            raise InvalidToken(Flaw.EXPIRED, "the token has expired")
        if now < self.begins:
            raise InvalidToken(Flaw.NOT_YET_VALID, "the token is not yet valid")


def validity_of(claims: Mapping[str, object], leeway: float) -> Validity:
    """Read `exp`, `nbf`, `iat` and `auth_time`; raises `InvalidToken`.

    A token from the future is not valid yet, and neither is a sign-in from the future: it would
    prove away marks that are still to come.
    """
    expires = _time(claims, "exp")
    if expires is None:
        raise InvalidToken(Flaw.MISSING_CLAIM, "the exp claim is missing")
    starts = (_time(claims, name) for name in ("nbf", "iat", "auth_time"))
    return Validity(max((start or 0.0) for start in starts) - leeway, expires + leeway)


def token_of(claims: Mapping[str, object], issuer: Issuer) -> Token:
    """Read verified claims as the issuer's settings say; raises `InvalidToken`.

    The names in the settings may be dotted paths into nested claims (`realm_access.roles`); a
    claim that bears the whole name comes first.
    """
    subject = _required(claims, "sub")
    auth_time = int(_time(claims, "auth_time") or 0)
    contexts, contexts_at = _contexts(claims, issuer, auth_time)
    return Token(
        issuer=issuer.issuer,
        namespace=issuer.names,
        user=_required(claims, issuer.user_claim),
        session=_session(claims, issuer, subject, auth_time),
        device=_text(claims, issuer.device_claim),
        app=_app(claims, issuer),
        authentication=Authentication(auth_time, _acr(claims), _texts(claims, "amr")),
        issued_at=int(_time(claims, "iat") or 0),
        expires_at=int(_time(claims, "exp") or 0),
        groups=frozenset(_texts(claims, issuer.groups_claim)),
        roles=frozenset(_texts(claims, issuer.roles_claim)),
        claims=_others(claims),
        token_id=_text(claims, "jti"),
        groups_known=not _overage(claims, issuer.groups_claim),
        binding=_bound(claims),
        contexts=contexts,
        contexts_at=contexts_at,
        signed_in_ip=canonical(_text(claims, issuer.ip_claim)) if issuer.ip_claim else "",
        claims_capable=CLAIMS_CAPABLE in _scalars("xms_cc", claims.get("xms_cc")),
    )


def _session(claims: Mapping[str, object], issuer: Issuer, subject: str, auth_time: int) -> str:
    # Even if it is configured: a refreshed token would shed the marks.
    named = "" if issuer.session_claim == "jti" else _text(claims, issuer.session_claim)
    if named:
        return named
    # The client is read by fixed names: a change of `app_claim` must not rename every session.
    client = next(filter(None, (_text(claims, name) for name in _CLIENT_CLAIMS)), "")
    digest = hashlib.blake2b(digest_size=16, person=b"sidecar-session")
    for part in (issuer.issuer, subject, client, str(auth_time)):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return f"d-{digest.hexdigest()}"


def _contexts(
    claims: Mapping[str, object], issuer: Issuer, auth_time: int
) -> tuple[tuple[str, ...], int]:
    """What `acrs` proves, and as of when; nothing where the time is not told."""
    match issuer.acrs_proof:
        case ContextProof.NONE:
            return (), 0
        case ContextProof.AUTH_TIME:
            at = auth_time
        case ContextProof.ISSUED_AT:
            at = int(_time(claims, "iat") or 0)
        case _ as never:
            assert_never(never)
    found = {one for one in _scalars("acrs", claims.get("acrs")) if CONTEXT.fullmatch(one)}
    return (tuple(sorted(found)), at) if at else ((), 0)


def _bound(claims: Mapping[str, object]) -> Bound:
    confirmation = claims.get("cnf")
    if confirmation is None:
        return Bound()
    if not isinstance(confirmation, Mapping) or not confirmation:
        raise InvalidToken(Flaw.WRONG_TYPE, "the cnf claim is not an object with members")
    more = {k: v for k, v in confirmation.items() if k not in ("jkt", "x5t#S256")}
    other = hashlib.sha256(json.dumps(more, sort_keys=True).encode()).hexdigest() if more else ""
    return Bound(_thumbprint(confirmation, "jkt"), _thumbprint(confirmation, "x5t#S256"), other)


def _thumbprint(confirmation: Mapping[str, object], name: str) -> str:
    value = confirmation.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not _THUMBPRINT.fullmatch(value):
        raise InvalidToken(Flaw.WRONG_TYPE, "the cnf claim has a thumbprint that is none")
    return value


def _app(claims: Mapping[str, object], issuer: Issuer) -> str:
    audiences = _texts(claims, "aud")
    return (
        _text(claims, issuer.app_claim)
        or _text(claims, "client_id")
        or (audiences[0] if audiences else "")
    )


def _acr(claims: Mapping[str, object]) -> str:
    value = claims.get("acr")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # levels of some providers are numbers
    return _text(claims, "acr")


def _overage(claims: Mapping[str, object], groups_claim: str) -> bool:
    if _lookup(claims, groups_claim) is not None:
        return False
    elsewhere = claims.get("_claim_names")
    named_elsewhere = isinstance(elsewhere, Mapping) and groups_claim in elsewhere
    return named_elsewhere or claims.get("hasgroups") in (True, "true")


def _others(claims: Mapping[str, object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    kept: list[tuple[str, tuple[str, ...]]] = []
    for name in sorted(claims):
        if name in _NOT_KEPT or len(name) > MAX_NAME:
            continue
        values = tuple(_scalars(name, claims[name]))
        if values:
            kept.append((name, values))
        if len(kept) == MAX_CLAIMS:
            break
    return tuple(kept)


def _scalars(name: str, value: object) -> Iterator[str]:
    if isinstance(value, str) and name in _SPACE_SEPARATED:
        value = value.split()
    for item in value if isinstance(value, list) else (value,):
        text = _scalar(item)
        if text is not None and len(text) <= MAX_CLAIM_VALUE:
            yield text


def _scalar(value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case _:
            return None


def _lookup(claims: Mapping[str, object], name: str) -> object:
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _time(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2), which may have a fraction; None where it is absent."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(Flaw.WRONG_TYPE, f"the {name} claim is not a number of seconds")
    if not 0 <= value <= LATEST_TIME:  # also what is not finite
        raise InvalidToken(Flaw.WRONG_TYPE, f"the {name} claim is out of range")
    return value


def _required(claims: Mapping[str, object], name: str) -> str:
    text = _text(claims, name)
    if not text:
        raise InvalidToken(Flaw.MISSING_CLAIM, f"the {name} claim is missing or empty")
    return text


def _text(claims: Mapping[str, object], name: str) -> str:
    value = _lookup(claims, name)
    return "" if value is None else _checked(value, name)


def _texts(claims: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = _lookup(claims, name)
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(_checked(item, name) for item in value)
    return (_checked(value, name),)


def _checked(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidToken(Flaw.WRONG_TYPE, f"the {name} claim is not text")
    if len(value) > MAX_NAME:
        raise InvalidToken(Flaw.TOO_LARGE, f"the {name} claim is too long")
    if _CONTROL.search(value):
        # these go on into headers, logs and keys of the store
        raise InvalidToken(Flaw.WRONG_TYPE, f"the {name} claim has control characters")
    return value
