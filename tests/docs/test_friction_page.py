"""The shipped policies ask few people, and find every planted attack; the page says how many."""

from pathlib import Path

import pytest

from benchmarks.friction import BEGIN, END, MOST, OCCURRENCES, figures, tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "friction.md"


def test_few_are_asked_and_every_attack_is_found() -> None:
    found = figures(12_000)
    assert found.attacked > 0
    assert found.detected == found.attacked
    assert found.prompts <= MOST


@pytest.mark.long
def test_the_pages_tables_are_what_the_benchmark_finds() -> None:
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert written.strip().splitlines() == list(tables(OCCURRENCES))
