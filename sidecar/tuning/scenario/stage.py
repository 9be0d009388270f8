"""The stage for scenarios and what-if: the configuration, its geography, and a set of policies."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sidecar.adapters.geography.geography import Geography
from sidecar.daemon.configuration.files import (
    Configuration,
    evaluator_of,
    read_configuration,
    read_policy_set,
)
from sidecar.domain.values.location import Place
from sidecar.tuning.scenario.play import Stage
from sidecar.wire.yaml.tree import ConfigError, ConfigProblem


def read_stage(
    file: Path, environ: Mapping[str, str], policies: Sequence[str] = ()
) -> tuple[Configuration, Stage]:
    """Return what the daemon would judge by. `policies` are files or directories to take instead.

    Raises `ConfigError` with everything that is wrong.
    """
    configuration = read_configuration(file, environ)
    stage = stage_of(configuration, place_of(configuration))
    return configuration, with_policies(configuration, stage, policies) if policies else stage


def place_of(configuration: Configuration) -> Callable[[str], Place]:
    """Look-ups in the configured databases; raises `ConfigError` where one cannot be read."""
    geography = Geography(configuration.settings.geography)
    broken = [
        ConfigProblem(outcome.file, 0, outcome.field, outcome.error)
        for outcome in geography.reload()
        if outcome.error
    ]
    if broken:
        raise ConfigError(tuple(broken))
    return geography.place


def stage_of(configuration: Configuration, place_of: Callable[[str], Place]) -> Stage:
    """Return the stage for the configured policies."""
    routes, settings = configuration.routes, configuration.settings
    namespaces = settings.tokens.namespaces
    known = (configuration.evaluator, place_of, routes.match, settings.app.id, namespaces)
    return Stage(*known, settings.is_alone)


def with_policies(configuration: Configuration, stage: Stage, paths: Sequence[str]) -> Stage:
    """Return the same stage for other policies; raises `ConfigError`."""
    settings = configuration.settings
    found = tuple(each for path in paths for each in read_policy_set(Path(path), settings))
    return stage._replace(evaluator=evaluator_of(settings, found, configuration.prefixes))
