from collections.abc import Iterator

import pytest

from sidecar.adapters.telemetry.declarations import INFO, LogLine, MetricDeclaration, counter, row
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.metrics import Metrics
from sidecar.adapters.telemetry.recorder import Circumstances, recorder
from sidecar.adapters.telemetry.table import TABLE
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.observations.observations import Observation, QueueRejected
from sidecar.wire.settings.settings import Settings


def kinds(of: type[Observation] = Observation) -> Iterator[type[Observation]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_kind_of_observation_has_one_row() -> None:
    declared = [row.of for row in TABLE]
    assert set(declared) == set(kinds())
    assert len(declared) == len(set(declared))


def test_an_observation_is_counted_or_logged() -> None:
    assert not [row.of for row in TABLE if not row.columns]


def test_a_metric_of_two_rows_is_declared_once() -> None:
    declared = [
        column for row in TABLE for column in row.columns if isinstance(column, MetricDeclaration)
    ]
    assert len({metric.name for metric in declared}) == len(set(map(id, declared)))


@pytest.mark.parametrize(
    "column",
    [
        counter("sidecar_reloads_total", "Reloads.", "quene"),
        counter("sidecar_reloads_total", "Reloads.", amount="quene"),
        LogLine("a-queue-is-full", INFO, "quene"),
        LogLine("a-queue-is-full", INFO, "name=quene"),
    ],
)
def test_a_row_that_names_no_attribute_is_refused_at_the_start(
    column: MetricDeclaration | LogLine,
) -> None:
    telemetry = PrometheusTelemetry(Settings(), LogLines())
    at = Circumstances(lambda: 0.0, telemetry.log, Settings())
    with pytest.raises(AttributeError, match="QueueRejected has no quene"):
        recorder(row(QueueRejected, column), Metrics().collectors, at)


def test_an_observation_is_a_frozen_value() -> None:
    assert all(kind.__struct_config__.frozen for kind in kinds())
