import pytest

from sidecar.domain.explanation.diagnosis import (
    Part,
    Soundness,
    counts_of,
    doubtful,
    in_order,
    right,
    wrong,
)
from sidecar.wire.checks.weaknesses import ALL_ADVICE
from sidecar.wire.diagnosis.policy import diagnose_warnings, part_of
from sidecar.wire.yaml.tree import ConfigProblem


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("policies[0].grant", Part.POLICIES),
        ("routes[3]", Part.POLICIES),
        ("tokens.issuers[0]", Part.ISSUERS),
        ("store.url", Part.STORE),
        ("sources[1].name", Part.SOURCES),
        ("geography.city", Part.DATABASES),
        ("admin.bind", Part.CONFIGURATION),
    ],
)
def test_a_key_belongs_to_a_part_of_the_set_up(field: str, part: Part) -> None:
    assert part_of(field) is part


@pytest.mark.parametrize(
    ("code", "state"),
    [("never-fires", Soundness.WRONG), ("session-by-sign-in", Soundness.DOUBTFUL)],
)
def test_a_warning_is_reported_with_its_advice_as_the_cure(code: str, state: Soundness) -> None:
    advice = ALL_ADVICE[code]
    problem = ConfigProblem("p.yaml", 3, "policies[0]", f"this is so; {advice}")
    (found,) = diagnose_warnings([(code, problem)])
    assert (found.name, found.state, found.cure) == (code, state, advice)
    assert found.what == "p.yaml:3: policies[0]: this is so"


def test_diagnoses_are_in_the_order_of_parts_and_counted_from_the_worst() -> None:
    found = (
        right(Part.GATEWAY, "a", "b"),
        wrong(Part.STORE, "c", "d", "e"),
        doubtful(Part.STORE, "f", "g", "h"),
    )
    assert [one.name for one in in_order(found)] == ["c", "f", "a"]
    assert list(counts_of(found).items()) == [
        (Soundness.WRONG, 1),
        (Soundness.DOUBTFUL, 1),
        (Soundness.RIGHT, 1),
    ]
