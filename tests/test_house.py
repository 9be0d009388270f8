"""House rules that no linter knows. What each is for stands in CONTRIBUTING.md."""

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import stepup_client

import sidecar

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "clients" / "python" / "stepup_client"
MODULES = sorted([*(ROOT / "sidecar").rglob("*.py"), *CLIENT.rglob("*.py")])
LONGEST = 600
LONGEST_FUNCTION = 80
MOST_PARAMETERS = 8
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


FUNCTIONS = [
    (module, node)
    for module in MODULES
    for node in ast.walk(ast.parse(module.read_text()))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


def test_a_function_can_be_seen_at_once() -> None:
    assert not [
        f"{name_of(module)}:{node.lineno}"
        for module, node in FUNCTIONS
        if (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]


def test_a_constructor_of_many_parameters_has_a_reason_beside_it() -> None:
    many = [
        (module, node.lineno)
        for module, node in FUNCTIONS
        if node.name == "__init__"
        and len([*node.args.posonlyargs, *node.args.args[1:], *node.args.kwonlyargs])
        > MOST_PARAMETERS
    ]
    for module, line in many:
        assert re.search(r"# noqa: PLR0913 - \w+ \w+", module.read_text().splitlines()[line - 1])


ROOMS = sorted({module.parent for module in MODULES})
MOST = 12
WHOLE = {"cli", "demo"}
"""A command is a module, and the demo is read from its first page on."""


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_holds_no_more_than_can_be_seen_at_once(room: Path) -> None:
    modules = [path for path in room.glob("*.py") if path.name != "__init__.py"]
    assert room.name in WHOLE or len(modules) <= MOST


def test_each_room_is_on_the_map() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for room in ROOMS:
        assert room == ROOT / "sidecar" or f"](../{room.relative_to(ROOT)}) |" in page


def imports_of_tests(path: Path) -> Iterator[str]:
    """Name the test modules that a file imports, or imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
        else:
            continue
        yield from (one for one in names if re.search(r"^tests\.(.*\.)?test_\w+$", one))


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "docs", "examples", "tools"])
def test_what_tests_share_stands_in_modules_that_are_no_tests(folder: str) -> None:
    found = {path: [*imports_of_tests(path)] for path in (ROOT / folder).rglob("*.py")}
    assert not {name_of(path): names for path, names in found.items() if names}


TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_tests_reach_for_files_in_this_repository_alone() -> None:
    """What lies elsewhere is named by the environment, and its absence is a skip with a reason."""
    outside = [
        name_of(path)
        for path in TESTS
        for level in re.findall(r"__file__\)(?:\.resolve\(\))?\.parents\[(\d+)\]", path.read_text())
        if int(level) >= len(path.relative_to(ROOT).parts)
    ]
    assert not outside


WAITING = ROOT / "tests" / "waiting.py"


def sleeps_without_a_reason(path: Path) -> Iterator[int]:
    """Give the lines that sleep, in real time, and do not say why."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    virtual = [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in functions
        if any(one.arg == "autojump_clock" for one in node.args.args)
    ]
    for number, line in enumerate(lines, 1):
        code, _, comment = line.partition("#")
        if re.search(r"\bsleep\(", code) and "sleep(0)" not in code:
            said = comment and not comment.strip().startswith("noqa")
            if not said and not any(number in lines_of for lines_of in virtual):
                yield number


def test_a_test_that_sleeps_says_at_what_pace_and_why() -> None:
    found = {path: [*sleeps_without_a_reason(path)] for path in TESTS if path != WAITING}
    assert not {name_of(path): numbers for path, numbers in found.items() if numbers}


def test_there_is_one_place_that_waits_until_something_is_so() -> None:
    names = {
        node.name
        for node in ast.parse(WAITING.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {"until", "ask_until", "eventually", "into_next_second"} == names
    others = [
        (name_of(path), node.name)
        for path in TESTS
        if path != WAITING
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in names
    ]
    assert not others


def test_no_file_names_a_package_registry() -> None:
    assert not [name_of(path) for path, text in texts() if REGISTRIES.search(text)]


def test_no_file_names_a_path_of_one_machine() -> None:
    assert not [name_of(path) for path, text in texts() if OF_ONE_MACHINE.search(text)]


REFERENCE = re.compile(r"(?<![\w/.-])((?:docs|tests)/[\w./-]*\w\.(?:md|mjs|py|ya?ml))\b")


def test_a_test_or_a_page_that_is_referred_to_exists() -> None:
    """The decisions and the changelog speak of their own time."""
    assert not [
        f"{name_of(path)}: {name}"
        for path, text in texts()
        if path not in DECISIONS and path.name != "CHANGELOG.md"
        for name in REFERENCE.findall(text)
        if not (ROOT / name).exists()
    ]


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


def test_the_changelog_begins_with_this_version_grouped_by_subject() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    latest = text.split("\n## ")[1]
    assert re.match(
        rf"{re.escape(sidecar.__version__)} - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}\n", latest
    )
    groups = re.findall(r"^### (.+)$", latest, re.MULTILINE)
    assert len(groups) == len(set(groups)) > 1
    assert not {*groups} & {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_daemon_and_client_have_one_version() -> None:
    package = json.loads((ROOT / "clients" / "typescript" / "package.json").read_text())
    assert {stepup_client.__version__, package["version"]} == {sidecar.__version__}


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_says_why_what_and_what_follows(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {int(page.name[:4])}. ")
    for heading in ("## Context", "## Decision", "## Consequences"):
        assert heading in text


OF_OTHERS = {
    "BaseException",
    "BrokenResourceError",
    "ConnectionError",
    "Exception",
    "HTTPError",
    "ImportError",
    "InvalidURL",
    "OSError",
    "RedisError",
    "ResponseError",
    "RuntimeError",
    "SSLError",
    "StreamError",
    "TimeoutError",
    "TransportError",
    "call_failures",
}
"""Errors whose own text may be empty, or `None` where they have one of the system."""
SAY_CAUSES = {"sidecar/domain/values/causes.py", "sidecar/adapters/redis_server/causes.py"}


def bare_texts(handler: ast.ExceptHandler) -> Iterator[int]:
    """The lines where a handler takes the text of an error of others as it is."""
    if handler.type is None or handler.name is None:
        return
    caught = {getattr(one, "attr", getattr(one, "id", "")) for one in ast.walk(handler.type)}
    if not caught & OF_OTHERS:
        return
    for node in (inner for statement in handler.body for inner in ast.walk(statement)):
        match node:
            case (
                ast.FormattedValue(value=ast.Name(id=name))
                | ast.Call(func=ast.Name(id="str"), args=[ast.Name(id=name)])
                | ast.Attribute(value=ast.Name(id=name), attr="strerror")
            ) if name == handler.name:
                yield node.lineno


def test_no_error_of_others_is_reported_by_a_text_that_can_be_empty() -> None:
    """They are reported by `values.causes`; the client stands apart, and imports nothing of it."""
    found = [
        f"{name_of(module)}:{line}"
        for module in MODULES
        if name_of(module) not in SAY_CAUSES and CLIENT not in module.parents
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ExceptHandler)
        for line in bare_texts(node)
    ]
    assert not found
