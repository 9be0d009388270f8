"""Rules for the members of an event: each reads one, and says in schema and words what it may be.

As `wire.grammar.rules` is for files: the reader, the JSON Schema and the reference page of events
come from the same rule. An event is JSON from a sender, who must act: the first problem refuses it
as a whole, by the name of its member (`InvalidSignal`). A member that is null counts as absent.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar

import msgspec

from sidecar.domain.values import address
from sidecar.wire.names import MAX_NAME, InvalidName, composed, is_fit, name_of
from sidecar.wire.tokens.claim_values import MAX_CLAIM_VALUE, claim_text
from sidecar.wire.tokens.claims import LATEST_TIME, MAX_CLAIMS

T = TypeVar("T")
Schema: TypeAlias = dict[str, Any]

MAX_TEXT = 1024
MAX_LIST = 1024
_SPACE_SEPARATED = ("scope", "scp")  # as `wire.tokens.claims` reads them


class InvalidSignal(Exception):  # noqa: N818 - named by who must act: the sender
    """The event is refused. `field` is the dotted name of what is wrong, empty for the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class Members(NamedTuple):
    """Holds an object's members. `prefix` is its own path, and no time lies after `latest`."""

    values: Mapping[str, object]
    prefix: str
    latest: float

    def refuse(self, name: str, message: str) -> NoReturn:
        """Refuse the event for one member."""
        raise InvalidSignal(self.prefix + name, message)


class MemberRule(Protocol):
    """Describes one member."""

    @property
    def required(self) -> bool:
        """Return whether the member must be there."""

    def read(self, members: Members, name: str) -> Any:
        """Return the value; if the member is absent, what that means. Raises `InvalidSignal`."""

    def schema(self) -> Schema:
        """Return the JSON Schema of what `read` accepts, as far as a schema can say it."""

    def words(self) -> str:
        """Return in a few words what it is."""


class MemberText(msgspec.Struct, frozen=True):
    """Accepts a text; if it is absent, that is an empty one."""

    most: int = MAX_NAME
    required: bool = False

    def read(self, members: Members, name: str) -> str:
        """Return the text in its one form."""
        value = members.values.get(name)
        if value is None and not self.required:
            return ""
        least = int(self.required)
        if not isinstance(value, str) or not _is_text(value, least, self.most):
            message = f"must be {least} to {self.most} characters without control characters"
            members.refuse(name, message)
        return composed(value)

    def schema(self) -> Schema:
        """Return the bounds."""
        if self.required:
            return {"type": "string", "minLength": 1, "maxLength": self.most}
        return {"type": ["string", "null"], "maxLength": self.most}

    def words(self) -> str:
        """Return the bound."""
        return f"text of at most {self.most} characters"


class MemberTexts(msgspec.Struct, frozen=True):
    """Accepts a list of names."""

    required: bool = False

    def read(self, members: Members, name: str) -> tuple[str, ...]:
        """Return the names."""
        value = members.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > MAX_LIST:
            members.refuse(name, f"must be a list of at most {MAX_LIST} strings")
        for item in value:
            if not isinstance(item, str) or not _is_text(item, 1, MAX_NAME):
                members.refuse(name, f"must hold strings of 1 to {MAX_NAME} characters")
        return tuple(composed(item) for item in value)

    def schema(self) -> Schema:
        """Return the schema of the list."""
        item = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
        return {"type": ["array", "null"], "items": item, "maxItems": MAX_LIST}

    def words(self) -> str:
        """Return what it is a list of."""
        return "list of names"


class Informing(msgspec.Struct, frozen=True):
    """Accepts anything: only people read it, and it never refuses an event.

    What is no text is left out, control characters too, and what is too long is cut.
    """

    required: bool = False

    def read(self, members: Members, name: str) -> str:
        """Return what can be shown."""
        value = members.values.get(name)
        if not isinstance(value, str):
            return ""
        plain = "".join(one if is_fit(one) else " " for one in value[:MAX_TEXT])
        return composed(plain)[:MAX_TEXT]

    def schema(self) -> Schema:
        """Return a schema that accepts anything."""
        return {"description": "a text for people; what is none is left out"}

    def words(self) -> str:
        """Return whom it is for."""
        return "text for people"


class MemberChoice(msgspec.Struct, Generic[T], frozen=True):
    """Accepts one of a few texts, in any case, and with `_` for `-`; `means` says what each is."""

    means: Mapping[str, T]
    absent: T | None = None

    @property
    def required(self) -> bool:
        """Return whether nothing else is meant where it is absent."""
        return self.absent is None

    def read(self, members: Members, name: str) -> T:
        """Return what the text means."""
        value = members.values.get(name)
        if value is None and self.absent is not None:
            return self.absent
        found = _spelled(value) if isinstance(value, str) else ""
        meant = [meaning for one, meaning in self.means.items() if _spelled(one) == found]
        if not meant:
            members.refuse(name, f"must be one of {', '.join(self.means)}")
        return meant[0]

    def schema(self) -> Schema:
        """Return the texts, which an editor offers, and the pattern of all their spellings."""
        ways = ("".join(map(_either, value)) for value in self.means)
        pattern = {"type": "string", "pattern": f"^(?:{'|'.join(ways)})$"}
        nothing: list[Schema] = [] if self.required else [{"type": "null"}]
        return {"anyOf": [{"enum": list(self.means)}, pattern, *nothing]}

    def words(self) -> str:
        """Return the texts."""
        return ", ".join(f"`{one}`" for one in self.means)


class MemberNumber(msgspec.Struct, frozen=True):
    """Accepts a number within bounds, which also keep out NaN, infinities and huge integers."""

    most: float
    absent: float | None = None
    required: bool = False

    def read(self, members: Members, name: str) -> float | None:
        """Return the number."""
        found = number_of(members, name, self.most)
        return self.absent if found is None else float(found)

    def schema(self) -> Schema:
        """Return the bounds."""
        return {"type": ["number", "null"], "minimum": 0, "maximum": self.most}

    def words(self) -> str:
        """Return the bounds."""
        return f"number from 0 to {self.most:.15g}"


class MemberTime(msgspec.Struct, frozen=True):
    """Accepts a time in seconds since the epoch; `past`: none that lies ahead."""

    past: bool
    required: bool = False

    def read(self, members: Members, name: str) -> int:
        """Return whole seconds; 0 if it is absent."""
        most = members.latest if self.past else LATEST_TIME
        return int(number_of(members, name, most) or 0)

    def schema(self) -> Schema:
        """Return the bounds."""
        return {"type": ["number", "null"], "minimum": 0, "maximum": LATEST_TIME}

    def words(self) -> str:
        """Return the unit."""
        return "seconds since the epoch"


class MemberAddress(msgspec.Struct, frozen=True):
    """Accepts an IP address; if it is absent, that is an empty text."""

    required: bool = False

    def read(self, members: Members, name: str) -> str:
        """Return the address in its canonical spelling."""
        text = MemberText(80).read(members, name)
        canonical = address.canonical(text)
        if text and not canonical:
            members.refuse(name, "must be an IPv4 or IPv6 address")
        return canonical

    def schema(self) -> Schema:
        """Return the schema of a short text."""
        return MemberText(80).schema()

    def words(self) -> str:
        """Return what it is."""
        return "IPv4 or IPv6 address"


class MemberSpelled(msgspec.Struct, frozen=True):
    """Accepts a text that `is_right`, and must be there; `message` says what else is wrong."""

    is_right: Callable[[str], object]
    message: str
    pattern: str
    required: bool = True

    def read(self, members: Members, name: str) -> str:
        """Return the text."""
        value = members.values.get(name)
        if not isinstance(value, str) or not self.is_right(value):
            members.refuse(name, self.message)
        return value

    def schema(self) -> Schema:
        """Return the pattern."""
        return {"type": "string", "pattern": self.pattern}

    def words(self) -> str:
        """Return what it must be."""
        return self.message.removeprefix("must be ")


class MemberClaims(msgspec.Struct, frozen=True):
    """Accepts claims by name, as a token has them; null: the token has the claim no more."""

    required: bool = True

    def read(self, members: Members, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the claims with their values, sorted by name."""
        claims = members.values.get(name)
        if not isinstance(claims, Mapping) or not 1 <= len(claims) <= MAX_CLAIMS:
            members.refuse(name, f"must be an object of 1 to {MAX_CLAIMS} claims")
        for one in claims:
            if not _is_text(one, 1, MAX_NAME):
                message = f"must have names of 1 to {MAX_NAME} printable characters"
                members.refuse(name, message)
        return tuple(
            (composed(one), self._values(members, one, claims[one])) for one in sorted(claims)
        )

    @staticmethod
    def _values(members: Members, name: str, value: object) -> tuple[str, ...]:
        """Return a claim's values as `tokens.claims` reads those of a token."""
        if value is None:
            return ()
        if isinstance(value, str) and name in _SPACE_SEPARATED:
            value = value.split()
        items = value if isinstance(value, list) else [value]
        if len(items) > MAX_LIST:
            members.refuse(f"claims.{name}", f"must have at most {MAX_LIST} values")
        found = [claim_text(item) for item in items]
        values = tuple(text for text in found if text is not None)
        if len(values) < len(found):
            message = (
                f"must be a text of at most {MAX_CLAIM_VALUE} characters, a number, true or false,"
                " or a list of these"
            )
            members.refuse(f"claims.{name}", message)
        return values

    def schema(self) -> Schema:
        """Return the schema of the object."""
        one = {"type": ["string", "number", "boolean"], "maxLength": MAX_CLAIM_VALUE}
        several = {"type": "array", "items": one, "maxItems": MAX_LIST}
        return {
            "type": "object",
            "propertyNames": {"minLength": 1, "maxLength": MAX_NAME},
            "additionalProperties": {"anyOf": [one, {"type": "null"}, several]},
            "minProperties": 1,
            "maxProperties": MAX_CLAIMS,
        }

    def words(self) -> str:
        """Return what it is."""
        return "object of claims and their values; null: the token has it no more"


def number_of(members: Members, name: str, most: float) -> float | None:
    """Return a number from 0 to `most`; None if it is absent."""
    value = members.values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        members.refuse(name, "must be a number")
    if not 0 <= value <= most:
        members.refuse(name, f"must be a number from 0 to {most:.15g}")
    return value


def _spelled(value: str) -> str:
    return value.casefold().replace("_", "-")


def _either(letter: str) -> str:
    return f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else "[-_]"


def _is_text(value: str, least: int, most: int) -> bool:
    """Return whether it is a name (`wire.names`); or empty, or longer, where that may be."""
    if not value:
        return not least
    try:
        name_of(value, most)
    except InvalidName:
        return False
    return True
