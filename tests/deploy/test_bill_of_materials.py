"""The image's bill of materials names what is installed, each once and by its package URL."""

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SCRIPT = Path(__file__).parents[2] / "deploy" / "image" / "sbom.py"


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the bill of the environment that the tests run in, made twice."""
    files = [tmp_path_factory.mktemp("bill") / name for name in ("one.json", "other.json")]
    for file in files:
        subprocess.run([sys.executable, SCRIPT, file], check=True)
    one, other = (file.read_bytes() for file in files)
    assert one == other, "the same environment gives the same bytes"
    made: dict[str, Any] = json.loads(one)
    return made


def test_it_is_cyclonedx_of_the_sidecar(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["serialNumber"].startswith("urn:uuid:")
    root = bill["metadata"]["component"]
    assert (root["type"], root["name"]) == ("application", "stepup-sidecar")
    assert root["licenses"] == [{"expression": "Apache-2.0"}]


def test_every_distribution_is_in_it_once(bill: dict[str, Any]) -> None:
    components = [bill["metadata"]["component"], *bill["components"]]
    purls = [one["purl"] for one in components]
    assert len(purls) == len(set(purls))
    installed = {
        f"pkg:pypi/{one.metadata['Name'].lower().replace('_', '-').replace('.', '-')}@{one.version}"
        for one in distributions()
    }
    assert installed <= set(purls)
    assert [one for one in components if one["purl"].startswith("pkg:generic/python@")]


def test_dependencies_name_components_of_the_bill(bill: dict[str, Any]) -> None:
    components = [bill["metadata"]["component"], *bill["components"]]
    known = {one["bom-ref"] for one in components}
    needs = {one["ref"]: set(one["dependsOn"]) for one in bill["dependencies"]}
    assert needs.keys() <= known
    assert set().union(*needs.values()) <= known
    direct = needs[bill["metadata"]["component"]["bom-ref"]]
    assert any(one.startswith("pkg:pypi/trio@") for one in direct)


def test_nearly_all_components_have_a_licence(bill: dict[str, Any]) -> None:
    with_licence = [one for one in bill["components"] if one.get("licenses")]
    assert len(with_licence) > 0.9 * len(bill["components"])


def faults(text: str) -> list[str]:
    """What the schema of CycloneDX 1.6 finds wrong, keys that it does not know among it."""
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text, all_errors=True)
    return [str(one) for one in found or ()]


def test_it_is_valid_to_the_letter_of_cyclonedxs_own_schema(bill: dict[str, Any]) -> None:
    assert not faults(json.dumps(bill))


def test_the_schema_refuses_what_it_does_not_know(bill: dict[str, Any]) -> None:
    component = {**bill["components"][0], "colour": "blue"}
    assert faults(json.dumps({**bill, "components": [component]}))
    unknown = {**bill["components"][0], "licenses": [{"license": {"id": "No-Such-Licence"}}]}
    assert faults(json.dumps({**bill, "components": [unknown]}))
