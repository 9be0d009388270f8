"""The pages of metrics, log events and commands say what the code does."""

import re
import sys
from pathlib import Path

import pytest

from docs import command_line, how_to, observed
from sidecar.cli.init_apps import FRAMEWORKS
from sidecar.cli.init_gateways import GATEWAYS
from sidecar.cli.main import COMMANDS

CODE = Path(__file__).parents[2] / "sidecar"


def test_the_page_of_metrics_is_current() -> None:
    assert observed.METRICS.read_text() == observed.metrics_page(), "run `python -m docs.observed`"


def test_the_page_of_log_events_is_current() -> None:
    page = observed.log_events_page()
    assert observed.LOG_EVENTS.read_text() == page, "run `python -m docs.observed`"


def test_every_metric_that_is_named_in_the_code_is_on_the_page() -> None:
    page = observed.METRICS.read_text()
    named = set()
    for path in (CODE / "adapters" / "telemetry").glob("*.py"):
        named |= set(re.findall(r'"(sidecar_[a-z_]+)"', path.read_text()))
    shown = page.replace("_total`", "`")
    assert not {name for name in named if f"`{name.removesuffix('_total')}`" not in shown}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays its help out in another way")
def test_the_page_of_commands_is_current() -> None:
    assert command_line.PAGE.read_text() == command_line.page(), (
        "run `python -m docs.command_line`, with Python 3.11 or 3.12"
    )


def test_the_page_of_commands_has_each() -> None:
    page = command_line.PAGE.read_text()
    assert all(f"\n## sidecar {one.name}\n" in page for one in COMMANDS)


@pytest.mark.parametrize("file", how_to.pages(), ids=lambda file: file.stem)
def test_the_page_of_a_gateway_or_framework_is_current(file: Path) -> None:
    assert file.read_text() == how_to.pages()[file], "run `python -m docs.how_to`"


def test_each_gateway_and_framework_has_a_page() -> None:
    assert how_to.NOTES.keys() == GATEWAYS.keys()
    assert how_to.TITLES.keys() == FRAMEWORKS.keys()
