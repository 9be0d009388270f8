"""The record of the re-score of all sessions: what was asked for, and whether it is done.

    want:GENERATION   when it was last asked for; the latest one is the current
    swept:ASKED       that the one asked for then is done

Values begin with a number of sixteen digits that only grows, as the lattice wants it
(`domain.values.lattice`). Moments are in microseconds since the epoch. Its backlog
shows how far it is.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

WANT = b"want:"
SWEPT = b"swept:"
_DIGITS = 16
_T = TypeVar("_T")


class RescoreRequest(NamedTuple):
    """A re-score that was asked for: by which generation sessions are to be judged, and when."""

    generation: str
    at: int


class Finished(NamedTuple):
    """It was done at that moment, with so many sessions."""

    at: int
    done: int


class Progress(msgspec.Struct, frozen=True):
    """Progress of a re-score, for an operator. Times are in seconds since the epoch; 0: not yet.

    `state` is "none" (none was ever asked for), "waiting", "running" or "done"; `sidecars` those
    that work at it, `rate` sessions a second since it began, `seconds_left` what that lets expect.
    """

    state: str = "none"
    generation: str = ""
    done: int = 0
    expected: int = 0
    asked: float = 0.0
    begun: float = 0.0
    finished: float = 0.0
    rate: float = 0.0
    seconds_left: float = 0.0
    sidecars: tuple[str, ...] = ()


def number(value: int) -> bytes:
    """Return a number as the lattice compares it."""
    return f"{value:0{_DIGITS}d}".encode()


def current_of(record: Mapping[bytes, bytes]) -> RescoreRequest | None:
    """Return what was last asked for; None where nothing ever was."""
    wanted = {f[len(WANT) :]: v for f, v in record.items() if f.startswith(WANT) and v.isdigit()}
    if not wanted:
        return None
    latest = max(wanted, key=lambda name: (wanted[name], name))
    return RescoreRequest(latest.decode("utf-8", "replace"), int(wanted[latest]))


def previous_of(record: Mapping[bytes, bytes], current: RescoreRequest) -> RescoreRequest | None:
    """Return what had been asked for last, before the current; None: nothing is known of it."""
    earlier = {
        field: value
        for field, value in record.items()
        if field != WANT + current.generation.encode()
    }
    return current_of(earlier)


def encode_finished(finished: Finished) -> bytes:
    """Return the value of `swept:ASKED`."""
    return number(finished.at) + msgspec.msgpack.encode(finished)


def backlog_of(asked: RescoreRequest) -> str:
    """Return the name of the backlog in which it is done."""
    return f"all-{asked.at}"


def swept_field(asked: RescoreRequest) -> bytes:
    """Return the field that says that it is done."""
    return SWEPT + number(asked.at)


def finished_of(record: Mapping[bytes, bytes], asked: RescoreRequest) -> Finished | None:
    """Return when it was done; None where it is not, or what says so cannot be read."""
    return _decoded(record.get(swept_field(asked)), Finished)


def _decoded(value: bytes | None, kind: type[_T]) -> _T | None:
    if value is None:
        return None
    try:
        return msgspec.msgpack.decode(value[_DIGITS:], type=kind)
    except msgspec.MsgspecError:
        return None
