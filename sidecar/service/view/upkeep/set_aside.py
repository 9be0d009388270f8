"""Counts what had to be set aside of records as they come into the view."""

from collections import Counter
from collections.abc import Iterable, Mapping

from sidecar.domain.facts.fact_kinds import Fact, SetAside
from sidecar.domain.values.lattice import group_of
from sidecar.service.observations.observations import FactsSetAside, SetAsideReason, Telemetry
from sidecar.service.view.fold_records import facts_of
from sidecar.service.view.live_session import Live
from sidecar.wire.store.records import CHECKPOINT, InvalidRecord, decode_checkpoint, decode_facts


class SetAsideCounter:
    """Has what was set aside counted and logged, where it is read or heard of."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def note(self, live: Live) -> None:
        """Note what was set aside of the records of a session, which have just been read."""
        if live.culprits:
            self._record(tracked.record for tracked in live.tracked)

    def facts_of(self, fields: Mapping[bytes, bytes]) -> list[Fact]:
        """Return the facts of the fields of a record that grew, and note what is set aside."""
        facts = facts_of((fields,))
        if any(type(fact) is SetAside for fact in facts):
            self._record((fields,))
        return facts

    def _record(self, records: Iterable[Mapping[bytes, bytes]]) -> None:
        broken: list[InvalidRecord] = []
        for record in records:
            broken += decode_facts(record)[1]
            if CHECKPOINT in record and decode_checkpoint(record) is None:
                broken.append(InvalidRecord(CHECKPOINT, record[CHECKPOINT]))
        reasons = Counter(map(_reason, broken))
        for reason, facts in reasons.items():
            first = next(one for one in broken if _reason(one) is reason)
            group = group_of(first.field).partition(b"@")[0].decode("ascii", "replace")
            self._telemetry.record(FactsSetAside(reason=reason, facts=facts, group=group))


def _reason(broken: InvalidRecord) -> SetAsideReason:
    return SetAsideReason.VERSION if broken.foreign else SetAsideReason.DAMAGED
