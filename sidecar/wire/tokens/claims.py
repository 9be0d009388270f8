"""Claims of a verified token, as a value.

Nothing here verifies a signature: `adapters.tokens.verifier` does, and hands the claims on. What is
harmless to read tolerantly is read so (an `amr` that is one string); what would silently weaken a
policy if it were skipped (groups that are no list of strings) refuses the token and names the
claim. A claim that is null is absent, and what is absent is unknown: never empty, unless the
issuer's settings say so (tests/wire/test_claim_readers.py has the table).
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar, assert_never

import msgspec

from sidecar.domain.values.address import canonical
from sidecar.domain.values.assurance import Authentication
from sidecar.wire.names import InvalidName, composed, name_of
from sidecar.wire.settings.settings import CONTEXT
from sidecar.wire.settings.tokens import Absent, ContextProof, Issuer, SessionNaming
from sidecar.wire.tokens.claim_paths import find, parts_of
from sidecar.wire.tokens.claim_values import claim_text, number_text

LATEST_TIME = 9_999_999_999
"""The last second a stamp can carry; a claim beyond it is no time."""

MAX_CLAIMS = 64
"""How many other claims are kept: all that policies ask for, then the first by name."""

MAX_CLAIM_NAME = 512
"""Characters of another claim's name; one that has more is left out."""

CLAIMS_CAPABLE = "cp1"
"""What `xms_cc` has where the client can handle Microsoft's claims challenge."""

_NOT_KEPT = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "updated_at"}
    | {"nonce", "at_hash", "c_hash", "s_hash", "sid"}
    | {"uti", "aio", "rh", "xms_ftd"}  # Entra's opaque values, another one in each token
)
_SPACE_SEPARATED = frozenset({"scope", "scp"})  # RFC 9068, section 2.2.3; Entra's `scp`
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 in base64url
_UNFIT = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750, section 3
_CLIENT_CLAIMS = ("azp", "client_id", "appid")


_Value = TypeVar("_Value", str, tuple[str, ...], tuple[str, tuple[str, ...]])


class Flaw(StrEnum):
    """The reason why a token was refused: a closed set, fit for a metric's label."""

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
    `expected` is for the operator's log: what was found and what should have been, in names;
    `issuer` the configured issuer that the token is of, where it is.
    """

    def __init__(self, code: Flaw, description: str, expected: str = "", issuer: str = "") -> None:
        self.code = code
        self.expected = expected
        self.issuer = issuer
        self.description = _UNFIT.sub("?", description)
        super().__init__(f"{code.value}: {self.description}")


class Bound(NamedTuple):
    """The binding of a token (`cnf`, RFC 7800): thumbprints of a key and of a certificate.

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
        named = zip(("jkt", "x5t", "cnf"), self, strict=True)
        return " ".join(f"{kind}={value}" for kind, value in named if value)


class ClaimNeed(StrEnum):
    """The need for a claim: a closed set."""

    SESSION = "session"
    AUTH_TIME = "auth_time"
    ASSURANCE = "assurance"
    GROUPS = "groups"
    ROLES = "roles"
    CLAIM = "claim"


class Missing(NamedTuple):
    """A claim that a token lacks, by the issuer's or a policy's name for it, and what needs it."""

    need: ClaimNeed
    claim: str


class Token(msgspec.Struct, frozen=True, gc=False):
    """A believed token. Times are whole seconds since the epoch, 0 where the token does not say.

    `user`, `session`, `device` and `groups` are names of `namespace`.

    `session` is the configured claim, else what the issuer's `session` says; never `jti`, which a
    refresh changes. `authentication.auth_time` is never taken from `iat`, or a refresh would
    launder a mark; it is 0 where the token does not give it, and then proves nothing. `claims`
    holds the other claims as strings, sorted by name, those that policies ask for among them.

    `groups_known` is False where the token leaves the groups out: then `groups` is empty and says
    nothing. `groups_listed` is False where it leaves them out and that is taken for having none.
    The same for roles. `missing` names the claims that the token lacks that something needs.
    `app` is the audience that the token is for, and `audiences` are all of them that are
    configured; `client` is whom it was issued to.
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
    groups_listed: bool = True
    roles_known: bool = True
    roles_listed: bool = True
    missing: tuple[Missing, ...] = ()
    audiences: tuple[str, ...] = ()
    client: str = ""
    claims_capable: bool = False
    contexts: tuple[str, ...] = ()
    contexts_at: int = 0
    binding: Bound = Bound()
    confirmed_at: float = 0.0
    unconfirmed: bool = False
    namespace: str = ""

    @property
    def apps(self) -> tuple[str, ...]:
        """The apps that a call with this token may be of: all that it is for."""
        return self.audiences if self.app in self.audiences else (self.app,)

    signed_in_ip: str = ""


class Validity(NamedTuple):
    """The time in which a token counts: from second `begins`, before second `ends`, with leeway."""

    begins: float
    ends: float

    def check(self, now: float) -> None:
        """Raise `InvalidToken` outside of it (RFC 7519, sections 4.1.4 and 4.1.5)."""
        if now >= self.ends:
            raise InvalidToken(Flaw.EXPIRED, "the token has expired")
        if now < self.begins:
            raise InvalidToken(Flaw.NOT_YET_VALID, "the token is not yet valid")


def validity_of(claims: Mapping[str, object], issuer: Issuer) -> Validity:
    """Read `exp`, `nbf`, `iat` and when the user signed in; raises `InvalidToken`.

    A token from the future is not valid yet, and neither is a sign-in from the future: it would
    prove away marks that are still to come.
    """
    expires = _time(claims, "exp")
    if expires is None:
        raise InvalidToken(Flaw.MISSING_CLAIM, "the exp claim is missing")
    leeway = issuer.leeway
    starts = (_time(claims, name) for name in ("nbf", "iat", issuer.auth_time_claim))
    return Validity(max((start or 0.0) for start in starts) - leeway, expires + leeway)


_SHARED_CHARACTERS = 64
"""Values that are longer are another one in each token, or few."""


@functools.lru_cache(maxsize=1024)
def _shared(value: _Value) -> _Value:
    """Return the first of equal values: thousands of tokens say the same, each in its own words."""
    return value


def _short(text: str) -> str:
    return _shared(text) if len(text) <= _SHARED_CHARACTERS else text


def token_of(
    claims: Mapping[str, object], issuer: Issuer, wanted: frozenset[str] = frozenset()
) -> Token:
    """Read verified claims as the issuer's settings say; raises `InvalidToken`.

    The names in the settings and in `wanted`, the claims that policies ask for, may be paths into
    nested claims (`claim_paths`).
    """
    subject = _required(claims, "sub")
    auth_time = int(_time(claims, issuer.auth_time_claim) or 0)
    contexts, contexts_at = _contexts(claims, issuer, auth_time)
    authentication = Authentication(
        auth_time, _short(_acr(claims, issuer.acr_claim)), _texts(claims, issuer.amr_claim) or ()
    )
    groups = _listed(claims, issuer.groups_claim, issuer.groups_absent)
    roles = _listed(claims, issuer.roles_claim, issuer.roles_absent)
    binding = _bound(claims)
    named = _session_named(claims, issuer)
    audiences = _audiences(claims, issuer)
    kept = _others(claims, wanted)
    needed = (
        (ClaimNeed.SESSION, issuer.session_claim, named),
        (ClaimNeed.AUTH_TIME, issuer.auth_time_claim, auth_time),
        (ClaimNeed.ASSURANCE, issuer.acr_claim, authentication.acr or authentication.amr),
        (ClaimNeed.GROUPS, issuer.groups_claim, groups.known or "groups" not in wanted),
        (ClaimNeed.ROLES, issuer.roles_claim, roles.known or "roles" not in wanted),
        *[(ClaimNeed.CLAIM, name, name in dict(kept)) for name in wanted - _OURS],
    )
    return Token(
        issuer=issuer.issuer,
        namespace=issuer.names,
        user=_required(claims, issuer.user_claim),
        session=named or _stand_in(claims, issuer, subject, binding.name),
        device=_text(claims, issuer.device_claim),
        app=_app(claims, issuer, audiences),
        authentication=authentication,
        issued_at=int(_time(claims, "iat") or 0),
        expires_at=int(_time(claims, "exp") or 0),
        groups=groups.names,
        roles=roles.names,
        claims=kept,
        token_id=_text(claims, "jti"),
        groups_known=groups.known,
        groups_listed=groups.listed,
        roles_known=roles.known,
        roles_listed=roles.listed,
        missing=tuple([Missing(need, name) for need, name, is_present in needed if not is_present]),
        audiences=audiences,
        client=_short(_client(claims)),
        binding=binding,
        contexts=contexts,
        contexts_at=contexts_at,
        signed_in_ip=canonical(_text(claims, issuer.ip_claim)) if issuer.ip_claim else "",
        claims_capable=CLAIMS_CAPABLE in _scalars("xms_cc", claims.get("xms_cc")),
    )


_OURS = frozenset({"user", "groups", "roles"})
"""Names that policies' `claims` have for what the issuer's settings say where to find."""


def _session_named(claims: Mapping[str, object], issuer: Issuer) -> str:
    if issuer.session_claim == "jti":  # refused by the configuration: it would shed the marks
        return ""
    named = _text(claims, issuer.session_claim)
    if not named and issuer.session is SessionNaming.REQUIRED:
        message = f"the {issuer.session_claim} claim is missing or empty"
        raise InvalidToken(Flaw.MISSING_CLAIM, message)
    return named


def _stand_in(claims: Mapping[str, object], issuer: Issuer, subject: str, key: str) -> str:
    """Return the session of a token that names none.

    Its user's at that client, or its sign-in's.
    """
    by_sign_in = issuer.session is SessionNaming.SIGN_IN
    last = str(int(_time(claims, issuer.auth_time_claim) or 0)) if by_sign_in else key
    digest = hashlib.blake2b(digest_size=16, person=b"sidecar-session")
    for part in (issuer.issuer, subject, _client(claims), last):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return f"{'d' if by_sign_in else 'u'}-{digest.hexdigest()}"


_STAND_IN = re.compile(r"[ud]-[0-9a-f]{32}")


def is_stand_in(session: str) -> bool:
    """Return whether a session's name looks like one that stands in where tokens name none."""
    return _STAND_IN.fullmatch(session) is not None


def _client(claims: Mapping[str, object]) -> str:
    """Return the client that a token was issued to, by fixed names: no setting renames sessions."""
    return next(filter(None, (_text(claims, name) for name in _CLIENT_CLAIMS)), "")


def _contexts(
    claims: Mapping[str, object], issuer: Issuer, auth_time: int
) -> tuple[tuple[str, ...], int]:
    """Return what `acrs` proves, and as of when; nothing where the time is not given."""
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


_UNBOUND = Bound()


def _bound(claims: Mapping[str, object]) -> Bound:
    confirmation = claims.get("cnf")
    if confirmation is None:
        return _UNBOUND
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


def _audiences(claims: Mapping[str, object], issuer: Issuer) -> tuple[str, ...]:
    """Return those of the token's audiences that are configured, in the order of the configuration.

    All of them where the token names none, which only the answer about an opaque token may.
    """
    given = claims.get("aud")
    if given is None:
        return tuple(_name(one, "aud") for one in issuer.audiences)
    named = {one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str)}
    audiences = tuple(_name(one, "aud") for one in issuer.audiences if one in named)
    shared: tuple[str, ...] = _shared(audiences)
    return shared


def _app(claims: Mapping[str, object], issuer: Issuer, audiences: tuple[str, ...]) -> str:
    """Return the resource that the token is for.

    A claim that its client chooses only where one is set.
    """
    chosen = _text(claims, issuer.app_claim) if issuer.app_claim else ""
    return chosen or (audiences[0] if audiences else "")


def _acr(claims: Mapping[str, object], name: str) -> str:
    value = find(claims, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value) or ""  # levels of some providers are numbers
    return _text(claims, name)


_NONE = frozenset[str]()
"""The names of a token that lists none: one set for all of them, which are many."""


class _Listed(NamedTuple):
    """Groups or roles as a token lists them: see `Token`."""

    names: frozenset[str]
    known: bool
    listed: bool


def _listed(claims: Mapping[str, object], name: str, absent: Absent) -> _Listed:
    names = _texts(claims, name)
    elsewhere = _overage(claims, name)
    if names or (names is not None and not elsewhere):
        return _Listed(frozenset(names) or _NONE, known=True, listed=True)
    return _Listed(_NONE, known=absent is Absent.EMPTY and not elsewhere, listed=False)


def _overage(claims: Mapping[str, object], name: str) -> bool:
    """Return whether the token says that there are too many to list (OpenID Core, 5.6.2; Entra).

    `_claim_names` says that a claim is to be had elsewhere, `hasgroups` that groups are.
    """
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, Mapping) and (name in elsewhere or parts_of(name)[0] in elsewhere):
        return True
    return claims.get("hasgroups") in (True, "true")


def _others(
    claims: Mapping[str, object], wanted: frozenset[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the claims that policies ask for, by name or by path.

    And of the others as many as fit.
    """
    kept: dict[str, tuple[str, ...]] = {}
    for name in wanted - _OURS:
        values = tuple(_scalars(name, find(claims, name)))
        if values:
            kept[name] = values
    for name in sorted(claims.keys() - _NOT_KEPT):
        if len(kept) >= MAX_CLAIMS:
            break
        spelled = composed(name)
        if spelled in kept or len(name) > MAX_CLAIM_NAME:
            continue
        values = tuple(_scalars(name, claims[name]))
        if values:
            kept[spelled] = values
    return tuple(_alike(claim) for claim in sorted(kept.items()))


def _alike(claim: tuple[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
    _, values = claim
    return _shared(claim) if sum(map(len, values)) <= _SHARED_CHARACTERS else claim


def _scalars(name: str, value: object) -> Iterator[str]:
    if isinstance(value, str) and name in _SPACE_SEPARATED:
        value = value.split()
    for item in value if isinstance(value, list) else (value,):
        text = claim_text(item)
        if text is not None:
            yield text


def _time(claims: Mapping[str, object], name: str) -> float | None:
    """Return a NumericDate (RFC 7519, section 2), which may have a fraction.

    None where it is absent.
    """
    value = find(claims, name)
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
    """Return a name; empty where the claim is absent, null or empty."""
    value = find(claims, name)
    return "" if value is None or value == "" else _name(value, name)


def _texts(claims: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    """Names; None where the claim is absent, null or the empty text."""
    value = find(claims, name)
    if value is None or value == "":
        return None
    if isinstance(value, list):
        return tuple(_name(item, name) for item in value)
    return (_name(value, name),)


def _name(value: object, claim: str) -> str:
    if not isinstance(value, str):
        raise InvalidToken(Flaw.WRONG_TYPE, f"the {claim} claim is not text")
    try:
        return name_of(value)
    except InvalidName as error:
        flaw = Flaw.TOO_LARGE if error.too_long else Flaw.WRONG_TYPE
        raise InvalidToken(flaw, f"the {claim} claim {error}") from None
