"""Policy files to policies, or every problem at once: the contract, section 8.

A policy decides who gets in, so what is not understood is refused: keys and names that are not
known, an empty list of those it is for, a file without policies.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from sidecar.domain.policy.policy import (
    NOBODY,
    ROUTINE,
    Assignment,
    Condition,
    Grant,
    Policy,
    Principals,
    Selection,
    SessionControls,
    State,
)
from sidecar.domain.session.standing import OF_THE_DAEMON
from sidecar.wire.grammar.definitions import USE
from sidecar.wire.grammar.rules import Lookup, Name, Reading
from sidecar.wire.grammar.selections import (
    EVERYTHING,
    is_empty_list,
    means_all,
    refuse_all,
    selection,
)
from sidecar.wire.names import InvalidName, composed, name_of
from sidecar.wire.policies.conditions import CONDITION
from sidecar.wire.policies.context_policies import context_policies, policy_ids
from sidecar.wire.policies.grants import Grants
from sidecar.wire.policies.session_controls import read_session, seconds
from sidecar.wire.settings.settings import ALL_TRUSTED, CONTEXT, Settings
from sidecar.wire.yaml.nodes import Named, inside
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.timezones import timezones
from sidecar.wire.yaml.tree import Listing, Node, Place, Problems, Scalar, Table, read_tree, shown

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FIELDS = (
    "id",
    "description",
    "state",
    "users",
    "issuers",
    "apps",
    "contexts",
    "conditions",
    "grant",
    "session",
    "sticky",
    "grace",
    "min_interval",
)
_FILE = ("policies", "definitions")
_PRINCIPALS = ("users", "groups", "roles")


def read_policies(texts: Sequence[tuple[str, str]], settings: Settings) -> tuple[Policy, ...]:
    """Read policy files, each as its name and its text; the order of the policies is theirs.

    The policies of contexts that require something come after them. Raises ConfigError with
    everything that is wrong with any of them.
    """
    problems = Problems()
    reader = _Reader(problems, settings)
    files = [table for file, text in texts if (table := reader.file(file, text)) is not None]
    reader.check_definitions()
    if not problems and not any("policies" in table for table in files):
        file = texts[0][0] if texts else settings.policies.path
        message = "no file has any: where none are wanted, put `policies: []` in one"
        problems.add(Place(file, 1), "policies", message)
    policies = [policy for table in files for policy in reader.policies(table)]
    problems.check()
    return (*policies, *context_policies(settings))


class _Reader:
    def __init__(self, problems: Problems, settings: Settings) -> None:
        self._problems = problems
        self._contexts = frozenset(settings.contexts)
        self._aliases = settings.aliases
        self._namespaces = settings.tokens.namespaces
        self._apps = _apps(settings)
        self._made = policy_ids(settings.contexts)
        locations = frozenset({ALL_TRUSTED, *(one.name for one in settings.locations)})
        networks = frozenset(one.name for one in settings.networks)
        self._leaves = Reading(
            problems,
            {
                "location": self._known(locations, "in `locations`"),
                "network": self._known(networks, "in `networks`") if networks else _any,
                "timezone": self._known(timezones(), "a time zone"),
                "contexts": self._context,
                "issuers": self._issuer,
                "apps": self._app,
            },
        )
        assurance = settings.assurance
        levels = (level.name for level in assurance.levels)
        self._definitions = self._leaves.definitions
        self._grants = Grants(self._leaves, (*levels, *assurance.strengths), self._definitions)
        self._ids: dict[str, Place] = {}

    def file(self, file: str, text: str) -> Mapping[str, Node] | None:
        """What a file holds; its definitions are taken up. None where it cannot be read."""
        tree = read_tree(text, file, self._problems)
        if tree is None:
            return None
        if isinstance(tree, Scalar) and tree.value is None:
            tree = Table({}, tree.place)
        table = self._leaves.table(tree, "", _FILE)
        if table is None:
            return None
        if "definitions" in table:
            self._definitions.take(table["definitions"], "definitions")
        elif "policies" not in table:
            self._leaves.add(tree, "policies", "is required (a list; `[]` if there is no policy)")
        return table

    def check_definitions(self) -> None:
        """Read all definitions, used or not."""
        self._definitions.check("conditions", self._condition)
        self._grants.check()
        self._definitions.check("users", self._assignment)

    def policies(self, table: Mapping[str, Node]) -> Iterable[Policy]:
        """The policies of one file that could be read."""
        if "policies" not in table:
            return
        if not isinstance(table["policies"], Listing):
            refuse(self._problems, table["policies"], "policies", "a list of policies")
            return
        for at, node in enumerate(table["policies"].items):
            policy = self._policy(node, f"policies[{at}]")
            if policy is not None:
                yield policy

    def _policy(self, node: Node, field: str) -> Policy | None:
        table = self._leaves.table(node, field, _FIELDS)
        if table is None:
            return None
        name = self._id(node, table, field)
        grant = self._grant(node, table, field)
        conditions = None
        if "conditions" in table:
            found = self._condition(table["conditions"], inside(field, "conditions"))
            conditions = None if isinstance(found, Missing) else found
        return Policy(
            id=name,
            grant=grant,
            description=self._description(table, field),
            state=self._state(table, field),
            users=self._users(table, field),
            issuers=self._selection(table, field, "issuers"),
            apps=self._selection(table, field, "apps"),
            contexts=self._selection(table, field, "contexts"),
            conditions=conditions,
            session=self._session(table, field),
            sticky=self._sticky(table, field),
            grace=self._grace(table, field, grant),
            min_interval=self._interval(table, field),
        )

    def _condition(self, node: Node, field: str) -> Condition | Missing:
        return CONDITION.read(node, field, self._leaves)

    def _known(self, names: frozenset[str], where: str) -> Lookup:
        def known(name: Named) -> str | Missing:
            return name.text if self._leaves.all_of([name], names, where) else MISSING

        return known

    def _id(self, node: Node, table: Mapping[str, Node], field: str) -> str:
        field = inside(field, "id")
        if "id" not in table:
            self._leaves.add(node, field, "is required")
            return ""
        name = self._leaves.text(table["id"], field)
        if name is None:
            return ""
        if not _ID.fullmatch(name):
            message = "must be 1 to 64 small letters, digits, dots, dashes or underscores"
            self._leaves.add(table["id"], field, message)
            return ""
        if name in self._made:
            message = f"{name!r} is what `contexts.{self._made[name]}.requires` is called"
            self._leaves.add(table["id"], field, message)
        if name in OF_THE_DAEMON:
            message = f"{name!r} is what the daemon itself is called where it asks for something"
            self._leaves.add(table["id"], field, message)
        first = self._ids.get(name)
        if first is not None:
            message = f"{name!r} is used already, in {first.file}:{first.line}"
            self._leaves.add(table["id"], field, message)
        self._ids.setdefault(name, table["id"].place)
        return name

    def _grant(self, node: Node, table: Mapping[str, Node], field: str) -> Grant:
        if "grant" in table:
            return self._grants.read(table["grant"], inside(field, "grant")) or Grant()
        if "session" not in table:
            message = "is required, unless `session` asks for fresh sign-ins"
            self._leaves.add(node, inside(field, "grant"), message)
        return Grant()

    def _description(self, table: Mapping[str, Node], field: str) -> str:
        if "description" not in table:
            return ""
        return self._leaves.text(table["description"], inside(field, "description")) or ""

    def _state(self, table: Mapping[str, Node], field: str) -> State:
        if "state" not in table:
            return State.ENABLED
        found = self._leaves.choice(table["state"], inside(field, "state"), State)
        return found or State.ENABLED

    def _sticky(self, table: Mapping[str, Node], field: str) -> bool:
        if "sticky" not in table:
            return False
        return bool(self._leaves.boolean(table["sticky"], inside(field, "sticky")))

    def _grace(self, table: Mapping[str, Node], field: str, grant: Grant) -> int:
        if "grace" not in table:
            return 0
        field = inside(field, "grace")
        if grant.block:
            self._leaves.add(table["grace"], field, "is not for `block`, which binds at once")
        return seconds(self._leaves, table["grace"], field) or 0

    def _interval(self, table: Mapping[str, Node], field: str) -> int | None:
        if "min_interval" not in table:
            return None
        return seconds(self._leaves, table["min_interval"], inside(field, "min_interval"), least=0)

    def _session(self, table: Mapping[str, Node], field: str) -> SessionControls:
        if "session" not in table:
            return SessionControls()
        return read_session(self._leaves, table["session"], inside(field, "session"))

    def _selection(self, table: Mapping[str, Node], field: str, key: str) -> Selection:
        if key not in table:
            return Selection()
        found = selection(Name(key)).read(table[key], inside(field, key), self._leaves)
        return Selection() if isinstance(found, Missing) else found

    def _context(self, name: Named) -> str | Missing:
        if name.text == ROUTINE:
            return name.text
        if self._contexts:
            if name.text in self._aliases:
                return self._aliases[name.text]
            known = self._contexts | {ROUTINE, *self._aliases}
            return name.text if self._leaves.all_of([name], known, "in `contexts`") else MISSING
        if not CONTEXT.fullmatch(name.text):
            message = f"{shown(name.text)!r} is no context; contexts are c1 to c99 and routine"
            self._problems.add(name.place, name.field, message)
        return name.text

    def _issuer(self, name: Named) -> str | Missing:
        """An issuer's namespace: its names are known by that."""
        namespace = self._namespaces.named(name.text)
        if namespace is None:
            known = frozenset(self._namespaces.words)
            self._leaves.all_of([name], known, "in `tokens.issuers`")
            return MISSING
        return namespace

    def _users(self, table: Mapping[str, Node], field: str) -> Assignment:
        if "users" not in table:
            return Assignment()
        users = self._assignment(table["users"], inside(field, "users"))
        if isinstance(users, Missing):
            return Assignment()
        if users.exclude != NOBODY and "issuers" not in table and self._namespaces.sole() is None:
            message = (
                "would leave out users of these names at every issuer: say `issuers` beside, as"
                " there are several"
            )
            self._leaves.add(table["users"], inside(field, "users.exclude"), message)
        return users

    def _assignment(self, node: Node, field: str) -> Assignment | Missing:
        if isinstance(node, Table) and node.entries.keys() == {USE}:
            used = node.entries[USE].node
            return self._definitions.use("users", used, inside(field, USE), self._assignment)
        if not isinstance(node, Table):
            return Assignment(self._included(node, field))
        sides = self._leaves.table(node, field, ("include", "exclude"))
        if not sides:
            if sides is not None and not node.entries:
                self._leaves.add(node, field, "must have `include` or `exclude`")
            return Assignment()
        include = exclude = None
        if "include" in sides:
            include = self._included(sides["include"], inside(field, "include"))
        if "exclude" in sides and not is_empty_list(sides["exclude"]):
            exclude = self._principals(sides["exclude"], inside(field, "exclude"), optional=True)
        return Assignment(include, exclude or Principals())

    def _included(self, node: Node, field: str) -> Principals | None:
        """Those included; None for all."""
        if not isinstance(node, Table):
            names = self._leaves.names(node, field) or []
            if means_all(names):
                return None
            return Principals(users=self._unlike_all(names))
        return self._principals(node, field, optional=False)

    def _principals(self, node: Node, field: str, *, optional: bool) -> Principals:
        if not isinstance(node, Table):
            return Principals(users=self._unlike_all(self._leaves.names(node, field) or []))
        kinds = self._leaves.table(node, field, _PRINCIPALS) or {}
        found = {
            kind: self._unlike_all(self._leaves.names(each, inside(field, kind)) or [])
            for kind, each in kinds.items()
            if not is_empty_list(each)
        }
        if not found and not optional:
            self._leaves.add(node, field, f"must name {', '.join(_PRINCIPALS)}; or say `all`")
        return Principals(**found)

    def _unlike_all(self, names: Iterable[Named]) -> frozenset[str]:
        """The names; `all` among them is told, since it would mean a user of that name."""
        found = set()
        for name in names:
            if name.text == EVERYTHING:
                refuse_all(self._leaves, name)
            found.add(self._name(name))
        return frozenset(found)

    def _name(self, name: Named) -> str:
        """A name as tokens and events have it; what could be in none of them is told."""
        try:
            return name_of(name.text)
        except InvalidName as error:
            self._problems.add(name.place, name.field, str(error))
            return name.text

    def _app(self, name: Named) -> str:
        """The name of an app, which must be one that a call can be of."""
        app = self._name(name)
        if self._apps is not None and app not in self._apps:
            where = "an audience of an issuer; else give `app.id`"
            self._leaves.unknown(Named(app, name.field, name.place), self._apps, where)
        return app


def _any(name: Named) -> str:
    """Return the name: agents report networks that nobody has configured."""
    return name.text


def _apps(settings: Settings) -> frozenset[str] | None:
    """The apps that calls can be of: the tokens' audiences; None: they may have any name.

    Beside one app with an `id` the same policies may be for others, too.
    """
    issuers = settings.tokens.issuers
    if settings.app.id or not issuers or any(one.app_claim for one in issuers):
        return None
    return frozenset(composed(name) for one in issuers for name in one.audiences)
