"""The chain of records: each bears the digest of the one before, so that a change of any shows.

    {...,"seq":12,"prev":"<digest of record 11>","digest":"<digest of this one>"}

The digest is that of the line up to its own member, by SHA-256 or, under a key, HMAC-SHA-256. What
was written last is known by the mark beside the file (`PATH.head`): its number and its digest, and
under a key a digest of both, so that who cuts the file cannot make a mark for it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

GENESIS = ""
"""The `prev` of the first record of a chain."""

_LINK = re.compile(
    rb',"seq":([0-9]{1,15}),"prev":"([0-9a-f]{64})?","digest":"([0-9a-f]{64})"\}', re.DOTALL
)
_LONGEST_LINK = 200


class ChainEnd(NamedTuple):
    """The last record of a chain: its number and its digest; 0: there is none yet."""

    seq: int = 0
    digest: str = GENESIS


class ChainedRecord(NamedTuple):
    """A record of a chain as it was read. `signed` is what its digest is of."""

    seq: int
    prev: str
    digest: str
    signed: bytes


Digest = Callable[[bytes], str]
"""Returns the digest of bytes, in hexadecimal digits."""


def digest_by(key: str) -> Digest:
    """Return SHA-256, or with a key its HMAC."""
    if not key:
        return lambda data: hashlib.sha256(data).hexdigest()
    secret = key.encode()
    return lambda data: hmac.digest(secret, data, "sha256").hex()


class Chain:
    """A chain that grows; `end` may be put back to where it was, if records were not written."""

    def __init__(self, digest: Digest, end: ChainEnd = ChainEnd()) -> None:  # noqa: B008 - frozen
        self._digest = digest
        self.end = end

    def link(self, record: bytes) -> bytes:
        """Return a record (a JSON object) with its place in the chain."""
        seq = self.end.seq + 1
        signed = b'%s,"seq":%d,"prev":"%s"' % (record[:-1], seq, self.end.digest.encode())
        digest = self._digest(signed)
        self.end = ChainEnd(seq, digest)
        return b'%s,"digest":"%s"}' % (signed, digest.encode())


def read_record(line: bytes) -> ChainedRecord | None:
    """Return a line's record without its end of line; None where it is none of a chain."""
    start = max(0, len(line) - _LONGEST_LINK)
    found = _LINK.search(line, start)
    if found is None or found.end() != len(line):
        return None
    seq, prev, digest = found.groups()
    signed = line[: -len(b',"digest":"') - 64 - len(b'"}')]
    return ChainedRecord(int(seq), (prev or b"").decode(), digest.decode(), signed)


class _Mark(msgspec.Struct, forbid_unknown_fields=True):
    seq: int
    digest: str
    mark: str


def encode_mark(end: ChainEnd, digest: Digest) -> bytes:
    """Return the mark of a chain's end."""
    return msgspec.json.encode(_Mark(end.seq, end.digest, _marked(end, digest))) + b"\n"


def read_mark(text: bytes, digest: Digest) -> ChainEnd | None:
    """Return the end that a mark names; None where it is none, or another's."""
    try:
        read = msgspec.json.decode(text, type=_Mark)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    end = ChainEnd(read.seq, read.digest)
    return end if hmac.compare_digest(read.mark.encode(), _marked(end, digest).encode()) else None


def _marked(end: ChainEnd, digest: Digest) -> str:
    return digest(b"mark %d %s" % (end.seq, end.digest.encode()))
