"""Reads scenario files: what a policy author expects to happen, step by step, in virtual time.

docs/scenarios.md describes the format. What happens is said with the contract's own events, read
as the daemon reads them; every problem has its line. Here a file, a scenario and a step are
described; `given`, `when` and `then` describe what they hold.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from sidecar.domain.values.location import Place
from sidecar.domain.values.namespaces import Namespaces
from sidecar.tuning.scenario.given import GIVEN, SESSION, Duration, Places, ScenarioStart
from sidecar.tuning.scenario.simulation import Described
from sidecar.tuning.scenario.then import SESSION_NAME, CallOrVerdict, Check
from sidecar.tuning.scenario.when import Action, StepFrame, Whens, action_schema
from sidecar.wire.grammar.records import REQUIRED, Record, RecordKey
from sidecar.wire.grammar.rules import FileReading, Name, Schema, Several, Text
from sidecar.wire.policies.policy_grammar import CONTEXT, ISSUER
from sidecar.wire.yaml.nodes import Named, inside
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.tree import FilePosition, Listing, Node, Problems, Table, read_tree

DEFAULT_START = int(dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC).timestamp())
"""A Monday at nine, UTC: when a scenario begins that does not say."""

DEFAULT_PAUSE = 60.0
"""Seconds between a step and the one before it, where the file does not say."""

ONLY_SESSION = "session"
MAX_STEPS = 1000
NAME = "scenario"
"""What `FileReading.lookups` calls the names of scenarios."""


class Step(msgspec.Struct, frozen=True):
    """A step of a scenario at `time` (seconds since the epoch): actions, then checks."""

    line: int
    time: float
    actions: tuple[Action, ...]
    checks: tuple[Check, ...]


class Scenario(msgspec.Struct, frozen=True):
    """One scenario. `policies` are paths relative to its file; empty: the configured ones."""

    file: str
    line: int
    name: str
    start: float
    sessions: tuple[tuple[str, Described], ...]
    places: Mapping[str, Place]
    policies: tuple[str, ...]
    steps: tuple[Step, ...]


class ReadLater(msgspec.Struct, frozen=True):
    """Accepts anything: who knows where in a scenario it stands reads it. `shape` is its schema."""

    shape: Mapping[str, Any]
    called: str

    def read(self, node: Node, field: str, reading: FileReading) -> Node:  # noqa: ARG002
        """Return the node."""
        return node

    def schema(self) -> Schema:
        """Return the schema."""
        return dict(self.shape)

    def words(self) -> str:
        """Return what it is."""
        return self.called


def _several(name: str) -> Schema:
    one = {"$ref": f"#/$defs/{name}"}
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _at_least_one(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}, "minItems": 1}


STEP: Record[object] = Record(
    {
        "at": RecordKey(Duration(signed=True), "when it is, from the beginning"),
        "after": RecordKey(
            Duration(), "when it is, from the step before", default="`1m`, without `at`"
        ),
        "session": RecordKey(Name(SESSION_NAME), "whose step it is", default="the first session's"),
        "when": RecordKey(ReadLater(_several("action"), "thing, or list"), "what happens"),
        "then": RecordKey(
            ReadLater(_several("check"), "call, or list"), "calls, with what they get"
        ),
    },
    dict,
    needs=("when", "then"),
    lacking="must have `when` or `then`",
    more={"not": {"required": ["at", "after"]}},
)
SCENARIO: Record[object] = Record(
    {
        "name": RecordKey(Name(NAME), "what it is called, once in a file", required=REQUIRED),
        "given": RecordKey(
            GIVEN,
            "what it begins with",
            required="is required: a `session`, or several `sessions`",
        ),
        "steps": RecordKey(
            ReadLater(_at_least_one("step"), "list"), "what happens then", required=REQUIRED
        ),
    },
    dict,
)
FILE: Record[object] = Record(
    {
        "policies": RecordKey(Several(Text()), "as in `given`, for all"),
        "places": RecordKey(Places(), "as in `given`, for all"),
        "scenarios": RecordKey(
            ReadLater(_at_least_one("scenario"), "list"), "the scenarios", required=REQUIRED
        ),
    },
    dict,
)
CHECK = CallOrVerdict()


def scenario_schema() -> Schema:
    """Return the JSON Schema of one scenario file."""
    return {
        "title": "Scenarios for stepup-sidecar",
        **FILE.schema(),
        "$defs": {
            "scenario": SCENARIO.schema(),
            "step": STEP.schema(),
            "action": action_schema(),
            "check": CHECK.schema(),
        },
    }


def read_scenarios(
    texts: Sequence[tuple[str, str]],
    contexts: Iterable[str] = (),
    namespaces: Namespaces | None = None,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Scenario, ...]:
    """Read scenario files, each as its name and text. Raises ConfigError with all that is wrong.

    `contexts` are those that may be named; empty: any. `namespaces` are the issuers'; None: any.
    `aliases` are the contexts by their other names.
    """
    problems = Problems()
    known = {**aliases, **{name: name for name in contexts}}
    found = [
        each for file, text in texts for each in _File(file, problems, known, namespaces).read(text)
    ]
    problems.check()
    return tuple(found)


class _File:
    def __init__(
        self,
        file: str,
        problems: Problems,
        contexts: Mapping[str, str],
        namespaces: Namespaces | None,
    ) -> None:
        self._file = file
        self._contexts = contexts
        self._problems = problems
        self._namespaces = namespaces
        self._sessions: Mapping[str, Described] = {}
        self._names: dict[str, FilePosition] = {}
        lookups = {
            NAME: self._name,
            SESSION_NAME: self._session,
            CONTEXT: self._context,
            ISSUER: self._issuer,
        }
        self._reading = FileReading(problems, lookups)
        self._whens = Whens(self._reading)

    def read(self, text: str) -> Iterator[Scenario]:
        """Return the scenarios that could be read."""
        tree = read_tree(text, self._file, self._problems)
        if tree is None:
            return
        table = self._reading.table(tree, "", FILE.keys)
        if table is None:
            return
        places = self._value(FILE, "places", table, tree, "") or {}
        policies = self._value(FILE, "policies", table, tree, "") or ()
        for field, node in self._items(FILE, "scenarios", table, tree, ""):
            scenario = self._scenario(node, field)
            if scenario is not None:
                yield msgspec.structs.replace(
                    scenario,
                    places={**places, **scenario.places},
                    policies=scenario.policies or policies,
                )

    def _value(
        self, record: Record[object], key: str, table: Mapping[str, Node], node: Node, field: str
    ) -> Any:
        """Return the value of a key; None if it is left out, or there is a problem with it."""
        found = record.value(key, table, node.place, field, self._reading)
        return None if found is MISSING else found

    def _items(
        self, record: Record[object], key: str, table: Mapping[str, Node], node: Node, field: str
    ) -> Iterator[tuple[str, Node]]:
        """Return the items of a list that must be there and not be empty, with their fields."""
        at = inside(field, key)
        listing = self._value(record, key, table, node, field)
        if listing is None:
            return
        if not isinstance(listing, Listing):
            refuse(self._problems, listing, at, "a list")
            return
        if not listing.items:
            self._reading.add(listing, at, "must not be empty")
        if len(listing.items) > MAX_STEPS:
            self._reading.add(listing, at, f"has more than {MAX_STEPS} items")
        for index, item in enumerate(listing.items[:MAX_STEPS]):
            yield f"{at}[{index}]", item

    def _scenario(self, node: Node, field: str) -> Scenario | None:
        table = self._reading.table(node, field, SCENARIO.keys)
        if table is None:
            return None
        name = self._value(SCENARIO, "name", table, node, field) or ""
        given = self._value(SCENARIO, "given", table, node, field) or ScenarioStart()
        for at, session in _session_nodes(table.get("given"), inside(field, "given")):
            self._check_issuer(session, at)
        sessions = _sessions_of(given, table.get("given"))
        self._sessions = sessions
        start = DEFAULT_START if given.time is None else given.time
        steps = self._steps(node, table, field, start)
        return Scenario(
            self._file,
            node.place.line,
            name,
            start,
            tuple(sessions.items()),
            given.places,
            given.policies,
            steps,
        )

    def _steps(
        self, node: Node, table: Mapping[str, Node], field: str, start: float
    ) -> tuple[Step, ...]:
        steps: list[Step] = []
        now = start
        for at, item in self._items(SCENARIO, "steps", table, node, field):
            keys = self._reading.table(item, at, STEP.keys)
            if keys is None:
                continue
            now = self._time(item, keys, at, start, now)
            name = self._value(STEP, "session", keys, item, at)
            frame = StepFrame(start, now, name or next(iter(self._sessions), ""), self._sessions)
            actions = self._whens.read(keys.get("when"), inside(at, "when"), frame)
            checks = self._checks(keys.get("then"), inside(at, "then"), frame)
            if keys.keys().isdisjoint(STEP.needs):
                self._reading.add(item, at, STEP.lacking)
            steps.append(Step(item.place.line, now, actions, checks))
        return tuple(steps)

    def _time(
        self, item: Node, keys: Mapping[str, Node], field: str, start: float, before: float
    ) -> float:
        """Return when a step is: `at` from the start, `after` from the step before."""
        if "at" in keys and "after" in keys:
            message = "is given, and so is `after`; give one"
            self._reading.add(item, inside(field, "at"), message)
            return before
        if "after" in keys:
            return before + (self._value(STEP, "after", keys, item, field) or 0.0)
        if "at" not in keys:
            return before + DEFAULT_PAUSE
        time = start + (self._value(STEP, "at", keys, item, field) or 0.0)
        if time < before:
            self._reading.add(keys["at"], inside(field, "at"), "is before the step before it")
        return max(time, before)

    def _checks(self, node: Node | None, field: str, frame: StepFrame) -> tuple[Check, ...]:
        if node is None:
            return ()
        items = [(field, node)]
        if isinstance(node, Listing):
            items = [(f"{field}[{i}]", item) for i, item in enumerate(node.items)]
        read = (CHECK.read(item, at, self._reading) for at, item in items)
        return tuple(
            msgspec.structs.replace(check, session=check.session or frame.session)
            for check in read
            if not isinstance(check, Missing)
        )

    def _name(self, name: Named) -> str:
        first = self._names.setdefault(name.text, name.place)
        if first != name.place:
            message = f"is used already, in line {first.line}"
            self._problems.add(name.place, name.field, message)
        return name.text

    def _session(self, name: Named) -> str:
        self._reading.all_of([name], frozenset(self._sessions), "in `given.sessions`")
        return name.text

    def _context(self, name: Named) -> str:
        """Return a call's context: a misspelt one would be one that no policy is for."""
        if self._contexts:
            self._reading.all_of([name], frozenset(self._contexts), "in `contexts`")
        return self._contexts.get(name.text, name.text)

    def _check_issuer(self, session: Table, field: str) -> None:
        """Find that a session does not say whose user it is of, where there are several issuers."""
        known = self._namespaces
        if known is None or known.sole() is not None or "issuer" in session.entries:
            return
        said = [entry for key, entry in session.entries.items() if key in SESSION.keys]
        if said:
            message = "is required, as there are several issuers"
            self._problems.add(said[0].node.place, inside(field, "issuer"), message)

    def _issuer(self, name: Named) -> str:
        known = self._namespaces
        if known is not None and known.named(name.text) is None:
            self._reading.unknown(name, known.words, "in `tokens.issuers`")
        return name.text


def _session_nodes(given: Node | None, field: str) -> Iterator[tuple[str, Table]]:
    """Return the mappings that describe sessions, with their fields."""
    entries = given.entries if isinstance(given, Table) else {}
    several = entries["sessions"].node if "sessions" in entries else None
    nodes = {inside(field, "session"): entries["session"].node} if "session" in entries else {}
    for name, entry in several.entries.items() if isinstance(several, Table) else ():
        nodes[inside(inside(field, "sessions"), name)] = entry.node
    yield from ((at, node) for at, node in nodes.items() if isinstance(node, Table))


def _sessions_of(given: ScenarioStart, node: Node | None) -> dict[str, Described]:
    """Return all sessions by name; of one that could not be read there is the name alone."""
    if given.session is not None:
        return {ONLY_SESSION: given.session}
    if given.sessions:
        return dict(given.sessions)
    if not isinstance(node, Table):
        return {}
    several = node.entries.get("sessions")
    if "session" in node.entries:
        return {} if several else {ONLY_SESSION: Described()}
    named = several.node if several else None
    return dict.fromkeys(named.entries, Described()) if isinstance(named, Table) else {}
