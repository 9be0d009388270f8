import io
import json
import logging
import sys
import threading
import warnings
from typing import Any

import pytest

from sidecar.adapters.telemetry.foreign_lines import foreign_lines
from sidecar.adapters.telemetry.logs import LogLines, logger
from sidecar.wire.settings.settings import Log


class Unraisable:
    def __del__(self) -> None:
        raise ValueError("in a finalizer")


def fail() -> None:
    raise ValueError("with a payload")


def library_fails() -> None:
    try:
        fail()
    except ValueError:
        logging.getLogger("trio.serve_listeners").exception("cannot accept\n%s", "any more")


def library_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)


def thread_fails() -> None:
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()


def finalizer_fails() -> None:
    one = Unraisable()
    del one


def record_does_not_fit() -> None:
    logging.getLogger("x").error(*("%d of %d", "one"))


@pytest.mark.parametrize(
    ("happen", "event", "fields"),
    [
        (library_fails, "library-said", {"library": "trio.serve_listeners", "level": "error"}),
        (library_warns, "library-warned", {"kind": "DeprecationWarning", "level": "warning"}),
        (thread_fails, "thread-failed", {"thread": "worker", "error": "ValueError"}),
        (finalizer_fails, "error-ignored", {"error": "ValueError"}),
        (record_does_not_fit, "library-said", {"message": "%d of %d"}),
    ],
)
def test_what_libraries_and_the_interpreter_write_is_one_line_of_json(
    happen: Any, event: str, fields: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    before = (sys.unraisablehook, threading.excepthook, logging.getLogger().handlers[:])
    with foreign_lines(lambda: logger(Log(), LogLines(stream))):
        happen()
    (line,) = stream.getvalue().splitlines()
    logged = json.loads(line)
    assert logged["event"] == event
    assert logged.items() >= fields.items()
    assert "payload" not in line.decode()
    if "error" in fields or fields.get("level") == "error":
        assert logged["trace"][-1].endswith((" fail", " __del__"))
    assert capfd.readouterr().err == ""
    assert (sys.unraisablehook, threading.excepthook, logging.getLogger().handlers[:]) == before
