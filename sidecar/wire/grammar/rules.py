"""Describes what may stand at a place of a file: one rule reads it, and gives schema and words.

A grammar is built of rules, as in `wire.policies.conditions`. From the same rule come the value
that the daemon works with (`read`), the JSON Schema that editors check by (`schema`) and the
"written as" of a reference page (`words`), so that the three cannot differ. `read` keeps every
problem with its file, line and field in the `FileReading`, and goes on: all are shown at once.

A schema is the shape alone. Whether a name is configured only `read` knows, by the lookups of the
`FileReading`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from sidecar.wire.grammar.definitions import Definitions
from sidecar.wire.tokens.claim_values import number_text
from sidecar.wire.yaml import scalars
from sidecar.wire.yaml.nodes import MAX_TEXT, Leaves, Named
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.tree import Listing, Node, Problems, Scalar, Table, shown

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=StrEnum)

Schema: TypeAlias = dict[str, Any]
Lookup: TypeAlias = Callable[[Named], str | Missing]
"""Returns the name that is meant; if it is not known, adds a problem and returns MISSING."""

TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
NO_LOOKUPS: Mapping[str, Lookup] = MappingProxyType({})


class FileReading(Leaves):
    """Reads one set of files by rules: keeps problems, and knows the names that may be used.

    `lookups` are by `Name.kind`; a name of a kind without one may be any. `defined` are the kinds
    of definitions.
    """

    def __init__(
        self,
        problems: Problems,
        lookups: Mapping[str, Lookup] = NO_LOOKUPS,
        defined: Iterable[str] = (),
    ) -> None:
        super().__init__(problems)
        self.lookups = lookups
        self.definitions = Definitions(self, defined)


class Rule(Protocol[T_co]):
    """Describes one place of a grammar."""

    def read(self, node: Node, field: str, reading: FileReading) -> T_co | Missing:
        """Return the value of a node; if it is not as it must be, add problems."""

    def schema(self) -> Schema:
        """Return the JSON Schema of what `read` accepts, as far as a schema can say it."""

    def words(self) -> str:
        """Return in a few words how it is written."""


class Boolean(msgspec.Struct, frozen=True):
    """Accepts true or false."""

    def read(self, node: Node, field: str, reading: FileReading) -> bool | Missing:
        """Return the value."""
        found = reading.boolean(node, field)
        return MISSING if found is None else found

    def schema(self) -> Schema:
        """Return the type."""
        return {"type": "boolean"}

    def words(self) -> str:
        """Return both values."""
        return "`true` or `false`"


class Number(msgspec.Struct, frozen=True):
    """Accepts a number within bounds."""

    least: float
    most: float

    def read(self, node: Node, field: str, reading: FileReading) -> float | Missing:
        """Return the number."""
        found = reading.number(node, field, self.least, self.most)
        return MISSING if found is None else found

    def schema(self) -> Schema:
        """Return the bounds."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}

    def words(self) -> str:
        """Return the bounds."""
        return f"number from {self.least:.15g} to {self.most:.15g}"


class TextRule(msgspec.Struct, Generic[T], frozen=True):
    """Accepts a text; a rule for one can stand in lists of texts, too."""

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what the text means."""
        text = reading.text(node, field)
        return MISSING if text is None else self.of(Named(text, field, node.place), reading)

    def of(self, name: Named, reading: FileReading) -> T | Missing:
        """Return what a text that was read means."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """Return the schema of the text."""
        raise NotImplementedError

    def words(self) -> str:
        """Return what text it is."""
        raise NotImplementedError

    def plural(self) -> str:
        """Return the same of several."""
        return self.words()


class Text(TextRule[str], frozen=True):
    """Accepts any text that is not empty."""

    def of(self, name: Named, reading: FileReading) -> str:  # noqa: ARG002 - any text is right
        """Return the text."""
        return name.text

    def schema(self) -> Schema:
        """Return the bounds of all texts."""
        return dict(TEXT)

    def words(self) -> str:
        """Return the type."""
        return "text"

    def plural(self) -> str:
        """Return the same of several."""
        return "texts"


class Name(TextRule[str], frozen=True):
    """Accepts the name of something that may have to be configured.

    Without a `pattern` it may be any text; `malformed` says what another one must be.
    """

    kind: str
    pattern: str = ""
    malformed: str = ""

    def of(self, name: Named, reading: FileReading) -> str | Missing:
        """Return the name that is meant."""
        if self.pattern and not re.fullmatch(self.pattern, name.text):
            reading.problems.add(name.place, name.field, self.malformed)
            return MISSING
        lookup = reading.lookups.get(self.kind)
        return name.text if lookup is None else lookup(name)

    def schema(self) -> Schema:
        """Return the pattern, else the bounds of all texts: a schema knows no configuration."""
        return {"type": "string", "pattern": f"^{self.pattern}$"} if self.pattern else dict(TEXT)

    def words(self) -> str:
        """Return what has the name."""
        return "text" if self.pattern else self.kind

    def plural(self) -> str:
        """Return the same of several."""
        return f"{self.kind}s"


class Choice(TextRule[E], Generic[E], frozen=True):
    """Accepts the values of an enumeration."""

    of_type: type[E]

    def of(self, name: Named, reading: FileReading) -> E | Missing:
        """Return the member."""
        found = reading.member(name, self.of_type)
        return MISSING if found is None else found

    def schema(self) -> Schema:
        """Return the values."""
        return {"enum": [member.value for member in self.of_type]}

    def words(self) -> str:
        """Return the values."""
        return either(member.value for member in self.of_type)


class OneOf(TextRule[str], frozen=True):
    """Accepts one of a few texts."""

    known: tuple[str, ...]

    def of(self, name: Named, reading: FileReading) -> str | Missing:
        """Return the text."""
        return name.text if reading.all_of([name], frozenset(self.known)) else MISSING

    def schema(self) -> Schema:
        """Return the texts."""
        return {"enum": list(self.known)}

    def words(self) -> str:
        """Return the texts."""
        return either(self.known)


class Seconds(msgspec.Struct, frozen=True):
    """Accepts a duration of whole seconds within bounds."""

    least: int = 1
    most: int = scalars.LONGEST

    def read(self, node: Node, field: str, reading: FileReading) -> int | Missing:
        """Return the seconds."""
        if not isinstance(node, Scalar) or node.value is None:
            return refuse(reading.problems, node, field, "a duration")
        try:
            found = scalars.duration(node.value)
        except ValueError as error:
            reading.add(node, field, str(error))
            return MISSING
        if not self.least <= found <= self.most or found != int(found):
            longest = "3650d" if self.most == scalars.LONGEST else f"{self.most}s"
            message = f"must be whole seconds, from {self.least}s to {longest}"
            reading.add(node, field, message)
            return MISSING
        return int(found)

    def schema(self) -> Schema:
        """Return the schema of a number, and of a text with units."""
        number = {"type": "integer", "minimum": self.least, "maximum": self.most}
        return {"anyOf": [number, {"type": "string", "pattern": scalars.DURATION_PATTERN}]}

    def words(self) -> str:
        """Return what it is."""
        return "duration"


class Spelled(TextRule[T], Generic[T], frozen=True):
    """Accepts a text that `means` understands: it raises ValueError with what is wrong."""

    means: Callable[[str], T]
    shape: Schema
    called: str

    def of(self, name: Named, reading: FileReading) -> T | Missing:
        """Return what the text means."""
        try:
            return self.means(name.text)
        except ValueError as error:
            reading.problems.add(name.place, name.field, str(error))
            return MISSING

    def schema(self) -> Schema:
        """Return the shape."""
        return dict(self.shape)

    def words(self) -> str:
        """Return what the text is."""
        return self.called


class Several(msgspec.Struct, Generic[T], frozen=True):
    """Accepts one text or a list of them, which must not be empty, unless it `may_be_empty`."""

    item: TextRule[T]
    may_be_empty: bool = False

    def read(self, node: Node, field: str, reading: FileReading) -> tuple[T, ...] | Missing:
        """Return what the texts mean, without those that have problems."""
        if self.may_be_empty and isinstance(node, Listing) and not node.items:
            return ()
        names = reading.names(node, field) or ()
        read = [self.item.of(name, reading) for name in names]
        found = tuple(one for one in read if not isinstance(one, Missing))
        return found or MISSING

    def schema(self) -> Schema:
        """Return the schema of one, and of a list."""
        item = self.item.schema()
        if self.may_be_empty:
            return {"anyOf": [item, {"type": "array", "items": item}]}
        return one_or_many(item)

    def words(self) -> str:
        """Return the name of the items."""
        return f"list of {self.item.plural()}"


class Around(msgspec.Struct, Generic[U, T], frozen=True):
    """Accepts what another rule accepts, and is written like that."""

    rule: Rule[U]

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return the value."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """Return the rule's schema."""
        return self.rule.schema()

    def words(self) -> str:
        """Return the rule's words."""
        return self.rule.words()


class AsTexts(Around[T, T], Generic[T], frozen=True):
    """Accepts numbers and truths, too, where the rule accepts texts, as a token's claims have them.

    The schema of the rule's items says itself which of them make sense.
    """

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what the rule reads."""
        return self.rule.read(_texts(node), field, reading)


class Built(Around[U, T], Generic[U, T], frozen=True):
    """Accepts what a rule accepts, and builds something of its value."""

    build: Callable[[U], T]

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what is built."""
        found = self.rule.read(node, field, reading)
        return MISSING if isinstance(found, Missing) else self.build(found)


class Reference(msgspec.Struct, Generic[T], frozen=True):
    """Accepts what a rule accepts that the schema defines by a name, so that rules may recur."""

    name: str
    rule: Callable[[], Rule[T]]

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what the rule reads."""
        return self.rule().read(node, field, reading)

    def schema(self) -> Schema:
        """Return a reference."""
        return {"$ref": f"#/$defs/{self.name}"}

    def words(self) -> str:
        """Return the name."""
        return self.name


class Use(msgspec.Struct, Generic[T], frozen=True):
    """Accepts the name of a definition of `kind`, and means what that does, by `rule`."""

    kind: str
    rule: Callable[[], Rule[T]]

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what the definition means."""
        rule = self.rule()
        return reading.definitions.use(
            self.kind, node, field, lambda below, at: rule.read(below, at, reading)
        )

    def schema(self) -> Schema:
        """Return the bounds of all texts."""
        return dict(TEXT)

    def words(self) -> str:
        """Return what is named."""
        return f"name in `definitions.{self.kind}`"


def one_or_many(item: Schema) -> Schema:
    """Return the schema of one thing or a list of such, which is not empty."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


def without_links(text: str) -> str:
    """Return a text of a reference page as a schema may have it."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def either(texts: Iterable[str]) -> str:
    """Return texts as a sentence of code: `a`, `b` or `c`."""
    *first, last = (f"`{text}`" for text in texts)
    return f"{', '.join(first)} or {last}" if first else last


def _texts(node: Node) -> Node:
    """Return a tree whose numbers and truths are the texts that they are in a token's claims."""
    match node:
        case Scalar(value=bool() as truth):
            return Scalar("true" if truth else "false", node.place)
        case Scalar(value=int() | float() as number):
            return Scalar(number_text(number) or shown(repr(number)), node.place)
        case Listing():
            return Listing(tuple(_texts(item) for item in node.items), node.place)
        case Table():
            entries = {
                key: entry._replace(node=_texts(entry.node)) for key, entry in node.entries.items()
            }
            return Table(entries, node.place)
        case _:
            return node
