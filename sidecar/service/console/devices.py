"""Shows a device: what its sources say of it, and what has happened to it.

A device has no standing: each session on it weighs its facts among its own, and so do policies. So
what is shown are the words, and which of them counts is on the page of each session.
"""

from collections.abc import Awaitable, Callable, Iterable
from operator import attrgetter

import msgspec

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.narrative import kind_of, narrated
from sidecar.domain.facts.fact_kinds import (
    ComplianceReported,
    Fact,
    NetworkReported,
    RiskReported,
    SignalRaised,
)
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.admin.inspection import InvalidQuery, TimelineEntry, namespaces_meant
from sidecar.service.history.sentences import sentence_of
from sidecar.service.records.fact_reader import DeviceRecord, FactReader
from sidecar.service.view.fold_records import facts_of
from sidecar.wire.history.entries import Dated
from sidecar.wire.names import composed
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import digest

LINES = 200
"""Lines of a device's timeline at most; the latest."""


class DeviceQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device, and whose name it is; empty: anybody's."""

    device: str = ""
    issuer: str = ""


class DeviceWord(msgspec.Struct, frozen=True):
    """The latest word of a source on one thing; `text` says it, at a `time` in seconds."""

    kind: str
    source: str
    time: float
    text: str


class ShownDevice(msgspec.Struct, frozen=True):
    """A device of one issuer: words, the latest first, its timeline, and its live sessions."""

    issuer: str
    words: tuple[DeviceWord, ...]
    timeline: tuple[TimelineEntry, ...]
    left_out: int
    sessions: int


class DeviceBook:
    """Shows devices. `happened` reads the history of one, by its namespace and name."""

    def __init__(
        self,
        *,
        records: FactReader,
        evaluator: Callable[[], Evaluator],
        happened: Callable[[str, str], Awaitable[list[Dated]]],
        settings: Callable[[], Settings],
    ) -> None:
        self._records = records
        self._evaluator = evaluator
        self._happened = happened
        self._settings = settings

    async def device(self, query: DeviceQuery) -> tuple[ShownDevice, ...]:
        """Return what is known of a device, for each issuer who has one of this name.

        Raises `InvalidQuery`, `Unavailable`, `Overloaded`.
        """
        name = composed(query.device)
        if not name:
            raise InvalidQuery("device", "is required")
        namespaces = namespaces_meant(query.issuer, self._settings())
        wanted = [DeviceRecord(digest(namespace, name)) for namespace in namespaces]
        found = []
        for namespace, listed in zip(
            namespaces, await self._records.load_listed(*wanted), strict=True
        ):
            happened = await self._happened(namespace, name)
            if listed.record or listed.sessions or happened:
                story = list(narrated(facts_of([listed.record]), "", self._evaluator().network_of))
                timeline = _timeline(story, happened)
                found.append(
                    ShownDevice(
                        issuer=namespace,
                        words=_words(story),
                        timeline=timeline[-LINES:],
                        left_out=max(0, len(timeline) - LINES),
                        sessions=len(listed.sessions),
                    )
                )
        return tuple(found)


def _words(story: Iterable[tuple[Fact, str]]) -> tuple[DeviceWord, ...]:
    """Return the latest word of each source on each thing, of facts in their order."""
    latest: dict[tuple[str, str, str], DeviceWord] = {}
    for fact, text in story:
        if isinstance(fact, ComplianceReported | RiskReported | NetworkReported | SignalRaised):
            kind = kind_of(fact)
            name = fact.name if isinstance(fact, SignalRaised) else ""
            word = DeviceWord(kind, fact.source, fact.stamp.seconds, text)
            latest[kind, fact.source, name] = word
    return tuple(sorted(latest.values(), key=attrgetter("time"), reverse=True))


def _timeline(
    story: Iterable[tuple[Fact, str]], happened: Iterable[Dated]
) -> tuple[TimelineEntry, ...]:
    """Return facts and history in the order of time; what is a fact is not said again."""
    moments = [
        TimelineEntry(fact.stamp.seconds, kind_of(fact), fact.stamp.id, text)
        for fact, text in story
    ]
    events = {moment.event for moment in moments}
    for at, _, entry in happened:
        if not entry.event or entry.event not in events:
            text = sentence_of(entry)
            moments.append(TimelineEntry(at / MICROSECONDS, entry.kind.value, entry.event, text))
    return tuple(sorted(moments, key=lambda moment: moment.time))
