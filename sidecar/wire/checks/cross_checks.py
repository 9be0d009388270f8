"""Cross checks of several values: names that must be unique, must exist, or must fit together.

Each check looks at the tree, which knows its lines, and at those sections that could be read; so
a mistake in one section hides none in another.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.domain.policy.conditional_access import BLOCK, COMPLIANT_DEVICE, ROUTINE
from sidecar.wire.central.checks import check_central
from sidecar.wire.checks.intake import check_intake
from sidecar.wire.checks.issuers import check_issuers
from sidecar.wire.checks.listeners import check_listeners
from sidecar.wire.checks.receiver import check_receiver
from sidecar.wire.checks.sources import check_sources
from sidecar.wire.checks.weaknesses import check_accepted
from sidecar.wire.grammar.selections import EVERYTHING
from sidecar.wire.routes.routes import InvalidRoute, Routes
from sidecar.wire.settings.settings import (
    ALIAS,
    CONTEXT,
    Assurance,
    Context,
    Http,
    Risk,
    Route,
    Sessions,
    StoreSettings,
    Tokens,
)
from sidecar.wire.settings.transmitter import Transmitter
from sidecar.wire.tokens.claim_paths import parts_of
from sidecar.wire.tokens.introspection import introspection_problems
from sidecar.wire.yaml.structs import join, suggestion
from sidecar.wire.yaml.tree import FilePosition, Listing, Node, Problems, Scalar, Table, shown

NO_ALIAS = frozenset({EVERYTHING, ROUTINE, "unknown"})
"""Words that stand for contexts already."""
LEAST_STALENESS = 2.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,32}")
_NOT_IN_REALMS = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750, section 3: in no challenge
_RESERVED = frozenset({BLOCK, COMPLIANT_DEVICE, ROUTINE})
_EACH = "{}"
_SOURCES = ("cidrs", "cidr_file", "countries", "asns")


def cross_check(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add what does not fit together. `values` are the sections that could be read."""
    check = _Checks(root, problems)
    check.unique("tokens", "issuers", "*", "issuer")
    check.names("locations", "*", "name")
    check.names("networks", "*", "name")
    check.names("assurance", "levels", "*", "name")
    check.names("transmitter", "recipients", "*", "name")
    check.names("receiver", "transmitters", "*", "name")
    check.unique("receiver", "transmitters", "*", "issuer")
    check.unique("intake", "issuers", "*", "issuer")
    check.names("sources", "*", "name")
    check.names("admin", "operators", "*", "name")
    check.contexts(values.get("contexts", {}))
    check.required(values.get("contexts", {}), values.get("assurance"))
    check.routes()
    check.locations()
    check.challenges()
    check.cors(values.get("http"))
    for section in values.values():
        match section:
            case Tokens():
                check.issuers(section)
            case Assurance():
                check.assurance(section)
            case Risk():
                check.thresholds(section)
            case Sessions():
                check.sessions(section)
            case StoreSettings():
                check.store(section)
            case Transmitter():
                check.transmitter(section)
            case _:
                pass
    check_receiver(root, values, problems)
    check_intake(root, values, problems)
    check_central(root, values, problems)
    check_issuers(root, values, problems)
    check_sources(root, values, problems)
    check_listeners(root, values, problems)
    check_accepted(root, values, problems)


def _find(node: Node, steps: tuple[str, ...], field: str = "") -> Iterator[tuple[str, Node]]:
    """Yield each node at the end of these keys, with its field.

    `*` stands for every item of a list, `_EACH` for every entry of a mapping.
    """
    if not steps:
        yield field, node
    elif steps[0] == "*":
        for index, item in enumerate(node.items if isinstance(node, Listing) else ()):
            yield from _find(item, steps[1:], f"{field}[{index}]")
    elif steps[0] == _EACH:
        for key, entry in node.entries.items() if isinstance(node, Table) else ():
            yield from _find(entry.node, steps[1:], join(field, key))
    elif isinstance(node, Table) and steps[0] in node.entries:
        yield from _find(node.entries[steps[0]].node, steps[1:], join(field, steps[0]))


class _Checks:
    def __init__(self, root: Table, problems: Problems) -> None:
        self._root = root
        self._problems = problems

    def _texts(self, *steps: str) -> Iterator[tuple[str, FilePosition, str]]:
        for field, node in _find(self._root, steps):
            if isinstance(node, Scalar) and isinstance(node.value, str):
                yield field, node.place, node.value

    def _place(self, *steps: str) -> FilePosition:
        """Return where this stands, else where the nearest thing around it stands."""
        for end in range(len(steps), 0, -1):
            for _, node in _find(self._root, steps[:end]):
                return node.place
        return self._root.place

    def _add(self, field: str, message: str) -> None:
        self._problems.add(self._place(*field.split(".")), field, message)

    def unique(self, *steps: str) -> None:
        """Report those of these values that are empty or the same."""
        first: dict[str, tuple[str, FilePosition]] = {}
        for field, place, name in self._texts(*steps):
            owner, there = first.setdefault(name, (field, place))
            if not name:
                self._problems.add(place, field, "must not be empty")
            elif owner != field:
                message = f"{shown(name)!r} is used already, by {owner} in line {there.line}"
                self._problems.add(place, field, message)

    def names(self, *steps: str) -> None:
        """Report those of these names that policies cannot refer to, or that are not unique."""
        self.unique(*steps)
        for field, place, name in self._texts(*steps):
            if name and not _NAME.fullmatch(name):
                message = "must be 1 to 64 letters, digits, dots, dashes or underscores"
                self._problems.add(place, field, message)

    def contexts(self, contexts: Mapping[str, Context]) -> None:
        """Report contexts not named c1 to c99, and those with a freshness that cannot be had."""
        for _, node in _find(self._root, ("contexts.unknown",)):
            if not contexts and isinstance(node, Scalar) and node.value == "strictest":
                message = "must have contexts beside it: the strictest of none would be nothing"
                self._problems.add(node.place, "contexts.unknown", message)
        for name, context in contexts.items():
            if context.max_staleness is not None:
                self.staleness(f"contexts.{name}.max_staleness", context.max_staleness)
        self.aliases(contexts)
        for _, node in _find(self._root, ("contexts",)):
            for name, entry in node.entries.items() if isinstance(node, Table) else ():
                if not CONTEXT.fullmatch(name):
                    message = "must be named c1 to c99; what it is called goes into `name`"
                    self._problems.add(entry.place, join("contexts", name), message)

    def aliases(self, contexts: Mapping[str, Context]) -> None:
        """Report aliases that stand for two contexts, or could be taken for an id."""
        first: dict[str, str] = {}
        for name, context in contexts.items():
            if not context.alias:
                continue
            field, alias = f"contexts.{name}.alias", context.alias
            if not ALIAS.fullmatch(alias) or CONTEXT.fullmatch(alias) or alias in NO_ALIAS:
                self._add(field, "must be 2 to 64 lower-case letters, digits and dashes, and no id")
            elif alias in first:
                self._add(field, f"{alias!r} is used already, by contexts.{first[alias]}.alias")
            first.setdefault(alias, name)

    def sessions(self, sessions: Sessions) -> None:
        """Report revocations that sessions would outlive, and views that would never be fresh."""
        if sessions.facts_ttl < sessions.min_ttl:
            message = (
                f"must be at least min_ttl ({sessions.min_ttl:g}s): a revocation of a user must"
                " outlive the user's sessions"
            )
            self._add("sessions.facts_ttl", message)
        self.staleness("sessions.max_staleness", sessions.max_staleness)

    def staleness(self, field: str, seconds: float) -> None:
        """Report a bound that is too low: a view is fresh as of the last ping, one a second."""
        if seconds < LEAST_STALENESS:
            message = f"must be at least {LEAST_STALENESS:g}s: that a view is fresh is found out"
            self._add(field, f"{message} once a second")

    def required(self, contexts: Mapping[str, Context], assurance: Assurance | None) -> None:
        """Report contexts that require nothing, or an assurance that is not known."""
        for name, context in contexts.items():
            requires, field = context.requires, f"contexts.{name}.requires"
            if requires is None:
                continue
            if not (requires.assurance or requires.max_age):
                self._add(field, "must have `assurance` or `max_age`, or nothing is required")
            if requires.assurance and assurance is not None:
                known = {*(level.name for level in assurance.levels), *assurance.strengths}
                if requires.assurance not in known:
                    hint = suggestion(requires.assurance, known)
                    message = f"{shown(requires.assurance)!r} is no level and no strength{hint}"
                    self._add(f"{field}.assurance", message)

    def routes(self) -> None:
        """Report routes with contexts that do not exist, or templates that cannot match."""
        known = frozenset(
            name
            for _, node in _find(self._root, ("contexts",))
            for name in (node.entries if isinstance(node, Table) else ())
        )
        aliases = frozenset(alias for _, _, alias in self._texts("contexts", _EACH, "alias"))
        for field, place, name in self._texts("routes", "*", "contexts", "*"):
            if known and name not in known | aliases:
                hint = suggestion(name, known | aliases)
                self._problems.add(place, field, f"{shown(name)!r} is not in `contexts`{hint}")
            elif not known and not CONTEXT.fullmatch(name):
                self._problems.add(place, field, "must be a context, c1 to c99")
        for field, node in _find(self._root, ("routes", "*", "contexts")):
            if isinstance(node, Listing) and not node.items:
                self._problems.add(node.place, field, "must name a context")
        for field, place, path in self._texts("routes", "*", "path"):
            self._route(Route(path=path, contexts=()), field, place)
        for field, place, host in self._texts("routes", "*", "hosts", "*"):
            self._route(Route(path="/", contexts=(), hosts=(host,)), field, place)

    def _route(self, route: Route, field: str, place: FilePosition) -> None:
        try:
            Routes((route,))
        except InvalidRoute as error:
            self._problems.add(place, field, error.message)

    def locations(self) -> None:
        """Report locations that lie nowhere: their condition would never hold."""
        for field, node in _find(self._root, ("locations", "*")):
            if isinstance(node, Table) and not any(name in node.entries for name in _SOURCES):
                message = f"has none of {', '.join(_SOURCES)}: no address would lie in it"
                self._problems.add(node.place, field, message)

    def challenges(self) -> None:
        """Report realms that cannot stand in a challenge, and apps that never count here."""
        realms = (("app", "realm"), ("apps", _EACH, "realm"))
        for field, place, realm in (text for steps in realms for text in self._texts(*steps)):
            if _NOT_IN_REALMS.search(realm):
                message = "must be printable ASCII without quotes and backslashes"
                self._problems.add(place, field, message)
        (_, _, app), *_ = (*self._texts("app", "id"), ("", self._root.place, ""))
        for _, node in _find(self._root, ("apps",)):
            for name, entry in node.entries.items() if isinstance(node, Table) else ():
                if app and name != app:
                    message = f"never counts: `app.id` makes every call one of {shown(app)!r}"
                    self._problems.add(entry.place, join("apps", name), message)

    def issuers(self, tokens: Tokens) -> None:
        """Report issuers with keys from two places or none, or with claims that do not serve."""
        for (field, node), issuer in zip(
            _find(self._root, ("tokens", "issuers", "*")), tokens.issuers, strict=False
        ):
            if issuer.auth_time_claim in {"iat", "exp", "nbf", "updated_at"}:
                message = f"cannot be {issuer.auth_time_claim!r}: a refresh is no sign-in"
                self._problems.add(node.place, f"{field}.auth_time_claim", message)
            if issuer.session_claim and parts_of(issuer.session_claim)[-1] == "jti":
                message = "must not be jti: a refreshed token would shed the marks; see `session`"
                self._problems.add(node.place, f"{field}.session_claim", message)
            if issuer.jwks_uri and issuer.jwks_file:
                message = "is given, and so is jwks_uri; give one of them"
                self._problems.add(node.place, f"{field}.jwks_file", message)
            for key, message in introspection_problems(issuer.introspection):
                self._problems.add(node.place, f"{field}.introspection.{key}", message)
            if issuer.introspection.only and not issuer.introspection.signed:
                continue
            discovered = not (issuer.jwks_uri or issuer.jwks_file)
            if discovered and not issuer.issuer.startswith(("https://", "http://")):
                message = "is no URL where keys could be discovered; give jwks_uri or jwks_file"
                self._problems.add(node.place, f"{field}.issuer", message)
            if not issuer.algorithms:
                self._problems.add(node.place, f"{field}.algorithms", "must not be empty")

        self._prefixes(tokens)

    def _prefixes(self, tokens: Tokens) -> None:
        """Report issuers whose opaque tokens begin alike: the prefix shows whose a token is."""
        first: dict[str, str] = {}
        for index, issuer in enumerate(tokens.issuers):
            asked = issuer.introspection
            owner = first.setdefault(asked.prefix, issuer.issuer) if asked.endpoint else None
            if owner is not None and owner != issuer.issuer:
                field = f"tokens.issuers[{index}].introspection.prefix"
                message = f"is that of {shown(owner)!r}, too: nobody could distinguish their tokens"
                for _, node in list(_find(self._root, ("tokens", "issuers", "*")))[index:][:1]:
                    self._problems.add(node.place, field, message)

    def assurance(self, assurance: Assurance) -> None:
        """Report a lack of levels, empty combinations, and an `acr` that shows two levels."""
        if not assurance.levels:
            self._add("assurance.levels", "must name at least one level")
        owners: dict[str, str] = {}
        nodes = list(_find(self._root, ("assurance", "levels", "*")))
        for (field, node), level in zip(nodes, assurance.levels, strict=False):
            if level.name in _RESERVED:
                self._problems.add(node.place, f"{field}.name", f"{level.name!r} is reserved")
            if frozenset() in level.amr:
                message = "has an empty combination, which every sign-in would show"
                self._problems.add(node.place, f"{field}.amr", message)
            for acr in level.acr:
                if not acr or " " in acr or _NOT_IN_REALMS.search(acr):
                    message = f"{shown(acr)!r} cannot be asked for: spaces part `acr_values`"
                    self._problems.add(node.place, f"{field}.acr", message)
                owner = owners.setdefault(acr, level.name)
                if owner != level.name:
                    message = f"{shown(acr)!r} shows level {shown(owner)!r} already"
                    self._problems.add(node.place, f"{field}.acr", message)
        self._strengths(assurance)

    def _strengths(self, assurance: Assurance) -> None:
        """Strengths have names of their own, and each has something to be shown."""
        levels = {level.name for level in assurance.levels}
        for name, strength in assurance.strengths.items():
            field = f"assurance.strengths.{name}"
            if not _NAME.fullmatch(name):
                message = "must be 1 to 64 letters, digits, dots, dashes or underscores"
                self._strength(name, field, message)
            elif name in _RESERVED:
                self._strength(name, field, f"{name!r} is reserved")
            elif name in levels:
                self._strength(name, field, f"{name!r} is a level; a strength needs another name")
            if not (strength.acr or strength.amr):
                message = "has neither `acr` nor `amr`: no sign-in would have it"
                self._strength(name, field, message)
            if "" in strength.acr:
                message = "has an empty value, which a sign-in that has none would show"
                self._strength(name, f"{field}.acr", message)
            if frozenset() in strength.amr:
                message = "has an empty combination, which every sign-in would show"
                self._strength(name, f"{field}.amr", message)

    def _strength(self, name: str, field: str, message: str) -> None:
        place = self._place("assurance", "strengths", name)
        self._problems.add(place, field, message)

    def thresholds(self, risk: Risk) -> None:
        """Levels follow each other, and can be left again."""
        at = risk.thresholds
        if at.medium >= at.high:
            message = f"must be less than high ({at.high:g})"
            self._add("risk.thresholds.medium", message)
        elif at.hysteresis >= at.medium:
            message = f"must be less than medium ({at.medium:g}), or no level would ever be left"
            self._add("risk.thresholds.hysteresis", message)

    def store(self, store: StoreSettings) -> None:
        """Keys fit into a Cluster's slots; a certificate has its key; pauses grow."""
        if not _PREFIX.fullmatch(store.prefix):
            self._add("store.prefix", "must be 1 to 32 letters, digits, dots, colons or dashes")
        if bool(store.tls_cert_file) != bool(store.tls_key_file):
            missing = "tls_key_file" if store.tls_cert_file else "tls_cert_file"
            self._add(f"store.{missing}", "is required: a certificate and its key go together")
        if store.retry_base > store.retry_cap:
            self._add("store.retry_base", f"must not be more than retry_cap ({store.retry_cap:g}s)")
        if (store.wait_replicas or store.wait_aof) and store.wait_timeout >= store.timeout:
            self._add("store.wait_timeout", f"must be less than timeout ({store.timeout:g}s)")

    def transmitter(self, transmitter: Transmitter) -> None:
        """Report a transmitter that cannot sign, or a recipient that could have nothing."""
        if not transmitter.issuer:
            return
        if "?" in transmitter.issuer or transmitter.issuer.endswith("/"):
            self._add(
                "transmitter.issuer", "must be a URL without query, and without `/` at its end"
            )
        if (transmitter.deliver or transmitter.bind) and not transmitter.key_files:
            self._add("transmitter.key_files", "is required: events are signed")
        if transmitter.push.retry_base > transmitter.push.retry_cap:
            message = f"must not be more than retry_cap ({transmitter.push.retry_cap:g}s)"
            self._add("transmitter.push.retry_base", message)
        nodes = _find(self._root, ("transmitter", "recipients", "*"))
        for (field, node), one in zip(nodes, transmitter.recipients, strict=False):
            if not one.credentials_file and (one.stream is None or not one.stream.push_to):
                message = "is required: without it the recipient could have nothing"
                self._problems.add(node.place, f"{field}.credentials_file", message)

    def cors(self, http: Http | None) -> None:
        """Report credentials for just any origin: browsers refuse the two together."""
        if http is not None and http.cors.credentials and "*" in http.cors.origins:
            message = "must be false with the origin `*`: browsers refuse the two together"
            self._add("http.cors.credentials", message)
