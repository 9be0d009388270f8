"""Frames the messages of gRPC over HTTP/2.

A message has a prefix of one byte (compressed or not) and its length (gRPC's "gRPC over HTTP2",
Length-Prefixed-Message); the status of a call is in its trailers. Only unary calls are known.
"""

import struct
from enum import IntEnum

_PREFIX = struct.Struct(">BI")
PREFIX_SIZE = _PREFIX.size

Fields = list[tuple[bytes, bytes]]

HEAD: Fields = [(b":status", b"200"), (b"content-type", b"application/grpc+proto")]


class Code(IntEnum):
    """The statuses of calls that we use (gRPC's "Status codes")."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


class CallRefused(Exception):  # noqa: N818 - named by what it is to the caller
    """The call is answered by its status alone."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def packed(message: bytes) -> bytes:
    """Return a message with its prefix, not compressed."""
    return _PREFIX.pack(0, len(message)) + message


def unpacked(body: bytes) -> bytes:
    """Return the one message of a body; raises `CallRefused`."""
    if len(body) < PREFIX_SIZE:
        raise CallRefused(Code.INVALID_ARGUMENT, "the request has no message")
    compressed, size = _PREFIX.unpack_from(body)
    if compressed:
        raise CallRefused(Code.UNIMPLEMENTED, "compressed messages are not taken")
    if len(body) != PREFIX_SIZE + size:
        raise CallRefused(Code.INVALID_ARGUMENT, "the request is not one whole message")
    return body[PREFIX_SIZE:]


def trailers(code: Code, message: str = "") -> Fields:
    """Return the trailers of a call. `message` is printable ASCII without a percent sign."""
    fields = [(b"grpc-status", b"%d" % code)]
    if message:
        fields.append((b"grpc-message", message.encode("ascii")))
    return fields
