"""What CONTRIBUTING.md says of the project is so."""

import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CODE = ROOT / "sidecar"
TESTS = ROOT / "tests"
FLOORS = sorted(path.parent.name for path in CODE.glob("*/__init__.py"))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE))))
def test_a_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:sidecar|tests|docs)/[^` ]+)`", PAGE)))
)
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", PAGE))))
def test_a_target_of_make_exists(target: str) -> None:
    assert re.search(rf"^{target}:.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_each_folder_of_tests_is_described() -> None:
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name[0] not in "._"}
    for folder in folders - set(FLOORS):
        assert f"`tests/{folder}`" in PAGE


def test_each_floor_is_drawn() -> None:
    drawing = PAGE.split("```")[1]
    assert all(re.search(rf"\b{floor}\b", drawing) for floor in FLOORS)


@pytest.mark.parametrize("floor", FLOORS)
def test_a_folder_of_tests_is_named_after_a_room(floor: str) -> None:
    rooms = {path.parent.relative_to(CODE) for path in (CODE / floor).rglob("__init__.py")}
    assert {path.parent.relative_to(TESTS) for path in (TESTS / floor).rglob("test_*.py")} <= rooms


@pytest.mark.parametrize("floor", FLOORS)
def test_a_file_of_tests_that_is_named_after_a_module_lies_in_its_room(floor: str) -> None:
    rooms: defaultdict[str, set[Path]] = defaultdict(set)
    for module in (CODE / floor).rglob("*.py"):
        rooms[f"test_{module.stem}"].add(module.parent.relative_to(CODE))
    for file in (TESTS / floor).rglob("test_*.py"):
        assert file.stem not in rooms or file.parent.relative_to(TESTS) in rooms[file.stem]


@pytest.mark.parametrize(
    "error", ["InvalidSignal", "InvalidToken", "ConfigError", "Unavailable", "Overloaded"]
)
def test_an_error_that_is_named_is_one_class(error: str) -> None:
    assert f"`{error}`" in PAGE
    found = [
        path
        for path in CODE.rglob("*.py")
        if re.search(rf"^class {error}\(Exception\)", path.read_text(), re.MULTILINE)
    ]
    assert len(found) == 1


@pytest.mark.parametrize("module", ["asyncio", "unittest.mock", "time.time"])
def test_what_is_banned_is_banned(module: str) -> None:
    assert module in PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]


def test_no_test_lets_virtual_time_pass_while_bytes_are_under_way() -> None:
    """Nor does one of the whole daemon, of a client or of a real program."""
    real = [
        path
        for name in ("client", "stories", "system", "chaos")
        for path in (TESTS / name).rglob("*.py")
    ]
    assert real
    assert not [path for path in real if "autojump" in path.read_text()]


def test_the_suite_leaves_out_what_is_marked_long() -> None:
    recipes = (ROOT / "Makefile").read_text()
    (line,) = re.findall(r"^test: .*\n(\t@.*)$", recipes, re.MULTILINE)
    assert '-m "not long"' in line
    assert [
        mark.partition(":")[0] for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]
    ] == ["long"]


def test_what_is_marked_long_is_run_by_the_target_for_it() -> None:
    marked = [
        path.relative_to(ROOT)
        for path in TESTS.rglob("*.py")
        if re.search(r"\bmark\.long\b", path.read_text()) and path != Path(__file__)
    ]
    target = (ROOT / "Makefile").read_text().partition("\ntest-long:")[2].partition("\n\n")[0]
    run = [Path(one) for one in re.findall(r"\btests/\S+", target)]
    assert marked
    assert not [one for one in marked if not any(one.is_relative_to(each) for each in run)]
