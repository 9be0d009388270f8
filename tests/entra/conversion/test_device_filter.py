"""Rules of device filters: what can be said is said exactly, the rest is written."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.policy.conditional_access import All, AnyOf, Condition, Device, Not
from sidecar.entra.conversion.device_filter import NotCarried, device_condition

YES, NO = Device(compliant=True), Device(compliant=False)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("device.isCompliant -eq True", YES),
        ("device.isCompliant -eq False", NO),
        ("device.isCompliant -ne True", Not(YES)),
        ('Device.IsCompliant -NE "true"', Not(YES)),
        ("device.isCompliant equals true", YES),
        ("(device.isCompliant -eq True)", YES),
        ("-not (device.isCompliant -eq False)", Not(NO)),
        ("device.isCompliant -eq True -or device.isCompliant -eq False", AnyOf((YES, NO))),
        (
            "device.isCompliant -eq True -or device.isCompliant -ne True -and not (x)".replace(
                "(x)", "device.isCompliant -eq False"
            ),
            AnyOf((YES, All((Not(YES), Not(NO))))),
        ),
        (
            "(x -or device.isCompliant -ne True) -and device.isCompliant -eq False".replace(
                "x", "device.isCompliant -eq True"
            ),
            All((AnyOf((YES, Not(YES))), NO)),
        ),
    ],
)
def test_a_rule_on_compliance_means(rule: str, expected: Condition) -> None:
    assert device_condition(rule) == expected


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (
            'device.trustType -eq "ServerAD"',
            "device.trustType -eq: no signal reports how a device is joined",
        ),
        (
            'device.isCompliant -eq True -or device.model -eq "X"',
            "device.model -eq: no signal reports the model",
        ),
        ("device.isCompliant -startsWith True", "device.isCompliant is compared by -startsWith"),
        ("device.isCompliant -eq null", "compared to neither True nor False"),
        ("device.isCompliant -eq", "the rule ends too early"),
        ("device.isCompliant -eq True)", "the rule goes on where it should end"),
        ("(device.isCompliant -eq True", "the rule misses a bracket"),
        ("device.isCompliant -eq True; drop", "the rule cannot be read"),
        ("(" * 900 + "device.isCompliant -eq True" + ")" * 900, "the rule is nested too deeply"),
        (" " * 4000, "the rule is too long"),
        ("", "the rule ends too early"),
    ],
)
def test_a_rule_that_cannot_be_said_is_reported_with_its_reason(rule: str, why: str) -> None:
    with pytest.raises(NotCarried, match=why.replace(".", r"\.")):
        device_condition(rule)


WORDS = ["device.isCompliant", "-eq", "-ne", "True", "False", "(", ")", "-and", "-or", "-not", '"']


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3)).map(" ".join))
def test_no_rule_makes_it_raise_anything_but_its_own_error(rule: str) -> None:
    with contextlib.suppress(NotCarried):
        device_condition(rule)
