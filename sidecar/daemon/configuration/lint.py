"""Lint for a configuration as it was read: what `policy.lint` finds, with files and lines."""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.adapters.files.yaml_directory import passed_over
from sidecar.adapters.geography.networks import cidrs_of
from sidecar.adapters.listening.descriptors import most
from sidecar.daemon.configuration.files import (
    Configuration,
    break_glass_of,
    files_in,
    ladder_of,
    policy_files,
)
from sidecar.domain.policy import lint
from sidecar.wire.bundles.places import texts_of
from sidecar.wire.checks.weaknesses import ADVICE, OF_ALL, weaknesses
from sidecar.wire.policies.context_policies import PREFIX
from sidecar.wire.routes.overlaps import overlaps
from sidecar.wire.settings.settings import (
    ALL_TRUSTED,
    Gateway,
    NamedLocation,
    Network,
    Settings,
    Tokens,
)
from sidecar.wire.settings.tokens import Identifying, SessionNaming
from sidecar.wire.yaml.tree import (
    ConfigProblem,
    FilePosition,
    Listing,
    MappingEntry,
    Node,
    Problems,
    Scalar,
    Table,
    place_of,
    read_tree,
)


def lint_configuration(
    configuration: Configuration, located: frozenset[str] | None = None
) -> tuple[tuple[str, ConfigProblem], ...]:
    """Return what is weak or probably not meant, each with its code, less what is accepted.

    `located` names what some record of the geography databases has, where they were read.
    """
    accepted = configuration.settings.warnings.accept
    found = (*_weaknesses(configuration), *_of_policies(configuration, located))
    return tuple(one for one in found if one[0] not in accepted)


def lint_deployment(configuration: Configuration) -> tuple[tuple[str, ConfigProblem], ...]:
    """Return what is weak whatever the policies say, less what is accepted."""
    settings, file = configuration.settings, str(configuration.file)
    ground = ground_of(configuration, alone=True)
    found = [
        (
            one.code,
            ConfigProblem(file, 0, ".".join(one.where), f"{one.message}; {lint.ADVICE[one.code]}"),
        )
        for one in lint.lint(ground)
        if one.code in OF_ALL
    ]
    found = [*_weaknesses(configuration), *found]
    return tuple(one for one in found if one[0] not in settings.warnings.accept)


def _weaknesses(configuration: Configuration) -> Iterator[tuple[str, ConfigProblem]]:
    root = configuration.tree
    for code, field, message in weaknesses(configuration.settings, most()):
        place = FilePosition(str(configuration.file), 0) if root is None else place_of(root, field)
        yield code, ConfigProblem(place.file, place.line, field, f"{message}; {ADVICE[code]}")


def _of_policies(
    configuration: Configuration, located: frozenset[str] | None
) -> tuple[tuple[str, ConfigProblem], ...]:
    places = dict(_places(configuration))
    file = str(configuration.file)
    found = []
    beside = tuple(_passed_over(Path(configuration.settings.policies.path)))
    for finding in lint.lint(
        ground_of(configuration)._replace(found_in_databases=located, passed_over=beside)
    ):
        place = places.get(finding.where, FilePosition(file, 0))
        field = ".".join(finding.where)
        message = f"{finding.message}; {lint.ADVICE[finding.code]}"
        found.append((finding.code, ConfigProblem(place.file, place.line, field, message)))
    return tuple(found)


def _passed_over(path: Path) -> list[str]:
    try:
        return passed_over(path) if path.is_dir() else []
    except OSError:  # it is gone since it was read
        return []


def ground_of(configuration: Configuration, *, alone: bool = False) -> lint.Ground:
    """Return what policies stand on; `alone`: with none of them there, and no routes compared."""
    settings = configuration.settings
    return lint.Ground(
        () if alone else configuration.policies,
        ladder_of(settings),
        tuple(settings.contexts),
        tuple(route.contexts for route in settings.routes),
        () if alone else tuple(_named(location) for location in settings.locations),
        () if alone else tuple(_named(network) for network in settings.networks),
        _databases(settings),
        ALL_TRUSTED,
        () if alone else tuple(lint.Overlap(*each) for each in overlaps(settings.routes)),
        break_glass_of(settings),
        settings.tokens.namespaces.all,
        _unsaid(settings.tokens),
        tuple(
            lint.IssuerReading(issuer.session is SessionNaming.SIGN_IN, bool(issuer.app_claim))
            for issuer in settings.tokens.issuers
        ),
        _apps(settings),
        _are_paths_known(settings),
    )


def _unsaid(tokens: Tokens) -> tuple[int, ...]:
    """Return the issuers of which nothing says what they may say, where there are several such."""
    said = [(one.namespace, one.assurance_at_most, one.may_identify) for one in tokens.issuers]
    unsaid = tuple(at for at, words in enumerate(said) if words == ("", "", Identifying()))
    return unsaid if len(unsaid) > 1 else ()


def _are_paths_known(settings: Settings) -> bool:
    """Return whether a gateway sends paths to one of the doors that are open for it, if any is."""
    http = settings.http
    return not http.enabled or http.gateway is not Gateway.NONE or bool(settings.grpc.bind)


def _apps(settings: Settings) -> frozenset[str] | None:
    """Return the apps that calls can be of, where that is known."""
    return frozenset({settings.app.id}) if settings.app.id else None


def _databases(settings: Settings) -> frozenset[str]:
    names = ("city", "asn", "anonymous_ip")
    return frozenset(name for name in names if getattr(settings.geography, name))


def _named(entry: NamedLocation | Network) -> lint.NamedPlace:
    cidrs = tuple(ipaddress.ip_network(text) for text in cidrs_of(entry))
    if isinstance(entry, Network):
        return lint.NamedPlace(entry.name, cidrs)
    countries, asns = frozenset(entry.countries), frozenset(entry.asns)
    return lint.NamedPlace(entry.name, cidrs, countries, asns, entry.trusted)


Where = tuple[str, ...]


def _places(configuration: Configuration) -> Iterator[tuple[Where, FilePosition]]:
    """Yield where things stand in their files.

    Policies by id, the rest by where it stands in the configuration.
    """
    for tree in _policy_trees(configuration):
        for node in _items(tree, "policies"):
            yield ("policies", _text(node, "id")), node.place
    tree = configuration.tree
    for name, entry in _entries(tree, "contexts").items():
        yield ("contexts", name), entry.place
        yield ("policies", f"{PREFIX}{name}"), entry.place
    for index, node in enumerate(_items(_table(tree, "tokens"), "issuers")):
        yield ("tokens", "issuers", str(index)), node.place
    for index, node in enumerate(_items(tree, "routes")):
        yield ("routes", str(index)), node.place
    for name, entry in _entries(_table(tree, "assurance"), "strengths").items():
        yield ("assurance", "strengths", name), entry.place
    for section in ("locations", "networks"):
        for node in _items(tree, section):
            yield (section, _text(node, "name")), node.place


def _policy_trees(configuration: Configuration) -> Iterator[Node | None]:
    bundle, settings = configuration.bundle, configuration.settings
    if bundle is not None:
        for name, text in texts_of(files_in(bundle), Problems()):
            yield read_tree(text, name, Problems())
    elif not settings.policies.bundle.enabled:
        yield from map(_tree, policy_files(Path(settings.policies.path)))


def _tree(file: Path) -> Node | None:
    """Return the tree of a file; None where it is gone since it was read."""
    if not file.is_file():
        return None
    return read_tree(file.read_text(encoding="utf-8"), str(file), Problems())


def _table(tree: Node | None, key: str) -> Node | None:
    entry = tree.entries.get(key) if isinstance(tree, Table) else None
    return None if entry is None else entry.node


def _entries(tree: Node | None, key: str) -> Mapping[str, MappingEntry]:
    if isinstance(tree, Table) and key in tree.entries:
        node = tree.entries[key].node
        if isinstance(node, Table):
            return node.entries
    return {}


def _items(tree: Node | None, key: str) -> tuple[Node, ...]:
    if isinstance(tree, Table) and key in tree.entries:
        node = tree.entries[key].node
        if isinstance(node, Listing):
            return node.items
    return ()


def _text(node: Node, key: str) -> str:
    if isinstance(node, Table) and key in node.entries:
        found = node.entries[key].node
        if isinstance(found, Scalar):
            return str(found.value)
    return ""
