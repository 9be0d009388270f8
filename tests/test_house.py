"""House rules that no linter knows. What each is for stands in CONTRIBUTING.md."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sidecar

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "sidecar").rglob("*.py"))
LONGEST = 600
VAGUE = {
    "utils",
    "util",
    "helpers",
    "common",
    "manager",
    "types",
    "models",
    "constants",
    "errors",
    "misc",
}
# Written so that no pattern finds itself.
OF_ONE_MACHINE = re.compile(r"/wor[k]/(main|shared)|/roo[t]/|/tmp/[wp]/|/opt/pyp[i]|\.pyen[v]/")
REGISTRIES = re.compile(
    r"pypi\.or[g]|pythonhosted\.or[g]|npmjs\.(?:org|co[m])|docker\.i[o]\b|ghcr\.i[o]\b|quay\.i[o]\b"
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def files() -> Iterator[Path]:
    """Every file of the project: what .gitignore leaves out is left out here, too."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    skip = {".git", *(line.strip("/") for line in ignored if line.endswith("/"))}
    for directory, below, names in os.walk(ROOT):
        below[:] = [name for name in below if name not in skip and not name.endswith(".egg-info")]
        yield from (Path(directory, name) for name in names)


def texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_short_enough_to_be_read_at_once(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_modules_name_says_what_it_is_for(module: Path) -> None:
    assert not {module.stem, module.parent.name} & VAGUE


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_begins_with_what_it_is(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text()))


def test_no_file_names_a_package_registry() -> None:
    assert not [name_of(path) for path, text in texts() if REGISTRIES.search(text)]


def test_no_file_names_a_path_of_one_machine() -> None:
    assert not [name_of(path) for path, text in texts() if OF_ONE_MACHINE.search(text)]


def test_the_search_for_names_finds_them() -> None:
    assert REGISTRIES.search("https://" + "pypi" + ".org/simple")
    assert OF_ONE_MACHINE.search("see /" + "root/.cache")
    assert {ROOT / "Makefile", ROOT / "sidecar" / "__init__.py"} <= set(files())


@pytest.mark.parametrize("target", ["run", "test", "bench", "lint", "format", "lock", "clean"])
def test_the_makefile_offers(target: str) -> None:
    assert re.search(rf"^{target}:.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("script", [".ci/run", "tools/set-up", "tools/lock"])
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_the_changelog_tells_of_this_version() -> None:
    assert f" {sidecar.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_tells_why_what_and_what_follows(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {int(page.name[:4])}. ")
    for heading in ("## Context", "## Decision", "## Consequences"):
        assert heading in text
