"""The pins: exact, hashed, from no particular index, and what pyproject.toml asks for."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OURS = "stepup-client"
"""Installed from clients/python, never from an index."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(name: str) -> dict[str, str]:
    """Each pinned distribution with the rest of its line: version, marker and hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    parted = (line.partition("==") for line in lines)
    return {canonicalize_name(package): rest for package, _, rest in parted}


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_every_pin_is_exact_and_hashed(name: str) -> None:
    found = pins(name)
    assert found
    for package, rest in found.items():
        assert rest[:1].isdigit(), package
        assert "--hash=sha256:" in rest, package


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_no_pin_names_an_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for word in ("index-url", "find-links", "trusted-host", "://"):
        assert word not in text


@pytest.mark.parametrize("name", ["run", "build"])
def test_what_runs_is_what_was_tested(name: str) -> None:
    assert pins(name).items() <= pins("dev").items()


def asked_for(name: str) -> list[Requirement]:
    project = PROJECT["project"]
    lines = {
        "run": [line for line in project["dependencies"] if not line.startswith(OURS)],
        "build": PROJECT["build-system"]["requires"],
        "dev": [
            *project["optional-dependencies"]["demo"],
            *PROJECT["dependency-groups"]["dev"],
        ],
    }[name]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_the_pins_satisfy_what_is_asked_for(name: str) -> None:
    found = pins(name)
    for requirement in asked_for(name):
        version = found[canonicalize_name(requirement.name)].split()[0]
        assert requirement.specifier.contains(version, prereleases=True), requirement
