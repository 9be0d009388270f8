import pytest

from sidecar.domain.facts.from_signal import facts_from
from sidecar.domain.values.location import Place
from sidecar.wire.console.suppositions import SUPPOSED, Supposition, supposed_signal
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.entries import Identified

WHOSE = Identified("https://id.example", "ada", "s-1")
VALUES = {
    "user-risk": "High",
    "session-risk": "low",
    "network": "lab",
    "address": "203.0.113.9",
    "signal": "odd:20",
    "compliant": "not-compliant",
    "sign-in": "mfa",
    "credential": "",
    "revoked": "",
}


@pytest.mark.parametrize("kind", SUPPOSED)
def test_each_thing_that_may_be_supposed_is_an_event_with_facts(kind: str) -> None:
    signal = supposed_signal(Supposition(kind, VALUES[kind]), WHOSE, "laptop", 1000.0)
    subject = signal.subject
    assert {subject.user, subject.session, subject.device} - {""} <= {"ada", "s-1", "laptop"}
    facts = facts_from(signal, lambda _: Place()).facts
    assert facts
    assert all(fact.stamp.seconds == 1000.0 for fact in facts)


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        ("", "x", "then"),
        ("nothing", "x", "then"),
        ("user-risk", "", "value"),
        ("user-risk", "enormous", "data.current_level"),
        ("address", "nowhere", "data.ip"),
        ("signal", "odd:many", "value"),
        ("signal", "odd:nan", "data.weight"),
        ("signal", "Odd Name", "data.name"),
        ("network", "x" * 5000, "data.segment"),
    ],
)
def test_what_cannot_be_supposed_says_which_field_is_wrong(
    kind: str, value: str, field: str
) -> None:
    with pytest.raises(InvalidSignal) as refused:
        supposed_signal(Supposition(kind, value), WHOSE, "laptop", 1000.0)
    assert refused.value.field == field


def test_nothing_is_supposed_of_a_device_that_nobody_knows() -> None:
    with pytest.raises(InvalidSignal, match="no device"):
        supposed_signal(Supposition("compliant", "compliant"), WHOSE, "", 1000.0)
