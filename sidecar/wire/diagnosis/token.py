"""Diagnosis of a token: each claim that is read, and what is missing.

Nothing is verified here: whoever asks has had the token verified, and says how that ended.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.domain.explanation.diagnosis import Diagnosis, Part, doubtful, right, wrong
from sidecar.domain.facts.memberships import GROUPS, ROLES
from sidecar.domain.values.assurance import Authentication, Ladder
from sidecar.wire.providers.known import KnownProvider
from sidecar.wire.settings.settings import Issuer, Tokens
from sidecar.wire.settings.tokens import SessionNaming
from sidecar.wire.tokens.claims import ClaimNeed, Flaw, InvalidToken, Token, token_of, validity_of
from sidecar.wire.tokens.expectations import Configured, expected_of, names_of
from sidecar.wire.tokens.issuer_limits import limited
from sidecar.wire.tokens.jws import Unverified
from sidecar.wire.yaml.tree import shown

_PART = Part.TOKEN
_SIGNED = frozenset(
    {Flaw.WRONG_AUDIENCE, Flaw.MISSING_CLAIM, Flaw.EXPIRED, Flaw.NOT_YET_VALID, Flaw.WRONG_TYPE}
)
"""Refusals that come after the signature was found to be good."""

NOT_SIGNED = Unverified("", None, "", {})
"""The parts of an opaque token: it has none."""

_NTP = "keep the clocks of both machines in step (NTP)"


class Examined(NamedTuple):
    """A token, and what it is held against.

    `keys` are the names of those that its issuer has, None where they cannot be had; `wanted` the
    claims that policies ask for; `refusal` is how its verification ended, None: it is good.
    """

    parts: Unverified
    tokens: Tokens
    ladder: Ladder
    provider: KnownProvider
    keys: tuple[str | None, ...] | None
    wanted: frozenset[str]
    refusal: InvalidToken | None
    now: float


def issuer_of(parts: Unverified, tokens: Tokens) -> Issuer | None:
    """Return the configured issuer that a token names; if only one is there, that one."""
    named = {one.issuer: one for one in tokens.issuers}
    found = named.get(str(parts.claims.get("iss")))
    return found or (tokens.issuers[0] if len(tokens.issuers) == 1 else None)


def diagnose_token(case: Examined) -> Iterator[Diagnosis]:
    """Return how it stands with a token, line by line."""
    issuer = issuer_of(case.parts, case.tokens)
    yield _issuer(case)
    if issuer is None:
        return
    yield _audience(case, issuer)
    yield from _header(case, issuer)
    yield from _signature(case, issuer)
    yield from _times(case, issuer)
    yield from _kind(case)
    try:
        token = limited(token_of(case.parts.claims, issuer, case.wanted), issuer)
    except InvalidToken as refusal:
        yield wrong(_PART, "claims", refusal.description, _cure_of_claim(case, issuer, refusal))
        return
    yield from _read(case, issuer, token)


def diagnose_confirmed(case: Examined, issuer: Issuer, token: Token) -> Iterator[Diagnosis]:
    """Return how it stands with an opaque token that its issuer has confirmed."""
    yield right(_PART, "form", f"it is opaque, and {shown(issuer.issuer)} says that it is active")
    yield from _read(case, issuer, token)


def diagnose_unconfirmed(refusal: InvalidToken) -> Iterator[Diagnosis]:
    """Return why an opaque token is refused that an issuer was asked about."""
    words = f"it is opaque, and its issuer was asked: {refusal.description}"
    cure = "take a fresh one of an issuer that is configured, for one of its `audiences`"
    yield wrong(_PART, "form", words, cure)


def _issuer(case: Examined) -> Diagnosis:
    names = [one.issuer for one in case.tokens.issuers]
    found = case.parts.claims.get("iss")
    if found in names:
        return right(_PART, "issuer", f"its iss is {shown(str(found))!r}, as configured")
    words = expected_of(Flaw.UNKNOWN_ISSUER, case.parts, Configured(names), case.now)
    cure = "say it in `tokens.issuers[].issuer` just so, with or without the slash at the end"
    return wrong(_PART, "issuer", words, cure)


def _audience(case: Examined, issuer: Issuer) -> Diagnosis:
    found = case.parts.claims.get("aud")
    named = found if isinstance(found, list) else [found]
    known = [one for one in issuer.audiences if one in named]
    if known:
        return right(_PART, "audience", f"its aud has {_all(known)}, as configured")
    words = expected_of(
        Flaw.WRONG_AUDIENCE, case.parts, Configured((issuer.issuer,), issuer), case.now
    )
    cure = (
        "name it in `tokens.issuers[].audiences` if it is this app's, else have the client ask for"
        f" this app's: {case.provider.cure('aud')}"
    )
    return wrong(_PART, "audience", words, cure)


def _header(case: Examined, issuer: Issuer) -> Iterator[Diagnosis]:
    parts, configured = case.parts, Configured((issuer.issuer,), issuer, case.keys or ())
    algorithm, kind = shown(parts.algorithm), shown(parts.type)
    if parts.algorithm in issuer.algorithms:
        yield right(_PART, "algorithm", f"{algorithm}, as configured")
    else:
        words = expected_of(Flaw.ALGORITHM_NOT_ALLOWED, parts, configured, case.now)
        cure = "name it in `tokens.issuers[].algorithms`; never `none`, nor a shared secret (HS256)"
        yield wrong(_PART, "algorithm", words, cure)
    if parts.type not in {name.lower() for name in issuer.types}:
        words = expected_of(Flaw.TYPE_NOT_ALLOWED, parts, configured, case.now)
        yield wrong(_PART, "typ", words, "name it in `tokens.issuers[].types`")
    else:
        yield right(_PART, "typ", f"{kind or 'not given'}, as configured")
    if case.keys is None:
        cure = "see the issuer's keys above"
        yield doubtful(_PART, "kid", "the issuer's keys cannot be had", cure)
    elif parts.key_id is None or parts.key_id in case.keys:
        name = "not given: every key is tried" if parts.key_id is None else shown(parts.key_id)
        yield right(_PART, "kid", name if parts.key_id is None else f"{name}, one of the issuer's")
    else:
        words = expected_of(Flaw.UNKNOWN_KEY, parts, configured, case.now)
        cure = (
            "take a token that this issuer has signed just now; if it is one, `jwks_uri` or"
            " `jwks_file` leads to another's keys, or to old ones"
        )
        yield wrong(_PART, "kid", words, cure)


def _signature(case: Examined, issuer: Issuer) -> Iterator[Diagnosis]:
    refusal = case.refusal
    if case.keys is None:
        return
    if refusal is None or refusal.code in _SIGNED:
        yield right(_PART, "signature", "it is the issuer's")
    elif refusal.code is Flaw.BAD_SIGNATURE:
        configured = Configured((issuer.issuer,), issuer, case.keys or ())
        words = expected_of(refusal.code, case.parts, configured, case.now)
        cure = "was it copied whole? else the keys are another's: see `jwks_uri` and `jwks_file`"
        yield wrong(_PART, "signature", words, cure)


def _times(case: Examined, issuer: Issuer) -> Iterator[Diagnosis]:
    claims, configured = case.parts.claims, Configured((issuer.issuer,), issuer)
    try:
        validity = validity_of(claims, issuer)
        validity.check(case.now)
    except InvalidToken as refusal:
        words = expected_of(refusal.code, case.parts, configured, case.now) or refusal.description
        if refusal.code is Flaw.EXPIRED:
            yield wrong(_PART, "times", words, f"take a fresh one; if this is one, {_NTP}")
        elif refusal.code is Flaw.NOT_YET_VALID:
            ahead = validity.begins - case.now
            yield wrong(_PART, "times", f"{words}; {ahead:.0f} s beyond that", _NTP)
        else:
            yield wrong(_PART, "times", words, "have the issuer say them in seconds (RFC 7519)")
        return
    left = validity.ends - case.now
    yield right(_PART, "times", f"it counts for {left:.0f} s more, leeway {issuer.leeway:g} s")


def _kind(case: Examined) -> Iterator[Diagnosis]:
    signs = [name for name in ("nonce", "at_hash", "c_hash") if name in case.parts.claims]
    if signs and not case.provider.has_id_tokens:
        words = f"it looks like an ID token, as it has {' and '.join(signs)}"
        yield doubtful(_PART, "kind", words, "show an access token: ID tokens are for the client")


def _cure_of_claim(case: Examined, issuer: Issuer, refusal: InvalidToken) -> str:
    if issuer.session_claim in refusal.description and issuer.session is SessionNaming.REQUIRED:
        return f"{case.provider.cure('sid')}; or another word than `required` in `session`"
    return case.provider.cure("claims")


def _read(case: Examined, issuer: Issuer, token: Token) -> Iterator[Diagnosis]:
    yield right(_PART, "user", f"{_shown(token.user)}, from `{issuer.user_claim}`")
    if token.app:
        yield right(_PART, "app", f"{_shown(token.app)}, from `{issuer.app_claim or 'aud'}`")
    if token.client:
        yield right(_PART, "client", _shown(token.client))
    yield _session(case, issuer, token)
    yield _auth_time(case, issuer, token)
    yield from _level(case, issuer, token)
    yield from _listed(case, issuer, token)
    if token.device:
        yield right(_PART, "device", f"{_shown(token.device)}, from `{issuer.device_claim}`")
    if token.binding:
        kinds = [k for k, v in zip(("key", "certificate", "cnf"), token.binding, strict=True) if v]
        yield right(_PART, "binding", f"it is bound to a {' and a '.join(kinds)}, from `cnf`")
    yield from _others(case, token)


def _session(case: Examined, issuer: Issuer, token: Token) -> Diagnosis:
    if not any(one.need is ClaimNeed.SESSION for one in token.missing):
        return right(_PART, "session", f"{_shown(token.session)}, from `{issuer.session_claim}`")
    means = {
        SessionNaming.USER_CLIENT: "all sign-ins of the user at that client share their marks",
        SessionNaming.SIGN_IN: "a new sign-in sheds the marks of the one before",
        SessionNaming.REQUIRED: "it is refused",
    }[issuer.session]
    words = f"it has no `{issuer.session_claim}`: `{issuer.session}` stands in, so that {means}; a"
    words += " logout by `sid` alone finds no session"
    return doubtful(_PART, "session", words, case.provider.cure("sid"))


def _auth_time(case: Examined, issuer: Issuer, token: Token) -> Diagnosis:
    at, claim = token.authentication.auth_time, issuer.auth_time_claim
    if at:
        return right(_PART, "auth_time", f"{case.now - at:.0f} s ago, from `{claim}`")
    words = f"it has no `{claim}`: it proves nothing, so that no step-up ever clears a mark"
    return wrong(_PART, "auth_time", words, case.provider.cure("auth_time"))


def _level(case: Examined, issuer: Issuer, token: Token) -> Iterator[Diagnosis]:
    """Show `acr`, `amr`, and the level that they come to."""
    signed_in, ladder = token.authentication, case.ladder
    shows, acr = ladder.shown(signed_in), signed_in.acr
    if acr or not signed_in.amr:
        yield from _acr(case, issuer, signed_in)
    elif shows.rank or shows.strengths:
        yield right(_PART, "acr", f"it has no `{issuer.acr_claim}`: the level goes by amr")
    yield from _amr(case, issuer, signed_in)
    if shows.rank or shows.strengths:
        level = ladder.name(shows.rank) or "no level"
        strengths = sorted(shows.strengths)
        also = f", and the strengths {_all(strengths)}" if strengths else ""
        by_acr = acr and ladder.rank(acr, ()) == shows.rank
        why = f"acr {_shown(acr)}" if by_acr else f"amr {_all(signed_in.amr)}"
        least = f"; its issuer counts for {signed_in.at_most} at most" if signed_in.at_most else ""
        yield right(_PART, "level", f"{level}{also}, by its {why}{least}")


def _acr(case: Examined, issuer: Issuer, signed_in: Authentication) -> Iterator[Diagnosis]:
    acr, ladder = signed_in.acr, case.ladder
    if not acr:
        neither = f"it has neither `{issuer.acr_claim}` nor `{issuer.amr_claim}`"
        words = f"{neither}: no sign-in is ever strong enough for a level"
        yield wrong(_PART, "acr", words, case.provider.cure("acr"))
    elif ladder.rank(acr, ()) or ladder.strengths_of(acr, ()):
        yield right(_PART, "acr", f"{_shown(acr)}, from `{issuer.acr_claim}`")
    else:
        shows = ladder.shown(signed_in)
        levels = names_of(one.name for one in ladder.levels)
        words = f"its acr is {_shown(acr)}, which is of none of the levels {levels}"
        cure = f"list {_shown(acr)} as `acr` of one of `assurance.levels`"
        judge = doubtful if shows.rank or shows.strengths else wrong
        yield judge(_PART, "acr", words, f"{cure}, or {case.provider.cure('acr')}")


def _amr(case: Examined, issuer: Issuer, signed_in: Authentication) -> Iterator[Diagnosis]:
    acr, ladder, shows = signed_in.acr, case.ladder, case.ladder.shown(signed_in)
    amr = _all(signed_in.amr)
    if not signed_in.amr and acr:
        yield right(_PART, "amr", f"it has no `{issuer.amr_claim}`: the level goes by acr")
    elif not signed_in.amr:
        words = f"it has no `{issuer.amr_claim}`"
        yield doubtful(_PART, "amr", words, case.provider.cure("amr"))
    elif acr or shows.rank or shows.strengths:
        yield right(_PART, "amr", f"{amr}, from `{issuer.amr_claim}`")
    else:
        levels = names_of(one.name for one in ladder.levels)
        words = f"its amr is {amr}, which has no combination of the levels {levels}"
        cure = "list it as `amr` of one of `assurance.levels`"
        yield wrong(_PART, "amr", words, f"{cure}, or {case.provider.cure('amr')}")


def _listed(case: Examined, issuer: Issuer, token: Token) -> Iterator[Diagnosis]:
    for what, known, names, claim in (
        (GROUPS, token.groups_known, token.groups, issuer.groups_claim),
        (ROLES, token.roles_known, token.roles, issuer.roles_claim),
    ):
        if known:
            yield right(_PART, what, f"{_all(sorted(names))}, from `{claim}`")
        elif what in case.wanted:
            elsewhere = "_claim_names" in case.parts.claims or "hasgroups" in case.parts.claims
            why = "says that there are too many to list" if elsewhere else f"has no `{claim}`"
            words = f"it {why}: policies for {what} hold as `{what}_unknown` says"
            absent = f"`{what}_absent: empty` if it leaves them out where there are none"
            yield wrong(_PART, what, words, f"{case.provider.cure('groups')}; {absent}")
        else:
            yield right(_PART, what, f"it has no `{claim}`, and no policy asks for {what}")


def _others(case: Examined, token: Token) -> Iterator[Diagnosis]:
    missing = {one.claim for one in token.missing if one.need is ClaimNeed.CLAIM}
    for name in sorted(case.wanted - {"user", GROUPS, ROLES}):
        if name in missing:
            words = "it is not there, and policies ask for it"
            yield doubtful(_PART, f"claim {shown(name)}", words, case.provider.cure("claims"))
        elif values := dict(token.claims).get(name):
            yield right(_PART, f"claim {shown(name)}", _all(values))


def _all(names: Iterable[str]) -> str:
    return ", ".join(map(_shown, names)) or "none"


def _shown(text: str) -> str:
    return repr(shown(text))


def diagnose_unread(refusal: InvalidToken) -> Iterable[Diagnosis]:
    """Return what is wrong with something that cannot be read as a token at all."""
    cure = "put the token alone into the file: three parts with dots between, without `Bearer`"
    return (wrong(_PART, "form", refusal.description, cure),)
