"""The reference pages say what the code does."""

import re
from pathlib import Path

import pytest

from docs import generate
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.policies.conditions import BY_KEY
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.structs import struct_type

ROOT = Path(__file__).parents[2]
POLICIES = (ROOT / "docs/reference/policies.md").read_text()
FRICTION = (ROOT / "docs/friction.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", POLICIES, re.DOTALL)
EXAMPLES_OF_FRICTION = re.findall(r"```yaml\n(policies:.*?)```", FRICTION, re.DOTALL)


def test_the_configuration_reference_is_current() -> None:
    assert generate.PAGE.read_text() == generate.page(), "run `python docs/generate.py`"


def test_the_page_of_warnings_is_current() -> None:
    assert generate.WARNINGS.read_text() == generate.warnings_page(), (
        "run `python docs/generate.py`"
    )


def test_the_page_of_decision_records_is_current() -> None:
    assert generate.DECISION_LOG.read_text() == generate.decision_log_page(), (
        "run `python docs/generate.py`"
    )


def test_the_page_of_policies_is_current() -> None:
    assert generate.POLICIES.read_text() == generate.policies_page(), (
        "run `python docs/generate.py`"
    )


def test_the_page_of_events_is_current() -> None:
    assert generate.EVENTS_PAGE.read_text() == generate.events_page(), (
        "run `python docs/generate.py`"
    )


def test_the_page_of_scenarios_is_current() -> None:
    assert generate.SCENARIOS.read_text() == generate.scenarios_page(), (
        "run `python docs/generate.py`"
    )


def test_the_map_of_the_rooms_is_current() -> None:
    assert generate.ARCHITECTURE.read_text() == generate.architecture_page(), (
        "run `python docs/generate.py`"
    )


def test_the_configuration_reference_has_every_section() -> None:
    page = generate.page()
    for member in struct_type(Settings).fields:
        assert f"\n## {member.encode_name}" in page


def test_every_key_of_the_configuration_is_described() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", generate.page(), re.MULTILINE)
    described_by_their_struct = {"country", "region", "city", "latitude", "longitude", "asn"}
    described_by_their_struct |= {"accuracy_km", "organization", "name", "acr", "amr"}
    described_by_their_struct |= {"weight", "half_life", "medium", "high", "hysteresis"}
    missing = {key for key, meaning in rows if not meaning} - described_by_their_struct
    assert not missing


@pytest.mark.parametrize("text", [*EXAMPLES, *EXAMPLES_OF_FRICTION])
def test_every_example_of_the_policy_reference_is_valid(text: str) -> None:
    path = "config/sidecar.yaml"
    settings = read_settings((ROOT / path).read_text(), path, {}, str)
    assert read_policies([("policies.md", text)], settings)


def test_the_policy_reference_has_every_condition() -> None:
    for name in BY_KEY:
        assert f"`{name}`" in POLICIES
