from typing import Any

import pytest

from sidecar.domain.facts.fact_kinds import Scope
from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.stamp import at
from sidecar.wire.store import worklog

SIGNAL = RiskLevelChange(
    stamp=at(1000.5, "e1"), subject=Subject(user="ada"), level=RiskLevel.HIGH, source="idp"
)
WORK = worklog.Work("risk-level-change", "e1", Scope.USER, "digest", worklog.enclose(SIGNAL))
LETTER = worklog.Letter(
    1000.5, "refused", "no", 5, "risk-level-change", "e1", worklog.enclose(SIGNAL)
)


def test_entries_are_read_as_they_were_written() -> None:
    assert worklog.decode_work(worklog.encode_entry(WORK)) == WORK
    assert worklog.decode_letter(worklog.encode_entry(LETTER)) == LETTER
    assert worklog.disclose(WORK.signal) == SIGNAL


@pytest.mark.parametrize("read", [worklog.decode_work, worklog.decode_letter, worklog.disclose])
@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x90", b"\x01junk"])
def test_what_is_no_entry_raises_its_own_error(read: Any, payload: bytes) -> None:
    with pytest.raises(worklog.InvalidEntry):
        read(payload)


def test_an_event_is_shown_to_people_in_plain_values() -> None:
    plain = worklog.plain_of(WORK.signal)
    assert (plain["time"], plain["source"]) == (1000.5, "idp")
    assert plain["level"] == RiskLevel.HIGH
    assert worklog.plain_of(b"\xc1") == {}
