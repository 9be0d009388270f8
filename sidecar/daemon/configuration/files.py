"""Everything that is read from files before the daemon can judge: settings, policies, prefixes.

Reading blocks; the daemon does it in a thread, at the start and again for each reload.
"""

import errno
import os
import ssl
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from sidecar.adapters.files.regular_files import MAX_BYTES, read_text
from sidecar.adapters.files.yaml_directory import yaml_files
from sidecar.adapters.geography.networks import InvalidPrefixes, Prefixes, load
from sidecar.adapters.listening.socket_files import usual_path
from sidecar.daemon.configuration.needed_imports import execute_needed
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.memberships import GROUPS, ROLES
from sidecar.domain.policy.conditional_access import (
    NOBODY,
    All,
    AnyOf,
    Claims,
    Condition,
    Not,
    Policy,
    Principals,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.risk import Rating
from sidecar.domain.session.scene import World
from sidecar.domain.values.assurance import Ladder
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.shared_signals.adapters.transmitter_secrets import look_into, paths_of
from sidecar.wire.bundles.bundle import Bundle
from sidecar.wire.bundles.places import BundledFiles, texts_of
from sidecar.wire.config.secret_files import secret_paths, with_renewed_secrets
from sidecar.wire.config.settings_reader import ConfigReading, read_what_can_be
from sidecar.wire.events.sources import sources_of
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.routes.routes import InvalidRoute, Routes
from sidecar.wire.settings.settings import ALL_TRUSTED, Settings, files_of
from sidecar.wire.yaml.tree import ConfigError, ConfigProblem, Problems, Table, is_named, placed


def absolute(file: str) -> Path:
    """Return a configured file as the watcher names it."""
    return Path(file).absolute()


class Configuration(msgspec.Struct, frozen=True):
    """A configuration that is right in itself, compiled."""

    file: Path
    settings: Settings
    policies: tuple[Policy, ...]
    prefixes: Prefixes
    routes: Routes
    evaluator: Evaluator
    claims: frozenset[str]
    tree: Table | None = None  # where each value stands
    bundle: Bundle | None = None  # of which the policies are; None: of files, or there are none yet

    @property
    def databases(self) -> list[str]:
        """The geography databases that are configured."""
        geography = self.settings.geography
        kinds = (geography.city, geography.asn, geography.anonymous_ip, geography.connection_type)
        return [file for kind in kinds for file in files_of(kind)]

    @property
    def watched(self) -> list[Path]:
        """The files and directories whose change asks for a reload."""
        settings = self.settings
        files = [i.jwks_file for i in settings.tokens.issuers]
        if not settings.policies.bundle.enabled:
            files.append(settings.policies.path)
        files += self.databases
        files += [location.cidr_file for location in settings.locations]
        files += [network.cidr_file for network in settings.networks]
        files += paths_of(settings.transmitter)
        files += secret_paths(settings)
        files.append(settings.privacy.key_file)
        return [self.file, *(Path(file) for file in files if file)]


def _as_it_comes(file: Path) -> str:
    """Return the text of what a command line or the configuration names: also of a pipe."""
    with file.open(encoding="utf-8") as opened:
        text = opened.read(MAX_BYTES + 1)  # a device may have no end
    if len(text) > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(file))
    return text


def _nothing(settings: Settings, root: Table) -> Iterable[ConfigProblem]:  # noqa: ARG001 - as asked for
    return ()


def read_configuration(
    file: Path,
    environ: Mapping[str, str],
    also: Callable[[Settings, Table], Iterable[ConfigProblem]] = _nothing,
    *,
    read: Callable[[Path], str] = _as_it_comes,
    bundle: Bundle | None = None,
) -> Configuration:
    """Read and compile. Raises `ConfigError` with everything that is wrong.

    That is what is wrong with the configuration, with the policies, and what `also` finds, which is
    given the settings and where they stand. Sections that cannot be read are as by default there.
    `read` gives the text of the file, and of `policies.path` where that is one. Where policies come
    from bundles, they are those of `bundle`; None: there are none yet.
    """
    bundled = None if bundle is None else files_in(bundle)
    reading = read_what_can_be(_said(file, read), str(file), environ, read_text, bundled)
    settings = _with_socket(reading, environ)
    root, problems = reading.root, list(reading.problems)
    policies: tuple[Policy, ...] = ()
    if reading.policies:
        try:
            policies = _policies(settings, bundled, read)
        except ConfigError as error:
            problems += error.problems
    problems += also(settings, root)
    if reading.problems:
        raise ConfigError(tuple(problems))
    try:
        prefixes = load(settings.networks, settings.locations)
    except InvalidPrefixes as error:
        problems += placed(root, ((one.field, one.message) for one in error.problems))
    try:
        routes = Routes(settings.routes)
    except InvalidRoute as error:
        problems += placed(root, [(f"routes[{error.index}].{error.field}", error.message)])
    problems += placed(root, _wrong_files(settings))
    problems += _authority_problems(settings, environ)
    if problems:
        raise ConfigError(tuple(problems))
    execute_needed(settings, policies)
    return Configuration(
        file,
        settings,
        policies,
        prefixes,
        routes,
        evaluator_of(settings, policies, prefixes),
        claims_of(policies, break_glass_of(settings).values()),
        root,
        bundle,
    )


def files_in(bundle: Bundle) -> BundledFiles:
    """Return the files of a bundle, and how they are named."""
    return BundledFiles(bundle.contents.files, bundle.place or f"bundle-{bundle.sequence}/")


def _policies(
    settings: Settings, bundled: BundledFiles | None, read: Callable[[Path], str]
) -> tuple[Policy, ...]:
    """Return the policies of the configured place. Raises `ConfigError`."""
    if not settings.policies.bundle.enabled and bundled is None:
        return read_policies(_policy_texts(Path(settings.policies.path), read), settings)
    if bundled is None:
        return ()
    problems = Problems()
    texts = texts_of(bundled, problems)
    problems.check()
    return read_policies(texts, settings)


def read_again(
    file: Path, environ: Mapping[str, str], bundle: Bundle | None = None
) -> Configuration:
    """Read and compile once more, for a reload. Raises `ConfigError` with everything that is wrong.

    A pipe in the place of a file is refused: nobody may ever write to it, and all later reloads,
    and the end of the daemon, would wait for that.
    """
    return read_configuration(file, environ, read=read_text, bundle=bundle)


def _with_socket(reading: ConfigReading, environ: Mapping[str, str]) -> Settings:
    """Put the socket that nothing names where it can be made."""
    settings = reading.settings
    if is_named(reading.root, "socket.path"):
        return settings
    socket = msgspec.structs.replace(
        settings.socket, path=usual_path(settings.socket.path, environ)
    )
    return msgspec.structs.replace(settings, socket=socket)


def renew_secrets(configuration: Configuration) -> Configuration:
    """Return the configuration with its secrets as their files now say; blocks.

    For when a changed one is refused: a mistake in a policy must not keep an old secret in force.
    """
    settings = with_renewed_secrets(configuration.settings, read_text)
    return msgspec.structs.replace(configuration, settings=settings)


def ladder_of(settings: Settings) -> Ladder:
    """Return the levels of assurance, and the strengths beside them."""
    return Ladder(settings.assurance.levels, settings.assurance.strengths)


def read_transmitter_settings(file: Path, environ: Mapping[str, str]) -> Settings:
    """Return what `sidecar transmit` needs of the configuration. Raises `ConfigError`.

    Policies and lists of addresses are not read: they may lie elsewhere.
    """
    reading = read_what_can_be(_said(file, _as_it_comes), str(file), environ, read_text)
    settings, problems = reading.settings, list(reading.problems)
    if not problems:
        problems += placed(reading.root, (*_wrong_files(settings), *_missing(settings)))
    if problems:
        raise ConfigError(tuple(problems))
    return settings


def _missing(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what `sidecar transmit` cannot do without."""
    if not settings.transmitter.issuer:
        yield "transmitter.issuer", "is required: it is the `iss` of what is published"
    if not settings.store.url:
        yield "store.url", "is required: it is where the sidecars record what is to be published"
    if not (settings.transmitter.deliver or settings.transmitter.bind):
        message = "is false, and there is no transmitter.bind: nothing is left to do"
        yield "transmitter.deliver", message


def _authority_problems(settings: Settings, environ: Mapping[str, str]) -> Iterator[ConfigProblem]:
    """Look at the authorities that the environment has us trust, where anybody is called."""
    named = environ.get("SSL_CERT_FILE", "")
    called = any(not one.jwks_file or one.introspection.endpoint for one in settings.tokens.issuers)
    if named and (called or settings.receiver.transmitters or settings.transmitter.issuer):
        try:
            ssl.create_default_context(cafile=named)
        except OSError as error:
            yield ConfigProblem(
                "SSL_CERT_FILE", 1, "", f"{named} cannot be used: {words_of(error)}"
            )


def _wrong_files(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the transmitter's files that cannot be used."""
    if settings.transmitter.issuer:
        yield from look_into(settings.transmitter).wrong


def evaluator_of(settings: Settings, policies: tuple[Policy, ...], prefixes: Prefixes) -> Evaluator:
    """Return the policies, compiled for this configuration."""
    risk = settings.risk

    def locations_of(ip: str, place: Place) -> frozenset[str]:
        names = prefixes.locations_of(ip, place)
        return names | {ALL_TRUSTED} if prefixes.is_trusted(names) else names

    rating = Rating(
        risk.weights,
        risk.thresholds,
        risk.default_weight,
        risk.default_half_life,
        risk.travel_speed_kmh,
    )
    world = World(
        ladder_of(settings),
        rating,
        locations_of,
        settings.friction.min_interval,
        break_glass_of(settings),
        sources_of(settings),
    )
    around = Surroundings(
        "",
        prefixes.network_of,
        settings.assurance.skew,
        settings.geography.least_distance_km,
        memory=int(settings.sessions.facts_ttl * MICROSECONDS),
        establish_within=settings.assurance.establish_within,
        remember=int(settings.friction.remember * MICROSECONDS),
        ipv6_prefix=settings.sessions.ipv6_prefix,
    )
    return IncrementalEvaluator(policies, world, around)


def break_glass_of(settings: Settings) -> dict[str, Principals]:
    """Return the emergency accounts, whom no policy is for, by the namespaces of their issuers."""
    named, namespaces = settings.break_glass, settings.tokens.namespaces
    found: dict[str, Principals] = {}
    sole = namespaces.sole()
    for issuer, users, groups in (
        (sole, named.users, named.groups),
        *((namespaces.named(one.issuer), one.users, one.groups) for one in named.accounts),
    ):
        if issuer is not None and (users or groups):
            known = found.get(issuer, NOBODY)
            both = (known.users | set(users), known.groups | set(groups))
            found[issuer] = Principals(*both)
    may = settings.tokens.break_glass_namespaces
    return {issuer: principals for issuer, principals in found.items() if issuer in may}


def read_policy_set(path: Path, settings: Settings) -> tuple[Policy, ...]:
    """Return the policies of a directory or file.

    Raises `ConfigError` with everything that is wrong.
    """
    return read_policies(_policy_texts(path, _as_it_comes), settings)


def claims_of(
    policies: tuple[Policy, ...], break_glass: Iterable[Principals] = ()
) -> frozenset[str]:
    """Return the claims that policies ask for.

    And groups and roles, where anything asks for them.
    """
    asked = {
        name for policy in policies if policy.conditions for name in _claims(policy.conditions)
    }
    return frozenset(asked) | _identities_of(policies, break_glass)


def _identities_of(
    policies: tuple[Policy, ...], break_glass: Iterable[Principals]
) -> frozenset[str]:
    """Return which of groups and roles policies, or the emergency accounts, ask for."""
    named = [*break_glass, *(policy.users.exclude for policy in policies)]
    named += [policy.users.include for policy in policies if policy.users.include is not None]
    groups = {GROUPS} if any(one.groups for one in named) else set()
    return frozenset(groups | ({ROLES} if any(one.roles for one in named) else set()))


def _claims(condition: Condition) -> frozenset[str]:
    match condition:
        case All() | AnyOf():
            return frozenset().union(*(_claims(one) for one in condition.conditions))
        case Not():
            return _claims(condition.condition)
        case Claims():
            return frozenset(name for name, _ in condition.required)
        case _:
            return frozenset()


def policy_files(path: Path) -> list[Path]:
    """Return the policy files of a directory, by name; or the file itself.

    Raises `ConfigError` where the directory cannot be listed or has none: somebody who wants no
    policies says so in a file.
    """
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path]
        found = yaml_files(path)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        words = "there is no such directory" if gone else f"cannot be listed: {words_of(error)}"
        message = f"{words}; set policies.path, or put the policies there"
        raise ConfigError((ConfigProblem(str(path), 0, "policies.path", message),)) from error
    if not found:
        message = "has no *.yaml file; where no policies are wanted, put `policies: []` in one"
        raise ConfigError((ConfigProblem(str(path), 0, "policies.path", message),))
    return found


def _policy_texts(path: Path, read: Callable[[Path], str]) -> list[tuple[str, str]]:
    """Return the policy files with their texts. Raises `ConfigError` with all that is wrong."""
    texts: list[tuple[str, str]] = []
    problems: list[ConfigProblem] = []
    for file in policy_files(path):
        try:
            texts.append((str(file), _text(file, read_text if file != path else read)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(tuple(problems))
    return texts


def _said(file: Path, read: Callable[[Path], str]) -> str:
    """Return the text of the configuration. Raises `ConfigError` where it says nothing.

    A file that was emptied would have no contexts and no routes: everything would be routine.
    """
    text = _text(file, read)
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        message = "is empty; where all is as by default or in the environment, say `{}`"
        raise ConfigError((ConfigProblem(str(file), 1, "", message),))
    return text


def _text(file: Path, read: Callable[[Path], str]) -> str:
    try:
        return read(file)
    except OSError as error:
        reason = f"cannot be read: {words_of(error)}{_cure(file)}"
        raise ConfigError((ConfigProblem(str(file), 0, "", reason),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((ConfigProblem(str(file), 0, "", "is not UTF-8 text"),)) from error


def _cure(file: Path) -> str:
    """Say what to do about a file that cannot be read, where that is plain."""
    try:
        if file.is_symlink():
            return f"; it is a link to {file.readlink()}: mend the link, or remove it"
        return "; remove it, or put a file in its place" if file.is_dir() else ""
    except OSError:
        return ""
