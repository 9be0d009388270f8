"""Reads policy files, or finds every problem at once.

A policy decides who gets in, so what is not understood is refused: keys and names that are not
known, an empty list of those it is for, a file without policies. `policy_grammar` says what a file
holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from sidecar.domain.policy.conditional_access import (
    BLOCK,
    COMPLIANT_DEVICE,
    NOBODY,
    ROUTINE,
    Assignment,
    Policy,
)
from sidecar.domain.session.standing import OF_THE_DAEMON
from sidecar.wire.grammar.records import Given
from sidecar.wire.grammar.rules import FileReading, Lookup, Rule
from sidecar.wire.names import InvalidName, composed, name_of
from sidecar.wire.policies import policy_grammar
from sidecar.wire.policies.conditions import LOCATION, NETWORK, TIMEZONE
from sidecar.wire.policies.context_policies import context_policies, policy_ids
from sidecar.wire.policies.grants import CONTROL
from sidecar.wire.settings.settings import ALL_TRUSTED, CONTEXT, Settings
from sidecar.wire.yaml.nodes import Leaves, Named
from sidecar.wire.yaml.structs import MISSING, Missing
from sidecar.wire.yaml.timezones import timezones
from sidecar.wire.yaml.tree import FilePosition, Node, Problems, Scalar, Table, read_tree, shown


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
        problems.add(FilePosition(file, 1), "policies", message)
    policies = [policy for table in files for policy in reader.policies(table)]
    problems.check()
    return (*policies, *context_policies(settings))


class _Reader:
    def __init__(self, problems: Problems, settings: Settings) -> None:
        self._problems = problems
        self._namespaces = settings.tokens.namespaces
        self._names = _Names(problems, settings)
        self._reading = FileReading(problems, self._names.lookups(), policy_grammar.DEFINED)
        policy = msgspec.structs.replace(policy_grammar.POLICY, check=self._check)
        self._policies = policy_grammar.ListOfPolicies(policy)

    def file(self, file: str, text: str) -> Mapping[str, Node] | None:
        """Return what a file holds, and take up its definitions; None if it cannot be read."""
        tree = read_tree(text, file, self._problems)
        if tree is None:
            return None
        if isinstance(tree, Scalar) and tree.value is None:
            tree = Table({}, tree.place)
        table = self._reading.table(tree, "", policy_grammar.FILE.keys)
        if table is None:
            return None
        if "definitions" in table:
            self._reading.definitions.take(table["definitions"], "definitions")
        elif "policies" not in table:
            message = "is required (a list; `[]` if there is no policy)"
            self._reading.add(tree, "policies", message)
        return table

    def check_definitions(self) -> None:
        """Read all definitions, used or not."""
        for kind, rule in policy_grammar.DEFINED.items():
            self._reading.definitions.check(kind, self._read(rule))

    def policies(self, table: Mapping[str, Node]) -> Iterable[Policy]:
        """Return the policies of one file that could be read."""
        if "policies" not in table:
            return ()
        found = self._policies.read(table["policies"], "policies", self._reading)
        return () if isinstance(found, Missing) else found

    def _read(self, rule: Rule[object]) -> Callable[[Node, str], object]:
        return lambda node, field: rule.read(node, field, self._reading)

    def _check(self, given: Given) -> Iterable[tuple[str, str]]:
        yield from policy_grammar.check_policy(given)
        users = given.values.get("users")
        if not isinstance(users, Assignment) or users.exclude == NOBODY:
            return
        if "issuers" not in given.nodes and self._namespaces.sole() is None:
            message = (
                "would leave out users of these names at every issuer: say `issuers` beside, as"
                " there are several"
            )
            yield "users.exclude", message


class _Names:
    """Knows the names that policies may use, as the configuration has them."""

    def __init__(self, problems: Problems, settings: Settings) -> None:
        self._leaves = Leaves(problems)
        self._problems = problems
        self._settings = settings
        self._namespaces = settings.tokens.namespaces
        self._apps = _apps(settings)
        self._made = policy_ids(settings.contexts)
        self._ids: dict[str, FilePosition] = {}

    def lookups(self) -> Mapping[str, Lookup]:
        """Return how names are looked up, by their kinds."""
        settings, assurance = self._settings, self._settings.assurance
        levels = (level.name for level in assurance.levels)
        controls = frozenset({*levels, *assurance.strengths, COMPLIANT_DEVICE, BLOCK})
        locations = frozenset({ALL_TRUSTED, *(one.name for one in settings.locations)})
        networks = frozenset(one.name for one in settings.networks)
        return {
            policy_grammar.ID: self._id,
            policy_grammar.ISSUER: self._issuer,
            policy_grammar.APP: self._app,
            policy_grammar.CONTEXT: self._context,
            CONTROL: self._among(controls, "a control"),
            LOCATION: self._among(locations, "in `locations`"),
            TIMEZONE: self._among(timezones(), "a time zone"),
            **({NETWORK: self._among(networks, "in `networks`")} if networks else {}),
        }

    def _among(self, names: frozenset[str], where: str) -> Lookup:
        def lookup(name: Named) -> str | Missing:
            return name.text if self._leaves.all_of([name], names, where) else MISSING

        return lookup

    def _id(self, name: Named) -> str:
        text = name.text
        if text in self._made:
            self._refuse(name, f"{text!r} is what `contexts.{self._made[text]}.requires` is called")
        if text in OF_THE_DAEMON:
            message = f"{text!r} is what the daemon itself is called where it asks for something"
            self._refuse(name, message)
        first = self._ids.get(text)
        if first is not None:
            self._refuse(name, f"{text!r} is used already, in {first.file}:{first.line}")
        self._ids.setdefault(text, name.place)
        return text

    def _context(self, name: Named) -> str | Missing:
        if name.text == ROUTINE:
            return name.text
        contexts, aliases = self._settings.contexts, self._settings.aliases
        if contexts:
            if name.text in aliases:
                return aliases[name.text]
            known = frozenset({*contexts, ROUTINE, *aliases})
            return name.text if self._leaves.all_of([name], known, "in `contexts`") else MISSING
        if not CONTEXT.fullmatch(name.text):
            message = f"{shown(name.text)!r} is no context; contexts are c1 to c99 and routine"
            self._refuse(name, message)
        return name.text

    def _issuer(self, name: Named) -> str | Missing:
        """Return an issuer's namespace: its names are known by that."""
        namespace = self._namespaces.named(name.text)
        if namespace is None:
            known = frozenset(self._namespaces.words)
            self._leaves.all_of([name], known, "in `tokens.issuers`")
            return MISSING
        return namespace

    def _app(self, name: Named) -> str:
        """Return the name of an app, which must be one that a call can be of."""
        try:
            app = name_of(name.text)
        except InvalidName as error:
            self._refuse(name, str(error))
            app = name.text
        if self._apps is not None and app not in self._apps:
            where = "an audience of an issuer; else give `app.id`"
            self._leaves.unknown(Named(app, name.field, name.place), self._apps, where)
        return app

    def _refuse(self, name: Named, message: str) -> None:
        self._problems.add(name.place, name.field, message)


def _apps(settings: Settings) -> frozenset[str] | None:
    """Return the apps that calls can be of: the tokens' audiences; None if any name may be.

    Beside one app with an `id` the same policies may be for others, too.
    """
    issuers = settings.tokens.issuers
    if settings.app.id or not issuers or any(one.app_claim for one in issuers):
        return None
    return frozenset(composed(name) for one in issuers for name in one.audiences)
