"""Entries of the work log and of the dead letters, in MessagePack, and back."""

from typing import Any

import msgspec

from sidecar.domain.facts.fact_kinds import Scope
from sidecar.domain.facts.signal import Signal
from sidecar.wire.store.spool_records import UnknownRecord, decode_signal, encode_signal

_encode = msgspec.msgpack.Encoder().encode


class InvalidEntry(Exception):  # noqa: N818 - named by who must act: whoever wrote it
    """An entry that is not ours, or that a newer version wrote."""


class Work(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that is in force, and whose marks may be unlogged: whose sessions to look at.

    `cause` is the event's type, `event` its id, `of` the digest of the user or device, or the
    name of the session, by `scope`. `signal` is the event itself, as the spool keeps it.
    """

    cause: str
    event: str
    scope: Scope
    of: str
    signal: bytes


class Letter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that was given up, when (seconds) and why.

    `reason` is of a closed set, `error` for a human; `tries` were made.
    """

    at: float
    reason: str
    error: str
    tries: int
    type: str
    event: str
    signal: bytes


_works = msgspec.msgpack.Decoder(Work)
_letters = msgspec.msgpack.Decoder(Letter)


def encode_entry(entry: Work | Letter) -> bytes:
    """Return the entry as it lies in the queue."""
    return _encode(entry)


def decode_work(payload: bytes) -> Work:
    """Undo `encode_entry` for work. Raises `InvalidEntry`."""
    try:
        return _works.decode(payload)
    except (msgspec.MsgspecError, ValueError):
        raise InvalidEntry("an entry of the work log cannot be read") from None


def decode_letter(payload: bytes) -> Letter:
    """Undo `encode_entry` for a letter. Raises `InvalidEntry`."""
    try:
        return _letters.decode(payload)
    except (msgspec.MsgspecError, ValueError):
        raise InvalidEntry("a dead letter cannot be read") from None


def enclose(signal: Signal) -> bytes:
    """Return an event as an entry holds it."""
    return encode_signal(signal)


def disclose(signal: bytes) -> Signal:
    """Undo `enclose`. Raises `InvalidEntry`."""
    try:
        return decode_signal(signal)
    except UnknownRecord:
        raise InvalidEntry("the event is of another version") from None


def plain_of(signal: bytes) -> dict[str, Any]:
    """Return an event in plain values, for a human; empty where this version cannot read it."""
    try:
        plain: Any = msgspec.to_builtins(disclose(signal))
    except InvalidEntry:
        return {}
    found: dict[str, Any] = {name: value for name, value in plain.items() if value not in ("", ())}
    time, _ = found.pop("stamp")
    return {"time": time / 1_000_000, **found}
