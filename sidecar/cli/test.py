"""`sidecar test`: policy scenarios, run in virtual time."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sidecar.cli.exit_status import DONE, MISTAKE, NEGATIVE, Stop
from sidecar.cli.run import add_config
from sidecar.cli.socket_options import plain
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.plural import counted

if TYPE_CHECKING:  # loaded when they are needed
    from sidecar.tuning.scenario.files import Scenario
    from sidecar.tuning.scenario.play import Stage


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Act out the scenarios of these files (given a session, when something happens, then a "
        "call gets this) against the configured policies, in virtual time and without a daemon. "
        "Ends with status 0 if every expectation is met, 1 if not. docs/scenarios.md describes "
        "the files."
    )
    parser.epilog = """\
examples:
  sidecar test
  sidecar test config/scenarios/payroll.yaml --coverage
  sidecar test scenarios --junit report.xml --min-coverage 90

exit status: 0 all went as expected, 1 some did not, or too few were tried, 2 bad input
"""
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="files, or directories of them (default: scenarios, beside the configuration)",
    )
    add_config(parser)
    parser.add_argument(
        "--policies",
        metavar="PATH",
        action="append",
        default=[],
        help="policies to take instead of the configured ones; may be given several times",
    )
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only scenarios with this in their name"
    )
    parser.add_argument("--junit", metavar="FILE", help="write a JUnit XML report")
    parser.add_argument(
        "--coverage", action="store_true", help="say what of the policies was never tried"
    )
    parser.add_argument(
        "--min-coverage",
        metavar="PERCENT",
        type=_percent,
        help="fail where less of the policies and conditions was tried both ways",
    )


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError(text)
    return value


def run(arguments: argparse.Namespace) -> int:
    """Run them, and print how they went."""
    from sidecar.cli import scenario_output  # noqa: PLC0415 - a command starts quickly
    from sidecar.tuning.scenario.coverage import Coverage  # noqa: PLC0415 - likewise
    from sidecar.tuning.scenario.play import play  # noqa: PLC0415 - likewise
    from sidecar.wire.yaml.tree import ConfigError  # noqa: PLC0415 - likewise

    try:
        scenes = _read(arguments)
    except ConfigError as error:
        for problem in error.problems:
            print(plain(str(problem)), file=sys.stderr)
        return MISTAKE
    coverage = Coverage(policy.id for policy in scenes.configured.evaluator.policies)
    played = []
    for scenario, stage in scenes.wanted:
        result = play(scenario, stage)
        played.append(result)
        scenario_output.print_played(result)
        for checked in result.checks if stage is scenes.configured else ():
            coverage.add(checked.explanation)
    if arguments.coverage or arguments.min_coverage is not None:
        scenario_output.print_coverage(coverage)
    if arguments.junit:
        _write(Path(arguments.junit), scenario_output.junit(played))
    failed = sum(1 for result in played if result.failed)
    print(f"{len(played) - failed} of {counted(len(played), 'scenario')} went as expected")
    least = arguments.min_coverage
    if least is not None and coverage.percent < least:
        print(f"coverage {coverage.percent:.1f} % is less than {least:g} %", file=sys.stderr)
        return NEGATIVE
    return NEGATIVE if failed else DONE


class _Scenes(NamedTuple):
    """The scenarios that are wanted, each with its stage; `configured` is that of most."""

    configured: "Stage"
    wanted: "list[tuple[Scenario, Stage]]"


def _read(arguments: argparse.Namespace) -> _Scenes:
    """Read configuration, policies and scenarios; raises ConfigError."""
    from sidecar.tuning.scenario.files import read_scenarios  # noqa: PLC0415 - likewise
    from sidecar.tuning.scenario.stage import read_stage, with_policies  # noqa: PLC0415 - likewise

    config = Path(arguments.config)
    configuration, stage = read_stage(config, os.environ, arguments.policies)
    settings = configuration.settings
    texts = _texts(arguments.paths, config)
    scenarios = read_scenarios(
        texts, settings.contexts, settings.tokens.namespaces, settings.aliases
    )
    wanted = [scenario for scenario in scenarios if arguments.only in scenario.name]
    if not wanted:
        raise Stop("sidecar test: no scenario has that in its name")
    stages: dict[tuple[str, ...], Stage] = {(): stage}
    found = []
    for scenario in wanted:
        beside = tuple(str(Path(scenario.file).parent / path) for path in scenario.policies)
        if beside not in stages:
            stages[beside] = with_policies(configuration, stage, beside)
        found.append((scenario, stages[beside]))
    return _Scenes(stage, found)


def _texts(paths: Sequence[str], config: Path) -> list[tuple[str, str]]:
    from sidecar.adapters.files.yaml_directory import yaml_files_below  # noqa: PLC0415 - likewise

    named = [Path(path) for path in paths] or [config.parent / "scenarios"]
    files: dict[Path, None] = {}
    for path in named:
        try:
            found = yaml_files_below(path) if path.is_dir() else [path]
        except OSError as error:
            raise Stop(f"{error.filename}:0: (file): cannot be read: {words_of(error)}") from error
        if not found:
            raise Stop(f"sidecar test: there is no scenario file in {path}")
        files |= dict.fromkeys(found)
    return [(str(file), _text(file)) for file in files]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Stop(f"{file}:0: (file): cannot be read: {words_of(error)}") from error
    except UnicodeDecodeError as error:
        raise Stop(f"{file}:0: (file): is not UTF-8 text") from error


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise Stop(f"{file}: cannot be written: {words_of(error)}") from error
