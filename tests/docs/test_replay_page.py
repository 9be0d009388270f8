"""The page on replay says what replay does."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from sidecar.tuning.recording.csv_columns import read_columns
from sidecar.tuning.recording.occurrences import Occurrence, read_line
from sidecar.tuning.report import report

PAGE = (Path(__file__).parents[2] / "docs/replay.md").read_text()
LINES = [
    line
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
PARTS = [
    part
    for part in vars(report).values()
    if isinstance(part, type) and issubclass(part, msgspec.Struct) and part.__struct_fields__
]


@pytest.mark.parametrize("line", LINES)
def test_every_line_on_the_page_can_be_replayed(line: str) -> None:
    assert json.loads(line)
    assert isinstance(read_line(line.encode()), Occurrence)


def test_the_map_on_the_page_is_right() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(read_columns(text, "replay.md")) == 9


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_member_of_the_report_is_described(part: type[msgspec.Struct]) -> None:
    missing = [name for name in part.__struct_fields__ if f"`{name}`" not in PAGE]
    assert not missing
