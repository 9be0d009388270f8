"""Reads the records of users, devices and sessions, of which no service knows the keys."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, assert_never

from sidecar.domain.values.lattice import Record
from sidecar.service.ports.store import Load, Reader
from sidecar.wire.store.entries import Identified, identified_in
from sidecar.wire.store.keys import SessionName, StoreKeys, digest, listed_name
from sidecar.wire.store.records import devices_of


class UserRecord(NamedTuple):
    """The facts of a user, by the user's digest."""

    user: str


class DeviceRecord(NamedTuple):
    """The facts of a device, by the device's digest."""

    device: str


class SessionRecord(NamedTuple):
    """The facts of a session."""

    name: SessionName


class LocatorRecord(NamedTuple):
    """The record of who has a session, by its digest, and of facts from before."""

    session: str


Subjects: TypeAlias = UserRecord | DeviceRecord | SessionRecord | LocatorRecord
"""The subject of a record."""


class Listed(NamedTuple):
    """A record, and the sessions that its index lists."""

    record: Record
    sessions: tuple[SessionName, ...]


class OwnRecords(NamedTuple):
    """The record of a session and that of its user, without all others."""

    name: SessionName
    session: Record
    user: Record


class StoredSession:
    """A session read from the store, with all its records; `slot` is where its own lies."""

    __slots__ = ("name", "others", "record", "slot")

    def __init__(self, name: SessionName, slot: int, record: Record, others: list[Record]) -> None:
        self.name = name
        self.slot = slot
        self.record = record
        self.others = others

    @property
    def identified(self) -> Identified:
        """Return what the session is called in plain text, else by its digests."""
        user, session = self.name
        return identified_in(self.record, Identified("", user, session))

    @property
    def namespace(self) -> str:
        """Return whose names it is known by."""
        return self.identified.namespace

    @property
    def of_user(self) -> Record:
        """Return what is known of the user: the record beside the locator's."""
        return self.others[1] if len(self.others) > 1 else {}


class FactReader:
    """Loads the records of users, devices and sessions."""

    def __init__(self, store: Reader, names: StoreKeys, clock: Callable[[], float]) -> None:
        self._reader = store
        self._names = names
        self._clock = clock

    async def load(self, *subjects: Subjects) -> list[Record]:
        """Read the record of each, in order; an absent one is empty.

        Raises `Unavailable`, `Overloaded`.
        """
        return await self.load_keys([self.key(one) for one in subjects])

    async def load_keys(self, keys: Iterable[bytes]) -> list[Record]:
        """Read the records of these keys, as another sidecar names them, in order.

        Raises `Unavailable`, `Overloaded`.
        """
        loads = list(map(Load, keys))
        return [one.record for one in await self._reader.load(*loads)] if loads else []

    async def load_listed(self, *subjects: UserRecord | DeviceRecord) -> list[Listed]:
        """Read the record of each and the sessions that it lists now, in order.

        Raises `Unavailable`, `Overloaded`.
        """
        loads = [Load(self.key(one), self._index(one), self._now()) for one in subjects]
        answers = await self._reader.load(*loads) if loads else []
        return [
            Listed(one.record, tuple(_listed(load.index or b"", one.members)))
            for load, one in zip(loads, answers, strict=True)
        ]

    async def load_sessions(self, names: Sequence[SessionName]) -> list[StoredSession]:
        """Read sessions with all their records, in two round trips; those that are there.

        Raises `Unavailable`, `Overloaded`.
        """
        if not names:
            return []
        users = [UserRecord(user) for user in dict.fromkeys(name.user for name in names)]
        loaded = await self.load(
            *map(SessionRecord, names), *(LocatorRecord(name.session) for name in names), *users
        )
        count = len(names)
        of_user = dict(zip(users, loaded[2 * count :], strict=True))
        devices = [_devices(loaded[i], loaded[count + i]) for i in range(count)]
        wanted = sorted(set().union(*devices))
        of_device = dict(zip(wanted, await self.load(*wanted), strict=True))
        return [
            StoredSession(
                name,
                self._names.slot(self._names.session_record(name)),
                loaded[i],
                [
                    loaded[count + i],
                    of_user[UserRecord(name.user)],
                    *(of_device[device] for device in devices[i]),
                ],
            )
            for i, name in enumerate(names)
            if loaded[i]
        ]

    async def load_own(self, names: Sequence[SessionName]) -> list[OwnRecords]:
        """Read sessions and their users, each user once, in one round trip; those that are there.

        Raises `Unavailable`, `Overloaded`.
        """
        users = list(dict.fromkeys(name.user for name in names))
        loaded = await self.load(*map(SessionRecord, names), *map(UserRecord, users))
        of_user = dict(zip(users, loaded[len(names) :], strict=True))
        return [
            OwnRecords(name, record, of_user[name.user])
            for name, record in zip(names, loaded[: len(names)], strict=True)
            if record
        ]

    def key(self, of: Subjects) -> bytes:
        """Return the key of a record."""
        match of:
            case UserRecord(user):
                return self._names.user_record(user)
            case DeviceRecord(device):
                return self._names.device_record(device)
            case SessionRecord(name):
                return self._names.session_record(name)
            case LocatorRecord(session):
                return self._names.locator(session)
            case _:
                assert_never(of)

    def index(self, of: UserRecord | DeviceRecord) -> bytes:
        """Return the key of the index of the sessions of a user or device."""
        if isinstance(of, UserRecord):
            return self._names.user_index(of.user)
        return self._names.device_index(of.device)

    def _index(self, of: Subjects) -> bytes | None:
        return self.index(of) if isinstance(of, UserRecord | DeviceRecord) else None

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _listed(index: bytes, members: Iterable[bytes]) -> Iterator[SessionName]:
    return (name for each in members if (name := listed_name(index, each)))


def _devices(own: Record, located: Record) -> set[DeviceRecord]:
    """Return the records of the devices a session has been on, by its own and its locator's."""
    namespace = identified_in(own, Identified("", "", "")).namespace
    return {
        DeviceRecord(digest(namespace, device)) for device in devices_of(own) | devices_of(located)
    }
