"""The table in docs/gateways.md of what each gateway passes, refuses and strips is what they do."""

from tests.system.gateways import passage
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.stack import Stack

WRITE = "run `python -m tests.system.gateways.passage`"


def test_the_table_says_what_this_gateway_does(stack: Stack) -> None:
    """Where a gateway is not installed, this is skipped, and its column left unchecked."""
    heard = passage.columns(passage.PAGE.read_text())[stack.name]
    rows = [row for row, _ in passage.ROWS]
    seen = passage.column(stack)
    assert dict(zip(rows, heard, strict=True)) == dict(zip(rows, seen, strict=True)), WRITE


def test_the_table_has_these_rows_and_a_column_for_each_gateway() -> None:
    page = passage.PAGE.read_text()
    heard = passage.columns(page)
    assert list(heard) == list(GATEWAYS)
    assert "?" not in {cell for cells in heard.values() for cell in cells}, WRITE
    assert passage.with_columns(page, heard) == page, WRITE
