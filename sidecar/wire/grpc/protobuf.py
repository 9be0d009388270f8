"""Reads and writes protocol buffers, without generated classes.

The encoding (protobuf.dev, "Encoding"): a message is a sequence of tagged values; a tag is a varint
of field number and wire type; unknown fields are skipped; of a scalar that comes twice the last
counts, and messages that come twice are merged, which is the same as reading their bytes one after
the other. Groups (wire types 3 and 4) are of proto2 only and are refused.
"""

from collections.abc import Iterator

_MAX_FIELD = 2**29 - 1
_MAX_VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


class MessageInvalid(Exception):  # noqa: N818 - named by who must act: the sender
    """The bytes are no message. The text never repeats them."""


class Message:
    """The fields of a message that are text, bytes or messages, each by its number.

    Numbers are checked for their form and left out: nothing that we read is one.
    """

    __slots__ = ("_fields",)

    def __init__(self, data: bytes) -> None:
        """Raises `MessageInvalid`."""
        self._fields: dict[int, list[bytes]] = {}
        for number, value in _fields(data):
            self._fields.setdefault(number, []).append(value)

    def text(self, number: int) -> bytes:
        """Return a string or bytes; empty where it is not there."""
        values = self._fields.get(number)
        return values[-1] if values else b""

    def message(self, number: int) -> "Message":
        """Return an embedded message, empty where it is not there; raises `MessageInvalid`."""
        return Message(b"".join(self._fields.get(number, ())))

    def messages(self, number: int) -> Iterator["Message"]:
        """Return each of a repeated message; raises `MessageInvalid`."""
        return map(Message, self._fields.get(number, ()))

    def pairs(self, number: int) -> dict[bytes, bytes]:
        """Return a `map<string, string>`: the last value of each key; raises `MessageInvalid`."""
        return {entry.text(1): entry.text(2) for entry in self.messages(number)}


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    return ((number, value) for number, kind, value in _values(data) if kind == _BYTES)


def _values(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, wire type and bytes of each field."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_FIELD:
            raise MessageInvalid("a field has no number")
        if kind == _VARINT:
            begun = at
            _, at = _varint(data, at)
            yield number, kind, data[begun:at]
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise MessageInvalid("a field has a wire type that is not known")
        end = at + size
        if end > len(data):
            raise MessageInvalid("a field ends after its message")
        yield number, kind, data[at:end]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise MessageInvalid("a number does not end")


def number_field(number: int, value: int) -> bytes:
    """Encode an integer, boolean or enumeration, not negative. Zero is left out, as proto3."""
    return _encoded(number << 3 | _VARINT) + _encoded(value) if value else b""


def fixed64_field(number: int, value: int) -> bytes:
    """Encode a `fixed64`, or the bits of a `double`."""
    return _encoded(number << 3 | _FIXED64) + value.to_bytes(8, "little")


def fixed32_field(number: int, value: int) -> bytes:
    """Encode a `fixed32`."""
    return _encoded(number << 3 | _FIXED32) + value.to_bytes(4, "little")


def number_in(data: bytes, wanted: int) -> int:
    """Return an integer of a message that is not negative; 0 where it is not there.

    Raises `MessageInvalid`.
    """
    found = 0
    for number, kind, value in _values(data):
        if kind == _VARINT and number == wanted:
            found = _varint(value, 0)[0]
    return found if found < 1 << 63 else 0


def bytes_field(number: int, value: bytes) -> bytes:
    """Encode a string, bytes or message; also an empty one, since its presence counts."""
    return _encoded(number << 3 | _BYTES) + _encoded(len(value)) + value


_ONE_BYTE = tuple(bytes([value]) for value in range(0x80))


def _encoded(value: int) -> bytes:
    if value < len(_ONE_BYTE):  # as tags and most lengths are
        return _ONE_BYTE[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
