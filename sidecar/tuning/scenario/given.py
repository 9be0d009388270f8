"""What a scenario begins with - sessions and places - and the plain values of scenario files."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from sidecar.domain.policy.policy import RiskLevel
from sidecar.domain.values import address
from sidecar.domain.values.location import Place as Somewhere
from sidecar.domain.values.namespaces import Namespaces
from sidecar.tuning.scenario.simulation import Described
from sidecar.wire.names import composed
from sidecar.wire.places import place_values
from sidecar.wire.policies.conditions import ANONYMIZERS
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.tokens.claim_values import claim_text
from sidecar.wire.yaml import scalars as spellings
from sidecar.wire.yaml.nodes import Leaves, Named, inside
from sidecar.wire.yaml.structs import refuse
from sidecar.wire.yaml.tree import Node, Scalar, Table

T = TypeVar("T")
_PLACE = (
    *("country", "region", "city", "asn", "latitude", "longitude", "accuracy_km", "anonymizer"),
    "carrier",
)
_SESSION = tuple(Described.__struct_fields__)
UNKNOWN = "unknown"
"""Where groups or roles would stand: nobody has told which the user has."""


class Givens:
    """Reads what is given; what is wrong goes to the leaves' problems.

    `namespaces` are those that issuers may have; None: any.
    """

    def __init__(self, leaves: Leaves, namespaces: Namespaces | None = None) -> None:
        self._leaves = leaves
        self._namespaces = namespaces

    def places(self, node: Node | None, field: str) -> dict[str, Somewhere]:
        """A mapping of addresses to places."""
        if node is None:
            return {}
        if not isinstance(node, Table):
            refuse(self._leaves.problems, node, field, "a mapping of addresses to places")
            return {}
        found = {}
        for name, entry in node.entries.items():
            ip = address.canonical(name)
            if not ip:
                self._leaves.problems.add(entry.place, inside(field, name), "is no IP address")
            found[ip] = self._place(entry.node, inside(field, name))
        return found

    def _place(self, node: Node, field: str) -> Somewhere:
        table = self._leaves.table(node, field, _PLACE) or {}
        number = {
            key: self._spelled(table, field, key, read, None)
            for key, read in place_values.NUMBERS.items()
        }
        latitude, longitude = number["latitude"], number["longitude"]
        if ("latitude" in table) != ("longitude" in table):
            self._leaves.add(node, field, "has half a pair of coordinates")
        latitude, longitude = place_values.coordinates(latitude, longitude)
        anonymizer = self.texts(table, field, "anonymizer") or ()
        for flag in anonymizer:
            if flag not in ANONYMIZERS:
                named = Named(flag, inside(field, "anonymizer"), table["anonymizer"].place)
                self._leaves.unknown(named, ANONYMIZERS)
        return Somewhere(
            country=self._spelled(table, field, "country", place_values.country, ""),
            region=self.text(table, field, "region"),
            city=self.text(table, field, "city"),
            asn=self._spelled(table, field, "asn", place_values.asn, 0),
            latitude=latitude,
            longitude=longitude,
            accuracy_km=number["accuracy_km"] or 0.0,
            anonymizer=anonymizer,
            meaningless=bool(anonymizer),
            carrier=bool(self.truth(table, field, "carrier")),
        )

    def _spelled(
        self,
        table: Mapping[str, Node],
        field: str,
        key: str,
        read: Callable[[spellings.Plain], T],
        absent: T,
    ) -> T:
        node = table.get(key)
        if node is None:
            return absent
        at = inside(field, key)
        if not isinstance(node, Scalar) or node.value is None:
            refuse(self._leaves.problems, node, at, "text")
            return absent
        try:
            return read(node.value)
        except ValueError as error:
            self._leaves.add(node, at, str(error))
            return absent

    def _issuer(self, table: Mapping[str, Node], field: str) -> str:
        """The issuer of a session, which must be told where there are several."""
        issuer, known = self.text(table, field, "issuer"), self._namespaces
        if known is None:
            return issuer
        if issuer and known.named(issuer) is None:
            named = Named(issuer, inside(field, "issuer"), table["issuer"].place)
            self._leaves.unknown(named, known.words, "in `tokens.issuers`")
        elif not issuer and known.sole() is None:
            place = next(iter(table.values())).place if table else None
            message = "is required, as there are several issuers"
            if place is not None:
                self._leaves.problems.add(place, inside(field, "issuer"), message)
        return issuer

    def session(self, node: Node, field: str) -> Described:
        """A session as it begins."""
        table = self._leaves.table(node, field, _SESSION)
        if table is None:
            return Described()
        levels = {
            key: self._leaves.choice(table[key], inside(field, key), RiskLevel)
            for key in ("user_risk", "session_risk", "device_risk")
            if key in table
        }
        ago = 0.0
        if "signed_in_ago" in table:
            ago = self.duration(table["signed_in_ago"], inside(field, "signed_in_ago"))
        return Described(
            user=self.text(table, field, "user") or Described().user,
            issuer=self._issuer(table, field),
            groups=self._memberships(table, field, "groups"),
            roles=self._memberships(table, field, "roles"),
            claims=self._claims(table.get("claims"), inside(field, "claims")),
            app=self.text(table, field, "app"),
            device=self.text(table, field, "device"),
            compliant=self.truth(table, field, "compliant"),
            ip=self.address(table, field),
            user_agent=self.text(table, field, "user_agent"),
            network=self.text(table, field, "network"),
            acr=self.text(table, field, "acr"),
            amr=self.texts(table, field, "amr") or (),
            signed_in_ago=ago,
            proven=self._addresses(table, field, "proven"),
            signals=self._signals(table.get("signals"), inside(field, "signals")),
            **levels,
        )

    def _memberships(
        self, table: Mapping[str, Node], field: str, key: str
    ) -> tuple[str, ...] | None:
        """Groups or roles; none where they are left out, None where they are unknown."""
        node = table.get(key)
        if isinstance(node, Scalar) and node.value == UNKNOWN:
            return None
        return self.texts(table, field, key) or ()

    def _claims(self, node: Node | None, field: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if node is None:
            return ()
        if not isinstance(node, Table):
            refuse(self._leaves.problems, node, field, "a mapping of claims to values")
            return ()
        read = [
            (composed(name), self.texts({name: _text_of(entry.node)}, field, name) or ())
            for name, entry in node.entries.items()
        ]
        return tuple(read)

    def _signals(self, node: Node | None, field: str) -> tuple[tuple[str, float], ...]:
        if node is None:
            return ()
        if not isinstance(node, Table):
            refuse(self._leaves.problems, node, field, "a mapping of names to weights")
            return ()
        read = (
            (name, self._leaves.number(entry.node, inside(field, name), 0, 100))
            for name, entry in node.entries.items()
        )
        return tuple((name, weight) for name, weight in read if weight is not None)

    def duration(self, node: Node, field: str) -> float:
        """Seconds, or `90s`, `15m`, `1h30m`."""
        if not isinstance(node, Scalar) or node.value is None:
            refuse(self._leaves.problems, node, field, "a duration")
            return 0.0
        try:
            seconds = spellings.duration(node.value)
        except ValueError as error:
            self._leaves.add(node, field, str(error))
            return 0.0
        if not 0 <= seconds <= spellings.LONGEST:
            self._leaves.add(node, field, "must be a duration from 0s to 3650d")
            return 0.0
        return float(seconds)

    def one_of(self, node: Node | None, field: str, names: Iterable[str]) -> str:
        """One of these names; the first of them where none is given."""
        known = list(names)
        if node is None:
            return known[0] if known else ""
        name = self._leaves.text(node, field) or ""
        if name and name not in known:
            self._leaves.unknown(Named(name, field, node.place), known, "in `given.sessions`")
        return name

    def text(self, table: Mapping[str, Node], field: str, key: str) -> str:
        """Text, empty where it is absent."""
        if key not in table:
            return ""
        return self._leaves.text(table[key], inside(field, key)) or ""

    def texts(self, table: Mapping[str, Node], field: str, key: str) -> tuple[str, ...] | None:
        """A text or a list of texts (which may be empty); None where it is absent."""
        node = table.get(key)
        if node is None:
            return None
        if getattr(node, "items", None) == ():
            return ()
        return tuple(name.text for name in self._leaves.names(node, inside(field, key)) or ())

    def truth(self, table: Mapping[str, Node], field: str, key: str) -> bool | None:
        """True or false; None where it is absent."""
        return self._leaves.boolean(table[key], inside(field, key)) if key in table else None

    def whole(self, table: Mapping[str, Node], field: str, key: str) -> int | None:
        """Whole seconds, or a duration of them; None where it is absent."""
        if key not in table:
            return None
        return int(self.duration(table[key], inside(field, key)))

    def path(self, table: Mapping[str, Node], field: str) -> str:
        """A call's path, normalised; empty where it is absent."""
        path = self.text(table, field, "path")
        try:
            return normalise(path) if path else ""
        except PathInvalid as error:
            self._leaves.add(table["path"], inside(field, "path"), str(error))
            return ""

    def _addresses(self, table: Mapping[str, Node], field: str, key: str) -> tuple[str, ...]:
        """Addresses in their canonical spelling."""
        found = self.texts(table, field, key) or ()
        for text in found:
            if not address.canonical(text):
                self._leaves.add(table[key], inside(field, key), f"{text} is no IP address")
        return tuple(filter(None, map(address.canonical, found)))

    def address(self, table: Mapping[str, Node], field: str) -> str:
        """An address in its canonical spelling; empty where it is absent."""
        text = self.text(table, field, "ip")
        ip = address.canonical(text)
        if text and not ip:
            self._leaves.add(table["ip"], inside(field, "ip"), "is no IP address")
        return ip


def _text_of(node: Node) -> Node:
    """A number or truth as the text that it is in a token's claims."""
    if isinstance(node, Scalar) and isinstance(node.value, bool | int | float):
        return Scalar(claim_text(node.value), node.place)
    return node
