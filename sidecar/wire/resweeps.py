"""The record of the re-score of all sessions: what was asked for, who works, and how far.

    want:GENERATION   when it was last asked for; the latest one is the current
    lease:TERM        which sidecar works in this term (`wire.leases`)
    sweep:ASKED       how far the one asked for then has got
    swept:ASKED       that it is done

Values begin with a number of sixteen digits that only grows, as the lattice wants it
(`domain.lattice`). Moments are in microseconds since the epoch.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from sidecar.domain.stamp import MICROSECONDS

WANT = b"want:"
SWEEP = b"sweep:"
SWEPT = b"swept:"
_DIGITS = 16
_T = TypeVar("_T")


class Asked(NamedTuple):
    """A re-score that was asked for: by which generation sessions are to be judged, and when."""

    generation: str
    at: int


class Saved(NamedTuple):
    """How far it has got: the later revision counts; `bookmark` is the store's own."""

    revision: int
    done: int
    expected: int
    bookmark: bytes
    sidecar: str


class Finished(NamedTuple):
    """It was done at that moment, with so many sessions."""

    at: int
    done: int


class Progress(msgspec.Struct, frozen=True):
    """How far it is, for an operator. Times are in seconds since the epoch; 0: not yet.

    `state` is "none" (none was ever asked for), "waiting", "running" or "done"; `sidecar` the one
    that works at it, or did last.
    """

    state: str = "none"
    generation: str = ""
    done: int = 0
    expected: int = 0
    asked: float = 0.0
    finished: float = 0.0
    sidecar: str = ""


def number(value: int) -> bytes:
    """A number as the lattice compares it."""
    return f"{value:0{_DIGITS}d}".encode()


def current_of(record: Mapping[bytes, bytes]) -> Asked | None:
    """What was last asked for; None where nothing ever was."""
    wanted = {f[len(WANT) :]: v for f, v in record.items() if f.startswith(WANT) and v.isdigit()}
    if not wanted:
        return None
    latest = max(wanted, key=lambda name: (wanted[name], name))
    return Asked(latest.decode("utf-8", "replace"), int(wanted[latest]))


def encode_saved(saved: Saved) -> bytes:
    """As the value of `sweep:ASKED`."""
    return number(saved.revision) + msgspec.msgpack.encode(saved)


def saved_of(record: Mapping[bytes, bytes], asked: Asked) -> Saved | None:
    """How far this one has got; None where nobody began, or what was saved cannot be read."""
    return _decoded(record.get(SWEEP + number(asked.at)), Saved)


def encode_finished(finished: Finished) -> bytes:
    """As the value of `swept:ASKED`."""
    return number(finished.at) + msgspec.msgpack.encode(finished)


def progress_of(record: Mapping[bytes, bytes], asked: Asked) -> Progress:
    """How far this one is."""
    saved = saved_of(record, asked)
    finished = _decoded(record.get(SWEPT + number(asked.at)), Finished)
    done = finished or saved
    return Progress(
        state="done" if finished else "running" if saved else "waiting",
        generation=asked.generation,
        done=done.done if done else 0,
        expected=finished.done if finished else saved.expected if saved else 0,
        asked=asked.at / MICROSECONDS,
        finished=finished.at / MICROSECONDS if finished else 0.0,
        sidecar=saved.sidecar if saved else "",
    )


def _decoded(value: bytes | None, kind: type[_T]) -> _T | None:
    if value is None:
        return None
    try:
        return msgspec.msgpack.decode(value[_DIGITS:], type=kind)
    except msgspec.MsgspecError:
        return None
