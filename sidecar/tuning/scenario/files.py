"""Scenario files, read: what a policy author expects to happen, step by step, in virtual time.

docs/scenarios.md describes the format. What happens is said with the contract's own events, read
as the daemon reads them; every mistake is told with its line.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.values.location import Place as Somewhere
from sidecar.domain.values.namespaces import Namespaces
from sidecar.tuning.formats.times import zoned
from sidecar.tuning.scenario.given import Givens
from sidecar.tuning.scenario.simulation import Described, Token
from sidecar.tuning.scenario.when import Action, Frame, Whens
from sidecar.wire.yaml.nodes import Leaves, inside
from sidecar.wire.yaml.structs import refuse
from sidecar.wire.yaml.tree import (
    Entry,
    Listing,
    Node,
    Place,
    Problems,
    Scalar,
    Table,
    read_tree,
)

DEFAULT_START = int(dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC).timestamp())
"""A Monday at nine, UTC: when a scenario begins that does not say."""

NO_ADDRESS = "none"
"""As the `ip` of a call: it tells none."""

DEFAULT_PAUSE = 60.0
"""Seconds between a step and the one before it, where the file does not say."""

ONLY_SESSION = "session"
MAX_STEPS = 1000

_SCENARIO = ("name", "given", "steps")
_GIVEN = ("time", "session", "sessions", "places", "policies")
_STEP = ("at", "after", "session", "when", "then")
_THEN = (
    "session",
    "app",
    "context",
    "method",
    "host",
    "path",
    "ip",
    "user_agent",
    "token",
    "verdict",
    "acr_values",
    "max_age",
    "reasons",
    "would",
    "pending",
)


class Expected(msgspec.Struct, frozen=True):
    """What a check must answer. None: anything."""

    verdict: Verdict
    acr_values: tuple[str, ...] | None = None
    max_age: int | None = None
    reasons: frozenset[str] | None = None
    would: frozenset[str] | None = None
    pending: bool | None = None


class Check(msgspec.Struct, frozen=True):
    """A call, and what it must get. `line` is where the file says so.

    `ip` empty: from where the session was; `addressless`: it tells no address.
    """

    line: int
    session: str
    expected: Expected
    app: str = ""
    contexts: tuple[str, ...] = ()
    method: str = ""
    host: str = ""
    path: str = ""
    ip: str = ""
    user_agent: str = ""
    addressless: bool = False
    token: Token = Token.LATEST


class Step(msgspec.Struct, frozen=True):
    """What happens at `time` (seconds since the epoch), and what is then so."""

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
    places: Mapping[str, Somewhere]
    policies: tuple[str, ...]
    steps: tuple[Step, ...]


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
        self._leaves = Leaves(problems)
        self._givens = Givens(self._leaves, namespaces)
        self._whens = Whens(self._leaves)
        self._names: dict[str, Place] = {}

    def read(self, text: str) -> Iterator[Scenario]:
        tree = read_tree(text, self._file, self._problems)
        if tree is None:
            return
        table = self._leaves.table(tree, "", ("policies", "places", "scenarios"))
        if table is None:
            return
        places = self._givens.places(table.get("places"), "places")
        policies = self._paths(table.get("policies"), "policies")
        for field, node in self._items(tree, table, "scenarios", ""):
            scenario = self._scenario(node, field, places, policies)
            if scenario is not None:
                yield scenario

    def _items(
        self, node: Node, table: Mapping[str, Node], key: str, field: str
    ) -> Iterator[tuple[str, Node]]:
        """The items of a list that must be there and not be empty."""
        at = inside(field, key)
        if key not in table:
            self._leaves.add(node, at, "is required")
        elif not isinstance(table[key], Listing):
            refuse(self._problems, table[key], at, "a list")
        elif isinstance(listing := table[key], Listing):
            if not listing.items:
                self._leaves.add(listing, at, "must not be empty")
            if len(listing.items) > MAX_STEPS:
                self._leaves.add(listing, at, f"has more than {MAX_STEPS} items")
            for index, item in enumerate(listing.items[:MAX_STEPS]):
                yield f"{at}[{index}]", item

    def _scenario(
        self, node: Node, field: str, places: Mapping[str, Somewhere], policies: tuple[str, ...]
    ) -> Scenario | None:
        table = self._leaves.table(node, field, _SCENARIO)
        if table is None:
            return None
        name = self._name(node, table, field)
        at = inside(field, "given")
        given: Mapping[str, Node] = {}
        sessions: dict[str, Described] = {}
        if "given" not in table:
            self._leaves.add(node, at, "is required: a `session`, or several `sessions`")
        else:
            given = self._leaves.table(table["given"], at, _GIVEN) or {}
            sessions = self._sessions(table["given"], given, at)
        start = self._start(given.get("time"), inside(at, "time"))
        own_places = self._givens.places(given.get("places"), inside(at, "places"))
        own_policies = self._paths(given.get("policies"), inside(at, "policies"))
        steps = self._steps(node, table, field, start, sessions)
        return Scenario(
            self._file,
            node.place.line,
            name,
            start,
            tuple(sessions.items()),
            {**places, **own_places},
            own_policies or policies,
            steps,
        )

    def _name(self, node: Node, table: Mapping[str, Node], field: str) -> str:
        field = inside(field, "name")
        if "name" not in table:
            self._leaves.add(node, field, "is required")
            return ""
        name = self._leaves.text(table["name"], field) or ""
        first = self._names.setdefault(name, table["name"].place)
        if name and first != table["name"].place:
            self._leaves.add(table["name"], field, f"is used already, in line {first.line}")
        return name

    def _paths(self, node: Node | None, field: str) -> tuple[str, ...]:
        names = [] if node is None else self._leaves.names(node, field) or []
        return tuple(name.text for name in names)

    def _sessions(self, node: Node, given: Mapping[str, Node], field: str) -> dict[str, Described]:
        if ("session" in given) == ("sessions" in given):
            if given or isinstance(node, Table):
                self._leaves.add(node, field, "must have either `session` or `sessions`")
            return {}
        if "session" in given:
            return {ONLY_SESSION: self._givens.session(given["session"], inside(field, "session"))}
        at, several = inside(field, "sessions"), given["sessions"]
        if not isinstance(several, Table) or not several.entries:
            refuse(self._problems, several, at, "a mapping of names to sessions")
            return {}
        return {
            name: self._givens.session(entry.node, inside(at, name))
            for name, entry in several.entries.items()
        }

    def _start(self, node: Node | None, field: str) -> float:
        if node is None:
            return DEFAULT_START
        text = self._leaves.text(node, field)
        if text is None:
            return DEFAULT_START
        try:
            return zoned(text)
        except ValueError as error:
            self._leaves.add(node, field, str(error))
            return DEFAULT_START

    def _steps(
        self,
        node: Node,
        table: Mapping[str, Node],
        field: str,
        start: float,
        sessions: Mapping[str, Described],
    ) -> tuple[Step, ...]:
        steps: list[Step] = []
        now = start
        for at, item in self._items(node, table, "steps", field):
            keys = self._leaves.table(item, at, _STEP)
            if keys is None:
                continue
            now = self._time(item, keys, at, start, now)
            name = self._givens.one_of(keys.get("session"), inside(at, "session"), sessions)
            frame = Frame(start, now, name, sessions)
            actions = self._whens.read(keys.get("when"), inside(at, "when"), frame)
            checks = self._checks(keys.get("then"), inside(at, "then"), frame)
            if "when" not in keys and "then" not in keys:
                self._leaves.add(item, at, "must have `when` or `then`")
            steps.append(Step(item.place.line, now, actions, checks))
        return tuple(steps)

    def _time(
        self, item: Node, keys: Mapping[str, Node], field: str, start: float, before: float
    ) -> float:
        """When a step is: `at` from the start, `after` from the step before."""
        if "at" in keys and "after" in keys:
            self._leaves.add(item, inside(field, "at"), "is given, and so is `after`; give one")
            return before
        if "after" in keys:
            return before + self._givens.duration(keys["after"], inside(field, "after"))
        if "at" not in keys:
            return before + DEFAULT_PAUSE
        node, at = keys["at"], inside(field, "at")
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.startswith("+"):
            node = Scalar(node.value[1:], node.place)
        time = start + self._givens.duration(node, at)
        if time < before:
            self._leaves.add(node, at, "is before the step before it")
        return max(time, before)

    def _checks(self, node: Node | None, field: str, frame: Frame) -> tuple[Check, ...]:
        if node is None:
            return ()
        if not isinstance(node, Listing):
            found = self._check(node, field, frame)
            return () if found is None else (found,)
        read = (self._check(item, f"{field}[{i}]", frame) for i, item in enumerate(node.items))
        return tuple(check for check in read if check is not None)

    def _check(self, node: Node, field: str, frame: Frame) -> Check | None:
        if isinstance(node, Scalar):  # `then: allow`
            node = Table({}, node.place) if node.value is None else _verdict_only(node)
        table = self._leaves.table(node, field, _THEN)
        if table is None:
            return None
        if "verdict" not in table:
            self._leaves.add(node, inside(field, "verdict"), "is required")
            return None
        verdict = self._leaves.choice(table["verdict"], inside(field, "verdict"), Verdict)
        given = self._givens
        ip = table.get("ip")
        nowhere = isinstance(ip, Scalar) and ip.value == NO_ADDRESS
        session = frame.session
        if "session" in table:
            at = inside(field, "session")
            session = given.one_of(table["session"], at, frame.sessions)
        return Check(
            node.place.line,
            session,
            Expected(
                verdict or Verdict.ALLOW,
                acr_values=given.texts(table, field, "acr_values"),
                max_age=given.whole(table, field, "max_age"),
                reasons=_set(given.texts(table, field, "reasons")),
                would=_set(given.texts(table, field, "would")),
                pending=given.truth(table, field, "pending"),
            ),
            app=given.text(table, field, "app"),
            contexts=self._context(table, field),
            method=given.text(table, field, "method"),
            host=given.text(table, field, "host"),
            path=given.path(table, field),
            ip="" if nowhere else given.address(table, field),
            addressless=nowhere,
            user_agent=given.text(table, field, "user_agent"),
            token=self._token(table, field),
        )

    def _token(self, table: Mapping[str, Node], field: str) -> Token:
        if "token" not in table:
            return Token.LATEST
        return self._leaves.choice(table["token"], inside(field, "token"), Token) or Token.LATEST

    def _context(self, table: Mapping[str, Node], field: str) -> tuple[str, ...]:
        """The call's contexts: a misspelt one would be one that no policy is for."""
        if "context" not in table:
            return ()
        names = self._leaves.names(table["context"], inside(field, "context")) or []
        if self._contexts:
            self._leaves.all_of(names, frozenset(self._contexts), "in `contexts`")
        return tuple(self._contexts.get(name.text, name.text) for name in names)


def _verdict_only(node: Scalar) -> Table:

    return Table({"verdict": Entry(node.place, node)}, node.place)


def _set(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
