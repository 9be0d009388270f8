"""The page of public baselines is what they become, and what the importer can say."""

import ast
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sidecar import entra
from tests.entra.graph_baselines import BASELINES, PAGE, page

CLONES = os.environ.get("ENTRA_BASELINES", "")
HERE = Path(entra.__file__).parent
SOURCES = sorted(HERE.rglob("[!_]*.py"))
TEXT = PAGE.read_text()
ROW = re.compile(r"^\| \[(\S+)\]\(#\S+\) at ([0-9a-f]{7}) \|((?: \d+ \|)+)$", re.MULTILINE)
REASON = re.compile(r"^\| (\d+) \| ([a-z]+) \| `(\S+)` \| (.+) \|$", re.MULTILINE)
STATE = re.compile(r"^- (\d+) that w(?:as|ere) (\S+): (\S+)$", re.MULTILINE)


def texts_in(value: Any) -> Iterator[str]:
    """The texts of a module's values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in texts_in(each))


def sayings() -> set[str]:
    """Every text that the importer has, written out or put together."""
    found: set[str] = set()
    for source in SOURCES:
        parts = source.relative_to(HERE.parents[1]).with_suffix("").parts
        module = import_module(".".join(parts))
        found |= {text for value in vars(module).values() for text in texts_in(value)}
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def form_of(text: str) -> re.Pattern[str]:
    """What `str.format` makes of a text."""
    parts = [part.replace("{{", "{").replace("}}", "}") for part in text.split("{}")]
    return re.compile(".+".join(map(re.escape, parts)))


def counts() -> dict[str, list[int]]:
    return {row[0]: [int(n) for n in re.findall(r"\d+", row[2])] for row in ROW.findall(TEXT)}


def test_every_baseline_has_a_row_at_its_commit_and_a_section() -> None:
    rows = [(row[0], row[1]) for row in ROW.findall(TEXT)]
    assert rows == [(each.repository, each.commit[:7]) for each in BASELINES]
    assert all(f"\n## {each.repository}\n" in TEXT for each in BASELINES)


def test_of_the_36_policies_that_gave_none_nine_or_more_are_enabled() -> None:
    policies, enabled, *_ = counts()["j0eyv/ConditionalAccessBaseline"]
    assert policies == 36
    assert enabled >= 9


def test_the_states_of_each_baseline_add_up() -> None:
    for part in TEXT.split("\n## ")[1:]:
        policies, *states, _, _ = counts()[part.partition("\n")[0]]
        total: dict[str, int] = dict.fromkeys(("enabled", "report-only", "disabled"), 0)
        for count, _, after in STATE.findall(part):
            total[after] += int(count)
        assert list(total.values()) == states
        assert sum(states) == policies
        assert all(int(count) <= policies for count, *_ in REASON.findall(part))


def test_every_reason_is_one_that_the_importer_still_gives() -> None:
    plain = sayings()
    forms = [form_of(text) for text in plain if "{}" in text]
    for _, _, _, why in REASON.findall(TEXT):
        filtered = re.fullmatch(r"device\.\S+ \S+: (.+); (where the provider .+)", why)
        parts = filtered.groups() if filtered else (why,)
        for text in parts:
            assert text in plain or any(form.fullmatch(text) for form in forms), why


@pytest.mark.skipif(not CLONES, reason="ENTRA_BASELINES names no directory of their clones")
def test_the_page_is_what_the_baselines_become() -> None:
    assert PAGE.read_text() == page(Path(CLONES)), "run `python -m tests.entra.graph_baselines DIR`"
