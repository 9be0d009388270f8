"""Decisions at a collector and on standard output."""

import errno
import json
import os

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.adapters.decision_log.otlp_output import OtlpOutput
from sidecar.adapters.decision_log.stream_output import StreamOutput
from sidecar.service.decisions.decision_log import OutputFailed
from sidecar.service.observations.decision_log import DropCause
from sidecar.wire.decision_log.chain import Chain, digest_by, read_record
from sidecar.wire.decision_log.settings import DecisionOtlp
from tests.adapters.recipients import Recipient, receiving

RECORDS = [
    b'{"time":"2026-11-30T18:00:00.250000Z","kind":"decision","id":"d1","verdict":"allow"}',
    b'{"time":"2026-11-30T18:00:01.000000Z","kind":"decision","id":"d2","verdict":"deny"}',
    b'{"time":"2026-11-30T18:00:02.000000Z","kind":"dropped","dropped":{"queue-full":2}}',
]


def output(collector: Recipient, chain: Chain | None = None, **settings: object) -> OtlpOutput:
    asked = DecisionOtlp(url=collector.url, authorization="Bearer c", **settings)  # type: ignore[arg-type]
    return OtlpOutput(lambda: asked, chain, {"service.name": "stepup-sidecar"})


async def test_a_collector_gets_logs_as_the_protocol_has_them() -> None:
    with receiving() as collector:
        collector.always = (200, {"content-type": "application/json"}, b"{}")
        sink = output(collector, Chain(digest_by("")), batch=2)
        await sink.write(RECORDS)
        await sink.aclose()
    (headers, first), (_, second) = collector.posts
    assert (headers["content-type"], headers["authorization"]) == ("application/json", "Bearer c")
    (of_resource,) = json.loads(first)["resourceLogs"]
    assert of_resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "stepup-sidecar"}}
    ]
    (scope,) = of_resource["scopeLogs"]
    quiet, loud = scope["logRecords"]
    assert (quiet["timeUnixNano"], quiet["severityText"]) == ("1796061600250000000", "INFO")
    assert (loud["severityNumber"], loud["eventName"]) == (13, "sidecar.decision")
    assert {"key": "sidecar.id", "value": {"stringValue": "d2"}} in loud["attributes"]
    read = read_record(quiet["body"]["stringValue"].encode())
    assert read is not None
    assert read.seq == 1
    (notice,) = json.loads(second)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert notice["eventName"] == "sidecar.dropped"


async def test_an_overloaded_collector_is_asked_again() -> None:
    with receiving() as collector:
        collector.always = (200, {}, b"{}")
        collector.answers.extend([(503, {"retry-after": "0"}, b""), (429, {}, b"")])
        sink = output(collector)
        await sink.write(RECORDS)
        await sink.aclose()
    assert len(collector.posts) == 3


async def test_what_a_collector_refuses_is_lost_and_counted_so() -> None:
    with receiving() as collector:
        partial = b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no"}}'
        collector.answers.extend([(400, {}, b""), (200, {}, b"{}")])
        sink = output(collector, batch=2)
        with pytest.raises(OutputFailed, match="status 400") as refused:
            await sink.write(RECORDS)
        assert (refused.value.lost, refused.value.cause) == (2, DropCause.REFUSED)
        collector.answers.append((200, {}, partial))
        with pytest.raises(OutputFailed, match="all but 2 of 2") as refused:
            await sink.write(RECORDS[:2])
        assert refused.value.lost == 2
        await sink.aclose()


async def test_a_collector_that_is_not_there_is_given_up_in_time() -> None:
    with receiving() as collector:
        pass
    sink = output(collector, timeout=0.2)
    with pytest.raises(OutputFailed) as failed:
        await sink.write(RECORDS)
    await sink.aclose()
    assert (failed.value.lost, failed.value.cause) == (3, DropCause.OUTPUT)


async def test_standard_output_gets_a_line_for_each_record() -> None:
    reader, writer = os.pipe()
    await StreamOutput(None, writer).write(RECORDS)
    os.close(writer)
    with open(reader, "rb") as stream:  # noqa: ASYNC230, PTH123 - a pipe that was written
        assert stream.read().splitlines() == RECORDS


async def test_a_reader_that_stalls_holds_up_nothing_but_its_own_output() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    many = [b"x" * 65536] * 4
    async with trio.open_nursery() as nursery:
        nursery.start_soon(StreamOutput(None, writer).write, many)
        await wait_all_tasks_blocked()  # the pipe is full, and this task has its turn
        left = sum(map(len, many)) + len(many)
        while left:
            try:
                left -= len(os.read(reader, 65536))
            except BlockingIOError:
                await trio.sleep(0.001)  # the pace of the thread that writes
    os.close(reader)
    with pytest.raises(OutputFailed, match=os.strerror(errno.EPIPE)):
        await StreamOutput(None, writer).write(RECORDS)
    os.close(writer)
