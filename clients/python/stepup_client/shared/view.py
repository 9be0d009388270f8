"""A view of what the sidecar lets pass, without asking it: for an app that verifies tokens itself.

    shared = SharedView()
    shown = VerifiedToken(token, issuer=..., user=..., session=..., auth_time=..., acr=...)
    if not shared.allows(shown, "c1", ip=address):
        decision = sidecar.check(token, context="c1", ip=address)

The sidecar writes down each call that it has let pass, for as long as it would let it pass again:
this token, from this address and user agent, in these contexts. It takes that back before it
acknowledges whatever changes it. Where the view is not certain it says nothing, and the socket is
to be asked: at a token's first call, when the sidecar is gone or behind, when a clock was set.

A view is for one process and all of its threads. It blocks shortly when it opens the table; after
that it waits for nothing. Give `allows` the same `ip` and `user_agent` that you give to `check`.
"""

from __future__ import annotations

import os
import sys
from binascii import b2a_base64
from collections.abc import Iterable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from time import monotonic_ns, time_ns

from stepup_client.connection.protocol import named_path, usual_path
from stepup_client.shared import layout
from stepup_client.shared.mapped_table import MappedTable, NotOurs, listener

RETRY = 100_000_000
"""Nanoseconds after which a table is looked for again."""

CLOCK_SKEW = 250_000_000
"""Nanoseconds by which the clocks here may be further apart than the sidecar saw them last."""

_LEAST_SKEW = -CLOCK_SKEW
_LIVE, _BITS, _TICK = layout.LIVE, layout.CONTEXT_BITS, layout.TICK
_FIRST, _KEY, _AGENT = layout.HEADER_WORDS, layout.KEY_OF_CALL_WORDS, layout.AGENT_CHARACTERS
_SHOWN = layout.SHOWN_BYTES
_PROBES = layout.PROBES
_two_words = Struct("<QQ").unpack
# Words of this machine's own, each of which is read at once; with a byte order it would not be.
_signs, _SIGNS = Struct("4Q").unpack_from, layout.AT_STATE * layout.WORD
_hashed = blake2b


class VerifiedToken:
    """A token whose signature, audience and times the app has verified itself.

    `issuer` is its `iss`; `user` and `session` are the claims that the sidecar's configuration
    names for these (`sub` and `sid`, unless it says otherwise; a session that the token does not
    name is empty); `auth_time` and `acr` are its own. Keep it with the token as long as you keep
    the token: from its second call on it is faster.
    """

    __slots__ = ("place", "session", "text", "token", "user")

    def __init__(  # noqa: PLR0913 - what a token shows
        self,
        token: str,
        *,
        issuer: str,
        user: str,
        session: str = "",
        auth_time: int = 0,
        acr: str = "",
    ) -> None:
        self.token, self.user, self.session = token, user, session
        at = str(auth_time)
        text = (
            f"{len(issuer)}:{issuer}{len(user)}:{user}{len(session)}:{session}"
            f"{len(at)}:{at}{len(acr)}:{acr}{len(token)}:{token}"
        )
        try:
            data = text.encode()
        except UnicodeEncodeError:  # JSON may name half a character
            data = text.encode("utf-8", "surrogatepass")
        digest = _hashed(data, digest_size=_SHOWN).digest()
        self.text = b2a_base64(digest, newline=False).decode()
        # Where it was found last: in the table of which key, for which address and user agent. It
        # does not hold the table, whose memory and descriptor go when another one has begun.
        self.place: tuple[bytes, str, str, int] | None = None


class SharedView:
    """The calls that the sidecar at `socket` lets pass (default: `SIDECAR_SOCKET`, else as usual).

    `path` is the table's (default: `SIDECAR_SHARED_TABLE`, else beside the socket). `owner` is the
    uid that the sidecar has; None: that of whoever listens at the socket. `trouble` says in words
    why the table is not believed at present; empty: it is.
    """

    def __init__(self, path: str = "", *, socket: str = "", owner: int | None = None) -> None:
        self._path = path or os.environ.get("SIDECAR_SHARED_TABLE", "")
        self._socket = named_path(socket)
        self._owner = owner
        self._table: MappedTable | None = None
        self._retry_at = 0
        self.trouble = "it was not looked for yet"

    def allows(
        self,
        shown: VerifiedToken,
        context: str | Iterable[str] = "",
        *,
        ip: str = "",
        user_agent: str = "",
    ) -> bool:
        """Return whether the call may pass; False: ask the socket, which knows.

        `context` empty: a routine call. It is the answer of the moment at which it was called.
        """
        table = self._table
        if table is None:
            table = self._open()
            if table is None:
                return False
        if isinstance(context, str):
            wanted = table.contexts.get(context)
        else:
            wanted = _joined(table, context)
        if wanted is None:
            return False
        words, key, place = table.words, table.key, shown.place
        if place is not None and place[0] is key and place[1] == ip and place[2] == user_agent:
            at = place[3]
        else:
            at = _find(table, shown, ip, user_agent)
            if at < 0:
                self._leave_if_dead(table)
                return False
        # The decision comes first, and the signs of life after it: a process that was stopped in
        # between must not believe what was decided then by how the table looked before.
        decision = words[at]
        mask, staleness = wanted
        live, beat, fresh, offset = _signs(words, _SIGNS)
        now, wall = monotonic_ns(), time_ns()
        if live != _LIVE or not 0 <= now - beat <= table.patience:
            self._leave_if_dead(table)
            return False
        return (
            decision & mask == mask
            and (wall - table.epoch) // _TICK < decision >> _BITS
            and now - fresh <= staleness
            and _LEAST_SKEW < wall - now - offset < CLOCK_SKEW
        )

    def _leave_if_dead(self, table: MappedTable) -> None:
        """Look for another table where this one is not believed any more."""
        trouble = table.trouble()
        if trouble and self._table is table:
            self._table, self.trouble = None, trouble

    def _open(self) -> MappedTable | None:
        now = monotonic_ns()
        if now < self._retry_at:
            return None
        self._retry_at = now + RETRY
        try:
            listens = self._socket or usual_path()
            path = self._path or str(Path(listens).with_name(layout.FILE_NAME))
            known = self._owner
            owner = partial(listener, listens) if known is None else lambda: known
            self._table = table = MappedTable(path, owner)
        except (NotOurs, OSError, ValueError) as error:
            self.trouble = str(error)
            return None
        self.trouble = ""
        return table


def _joined(table: MappedTable, contexts: Iterable[str]) -> tuple[int, int] | None:
    """Return the bits of several contexts, and the age of a view that decides in all of them."""
    mask, staleness = 0, sys.maxsize
    for context in contexts:
        known = table.contexts.get(context)
        if known is None or not context:
            return None
        mask, staleness = mask | known[0], min(staleness, known[1])
    return (mask, staleness) if mask else table.contexts[""]


def _find(table: MappedTable, shown: VerifiedToken, ip: str, user_agent: str) -> int:
    """Return where the decision about a call is, and keep it; -1: there is none.

    A key is written once in the life of a table, so that what was found stays where it is.
    """
    text = f"{shown.text}{ip}\0{user_agent[:_AGENT]}"
    try:
        data = text.encode()
    except UnicodeEncodeError:  # it came from no request
        return -1
    hashed = table.keyed()
    hashed.update(data)
    first: int
    second: int
    first, second = _two_words(hashed.digest())
    words, slots = table.words, table.slots
    slot = first % slots
    at = _FIRST + slot * _KEY
    if words[at] != first or words[at + 1] != second:
        probe = first
        while words[at] != first or words[at + 1] != second:
            probe += 1
            if not words[at] or probe == first + _PROBES:
                return -1
            slot = probe % slots
            at = _FIRST + slot * _KEY
    at = table.decisions + slot
    shown.place = (table.key, ip, user_agent, at)
    return at
