"""Our own scenarios, acted out on our own policies; and what a failed expectation says."""

from pathlib import Path

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Networks,
    PolicyState,
    Selection,
)
from sidecar.domain.policy.lint import CODES
from sidecar.domain.values.location import Place
from sidecar.tuning.scenario.coverage import Coverage
from sidecar.tuning.scenario.files import Scenario, read_scenarios
from sidecar.tuning.scenario.play import Difference, Played, Stage, play
from sidecar.tuning.scenario.stage import read_stage
from tests.domain.scenes import PLACES, evaluator, policy

ROOT = Path(__file__).parents[3]
CONFIGURATION, CONFIGURED = read_stage(ROOT / "config/sidecar.yaml", {})
FILES = sorted((ROOT / "config/scenarios").glob("*.yaml"))
OURS = read_scenarios([(file.name, file.read_text()) for file in FILES])


@pytest.mark.parametrize("scenario", OURS, ids=lambda scenario: scenario.name)
def test_our_policies_do_what_their_scenarios_say(scenario: Scenario) -> None:
    played = play(scenario, CONFIGURED)
    assert played.checks
    assert [checked.differences for checked in played.failed] == []


def test_the_example_of_the_page_goes_as_it_says() -> None:
    page = (ROOT / "docs/scenarios.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (scenario,) = read_scenarios([("docs/scenarios.md", example)])
    found = play(scenario, CONFIGURED)
    assert len(found.checks) == 5
    assert not found.failed


def test_the_page_explains_every_code_of_lint() -> None:
    page = (ROOT / "docs/scenarios.md").read_text()
    assert [code for code in CODES if f"`{code}`" not in page] == []


def test_our_scenarios_try_every_policy_and_condition_both_ways() -> None:
    coverage = Coverage(policy.id for policy in CONFIGURED.evaluator.policies)
    for scenario in OURS:
        for checked in play(scenario, CONFIGURED).checks:
            coverage.add(checked.explanation)
    assert [tried for tried in coverage.tried if tried.missing] == []
    assert coverage.percent == 100


def test_there_is_a_file_of_scenarios_for_each_file_of_policies() -> None:
    policies = (ROOT / "config/policies").glob("*.yaml")
    of_the_configuration = {"contexts.yaml"}
    names = {file.name for file in policies}
    assert {file.name for file in FILES} == names | of_the_configuration


MOVED = policy(Changed((Circumstance.COUNTRY,)))
STAGE = Stage(
    evaluator(MOVED, msgspec.structs.replace(MOVED, id="tried", state=PolicyState.REPORT_ONLY)),
    lambda ip: PLACES.get(ip, Place()),
    lambda _method, _host, path: ("c1",) if path == "/pay" else (),
)
STEPS = """
scenarios:
  - name: n
    given: {session: {ip: 192.0.2.1, acr: mfa}}
    steps:
"""


def played(*steps: str) -> Played:
    text = STEPS + "\n".join(f"      - {step}" for step in steps)
    (scenario,) = read_scenarios([("f", text)])
    return play(scenario, STAGE)


def test_every_expectation_that_is_not_met_is_reported() -> None:
    (checked,) = played(
        "then: {context: c1, ip: 198.51.100.1, verdict: deny, acr_values: phr, max_age: 5m,"
        " reasons: q, would: [], pending: true}"
    ).failed
    assert checked.differences == (
        Difference("verdict", "deny", "step_up"),
        Difference("acr_values", "phr", "mfa"),
        Difference("max_age", "300", "0"),
        Difference("reasons", "q", "p"),
        Difference("would", "none", "tried"),
        Difference("pending", "true", "false"),
    )


def test_what_is_expected_is_not_reported() -> None:
    assert not played(
        "then: {context: c1, ip: 198.51.100.1, verdict: step_up, acr_values: mfa, max_age: 0,"
        " reasons: p, would: tried, pending: false}"
    ).failed


def test_a_path_is_mapped_as_the_routes_say() -> None:
    assert not played(
        "then: {path: /pay, ip: 198.51.100.1, verdict: step_up}",
        "then: {path: /other, verdict: allow, pending: true}",
    ).failed


def test_what_happens_after_a_failure_still_happens() -> None:
    found = played("then: deny", "then: {context: c1, ip: 198.51.100.1, verdict: step_up}")
    assert [bool(checked.differences) for checked in found.checks] == [True, False]


def test_a_sign_in_from_elsewhere_is_made_there() -> None:
    assert not played(
        "then: {context: c1, verdict: allow}",
        "when: {sign_in: {acr: mfa, ip: 198.51.100.1}}",
        "{after: 5m, when: {sign_in: mfa}, then: {context: c1, verdict: allow}}",
        "then: {context: c1, ip: 192.0.2.1, verdict: allow}",
        "then: {context: c1, ip: 198.51.100.1, verdict: allow}",
    ).failed


def test_coverage_counts_what_went_both_ways() -> None:
    rule = policy(
        Networks(Selection(frozenset({"restricted"}))), contexts=frozenset({"c1"}), name="net"
    )
    stage = STAGE._replace(evaluator=evaluator(rule))
    coverage = Coverage(["net"])
    assert coverage.percent == 0
    text = STEPS + (
        "      - then: {context: c2, verdict: allow}\n      - then: {context: c1, verdict: allow}\n"
    )
    (scenario,) = read_scenarios([("f", text)])
    checks = play(scenario, stage).checks
    coverage.add(checks[0].explanation)
    assert coverage.percent == 0  # in a context that the policy is not for
    coverage.add(checks[1].explanation)
    assert coverage.percent == 50
    assert [(tried.condition, tried.missing) for tried in coverage.tried] == [
        ("", "fires"),
        ("networks (restricted)", "holds"),
    ]
