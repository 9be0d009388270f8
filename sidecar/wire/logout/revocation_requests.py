"""Requests for global token revocation, as Okta's Universal Logout sends them.

`{"sub_id": {...}}`, in older documents `{"subject": {...}}`, authenticated by a signed JWT whose
`typ` is `global-token-revocation+jwt` (draft-parecki-oauth-global-token-revocation).
"""

from collections.abc import Mapping

import msgspec

from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.domain.values.namespaces import Namespaces
from sidecar.wire.logout.logout_tokens import InvalidLogout, SignedRequest, ended
from sidecar.wire.names import InvalidName, name_of
from sidecar.wire.settings.intake import IntakeIssuer
from sidecar.wire.settings.receiver import SubjectSettings
from sidecar.wire.subjects.subject_ids import InvalidSubjectId, SubjectId, decode_subject
from sidecar.wire.subjects.subject_rules import SubjectRules, Unmatched
from sidecar.wire.tokens.jws import bounded_object

TYPES = ("global-token-revocation+jwt", "application/global-token-revocation+jwt")
_FORMATS = ("email", "iss_sub")  # compared one by one: what is sent may not be hashable


class Uncovered(Exception):  # noqa: N818 - named by who must act: the operator, by `users`
    """The request is well formed, and nothing says whom of ours it names."""


class NotFound(Exception):  # noqa: N818 - named by who must act: the provider
    """It names a user of an issuer whose users are none of ours."""


def subject_of(body: bytes) -> SubjectId:
    """Read whom a request is about; raises `InvalidLogout`."""
    try:
        values = bounded_object(body)
    except ValueError:
        raise InvalidLogout("the body must be one JSON object") from None
    given = [name for name in ("sub_id", "subject") if values.get(name) is not None]
    if len(given) != 1:
        raise InvalidLogout("the body must have one sub_id (or subject, as it was called before)")
    value = values[given[0]]
    if not isinstance(value, Mapping):
        raise InvalidLogout(f"{given[0]} must be an object")
    if value.get("format") not in _FORMATS:
        raise InvalidLogout(f"{given[0]}.format must be one of {', '.join(_FORMATS)}")
    try:
        return decode_subject(value, given[0])
    except InvalidSubjectId as error:
        raise InvalidLogout(str(error)) from None


def revocation_of(
    subject: SubjectId,
    signed: SignedRequest,
    issuer: IntakeIssuer,
    users_of: str,
    namespaces: Namespaces,
) -> SessionRevoked:
    """Return the event that a request is.

    `users_of`: the issuer whose users it may name. Raises `Uncovered` and `NotFound`.
    """
    known = frozenset({issuer.issuer, users_of})
    rules = SubjectRules(SubjectSettings(user=issuer.users), known, namespaces)
    found = rules.match(subject, ("user",))
    members = msgspec.to_builtins(subject)
    if isinstance(found, Unmatched):
        if members.get("format") == "iss_sub" and members.get("iss") not in known:
            raise NotFound("it names a user of another issuer")
        raise Uncovered("no rule of `users` says whom it names: see intake.issuers[].users")
    try:
        user = name_of(found.user)
    except InvalidName as error:
        raise InvalidLogout(f"the user {error}") from None
    named = Subject(user=user, issuer=namespaces.named(users_of) or users_of)
    return ended(named, signed, "revoked at the identity provider")
