"""Deflate short texts that are much alike, with the first of them as the dictionary.

A session's state and records are a kilobyte or two each, of which most stands in those of every
other session as well: names of fields, policies, issuers and countries. Deflate finds what is
repeated within a text and in a dictionary that both ends have. So what is packed later costs what
is its own.
"""

import zlib

LEARNED = 6144
"""Bytes of first texts that make the dictionary; it must fit in the window."""

_WINDOW = 13
"""Binary logarithm of the window: a larger one costs time at each text, and finds no more."""

_LEVEL, _MEMORY = 3, 4
"""Of zlib: less makes a state an eighth larger in the same time, more makes nothing smaller."""

_PLAIN, _DEFLATED = b"\0", b"\1"
"""How a packed text begins."""


class Deflater:
    """Packs texts of one kind, and unpacks what it has packed itself."""

    __slots__ = ("_compressor", "_dictionary", "_learned")

    def __init__(self) -> None:
        self._learned: list[bytes] = []
        self._dictionary = b""
        self._compressor: zlib._Compress | None = None

    def pack(self, text: bytes) -> bytes:
        """Return a text in fewer bytes, or as it is where that saves none."""
        compressor = self._compressor or self._learn(text)
        if compressor is None:
            return _PLAIN + text
        one = compressor.copy()  # a new one would read the whole dictionary
        deflated = one.compress(text) + one.flush()
        return _DEFLATED + deflated if len(deflated) < len(text) else _PLAIN + text

    def _learn(self, text: bytes) -> "zlib._Compress | None":
        """Take a text into the dictionary; return None until that is large enough."""
        self._learned.append(text)
        if sum(map(len, self._learned)) < LEARNED:
            return None
        # What is nearest to its end is cheapest to point at, and falls out of the window last.
        self._dictionary = b"".join(self._learned)[-LEARNED:]
        self._learned = []
        self._compressor = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, -_WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._dictionary
        )
        return self._compressor

    def unpack(self, packed: bytes) -> bytes:
        """Return the text."""
        if packed.startswith(_PLAIN):
            return packed[1:]
        return zlib.decompressobj(-_WINDOW, self._dictionary).decompress(memoryview(packed)[1:])
