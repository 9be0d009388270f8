"""Nobody but the repository of records builds joins of the store's port."""

import re
from pathlib import Path

SIDECAR = Path(__file__).parents[3] / "sidecar"
CALLED = re.compile(r"(?<!class )\bJoin\(")
REPOSITORY = SIDECAR / "service" / "records"


def test_joins_are_built_by_the_repository_alone() -> None:
    found = {file for file in SIDECAR.rglob("*.py") if CALLED.search(file.read_text("utf-8"))}
    assert found == {REPOSITORY / "writes.py"}
