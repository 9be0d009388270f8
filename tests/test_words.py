"""The words of the house, as the glossary has them: the retired ones come back nowhere."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "clients" / "python"
MODULES = sorted([*(ROOT / "sidecar").rglob("*.py"), *CLIENT.rglob("stepup_client/**/*.py")])

RETIRED = {
    "log, notify, explain, publish, record, report, say": r"tel[l]s?|tol[d]|telling[s]?|untol[d]",
    "activation": r"holding[s]",
    "single-use proof": r"purs[e]s?",
    "risk condition, place condition": r"suspicion[s]|whereabout[s]",
    "simulation": r"rehears(?:al|e|e[d]|ing)",
    "re-score of all sessions": r"reswee[p](?:s|er|ing)?",
    "auditor": r"rescorer[s]?",
    "fleet acknowledgement": r"settlin[g]|settlemen[t]s?",
    "incremental evaluator": r"steppe[r]s?",
    "dispatch": r"handing_ou[t]",
}
RETIRED_MODULES = frozenset(
    [
        "accepting",
        "announcements",
        "answering",
        "answers",
        "asking",
        "asking_admin",
        "assembly",
        "coherence",
        "covering",
        "expecting",
        "forwarded",
        "guarding",
        "handing_out",
        "hardening",
        "holding",
        "identifying",
        "journeys",
        "lateness",
        "leaves",
        "live",
        "loading",
        "logged",
        "meaning",
        "naming",
        "paging",
        "pending",
        "poller",
        "polling",
        "positions",
        "possession",
        "pushing",
        "reading",
        "received",
        "rehearsal",
        "reloading",
        "replacing",
        "reporting",
        "rescore",
        "resweep",
        "saver",
        "scraping",
        "sealing",
        "serving",
        "settling",
        "shapes",
        "sighting",
        "signing",
        "spellings",
        "spending",
        "spooling",
        "stepping",
        "stopping",
        "suspicions",
        "telling",
        "transmitting",
        "verdicts",
        "vocabulary",
        "watching",
        "whereabouts",
    ]
)
STAYS = (
    r"untol[d]-by-geography",
    r"0018-what-others-tel[l]-is",
    r"b\"tol[d][:\"]",
    r"HEARSAY = \"\|tol[d]\"",
    r"REPORTED = \"tol[d]\"",
    r"tol[d]:POLICY",
    r"_raw\.tel[l]\(\)",
    r"name=\"holding[s]\"",
)
"""Names that stores, warnings and others bear already, which every version must go on to read."""

WORD = re.compile(
    r"(?<![A-Za-z])(?:" + "|".join(f"(?:{one})" for one in RETIRED.values()) + r")(?!(?-i:[a-z]))"
    r"|(?<=[a-z])(?:Tol[d]|Telling|Untol[d])",
    re.IGNORECASE,
)
CLAUSE = frozenset(
    ["What", "Whether", "How", "Who", "Whose", "Whom", "Where", "Why", "When", "Which"]
)
NOT_A_VERB = frozenset(
    [
        "A",
        "An",
        "The",
        "All",
        "Each",
        "Every",
        "Of",
        "By",
        "In",
        "At",
        "On",
        "For",
        "From",
        "One",
        "Some",
        "Any",
        "This",
        "That",
        "These",
        "Those",
        "It",
        "Its",
        "No",
        "Nobody",
        "Nothing",
        "None",
        "As",
        "With",
        "To",
        "Until",
        "If",
        "Both",
        "Several",
        "Two",
        "Everything",
        "Everybody",
        "Anybody",
        "So",
        "Only",
        "Not",
        "Other",
        "Others",
        "More",
        "Most",
    ]
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def written() -> Iterator[tuple[str, int, str]]:
    """Each line of each file that is under version control, but of decisions and locks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if (
            not path.is_file()
            or path.is_symlink()
            or name.startswith(("docs/decisions/", "tests/test_words.py"))
        ):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        yield name, 0, name
        for number, line in enumerate(text.splitlines(), start=1):
            yield name, number, line


def has_retired(line: str) -> bool:
    return bool(WORD.search(re.sub("|".join(STAYS), "", line)))


def test_retired_words_come_back_nowhere_but_in_decisions() -> None:
    found = [
        f"{name}:{number}: {line.strip()}" for name, number, line in written() if has_retired(line)
    ]
    assert not found, f"{len(found)} lines, such as\n" + "\n".join(found[:40])


@pytest.mark.parametrize(
    "line",
    [
        *("it was tol" + "d", "def _tel" + "l(self)", "PolicyTol" + "d(x)", "a_rehears" + "al = 1"),
        *("tel" + "lWatchers(x)", 'state = "tol' + 'd"', "watcher.tel" + "l()", "| tol" + "d: |"),
        *(
            "by-tol" + "d:",
            "tests/test_tel" + "ling.py",
            "untol" + "d-by-geography and untol" + "d",
        ),
    ],
)
def test_the_search_for_words_finds_them(line: str) -> None:
    assert has_retired(line)


@pytest.mark.parametrize("line", ["a policy that holds", "intelligence", "stepped", "a toll"])
def test_the_search_for_words_leaves_others_alone(line: str) -> None:
    assert not has_retired(line)


@pytest.mark.parametrize("name", STAYS)
def test_each_name_that_stays_is_one_that_is_written(name: str) -> None:
    assert any(re.search(name, line) for _, _, line in written())


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_modules_name_is_none_that_was_retired(module: Path) -> None:
    assert not {module.stem, module.parent.name} & RETIRED_MODULES


def documented(module: Path) -> Iterator[tuple[str, str, ast.AST]]:
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node)
            if said:
                where = getattr(node, "name", "the module")
                yield where, said.split()[0].rstrip(",:;."), node


def is_property(node: ast.AST) -> bool:
    marks = getattr(node, "decorator_list", ())
    return any(getattr(one, "id", getattr(one, "attr", "")).endswith("property") for one in marks)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_docstring_begins_with_what_it_is_about(module: Path) -> None:
    """A function's with a verb; that of a class or a module with no clause without its subject."""
    wrong = [
        f"{where}: {word}"
        for where, word, node in documented(module)
        if word in CLAUSE
        or (
            word in NOT_A_VERB
            and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and not is_property(node)
        )
    ]
    assert not wrong


def test_a_class_that_crosses_modules_has_a_name_of_its_own() -> None:
    defined: dict[str, set[str]] = defaultdict(set)
    imported: set[tuple[str, str]] = set()
    for path in sorted((ROOT / "sidecar").rglob("*.py")):
        tree = ast.parse(path.read_text())
        module = name_of(path).removesuffix(".py").replace("/", ".")
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                defined[node.name].add(module)
        for inner in ast.walk(tree):
            if isinstance(inner, ast.ImportFrom) and inner.module:
                imported.update((inner.module, alias.name) for alias in inner.names)
    crossing = {
        name: sorted(module for module in modules if (module, name) in imported)
        for name, modules in defined.items()
    }
    assert {name: modules for name, modules in crossing.items() if len(modules) > 1} == {}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_what_is_ours_has_one_name_wherever_it_is_imported(module: Path) -> None:
    """Two things of one name need two names; an alias hides that from who searches for them."""
    aliases = [
        f"{alias.name} as {alias.asname}"
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sidecar")
        for alias in node.names
        if alias.asname
    ]
    assert not aliases
