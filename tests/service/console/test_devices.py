"""A device is shown with what each source said of it last, and with all that happened to it."""

import pytest

from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    NetworkChange,
    RiskSignal,
    Signal,
    Subject,
)
from sidecar.domain.values.stamp import at
from sidecar.service.admin.inspection import InvalidQuery
from sidecar.service.console.devices import LINES, DeviceBook, DeviceQuery, ShownDevice
from tests.service.memory import MemoryStore, Pod, Tokens

LAPTOP = Subject(device="laptop")


def book(pod: Pod) -> DeviceBook:
    return DeviceBook(
        records=pod.services.view.records,
        evaluator=lambda: pod.view.evaluator,
        happened=pod.services.admin.history.of_device,
        settings=lambda: pod.settings,
    )


async def shown(*signals: Signal) -> ShownDevice:
    pod = Pod(MemoryStore(), (), Tokens())
    for signal in signals:
        await pod.intake.accept(signal)
    (found,) = await book(pod).device(DeviceQuery("laptop"))
    return found


def complies(second: float, source: str, *, good: bool) -> Signal:
    stamp = at(1_800_000_000.0 + second, f"{source}-{second}")
    return DeviceComplianceChange(stamp=stamp, subject=LAPTOP, compliant=good, source=source)


async def test_each_sources_latest_word_on_each_thing_is_shown_the_latest_first() -> None:
    stamp = at(1_800_000_009.0, "n")
    found = await shown(
        complies(1, "mdm", good=True),
        complies(2, "agent", good=True),
        complies(3, "mdm", good=False),
        RiskSignal(
            stamp=at(1_800_000_008.0, "r"),
            subject=LAPTOP,
            name="malware",
            weight=50.0,
            half_life=60.0,
        ),
        NetworkChange(stamp=stamp, subject=LAPTOP, segment="guests", source="agent"),
    )
    assert [(word.kind, word.source) for word in found.words] == [
        ("network-reported", "agent"),
        ("signal-raised", ""),
        ("compliance-reported", "mdm"),
        ("compliance-reported", "agent"),
    ]
    assert "not compliant" in found.words[2].text
    assert found.words[0].time == stamp.seconds


async def test_its_timeline_has_each_thing_once_in_the_order_of_time() -> None:
    found = await shown(complies(2, "mdm", good=False), complies(1, "mdm", good=True))
    assert [one.time for one in found.timeline] == [1_800_000_001.0, 1_800_000_002.0]
    assert found.left_out == 0


async def test_a_timeline_is_bounded_and_says_what_is_left_out() -> None:
    count = LINES + 30
    found = await shown(*(complies(n, f"s{n}", good=True) for n in range(count)))
    assert len(found.timeline) == LINES
    assert len(found.timeline) + found.left_out <= count
    assert found.timeline[-1].time == 1_800_000_000.0 + count - 1
    assert found.left_out > 0


async def test_of_a_device_of_which_nobody_has_heard_there_is_nothing() -> None:
    pod = Pod(MemoryStore(), (), Tokens())
    assert await book(pod).device(DeviceQuery("laptop")) == ()
    for query in (DeviceQuery(), DeviceQuery("laptop", issuer="https://elsewhere.example")):
        with pytest.raises(InvalidQuery):
            await book(pod).device(query)
