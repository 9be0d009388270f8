import io
import json
import os
from contextlib import suppress
from typing import Any, BinaryIO

import pytest
import trio

from sidecar.adapters.telemetry.logs import LONGEST_VALUE, Logger, LogLines, logger
from sidecar.wire.settings.settings import Log

NASTY = 'a\nb\r{"event":"forged"}\x1b[2J\x9b31m\u2028\u202e\ud800'


def written(**settings: Any) -> tuple[Logger, io.BytesIO]:
    stream = io.BytesIO()
    return logger(Log(**settings), LogLines(stream), lambda: 1_700_000_000.125), stream


def test_a_line_is_one_json_object_with_time_level_and_event_first() -> None:
    log, stream = written()
    log.info("session-marked", session="s1", since=1.5, contexts=("c1",), report=None, ok=True)
    assert stream.getvalue() == (
        b'{"time":"2023-11-14T22:13:20.125Z","level":"info","event":"session-marked",'
        b'"session":"s1","since":1.5,"contexts":["c1"],"report":null,"ok":true}\n'
    )


def test_no_value_can_begin_a_line_or_steer_a_terminal() -> None:
    for form in ("json", "console"):
        log, stream = written(format=form)
        log.warning("noted", reason=NASTY, nested={"x": [NASTY]})
        line = stream.getvalue()
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        text = line.decode()[:-1]
        assert not set(text) & set("\r\x9b\u2028\u202e")
        assert "\x1b[2J" not in text
        if form == "json":
            assert json.loads(text)["reason"] == NASTY


def test_levels_below_the_configured_one_are_not_written() -> None:
    log, stream = written(level="warning")
    log.info("quiet")
    log.debug("quieter")
    log.warning("loud")
    log.error("louder")
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["loud", "louder"]


def test_a_value_of_any_length_costs_no_more_than_the_longest() -> None:
    log, stream = written()
    log.info("noted", reason="x" * 1_000_000, deep=[{"y": "z" * 1_000_000}])
    assert len(stream.getvalue()) < 3 * LONGEST_VALUE


def test_for_people_a_line_names_its_fields() -> None:
    log, stream = written(format="console")
    log.info("session-marked", policy="p1", reason="from DE to FR", contexts=("c1",), since=0.5)
    text = stream.getvalue().decode()
    assert "session-marked" in text
    assert 'policy=p1 reason="from DE to FR" contexts=["c1"] since=1970-01-01T00:00:00Z' in text


async def test_lines_keep_their_order_through_the_thread(nursery: trio.Nursery) -> None:
    receive, send = os.pipe()
    with os.fdopen(send, "wb") as stream, os.fdopen(receive, "rb") as reader:
        lines = LogLines(stream)
        log = logger(Log(), lines)
        log.info("before", number=-1)
        await nursery.start(lines.run)
        for number in range(500):
            log.info("during", number=number)
            if number % 50 == 0:
                await trio.lowlevel.checkpoint()
        numbers = [json.loads(await read_line(reader))["number"] for _ in range(501)]
        assert numbers == list(range(-1, 500))
        nursery.cancel_scope.cancel()


async def read_line(reader: BinaryIO) -> bytes:
    return await trio.to_thread.run_sync(reader.readline)


async def test_a_stalled_reader_stops_neither_the_loop_nor_memory() -> None:
    receive, send = os.pipe()
    dropped: list[int] = []
    reader, stream = os.fdopen(receive, "rb"), os.fdopen(send, "wb")
    lines = LogLines(stream, bound=100, on_drop=dropped.append)
    log = logger(Log(), lines)
    async with trio.open_nursery() as nursery:
        await nursery.start(lines.run)
        for _ in range(2000):  # more than the pipe, then the queue, can hold
            log.info("noted", reason="x" * 1000)
            await trio.lowlevel.checkpoint()
        assert sum(dropped) > 0
        reader.close()
        nursery.cancel_scope.cancel()
    with suppress(BrokenPipeError):  # what it had buffered
        stream.close()


async def test_who_waits_for_a_stalled_reader_takes_no_place_of_a_line() -> None:
    receive, send = os.pipe()
    dropped: list[int] = []
    reader, stream = os.fdopen(receive, "rb"), os.fdopen(send, "wb")
    lines = LogLines(stream, bound=100, on_drop=dropped.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(lines.run)
        lines.write("x" * 1_000_000)  # more than the pipe can hold
        for _ in range(200):
            with trio.move_on_after(0.001) as waited:
                await lines.written()
            assert waited.cancelled_caught
        lines.write("there is room")
        assert not dropped
        reader.close()
        nursery.cancel_scope.cancel()
    with suppress(BrokenPipeError):  # what it had buffered
        stream.close()


async def test_what_was_taken_is_written_once_that_is_said(nursery: trio.Nursery) -> None:
    stream = io.BytesIO()
    lines = LogLines(stream)
    lines.write("before")
    await lines.written()
    await nursery.start(lines.run)
    for number in range(100):
        lines.write(f"line {number}")
        await lines.written()
        assert stream.getvalue().endswith(f"line {number}\n".encode())
    nursery.cancel_scope.cancel()


async def test_what_waits_when_it_ends_is_still_written(nursery: trio.Nursery) -> None:
    stream = io.BytesIO()
    lines = LogLines(stream)
    async with trio.open_nursery() as inner:
        await inner.start(lines.run)
        lines.write("last words")
        inner.cancel_scope.cancel()
    lines.write("an afterword")
    assert stream.getvalue() == b"last words\nan afterword\n"


async def test_any_thread_may_write() -> None:
    stream = io.BytesIO()
    lines = LogLines(stream)
    async with trio.open_nursery() as nursery:
        await nursery.start(lines.run)
        await trio.to_thread.run_sync(lines.write, "from a thread")
        nursery.cancel_scope.cancel()
    assert stream.getvalue() == b"from a thread\n"


def test_a_closed_stream_is_counted_and_harms_nobody() -> None:
    dropped: list[int] = []
    stream = io.BytesIO()
    stream.close()
    LogLines(stream, on_drop=dropped.append).write("nobody hears")
    assert dropped == [1]


def test_it_writes_to_standard_error_unless_given_another(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    logger(Log(), LogLines()).info("hello")
    captured = capsysbinary.readouterr()
    assert json.loads(captured.err)["event"] == "hello"
    assert captured.out == b""
