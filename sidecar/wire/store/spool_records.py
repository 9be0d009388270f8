"""Encoding of a segment of the spool: events, framed so that damage is seen, never believed.

A segment is a header and any number of records, each:

    header   8 bytes "SUSPOOL1", 12 bytes of salt, CRC-32 of both
    record   length of the payload, CRC-32 of (salt, offset, length, payload), the payload

All numbers are big-endian, 4 bytes. The checksum covers the segment's salt and the record's
offset, so that neither what a file's blocks held before nor a record out of its place passes for
one that was written here. A payload is an event as it came, with its stamp, in MessagePack: what
is replayed is the very same event.

Where a record is not whole, reading goes on at the next one that is: the salt, which no sender
knows, keeps bytes that a sender has sent from passing for a record. If nothing whole follows, the
writer died in the middle of the last batch (*torn*), which was never acknowledged; otherwise the
segment is *damaged*, and what was acknowledged may be lost.
"""

import struct
import zlib
from enum import StrEnum
from typing import NamedTuple

import msgspec

from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    OperatorClear,
    OperatorMark,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    TokenClaimsChange,
)

MAGIC = b"SUSPOOL1"
SALT_BYTES = 12
_CRC = struct.Struct(">I")
_RECORD = struct.Struct(">II")
_PLACE = struct.Struct(">QI")
HEADER_BYTES = len(MAGIC) + SALT_BYTES + _CRC.size
FRAME_BYTES = _RECORD.size
"""What framing adds to a payload."""

_KINDS: dict[str, type[Signal]] = {
    "session-established": SessionEstablished,
    "session-presented": SessionPresented,
    "session-revoked": SessionRevoked,
    "network-change": NetworkChange,
    "device-compliance-change": DeviceComplianceChange,
    "risk-level-change": RiskLevelChange,
    "credential-change": CredentialChange,
    "assurance-level-change": AssuranceLevelChange,
    "token-claims-change": TokenClaimsChange,
    "risk-signal": RiskSignal,
    "operator-mark": OperatorMark,
    "operator-clear": OperatorClear,
}
_KIND_OF = {kind: name for name, kind in _KINDS.items()}
_DECODERS = {name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()}
_envelope = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_encode = msgspec.msgpack.Encoder().encode


class UnknownRecord(Exception):  # noqa: N818 - named by who must act: whoever wrote the spool
    """A payload that is whole, but no event that this version knows."""


class SegmentEnd(StrEnum):
    """The end of reading a segment."""

    NONE = ""
    TORN = "torn"  # nothing whole follows what is not: the writer died
    DAMAGED = "damaged"  # something whole follows
    FOREIGN = "foreign"  # no segment of ours, or of another version


class SegmentReading(NamedTuple):
    """The payloads of a segment, in order, how it ended, and how many bytes were not read."""

    payloads: list[bytes]
    flaw: SegmentEnd = SegmentEnd.NONE
    unread: int = 0


def encode_signal(signal: Signal) -> bytes:
    """Return an event as a payload."""
    return _encode((_KIND_OF[type(signal)], signal))


def decode_signal(payload: bytes) -> Signal:
    """Undo `encode_signal`. Raises `UnknownRecord`."""
    try:
        name, raw = _envelope.decode(payload)
        return _DECODERS[name].decode(raw)
    except (KeyError, ValueError):  # msgspec's errors are ValueErrors
        raise UnknownRecord("a record is no event that this version knows") from None


def encode_header(salt: bytes) -> bytes:
    """Return the beginning of a segment. `salt` has `SALT_BYTES`, and no other segment's value."""
    head = MAGIC + salt
    return head + _CRC.pack(zlib.crc32(head))


def encode_record(salt: bytes, offset: int, payload: bytes) -> bytes:
    """Return a record that will lie at `offset` of the segment with this salt."""
    return _RECORD.pack(len(payload), _checksum(salt, offset, payload)) + payload


def decode_segment(data: bytes) -> SegmentReading:
    """Read a segment. Never raises, and gives no payload that was not written into it."""
    header = data[:HEADER_BYTES]
    salt = header[len(MAGIC) : -_CRC.size]
    if len(header) < HEADER_BYTES or header != encode_header(salt):
        return SegmentReading([], _flaw_of_header(data), len(data))
    payloads: list[bytes] = []
    offset = HEADER_BYTES
    unread, flaw = 0, SegmentEnd.NONE
    while offset < len(data):
        payload = _payload_at(data, offset, salt)
        if payload is None:
            following = _next_whole(data, offset + 1, salt)
            unread += following - offset
            flaw = SegmentEnd.DAMAGED if following < len(data) else flaw or SegmentEnd.TORN
            offset = following
        else:
            payloads.append(payload)
            offset += FRAME_BYTES + len(payload)
    return SegmentReading(payloads, flaw, unread)


def _flaw_of_header(data: bytes) -> SegmentEnd:
    """Return a header that is not ours: cut off, never written to the disk, or somebody else's."""
    cut_off = len(data) < HEADER_BYTES and data[: len(MAGIC)] == MAGIC[: len(data)]
    return SegmentEnd.TORN if cut_off or not any(data) else SegmentEnd.FOREIGN


def _payload_at(data: bytes, offset: int, salt: bytes) -> bytes | None:
    begin = offset + FRAME_BYTES
    if begin > len(data):
        return None
    length, checksum = _RECORD.unpack_from(data, offset)
    if begin + length > len(data):
        return None
    payload = data[begin : begin + length]
    return payload if checksum == _checksum(salt, offset, payload) else None


def _next_whole(data: bytes, offset: int, salt: bytes) -> int:
    """Return where the next record that is whole begins; the end of the data if there is none."""
    if any(memoryview(data)[offset:]):  # a file may have grown by zeros alone
        for candidate in range(offset, len(data) - FRAME_BYTES + 1):
            if _payload_at(data, candidate, salt) is not None:
                return candidate
    return len(data)


def _checksum(salt: bytes, offset: int, payload: bytes) -> int:
    place = _PLACE.pack(offset, len(payload))
    return zlib.crc32(payload, zlib.crc32(place, zlib.crc32(salt)))
