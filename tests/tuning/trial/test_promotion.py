"""A policy is promoted in the text of its file, and nothing else changes."""

import pytest

from sidecar.tuning.trial.promotion import NotPromoted, difference, promoted
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import Settings

FILE = """\
# What we try. \u00e9\U0001f600
policies:
  - id: first   # keep this
    state: report-only   # since March
    conditions: {changed: [ip]}
    grant: mfa

  - {state: "report-only", id: second, conditions: {score: 40}, grant: mfa}
  - id: third
    conditions: {score: 40}
    grant: mfa
  - id: fourth
    state: disabled
    grant: mfa
"""


@pytest.mark.parametrize(
    ("policy", "line", "before", "after"),
    [
        ("first", 4, "state: report-only   # since", "state: enabled   # since"),
        ("second", 8, '{state: "report-only"', '{state: "enabled"'),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_state_changes(
    policy: str, line: int, before: str, after: str, newline: str
) -> None:
    text = FILE.replace("\n", newline)
    found = promoted(text, policy)
    assert found is not None
    assert found.text == text.replace(before, after)
    assert found.line == line
    states = {p.id: p.state for p in read_policies([("p.yaml", found.text)], Settings())}
    expected = {p.id: p.state for p in read_policies([("p.yaml", text)], Settings())}
    assert states == {**expected, policy: "enabled"}


def test_a_policy_of_another_file_is_not_found() -> None:
    assert promoted(FILE, "fifth") is None
    assert promoted("", "first") is None
    assert promoted("policies: []\n", "first") is None


@pytest.mark.parametrize(
    ("text", "policy", "why"),
    [
        (FILE, "third", "enabled already"),
        (FILE, "fourth", "it is disabled"),
        (
            "policies:\n- {id: a, state: &s report-only}\n- {id: b, state: *s}\n",
            "b",
            "an alias of a value elsewhere",
        ),
        ("policies: [{id: a, state: &s report-only}]\n", "a", "an anchor"),
        ('policies: [{id: a, state: "report\\x2donly"}]\n', "a", "write it out"),
    ],
)
def test_what_cannot_be_promoted_in_place_is_left_alone(text: str, policy: str, why: str) -> None:
    with pytest.raises(NotPromoted, match=why):
        promoted(text, policy)


def test_the_difference_is_one_line() -> None:
    found = promoted(FILE, "first")
    assert found is not None
    changed = [line for line in difference(FILE, found.text, "p").splitlines() if line[0] in "+-"]
    assert changed == [
        "--- p",
        "+++ p",
        "-    state: report-only   # since March",
        "+    state: enabled   # since March",
    ]
