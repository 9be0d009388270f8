"""One MMDB file, read whole and held in memory (MaxMind DB file format, version 2.0).

Read whole, not mapped: updaters rewrite these files in place, and a map of a file that was
truncated kills the process with SIGBUS. By the Python reader, not the C extension: a few flipped
bytes made libmaxminddb segfault in lookups, where the Python reader raises. A lookup in
a big database costs 0.1 ms instead of 0.01; `geography` remembers the answers.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import maxminddb
from maxminddb.errors import InvalidDatabaseError

from sidecar.adapters.files.regular_files import check_regular, open_at_once
from sidecar.domain.values.address import Address
from sidecar.domain.values.causes import words_of

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_BROKEN = (
    InvalidDatabaseError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""What the reader was seen to raise on corrupt files, and their kin."""

_SEGMENTS = 64
_HOPS = 32
_IPV4 = (0, 2**32)
_GLOBAL_UNICAST = (0x2 << 124, 0x4 << 124)  # 2000::/3


class InvalidDatabase(ValueError):  # noqa: N818 - named by whose it is
    """A file is not a readable, sound MMDB; the message says why and never names an address."""


class Mmdb(NamedTuple):
    """A database in memory. `build` is its build epoch, `digest` identifies its content."""

    reader: maxminddb.Reader
    build: int
    digest: bytes
    has_ipv6: bool

    def record(self, address: Address) -> Any:
        """Return the record of an address, None where there is none. Raises InvalidDatabase."""
        if len(address.packed) == 16 and not self.has_ipv6:
            return None
        return self._get(address.text)[0]

    def probe(self) -> Iterator[Any]:
        """Yield records from all over the database. Raises InvalidDatabase if one is unreadable.

        A damaged file may open and answer for long before somebody asks for the wrong address.
        """
        for low, high in self._segments():
            yield from self._walk(low, high)

    def _segments(self) -> Iterator[tuple[_IPAddress, _IPAddress]]:
        yield from _split(ipaddress.IPv4Address, *_IPV4)
        if self.has_ipv6:
            yield from _split(ipaddress.IPv6Address, *_GLOBAL_UNICAST)

    def _walk(self, low: _IPAddress, high: _IPAddress) -> Iterator[Any]:
        """Go from network to network, a bounded number of them."""
        here = low  # not by the reader's own iterator, which fails on a sound ::1:0:0/96
        for _ in range(_HOPS):
            record, length = self._get(here)
            if record is not None:
                yield record
            step = 1 << (here.max_prefixlen - length)
            following = (int(here) // step + 1) * step
            if following > int(high):
                return
            here = type(low)(following)

    def _get(self, ip: str | _IPAddress) -> tuple[Any, int]:
        try:
            return self.reader.get_with_prefix_len(ip)
        except _BROKEN as error:
            # By its type: the texts of some errors contain the address that was asked for.
            raise InvalidDatabase(f"a lookup failed ({type(error).__name__})") from error


def read(path: Path) -> Mmdb:
    """Read a database into memory. Raises InvalidDatabase; blocks, so call it in a thread."""
    try:
        content = _content(path)
    except OSError as error:
        raise InvalidDatabase(words_of(error)) from error
    try:
        reader = maxminddb.open_database(io.BytesIO(content), maxminddb.MODE_FD)
        metadata = reader.metadata()
        build, version = int(metadata.build_epoch), int(metadata.ip_version)
        major = int(metadata.binary_format_major_version)
    except _BROKEN as error:
        raise InvalidDatabase("it is damaged, or not an MMDB file") from error
    if major != 2 or version not in (4, 6) or build <= 0:
        raise InvalidDatabase(
            f"its metadata make no sense: format {major}, IP version {version}, built {build}"
        )
    return Mmdb(reader, build, hashlib.blake2b(content, digest_size=16).digest(), version == 6)


def _content(path: Path) -> bytes:
    with open(path, "rb", opener=open_at_once) as file:
        before = os.fstat(file.fileno())
        check_regular(path, before)
        content = file.read()
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (len(content), after.st_mtime_ns):
        raise InvalidDatabase("it was written to while it was read")
    return content


def _split(kind: type[_IPAddress], low: int, high: int) -> Iterator[tuple[_IPAddress, _IPAddress]]:
    width = (high - low) // _SEGMENTS
    for begin in range(low, high, width):
        yield kind(begin), kind(begin + width - 1)
