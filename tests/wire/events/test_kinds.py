"""One description of events: its reader and its schema accept the same documents."""

import re
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no types
from hypothesis import given, settings

from sidecar.wire.events.events import decode_event
from sidecar.wire.events.kinds import event_schema
from sidecar.wire.events.members import InvalidSignal
from tests.wire.events.drawn import events

NOW = 1_800_000_000.0
VALID = jsonschema.Draft202012Validator(event_schema())
NEEDS_MORE_THAN_THE_SHAPE = re.compile(
    r"""must\ be\ an\ IPv4\ or\ IPv6 | must\ have\ printable | without\ control\ characters
    | must\ be\ a\ number\ from\ 0\ to\ 1800000060
    """,
    re.VERBOSE,
)


def problem(event: dict[str, Any]) -> str:
    try:
        decode_event(event, now=NOW, skew=60.0, new_id="n")
    except InvalidSignal as error:
        return error.message
    return ""


@settings(max_examples=300)
@given(events())
def test_reader_and_schema_accept_the_same_events(event: dict[str, Any]) -> None:
    found = problem(event)
    if VALID.is_valid(event):
        assert not found or NEEDS_MORE_THAN_THE_SHAPE.search(found)
    else:
        assert found, "the reader accepts what the schema refuses"
