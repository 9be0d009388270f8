"""Spans that wait, and a collector that is slow, gone, or refuses some."""

from collections.abc import Iterator

import pytest
import trio

from sidecar.adapters.opentelemetry.span_output import OtlpSpanOutput
from sidecar.service.observations.observations import WorkerFailed
from sidecar.service.observations.traces import (
    CollectorState,
    SpanDropCause,
    SpansDropped,
    SpansExported,
)
from sidecar.service.traces.span_queue import SpanOutput, SpanQueue
from sidecar.wire.traces.settings import TracesSettings
from sidecar.wire.traces.spans import Span, SpanKind
from tests.adapters.opentelemetry.collecting import Collector, collecting
from tests.adapters.opentelemetry.otlp_messages import ExportTraceServiceResponse
from tests.service.memory import Records

SPAN = Span("check allow", SpanKind.SERVER, 1, 2, 0, 1.0, 2.0, {})


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def output(collector: Collector, **more: object) -> OtlpSpanOutput:
    settings = TracesSettings(endpoint=collector.url, headers="X-Key: k", **more)  # type: ignore[arg-type]
    return OtlpSpanOutput(lambda: settings, {"service.name": "s"})


def queue(sink: SpanOutput, bound: int = 100) -> tuple[SpanQueue, Records]:
    seen = Records()
    return SpanQueue(sink, bound, seen), seen


def dropped(seen: Records) -> list[tuple[SpanDropCause, int]]:
    return [(one.cause, one.spans) for one in seen.seen if isinstance(one, SpansDropped)]


def exported(seen: Records) -> list[int]:
    return [one.spans for one in seen.seen if isinstance(one, SpansExported)]


def states(seen: Records) -> list[CollectorState]:
    return [one for one in seen.seen if isinstance(one, CollectorState)]


async def test_what_does_not_fit_is_dropped_and_counted(collector: Collector) -> None:
    sink = output(collector)
    spans, seen = queue(sink, bound=3)
    for _ in range(5):
        spans.put(lambda: SPAN)
    assert spans.waiting == 3
    await spans.flush()
    await sink.aclose()
    assert dropped(seen) == [(SpanDropCause.QUEUE, 2)]
    assert exported(seen) == [3]
    ((headers, _),) = collector.server.posts
    assert (headers["x-key"], headers["content-type"]) == ("k", "application/x-protobuf")


async def test_a_span_that_cannot_be_made_costs_no_other(collector: Collector) -> None:
    sink = output(collector)
    spans, seen = queue(sink)
    spans.put(lambda: SPAN._replace(trace=-1))
    for _ in range(9):
        spans.put(lambda: SPAN)
    spans.put(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    await spans.flush()
    await sink.aclose()
    assert len(seen.of(WorkerFailed)) == 2
    assert dropped(seen) == [(SpanDropCause.SPAN, 1)] * 2
    assert exported(seen) == [9]


async def test_a_collector_that_refuses_some_is_believed(collector: Collector) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1
    collector.server.answers.append((200, {}, answer.SerializeToString()))
    collector.server.answers.append((400, {}, b""))
    sink = output(collector)
    spans, seen = queue(sink)
    for _ in range(2):
        for _ in range(2):
            spans.put(lambda: SPAN)
        await spans.flush()
    await sink.aclose()
    assert dropped(seen) == [(SpanDropCause.REFUSED, 1), (SpanDropCause.REFUSED, 2)]
    assert exported(seen) == [1]


async def test_that_a_collector_is_gone_is_recorded_once_and_so_is_its_return(
    collector: Collector,
) -> None:
    settings = [TracesSettings(endpoint="http://127.0.0.1:9/v1/traces", timeout=0.01)]
    gone = OtlpSpanOutput(lambda: settings[0], {})
    spans, seen = queue(gone)
    async with trio.open_nursery() as nursery:
        await nursery.start(spans.run)
        nursery.cancel_scope.cancel()
    for _ in range(2):
        spans.put(lambda: SPAN)
        await spans.flush()
    (_, down) = states(seen)
    assert not down.up
    assert "127.0.0.1:9" in down.detail
    assert dropped(seen) == [(SpanDropCause.OUTPUT, 1)] * 2
    gone._client.url = collector.url  # noqa: SLF001 - as if it had come back at its address
    spans.put(lambda: SPAN)
    await spans.flush()
    await gone.aclose()
    assert [one.up for one in states(seen)] == [True, False, True]


async def test_one_that_is_overloaded_is_asked_again(collector: Collector) -> None:
    collector.server.answers.append((503, {"retry-after": "0"}, b""))
    sink = output(collector)
    spans, seen = queue(sink)
    spans.put(lambda: SPAN)
    await spans.flush()
    await sink.aclose()
    assert (exported(seen), dropped(seen)) == ([1], [])
    assert len(collector.server.posts) == 2
