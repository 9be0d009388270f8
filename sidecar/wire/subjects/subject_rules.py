"""From a transmitter's subjects to ours: by configuration, or not at all.

A complex subject is matched member by member, and all that is said of user, device and session
must be understood: to leave one out would make an event concern more sessions than its sender
meant. A simple subject does not say what it is; the event does, by what it can be about, and the
first kind that has a rule for the subject's format counts.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from sidecar.domain.facts.signal import Subject
from sidecar.domain.values.namespaces import NO_NAMESPACES, Namespaces
from sidecar.wire.settings.receiver import SubjectMatch, SubjectSettings
from sidecar.wire.subjects.subject_ids import (
    FORMATS,
    Aliases,
    Complex,
    Identifier,
    Proprietary,
    Simple,
    SubjectId,
)

Kind = Literal["user", "device", "session"]
KINDS: tuple[Kind, ...] = ("user", "device", "session")

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_-]+)\}")
_SEPARATORS = re.compile(r"[\s().\-]")
_NAMING: Mapping[str, str] = {
    "account": "uri",
    "email": "email",
    "iss_sub": "sub",
    "opaque": "id",
    "phone_number": "phone_number",
    "did": "url",
    "uri": "uri",
    "jwt_id": "jti",
    "saml_assertion_id": "assertion_id",
}
"""The member that names the subject, by format."""

_ISSUER = {"iss_sub": "iss", "jwt_id": "iss", "saml_assertion_id": "issuer"}


class Unmatched(NamedTuple):
    """The subject is nobody's that is known here. `reason` quotes no identifier."""

    reason: str


class _Found(NamedTuple):
    """A name, and whose it is as far as its identifier says."""

    name: str
    issuer: str


class SubjectRules:
    """The rules of one transmitter. `issuers`: whose identifiers count where a rule names none.

    `namespaces` are those of our tokens' issuers: an identifier that one of them issued is a name
    of its. Raises ValueError for a rule that could never match.
    """

    def __init__(
        self,
        subjects: SubjectSettings,
        issuers: Collection[str],
        namespaces: Namespaces = NO_NAMESPACES,
    ) -> None:
        self._namespaces = namespaces
        self._subjects = subjects
        self._issuers = frozenset(issuers)
        self.critical = frozenset(subjects.critical)
        for kind in KINDS:
            for match in getattr(subjects, kind):
                check_match(match)

    def learn_critical(self, members: Collection[str]) -> None:
        """Take these for critical too: the transmitter's metadata names them."""
        self.critical |= frozenset(members)

    def match(self, subject: SubjectId, about: Sequence[Kind]) -> Subject | Unmatched:
        """Our subject. `about`: what the event can be about, the likeliest first."""
        if isinstance(subject, Complex):
            return self._complex(subject)
        for kind in about:
            found = self._named(subject, getattr(self._subjects, kind))
            if found is not None:
                return Subject(**{kind: found.name}, issuer=found.issuer)
        return Unmatched(f"no rule of {', '.join(about)} fits {_format(subject)}")

    def _complex(self, subject: Complex) -> Subject | Unmatched:
        named: dict[str, str] = {}
        issuers = set[str]()
        for member, identifier in subject.members:
            if member in KINDS:
                found = self._named(identifier, getattr(self._subjects, member))
                if found is None:
                    return Unmatched(f"no rule of {member} fits {_format(identifier)}")
                named[member] = found.name
                issuers |= {found.issuer} - {""}
            elif member == "tenant" and self._subjects.tenants:
                if not self._is_ours(identifier):
                    return Unmatched("the tenant is none of ours")
            elif member in self.critical:
                return Unmatched("a critical member of the subject is not understood here")
        if not named:
            return Unmatched("the subject names neither user, device nor session")
        if len(issuers) > 1:
            return Unmatched("the subject's members are names of several issuers")
        return Subject(**named, issuer=next(iter(issuers), ""))

    def _named(self, subject: Simple, rules: Sequence[SubjectMatch]) -> "_Found | None":
        identifiers = list(_identifiers(subject))
        for rule in rules:
            for identifier in identifiers:
                found = self._name(identifier, rule)
                if found is not None:
                    return found
        return None

    def _name(self, identifier: Identifier, rule: SubjectMatch) -> "_Found | None":
        members = members_of(identifier)
        if members.get("format") != rule.format:
            return None
        issuer = members.get(_ISSUER.get(rule.format, ""))
        if issuer is not None and issuer not in (rule.issuers or self._issuers):
            return None
        name = _filled(rule, members)
        return _Found(name, self._namespaces.named(issuer or "") or "") if name else None

    def _is_ours(self, tenant: Simple) -> bool:
        return any(
            members_of(one).get(_NAMING.get(members_of(one)["format"], ""))
            in self._subjects.tenants
            for one in _identifiers(tenant)
        )


def check_match(match: SubjectMatch) -> None:
    """Raise ValueError for a rule that could never match."""
    known = FORMATS.get(match.format)
    if match.format in {"complex", "aliases"}:
        raise ValueError(f"{match.format} is no format of one identifier; name those inside of it")
    if not match.value and match.format not in _NAMING:
        raise ValueError(f"value is required for {match.format[:64]!r}")
    if not match.value:
        return
    names = _PLACEHOLDER.findall(match.value)
    if not names:
        raise ValueError("value must have a member in braces, such as {sub}")
    members = msgspec.structs.fields(known) if known else ()
    allowed = [member.encode_name for member in members if member.type is not tuple]
    for name in names:
        if known and name not in allowed:
            raise ValueError(
                f"value: {match.format} has no {name[:64]!r}, but {', '.join(allowed)}"
            )


def members_of(identifier: Identifier) -> dict[str, str]:
    """Return the members of an identifier that are text, its format among them."""
    if isinstance(identifier, Proprietary):
        return {"format": identifier.format, **dict(identifier.members)}
    encoded: dict[str, object] = msgspec.to_builtins(identifier)
    members = {name: value for name, value in encoded.items() if isinstance(value, str)}
    if "phone_number" in members:  # RFC 9493, section 3.2.5: as E.164 has it
        members["phone_number"] = _SEPARATORS.sub("", members["phone_number"])
    return members


def _filled(rule: SubjectMatch, members: Mapping[str, str]) -> str:
    template = rule.value or f"{{{_NAMING[rule.format]}}}"
    missing = False

    def fill(found: re.Match[str]) -> str:
        nonlocal missing
        value = members.get(found[1], "")
        missing = missing or not value
        return value.removeprefix(rule.strip)

    name = _PLACEHOLDER.sub(fill, template)
    if missing:
        return ""
    return name.lower() if rule.lower else name


def _identifiers(subject: Simple) -> Iterator[Identifier]:
    if isinstance(subject, Aliases):
        yield from subject.identifiers
    else:
        yield subject


def _format(subject: Simple) -> str:
    if isinstance(subject, Aliases):
        return f"aliases of {', '.join(sorted({_format(one) for one in subject.identifiers}))}"
    name = members_of(subject)["format"]
    return name if name in FORMATS else "a format of its own"
