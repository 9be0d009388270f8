"""The page of traces: its configurations are taken, and its names are those of the code."""

import re
from pathlib import Path

import pytest

from sidecar.adapters.telemetry.optional_rows import TRACES
from sidecar.service.observations.traces import SpanDropCause
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.events.socket_lines import CheckRequest, decode_line
from sidecar.wire.traces.trace_context import read_parent

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_each_configuration_is_taken(text: str) -> None:
    def secret(path: str) -> str:
        return "Authorization: Bearer b" if path.endswith("collector") else "k" * 44

    assert read_settings(text, "sidecar.yaml", {}, secret).traces.endpoint


def test_its_line_of_the_socket_is_read() -> None:
    (line,) = re.findall(r"```json\n(.*?)\n```", PAGE)
    read = decode_line(line.encode(), now=1.0, skew=1.0, new_id=str)
    assert isinstance(read, CheckRequest)
    assert read.trace is not None
    assert read_parent(read.trace.parent).sampled


def test_it_names_the_metrics_and_causes() -> None:
    for row in TRACES:
        for column in row.columns:
            assert getattr(column, "name", "sidecar") in PAGE
    for cause in SpanDropCause:
        assert f"`{cause}`" in PAGE
