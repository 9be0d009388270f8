"""The engine's benchmark: what it judges, and that its rows run."""

import json
import subprocess
import sys
from math import isnan
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.engine.__main__ import BEGIN, END, PAGE, ROWS
from benchmarks.engine.figures import Figure, Goal, keep, markdown, plot

ROOT = Path(__file__).parents[2]
FASTER = Figure("checks", "1/s", [40, 60, 50], {"bare": [90, 110, 100]}, (Goal(0.5, "bare", True),))
SLOWER = Figure("fold", "us", [70.0], {}, (Goal(60),))
ALONE = Figure("AuthZEN", "1/s", [5.0], {}, (Goal(4, "Cerbos", True),))


@pytest.mark.parametrize(
    ("figure", "met"),
    [(FASTER, True), (SLOWER, False), (ALONE, None)],
    ids=lambda one: str(one)[:12],
)
def test_a_goal_is_held_against_the_median_of_its_peer(figure: Figure, met: bool | None) -> None:
    assert figure.is_met(figure.goals[0]) is met
    assert isnan(figure.against(figure.goals[0])) == (met is None)


def test_a_table_says_which_goals_are_missed_and_which_were_not_measured() -> None:
    lines = markdown([FASTER, SLOWER, ALONE]).splitlines()[2:]
    assert [line.split("|")[-2].strip() for line in lines] == ["yes", "**no**", "not measured"]
    assert "50 (40..60)" in lines[0]


def test_a_plot_has_a_bar_for_each_goal_that_was_measured() -> None:
    drawn = ET.fromstring(plot([FASTER, SLOWER, ALONE]))
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert [bar.get("fill") for bar in bars] == ["#2e7d32", "#c62828"]


def test_what_is_kept_can_be_read_again(tmp_path: Path) -> None:
    keep(tmp_path, [FASTER], {"processors": 2})
    kept = json.loads((tmp_path / "engine.json").read_text())
    assert kept["rows"][0]["goals"] == [{"goal": ">= 0.5 of bare", "found": 0.5, "met": True}]


def test_the_page_has_a_place_for_the_table() -> None:
    text = PAGE.read_text()
    assert text.index(BEGIN) < text.index(END)


def test_rows_run(tmp_path: Path) -> None:
    """Some of them, just enough to see that they do; `make bench ARGS=--quick` runs all."""
    rows = ("decide", "facts", "acknowledge", "start")
    assert set(rows) <= set(ROWS)
    command = [sys.executable, "-m", "benchmarks.engine", "--quick", "--out", str(tmp_path)]
    command += [word for row in rows for word in ("--row", row)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    kept = json.loads((tmp_path / "engine.json").read_text())
    assert len(kept["rows"]) > len(rows)
    assert all(row["ours"]["median"] > 0 for row in kept["rows"])
