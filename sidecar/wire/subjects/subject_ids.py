"""Subject identifiers: whom a security event is about (RFC 9493; SSF 1.0, "Subject Members").

Read as RFC 9493 has them, and as the drafts before it did that are still spoken: `subject_type`
for `format`, hyphens in the formats' names, a complex subject that does not say that it is one.
Members that are not known are passed over, as SSF 1.0 asks ("Additional fields").
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec

MAX_TEXT = 1024
MAX_LIST = 64

Text = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z"
    ),
]


class InvalidSubjectId(Exception):  # noqa: N818 - named by who must act: the transmitter
    """A value is no subject identifier. `field` is dotted; values are not quoted."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class _Simple(msgspec.Struct, frozen=True, tag_field="format"):
    """A simple subject: one identifier of one format."""


class Account(_Simple, frozen=True, tag="account"):
    """An account at a provider, as an `acct:` URI (RFC 9493, section 3.2.1)."""

    uri: Text


class Email(_Simple, frozen=True, tag="email"):
    """An e-mail address (RFC 9493, section 3.2.2)."""

    email: Text


class IssuerSubject(_Simple, frozen=True, tag="iss_sub"):
    """`iss` and `sub` as tokens have them (RFC 9493, section 3.2.3)."""

    iss: Text
    sub: Text


class Opaque(_Simple, frozen=True, tag="opaque"):
    """An identifier without a meaning of its own (RFC 9493, section 3.2.4)."""

    id: Text


class PhoneNumber(_Simple, frozen=True, tag="phone_number"):
    """A telephone number (RFC 9493, section 3.2.5)."""

    phone_number: Text


class Did(_Simple, frozen=True, tag="did"):
    """A decentralized identifier (RFC 9493, section 3.2.6)."""

    url: Text


class Uri(_Simple, frozen=True, tag="uri"):
    """Any URI (RFC 9493, section 3.2.7)."""

    uri: Text


class JwtId(_Simple, frozen=True, tag="jwt_id"):
    """A JWT by its issuer and `jti` (SSF 1.0, "JWT ID Subject Identifier Format")."""

    iss: Text
    jti: Text


class SamlAssertionId(_Simple, frozen=True, tag="saml_assertion_id"):
    """A SAML assertion (SSF 1.0, "SAML Assertion ID Subject Identifier Format")."""

    issuer: Text
    assertion_id: Text


class IpAddresses(_Simple, frozen=True, tag="ip-addresses"):
    """Addresses that the subject was seen at (SSF 1.0, "IP Addresses ... Format")."""

    addresses: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=MAX_LIST)] = (
        msgspec.field(name="ip-addresses")
    )


class Proprietary(msgspec.Struct, frozen=True):
    """A format that two parties agreed upon: its name, and its members that are text.

    `members` is sorted by name.
    """

    format: str
    members: tuple[tuple[str, str], ...] = ()


Identifier: TypeAlias = (
    Account
    | Email
    | IssuerSubject
    | Opaque
    | PhoneNumber
    | Did
    | Uri
    | JwtId
    | SamlAssertionId
    | IpAddresses
    | Proprietary
)


class Aliases(msgspec.Struct, frozen=True):
    """Several identifiers of one subject (RFC 9493, section 3.2.8)."""

    identifiers: tuple[Identifier, ...]


Simple: TypeAlias = Identifier | Aliases


class Complex(msgspec.Struct, frozen=True):
    """One subject, described by several members together (SSF 1.0, "Complex Subjects").

    `members` is sorted by name: those of `MEMBERS`, or others that two parties agreed upon.
    """

    members: tuple[tuple[str, Simple], ...]

    def get(self, name: str) -> Simple | None:
        """Return the member of this name."""
        return next((subject for member, subject in self.members if member == name), None)


SubjectId: TypeAlias = Simple | Complex

MEMBERS = ("user", "device", "session", "application", "tenant", "org_unit", "group")
"""The members of a complex subject that SSF 1.0 names."""

FORMATS: Mapping[str, type[Identifier]] = {
    "account": Account,
    "email": Email,
    "iss_sub": IssuerSubject,
    "opaque": Opaque,
    "phone_number": PhoneNumber,
    "did": Did,
    "uri": Uri,
    "jwt_id": JwtId,
    "saml_assertion_id": SamlAssertionId,
    "ip-addresses": IpAddresses,
}
"""The formats of one identifier that stand in a registry."""

_DRAFTS = {
    "acct": "account",
    "iss-sub": "iss_sub",
    "phone": "phone_number",
    "phone-number": "phone_number",
    "jwt-id": "jwt_id",
    "saml-assertion-id": "saml_assertion_id",
    "ip_addresses": "ip-addresses",
}
_DRAFT_MEMBERS = {"phone": "phone_number"}
_MAX_MEMBERS = 32


def decode_subject(value: object, field: str = "sub_id") -> SubjectId:
    """Read a subject identifier that stands at `field`; raises `InvalidSubjectId`."""
    members = _object(value, field)
    name = _format(members, field)
    if name == "complex" or (not name and any(_is_object(members, m) for m in MEMBERS)):
        return _complex(members, field)
    return _simple(members, name, field)


def encode_subject(subject: SubjectId) -> dict[str, object]:
    """Return the form that `decode_subject` reads, in the words of the final specifications."""
    match subject:
        case Complex():
            members = {name: encode_subject(member) for name, member in subject.members}
            return {"format": "complex", **members}
        case Aliases():
            return {"format": "aliases", "identifiers": [*map(encode_subject, subject.identifiers)]}
        case Proprietary():
            return {"format": subject.format, **dict(subject.members)}
        case _:
            encoded: dict[str, object] = msgspec.to_builtins(subject)
            return encoded


def _complex(members: Mapping[str, object], field: str) -> Complex:
    found = {}
    for name, value in members.items():
        if name in MEMBERS or _is_object(members, name):
            inner = f"{field}.{_shown(name)}"
            found[name] = _simple(_object(value, inner), "", inner)
    if not found:
        raise InvalidSubjectId(field, "has no member that is a subject identifier")
    if len(found) > _MAX_MEMBERS:
        raise InvalidSubjectId(field, f"has more than {_MAX_MEMBERS} members")
    return Complex(tuple(sorted(found.items())))


def _simple(members: Mapping[str, object], name: str, field: str) -> Simple:
    name = name or _format(members, field)
    if name in {"complex", ""}:
        raise InvalidSubjectId(f"{field}.format", "must name the format of one identifier")
    if name == "aliases":
        return _aliases(members.get("identifiers"), f"{field}.identifiers")
    if name == "id_token_claims":
        return _id_token_claims(members, field)
    return _identifier(members, name, field)


def _aliases(value: object, field: str) -> Aliases:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_LIST:
        raise InvalidSubjectId(field, f"must be a list of 1 to {MAX_LIST} subject identifiers")
    found = []
    for index, item in enumerate(value):
        inner = f"{field}[{index}]"
        members = _object(item, inner)
        name = _format(members, inner)
        if name in {"aliases", "complex", ""}:
            raise InvalidSubjectId(f"{inner}.format", "must name the format of one identifier")
        found.append(_identifier(members, name, inner))
    return Aliases(tuple(found))


def _id_token_claims(members: Mapping[str, object], field: str) -> Aliases:
    """Return what an ID token says of a user (a format of the drafts).

    `iss` with `sub`, and `email`.
    """
    found: list[Identifier] = []
    if "sub" in members:
        found.append(_identifier(members, "iss_sub", field))
    if "email" in members:
        found.append(_identifier(members, "email", field))
    if not found:
        raise InvalidSubjectId(field, "must have iss and sub, or email")
    return Aliases(tuple(found))


def _identifier(members: Mapping[str, object], name: str, field: str) -> Identifier:
    kind = FORMATS.get(name)
    if kind is None:
        texts = ((key, value) for key, value in members.items() if isinstance(value, str))
        kept = ((key, value) for key, value in texts if key not in {"format", "subject_type"})
        return Proprietary(name, tuple(sorted(_short(key, value, field) for key, value in kept)))
    known = {_DRAFT_MEMBERS.get(key, key): value for key, value in members.items()}
    known["format"] = name
    try:
        identifier: Identifier = msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise InvalidSubjectId(*_located(error, field)) from None
    return identifier


def _short(name: str, value: str, field: str) -> tuple[str, str]:
    if len(value) > MAX_TEXT or len(name) > MAX_TEXT or not value.isprintable():
        message = f"must be at most {MAX_TEXT} characters without control characters"
        raise InvalidSubjectId(f"{field}.{_shown(name)}", message)
    return name, value


def _format(members: Mapping[str, object], field: str) -> str:
    name = members.get("format", members.get("subject_type"))
    if name is None:
        return ""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_TEXT or not name.isprintable():
        raise InvalidSubjectId(f"{field}.format", "must be the name of a format")
    return _DRAFTS.get(name, name)


def _is_object(members: Mapping[str, object], name: str) -> bool:
    return isinstance(members.get(name), Mapping)


def _object(value: object, field: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidSubjectId(field, "must be an object")
    return value


def _located(error: msgspec.ValidationError, field: str) -> tuple[str, str]:
    """Return the field, and what is wrong with it; msgspec quotes no values."""
    message, _, path = str(error).partition(" - at `$")
    if "matching regex" in message:
        message = "must have no control characters"
    return field + path.rstrip("`"), message


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])
