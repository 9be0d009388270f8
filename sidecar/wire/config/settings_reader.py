"""The configuration, read: YAML and the environment to `Settings`, or every problem at once.

Later wins: the settings' own defaults, the file, the environment. A secret may stand in a file of
its own: `password_file` beside `password`, and so on.
"""

import posixpath
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec

from sidecar.domain.session.risk import Thresholds, Weight
from sidecar.wire.bundles.places import BundledFiles, with_places
from sidecar.wire.bundles.settings_checks import check_bundles
from sidecar.wire.checks.admin import check_operators
from sidecar.wire.checks.cross_checks import cross_check
from sidecar.wire.checks.decision_log import check_decision_log
from sidecar.wire.checks.privacy import with_privacy_keys
from sidecar.wire.checks.receiver import check_secret_files
from sidecar.wire.checks.sources import check_credentials
from sidecar.wire.config.environment import PATH_VARIABLES, overlay
from sidecar.wire.config.salvage import stand_in
from sidecar.wire.config.secret_files import ReadFile, read_secret, with_secrets
from sidecar.wire.decision_log.settings import DecisionLogSettings
from sidecar.wire.settings.privacy import Privacy
from sidecar.wire.settings.receiver import Receiver
from sidecar.wire.settings.settings import Policies, Settings, Socket
from sidecar.wire.tokens.jwks import ALGORITHMS
from sidecar.wire.traces.checks import check_traces
from sidecar.wire.traces.settings import TracesSettings
from sidecar.wire.yaml.scalars import (
    METHODS,
    READERS,
    DurationOrZero,
    Misspelt,
    Plain,
    ScalarKind,
    text,
)
from sidecar.wire.yaml.structs import Shapes, refuse, suggestion
from sidecar.wire.yaml.tree import (
    ConfigError,
    ConfigProblem,
    FilePosition,
    MappingEntry,
    Problems,
    Scalar,
    Table,
    place_of,
    read_tree,
    shown,
)

__all__ = ["REFINED", "ConfigError", "read_settings"]

_Points = Annotated[float, msgspec.Meta(ge=0, le=100)]
REFINED: Mapping[tuple[type, str], Any] = {
    (Weight, "weight"): _Points,
    (Weight, "half_life"): DurationOrZero,
    (Thresholds, "medium"): _Points,
    (Thresholds, "high"): _Points,
    (Thresholds, "hysteresis"): _Points,
}
"""What values of the ground floor may be where they are configured."""


def read_settings(
    text: str, file: str, environ: Mapping[str, str], read_file: ReadFile
) -> Settings:
    """Read the configuration. Raises ConfigError with everything that is wrong with it.

    `file` names it in messages, and relative paths are relative to its directory. `read_file`
    gives the text of a secret's file; it may raise OSError or UnicodeDecodeError.
    """
    reading = read_what_can_be(text, file, environ, read_file)
    if reading.problems:
        raise ConfigError(reading.problems)
    return reading.settings


class ConfigReading(NamedTuple):
    """A configuration as read; with `problems`, `settings` serve at most to read policies by.

    `root` knows where each value stands, in the file or the environment. `policies` says whether
    it is known where those lie.
    """

    settings: Settings
    root: Table
    problems: tuple[ConfigProblem, ...] = ()
    policies: bool = True


def read_what_can_be(
    text: str,
    file: str,
    environ: Mapping[str, str],
    read_file: ReadFile,
    bundled: BundledFiles | None = None,
) -> ConfigReading:
    """Read the configuration as `read_settings` does; return what is wrong beside the rest.

    `bundled` has places besides those of the file.
    """
    problems = Problems()
    shapes = Shapes(problems, REFINED, _readers(posixpath.dirname(file)))
    root = _root(text, file, problems)
    root = _with_unknown_contexts(overlay(root, environ, shapes, problems))
    if bundled is not None:
        root = with_places(root, bundled, problems)
    values = shapes.fields(root, Settings, "")
    if isinstance(socket := values.get("socket"), Socket):
        values["socket"] = _as_the_client_reads_it(root, socket, environ)
    cross_check(root, values, problems)
    values = with_secrets(root, values, read_file, problems)
    if isinstance(receiver := values.get("receiver"), Receiver):
        check_secret_files(root, receiver, lambda path: read_secret(path, read_file), problems)
    sources = values.get("sources")
    if isinstance(sources, tuple):
        check_credentials(root, sources, lambda path: read_secret(path, read_file), problems)
    check_operators(root, values, problems)
    if isinstance(decisions := values.get("decision_log"), DecisionLogSettings):
        check_decision_log(root, decisions, problems)
        if isinstance(traces := values.get("traces"), TracesSettings):
            check_traces(root, traces, decisions, problems)
    if isinstance(policies := values.get("policies"), Policies):
        check_bundles(root, policies, problems)
    if isinstance(privacy := values.get("privacy"), Privacy):
        values["privacy"] = with_privacy_keys(root, privacy, read_file, problems)
    try:
        problems.check()
    except ConfigError as error:
        is_known = bool(root.entries) and "policies" in values
        return ConfigReading(_with_ids(stand_in(root, values)), root, error.problems, is_known)
    return ConfigReading(_with_ids(Settings(**values)), root)


def _root(text: str, file: str, problems: Problems) -> Table:
    tree = read_tree(text, file, problems)
    if isinstance(tree, Table):
        return tree
    if tree is not None and not (isinstance(tree, Scalar) and tree.value is None):
        refuse(problems, tree, "", "a mapping")
    return Table({}, FilePosition(file, 1))


def _with_unknown_contexts(root: Table) -> Table:
    """Make `contexts.unknown` a key of its own: what else `contexts` has are contexts by name."""
    contexts = root.entries.get("contexts")
    if contexts is None or not isinstance(contexts.node, Table):
        return root
    named = dict(contexts.node.entries)
    unknown = named.get("unknown")
    if unknown is None or isinstance(unknown.node, Table):
        return root
    del named["unknown"]
    kept = MappingEntry(contexts.place, Table(named, contexts.node.place))
    return Table({**root.entries, "contexts": kept, "contexts.unknown": unknown}, root.place)


def _as_the_client_reads_it(root: Table, socket: Socket, environ: Mapping[str, str]) -> Socket:
    """Return the socket where the environment says it is, which clients do not read from the file.

    A relative path in a variable is relative to where a program runs, for daemon and client alike.
    """
    named = place_of(root, "socket.path").file
    if named in environ and named.lower() in PATH_VARIABLES:
        return msgspec.structs.replace(socket, path=environ[named])
    return socket


def _with_ids(settings: Settings) -> Settings:
    """Call the contexts of routes by their ids."""
    aliases = settings.aliases
    if not aliases:
        return settings
    routes = tuple(
        msgspec.structs.replace(
            route, contexts=tuple(aliases.get(name, name) for name in route.contexts)
        )
        for route in settings.routes
    )
    return msgspec.structs.replace(settings, routes=routes)


def _readers(directory: str) -> Mapping[ScalarKind, Callable[[Plain], Plain]]:
    rebased = partial(_rebased, directory)
    return {
        **READERS,
        ScalarKind.FILE: rebased,
        ScalarKind.ALGORITHM: _algorithm,
        ScalarKind.METHOD: _method,
    }


def _rebased(directory: str, value: Plain) -> str:
    path = text(value)
    return posixpath.normpath(posixpath.join(directory, path)) if path else ""


def _algorithm(value: Plain) -> str:
    name = text(value)
    if name not in ALGORITHMS:
        hint = suggestion(name, ALGORITHMS)
        raise Misspelt(f"{shown(name)!r} is no algorithm with a public key that is allowed{hint}")
    return name


def _method(value: Plain) -> str:
    name = text(value)
    if name.upper() not in METHODS:
        raise Misspelt(f"{shown(name)!r} is no HTTP method{suggestion(name, METHODS)}")
    return name.upper()
