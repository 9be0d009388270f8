"""Reads the history: of a user, of a session, or to one decision."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.admin.inspection import (
    FOREIGN_CURSOR,
    PAGE_BOUND,
    InvalidQuery,
    decode_cursor,
    encode_cursor,
    namespaces_meant,
)
from sidecar.service.history.sentences import sentence_of
from sidecar.service.observations.observations import FactsSetAside, SetAsideReason, Telemetry
from sidecar.service.ports.store import Load, Reader
from sidecar.service.records.fact_reader import FactReader, LocatorRecord
from sidecar.wire.history.entries import (
    Dated,
    decode_entries,
    newest_of,
    place_of,
    unread_in,
    whose_of,
)
from sidecar.wire.names import composed
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import StoreKeys, digest
from sidecar.wire.store.records import owners_of
from sidecar.wire.yaml.scalars import duration

DEVICES = 32
"""Devices of a user whose own history is read beside the user's; the latest."""


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search of the history: of a user, a session, or the decision of this id.

    `issuer` says whose names these are; empty: any. `since`: so far back, as `7d`; empty: all there
    is. `cursor` is what the page before gave; empty for the first, which has the oldest.
    """

    user: str = ""
    session: str = ""
    decision: str = ""
    issuer: str = ""
    since: str = ""
    limit: int = 100
    cursor: str = ""


class HistoryLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, at a `time` in seconds since the epoch; `sentence` says it all.

    `event` is the id of the signal or act that `source` sent; `by` names the events that brought a
    mark or its end, each as source and id.
    """

    id: str
    time: float
    kind: str
    sentence: str
    user: str = ""
    session: str = ""
    issuer: str = ""
    device: str = ""
    source: str = ""
    event: str = ""
    what: str = ""
    policy: str = ""
    signal: str = ""
    text: str = ""
    contexts: tuple[str, ...] = ()
    by: tuple[tuple[str, str], ...] = ()
    report_only: bool = False
    decision: str = ""


class HistoryPage(msgspec.Struct, frozen=True):
    """Some entries, the oldest first; `cursor` leads to more, empty: no more.

    `unread`: so many of these histories cannot be read, as another version wrote them, or they are
    damaged.
    """

    entries: tuple[HistoryLine, ...]
    cursor: str = ""
    unread: int = 0


class _Owner(NamedTuple):
    """The owner of a history: the namespace and name, as far as these are known, and the key."""

    namespace: str
    user: str
    digest: str


class HistoryReader:
    """Reads histories from the store."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        store: Reader,
        records: FactReader,
        names: StoreKeys,
        clock: Callable[[], float],
        settings: Callable[[], Settings],
        telemetry: Telemetry,
    ) -> None:
        self._telemetry = telemetry
        self._store = store
        self._records = records
        self._names = names
        self._clock = clock
        self._settings = settings

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Return one page, the oldest first. Raises `InvalidQuery`, `Unavailable`."""
        if not 1 <= query.limit <= PAGE_BOUND:
            raise InvalidQuery("limit", f"is 1 to {PAGE_BOUND}")
        after, since = _read_cursor(query.cursor), self._since(query.since)
        lines: list[tuple[Dated, _Owner]] = []
        unread = 0
        for owner in await self._owners(query):
            found, left_out = await self._of(owner)
            unread += left_out
            lines += [(one, owner) for one in found if _matches(one, query) and one.moment >= since]
        lines.sort(key=lambda line: place_of(line[0]))
        left = [line for line in lines if place_of(line[0]) > after]
        shown = tuple(_line(*line) for line in left[: query.limit])
        more = len(left) > query.limit
        return HistoryPage(shown, _cursor(left[query.limit - 1][0]) if more else "", unread)

    async def of_session(self, namespace: str, user: str, session: str) -> list[Dated]:
        """Return what happened to a session. Raises `Unavailable`."""
        found, _ = await self._of(_Owner(namespace, user, digest(namespace, user)))
        return [one for one in found if one.entry.session in {"", session}]

    async def of_device(self, namespace: str, device: str) -> list[Dated]:
        """Return what happened to a device. Raises `Unavailable`."""
        key = self._names.device_history(digest(namespace, device))
        (loaded,) = await self._store.load(Load(key))
        read = list(decode_entries(loaded.record))
        self._count_unread(unread_in(loaded.record, read))
        return self._kept(read)

    def _since(self, text: str) -> int:
        if not text:
            return 0
        try:
            back = duration(text)
        except ValueError as error:
            raise InvalidQuery("since", str(error)) from error
        return int((self._clock() - back) * MICROSECONDS)

    async def _owners(self, query: HistoryQuery) -> list[_Owner]:
        namespaces = namespaces_meant(query.issuer, self._settings())
        if query.user:
            user = composed(query.user)
            return [_Owner(one, user, digest(one, user)) for one in namespaces]
        if query.session:
            session = composed(query.session)
            locators = [LocatorRecord(digest(one, session)) for one in namespaces]
            return [
                _Owner(namespace, owner.user, digest(namespace, owner.user))
                for namespace, record in zip(
                    namespaces, await self._records.load(*locators), strict=True
                )
                for owner in owners_of(record)
            ]
        if not query.decision:
            raise InvalidQuery("user", "say whose history: user, session, or decision")
        key = self._names.decision_record(query.decision)
        (record,) = await self._records.load_keys((key,))
        whose = whose_of(record)
        return [_Owner("", "", whose)] if whose else []

    async def _of(self, owner: _Owner) -> tuple[list[Dated], int]:
        """Return the history of a user, with that of the devices that its sessions were on.

        Beside it: how many entries cannot be read. That is counted and logged, too.
        """
        (loaded,) = await self._store.load(Load(self._names.user_history(owner.digest)))
        read = list(decode_entries(loaded.record))
        unread = unread_in(loaded.record, read)
        entries = self._kept(read)
        on: dict[str, int] = {}
        for one in entries:
            if one.entry.device:
                on.setdefault(one.entry.device, one.moment)
        devices = [*on.items()][-DEVICES:]
        keys = (
            self._names.device_history(digest(owner.namespace, device)) for device, _ in devices
        )
        answers = await self._store.load(*map(Load, keys)) if devices else []
        for (_, since), answer in zip(devices, answers, strict=True):
            read = list(decode_entries(answer.record))
            unread += unread_in(answer.record, read)
            entries += [one for one in self._kept(read) if one.moment >= since]
        self._count_unread(unread)
        return entries, unread

    def _count_unread(self, unread: int) -> None:
        if unread:
            self._telemetry.record(
                FactsSetAside(reason=SetAsideReason.VERSION, facts=unread, group="history")
            )

    def _kept(self, entries: Iterable[Dated]) -> list[Dated]:
        """Return those that the settings let stay: the store keeps some for a while longer."""
        settings = self._settings().history
        oldest = int((self._clock() - settings.age) * MICROSECONDS)
        return newest_of((one for one in entries if one.moment >= oldest), settings.entries)


def _matches(one: Dated, query: HistoryQuery) -> bool:
    """Return whether an entry is asked for: of a session also what concerns all of its user's."""
    if query.decision:
        return one.entry.decision == query.decision
    return not query.session or one.entry.session in {"", composed(query.session)}


def _line(one: Dated, owner: _Owner) -> HistoryLine:
    entry = one.entry
    return HistoryLine(
        id=one.id,
        time=one.moment / MICROSECONDS,
        kind=entry.kind.value,
        sentence=sentence_of(entry),
        user=owner.user or entry.user,
        session=entry.session,
        issuer=owner.namespace or entry.issuer,
        device=entry.device,
        source=entry.source,
        event=entry.event,
        what=entry.what,
        policy=entry.policy,
        signal=entry.signal,
        text=entry.text,
        contexts=entry.contexts,
        by=entry.by,
        report_only=entry.report_only,
        decision=entry.decision,
    )


def _cursor(last: Dated) -> str:
    return encode_cursor(f"{last.moment}.{last.id}")


def _read_cursor(cursor: str) -> tuple[int, str]:
    """Return the moment and id of the last entry that was shown; before all others: none was."""
    if not cursor:
        return (-1, "")
    moment, _, name = decode_cursor(cursor).partition(".")
    try:
        return int(moment), name
    except ValueError as error:
        raise InvalidQuery("cursor", FOREIGN_CURSOR) from error
