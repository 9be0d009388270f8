"""Names in the store. Everything of one user lies on one Cluster slot, by the hash tag.

    PREFIX:{uUSER}:f       record of the user's facts        PREFIX:{uUSER}   its channel
    PREFIX:{uUSER}:s:SID   record of one session             PREFIX:{uUSER}:x index of sessions
    PREFIX:{uUSER}:h       history of the user               PREFIX:{dDEVICE}:h  of the device
    PREFIX:{dDEVICE}:f     record of the device's facts      PREFIX:{dDEVICE} its channel
    PREFIX:{dDEVICE}:x     index of the sessions on it
    PREFIX:{sSID}:l        who has the session; what was logged of it, whoever has it
    PREFIX:{sidecars}:f    questions to all sidecars         PREFIX:{sidecars}  their channel
    PREFIX:{sidecars}:x    index of the live sidecars
    PREFIX:{sidecars}:p    in which forms they write names and facts, and which they read
    PREFIX:{policies}:f    which bundle of policies is in force  PREFIX:{policies}  its channel
    PREFIX:{policies}:x    index of the live sidecars that take up bundles
    PREFIX:{TAG}:e         epoch of one server of the store, by a tag of its first slot; floors
    PREFIX:{TAG}:b:SIDECAR the last signs of life that a sidecar wrote to that server, and
                           the channel on which it hears of them
    PREFIX:{cDECISION}:f   whose history has a decision
    PREFIX:{aEVENT}:f      which sidecars have an event in their view
    PREFIX:{wN}:q          work log: events whose marks may be unlogged, by user or device
    PREFIX:{dead}:q        dead letters: events that nobody could deal with
    PREFIX:{transmitter}:NAME  what is sent to others: see `shared_signals.adapters.stream_store`
    PREFIX:{lWORK}:f       which sidecar does a piece of work that one is enough for
    PREFIX:{rescore}:f     the re-score of all sessions: what for, and whether it is done
    PREFIX:{rescore}:w:N   backlog N: work that sidecars share     :c:N  what it has counted

USER, DEVICE and SID are digests, each of a namespace and a name in it: the same text at two issuers
is two things, and identifiers may be long, private, or full of braces.
"""

import base64
import functools
import hashlib
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

from sidecar.domain.values.loss import ALL_SLOTS, Floor
from sidecar.wire.store.losses import slot_of

WORK_LOGS = 16
"""Parts of the work log. All sidecars of a release must agree on it."""


@functools.lru_cache(maxsize=2048)
def digest(*parts: str) -> str:
    """Sixteen bytes of BLAKE2b over the parts, as 22 characters of base64url.

    Each part goes in with its length, so that no two lists of parts are taken for one. The latest
    are remembered: opening a session asks for the same ones several times.
    """
    return digest_once(*parts)


def digest_once(*parts: str) -> str:
    """Return the same, and remember nothing: for what is not asked for again."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    return base64.urlsafe_b64encode(hashed.digest())[:22].decode()


_CANONICAL = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")


def digest_bytes(name: str) -> bytes | None:
    """Return the sixteen bytes of a digest; None for anything else."""
    if _CANONICAL.fullmatch(name) is None:
        return None
    return base64.urlsafe_b64decode(name + "==")


def digest_text(name: bytes) -> str:
    """Undo `digest_bytes`."""
    return base64.urlsafe_b64encode(name)[:22].decode()


def content_digest(content: bytes) -> str:
    """Return sixteen bytes of BLAKE2b over the content, in the same spelling."""
    raw = hashlib.blake2b(content, digest_size=16).digest()
    return base64.urlsafe_b64encode(raw)[:22].decode()


class SessionName(NamedTuple):
    """An entry of an index for a session: the digests of its user and of itself."""

    user: str
    session: str

    def __str__(self) -> str:
        return f"{self.user}/{self.session}"


@functools.lru_cache(maxsize=1024)
def session_name(namespace: str, user: str, session: str) -> SessionName:
    """Return the name of a session by its namespace, its user's and its own identifier.

    The latest are remembered: a check asks for that of its session a dozen times.
    """
    return SessionName(digest(namespace, user), digest(namespace, session))


def parse_name(member: bytes) -> SessionName | None:
    """Undo `str(SessionName)`; None for anything else."""
    user, slash, session = member.decode("ascii", "replace").partition("/")
    return SessionName(user, session) if slash and user and session else None


_USER_INDEX = re.compile(rb"\{u([A-Za-z0-9_-]{22})\}:x")
_DIGEST_BYTES = 16


def member_of_user(name: SessionName) -> bytes:
    """Return a session's entry in the index of its user, whose key names the user already."""
    return digest_bytes(name.session) or str(name).encode()


def listed_name(index: bytes, member: bytes) -> SessionName | None:
    """Return the session of an entry of an index of sessions; None for anything else."""
    if len(member) != _DIGEST_BYTES:
        return parse_name(member)
    found = _USER_INDEX.search(index)
    return SessionName(found[1].decode(), digest_text(member)) if found else None


def _as_it_is(key: bytes) -> bytes:
    return key


class StoreKeys:
    """The keys and channels under one prefix.

    `written` gives how a key stands in the store, where that is not as it is (`sealing`).
    `scattered`: a record may stand there in several ways, of which that is one.
    """

    __slots__ = ("_prefix", "_scattered", "_written")

    def __init__(
        self,
        prefix: str,
        written: Callable[[bytes], bytes] = _as_it_is,
        *,
        scattered: bool = False,
    ) -> None:
        self._prefix = prefix
        self._written = written
        self._scattered = scattered

    def widened(self, floor: Floor) -> Floor:
        """Return a floor over all slots in which something of the records lay that are lost."""
        return floor._replace(first=0, last=ALL_SLOTS - 1) if self._scattered else floor

    def slot(self, key: bytes) -> int:
        """Return the Cluster slot in which the store has this key."""
        return slot_of(self._written(key))

    def user_channel(self, user: str) -> bytes:
        """Return the channel of a user (by digest): news of the user's record and sessions."""
        return f"{self._prefix}:{{u{user}}}".encode()

    def user_record(self, user: str) -> bytes:
        """Return the record of a user's facts, by the user's digest."""
        return self.user_channel(user) + b":f"

    def user_index(self, user: str) -> bytes:
        """Return the index of a user's sessions, by the user's digest."""
        return self.user_channel(user) + b":x"

    def user_history(self, user: str) -> bytes:
        """Return the history of a user, by the user's digest."""
        return self.user_channel(user) + b":h"

    def device_history(self, device: str) -> bytes:
        """Return the history of a device, by the device's digest."""
        return self.device_channel(device) + b":h"

    def decision_record(self, decision: str) -> bytes:
        """Return the record of whose history has a decision."""
        return f"{self._prefix}:{{c{digest(decision)}}}:f".encode()

    def session_record(self, name: SessionName) -> bytes:
        """Return the record of a session."""
        return self.user_channel(name.user) + b":s:" + name.session.encode()

    def device_channel(self, device: str) -> bytes:
        """Return the channel of a device (by digest): news of the device's record."""
        return f"{self._prefix}:{{d{device}}}".encode()

    def device_record(self, device: str) -> bytes:
        """Return the record of a device's facts, by the device's digest."""
        return self.device_channel(device) + b":f"

    def device_index(self, device: str) -> bytes:
        """Return the index of the sessions on a device, by the device's digest."""
        return self.device_channel(device) + b":x"

    def locator(self, session: str) -> bytes:
        """Return the record that names a session's owner, by the session's digest."""
        return f"{self._prefix}:{{s{session}}}:l".encode()

    def sidecars_channel(self) -> bytes:
        """Return the channel that all sidecars follow."""
        return f"{self._prefix}:{{sidecars}}".encode()

    def sidecars_record(self) -> bytes:
        """Return the record of questions to all sidecars."""
        return self.sidecars_channel() + b":f"

    def sidecars_index(self) -> bytes:
        """Return the index of live sidecars."""
        return self.sidecars_channel() + b":x"

    def forms_record(self) -> bytes:
        """Return the record of the forms that sidecars write and read."""
        return self.sidecars_channel() + b":p"

    def policies_channel(self) -> bytes:
        """Return the channel of news of which bundle of policies is in force."""
        return f"{self._prefix}:{{policies}}".encode()

    def policies_record(self) -> bytes:
        """Return the record of which bundle of policies is in force."""
        return self.policies_channel() + b":f"

    def policies_index(self) -> bytes:
        """Return the index of the live sidecars that take up bundles of policies."""
        return self.policies_channel() + b":x"

    def epoch_record(self, tag: str) -> bytes:
        """Return the record of the epoch of the server that has this hash tag's slot."""
        return f"{self._prefix}:{{{tag}}}:e".encode()

    def beats_record(self, tag: str, sidecar: str) -> bytes:
        """Return the record of what a sidecar last wrote to that server."""
        return f"{self._prefix}:{{{tag}}}:b:{sidecar}".encode()

    def answers_record(self, event: str) -> bytes:
        """Return the record of the sidecars that have an event."""
        return f"{self._prefix}:{{a{digest(event)}}}:f".encode()

    def rescore_record(self) -> bytes:
        """Return the record of the re-score of all sessions."""
        return f"{self._prefix}:{{rescore}}:f".encode()

    def lease_record(self, work: str) -> bytes:
        """Return the record of who does a piece of work, by the work's name."""
        return f"{self._prefix}:{{l{digest(work)}}}:f".encode()

    def backlog(self, name: str) -> bytes:
        """Return the stream of work that sidecars share under this name."""
        return f"{self._prefix}:{{rescore}}:w:{name}".encode()

    def backlog_counts(self, name: str) -> bytes:
        """Return how much of that work is done."""
        return f"{self._prefix}:{{rescore}}:c:{name}".encode()

    def work_log(self, of: str) -> bytes:
        """Return the queue of work left to do for a user or device (by digest) or session."""
        part = zlib.crc32(of.encode("utf-8", "surrogatepass")) % WORK_LOGS
        return f"{self._prefix}:{{w{part}}}:q".encode()

    def work_logs(self) -> tuple[bytes, ...]:
        """Return all queues of work."""
        return tuple(f"{self._prefix}:{{w{part}}}:q".encode() for part in range(WORK_LOGS))

    def dead_letters(self) -> bytes:
        """Return the queue of events that nobody could deal with."""
        return f"{self._prefix}:{{dead}}:q".encode()

    def transmitter(self, name: str) -> bytes:
        """Return a key of the transmitter's. All lie on one slot: its scripts use several."""
        return f"{self._prefix}:{{transmitter}}:{name}".encode()

    def every_session(self) -> str:
        """Return a pattern that matches every session's record."""
        return f"{self._prefix}:{{u*}}:s:*"

    def name_of_record(self, key: bytes) -> SessionName | None:
        """Return the session whose record `key` is; None for any other key."""
        text = key.decode("ascii", "replace")
        start = f"{self._prefix}:{{u"
        if not text.startswith(start):
            return None
        user, found, session = text[len(start) :].partition("}:s:")
        return SessionName(user, session) if found else None
