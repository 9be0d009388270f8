"""Exports of Entra ID as cases: what each becomes, what is lost of it, and how it then behaves.

The exports are written after Graph's documentation and its published templates; beside each stands
what is expected of it.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import Policy, PolicyState
from sidecar.entra.importer import Import, import_entra, read_export
from sidecar.entra.ledger import Effect
from sidecar.entra.names import NO_NAMES, read_names
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import Settings
from tests.entra.sessions import Session, verdict

CASES = Path(__file__).parents[1] / "cases" / "entra"
EXPORTS = sorted(CASES.glob("*.json"))


def imported(export: Path, names: dict[str, Any]) -> Import:
    names_read = read_names(yaml.safe_dump(names), "names.yaml") if names else NO_NAMES
    objects = read_export(export.read_bytes(), export.name)
    return import_entra(objects, names_read, Settings(), configured=False)


CASE = {export.stem: yaml.safe_load(export.with_suffix(".yaml").read_text()) for export in EXPORTS}
RESULT = {export.stem: imported(export, CASE[export.stem].get("names", {})) for export in EXPORTS}
BEHAVIOURS = [
    (name, number, behaviour)
    for name, case in CASE.items()
    for number, behaviour in enumerate(case["behaves"])
]


def policy_of(result: Import, name: str) -> tuple[Policy, ...]:
    """A policy with its twin."""
    (one,) = [one for one in result.imported if one.policy.id == name]
    return (one.policy,) if one.twin is None else (one.policy, one.twin)


def test_there_are_at_least_ten_published_policies() -> None:
    assert len(EXPORTS) >= 10


@pytest.mark.parametrize("name", CASE)
def test_an_export_becomes_these_policies(name: str) -> None:
    result, case = RESULT[name], CASE[name]
    text = yaml.safe_dump({"policies": case["policies"]})
    expected = read_policies([("expected.yaml", text)], result.settings)
    assert tuple(one.policy for one in result.imported) == expected
    assert [one.twin.id for one in result.imported if one.twin is not None] == case["twins"]


@pytest.mark.parametrize("name", CASE)
def test_what_is_not_carried_over_is_reported_with_its_path(name: str) -> None:
    lost: dict[str, list[str]] = {}
    for loss in RESULT[name].losses:
        lost.setdefault(loss.path, []).append(loss.effect.value)
    assert lost == CASE[name]["not_carried"]


@pytest.mark.parametrize("name", CASE)
def test_an_export_needs_these_settings(name: str) -> None:
    found = yaml.load(RESULT[name].settings_text, yaml.BaseLoader) or {}
    if "assurance" in found:
        levels = {level["name"]: level["acr"] for level in found["assurance"]["levels"]}
        found["assurance"]["levels"] = levels
    assert found == CASE[name]["settings"]


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [(name, behaviour) for name, _, behaviour in BEHAVIOURS],
    ids=[f"{name}-{behaviour['policy']}-{number}" for name, number, behaviour in BEHAVIOURS],
)
def test_an_imported_policy_behaves_as_its_documentation_says(
    name: str, behaviour: dict[str, Any]
) -> None:
    result = RESULT[name]
    policies = policy_of(result, behaviour["policy"])
    if behaviour.get("enabled"):
        policies = tuple(
            msgspec.structs.replace(policy, state=PolicyState.ENABLED) for policy in policies
        )
    session = msgspec.convert(behaviour["session"], Session)
    assert verdict(policies, result.settings, session) is Verdict(behaviour["then"])


@pytest.mark.parametrize("name", CASE)
def test_every_policy_of_a_case_is_tried(name: str) -> None:
    tried = {behaviour["policy"] for behaviour in CASE[name]["behaves"]}
    assert tried == {one.policy.id for one in RESULT[name].imported}


@pytest.mark.parametrize("name", CASE)
def test_no_policy_that_means_something_else_is_enforced(name: str) -> None:
    for one in RESULT[name].imported:
        if one.ledger.effects() & {Effect.WEAKER, Effect.WIDER, Effect.NEVER}:
            assert one.policy.state is not PolicyState.ENABLED
            assert one.twin is None or one.twin.state is not PolicyState.ENABLED


@pytest.mark.parametrize("name", CASE)
def test_a_twin_differs_in_nothing_but_the_calls_it_is_for(name: str) -> None:
    for one in RESULT[name].imported:
        if one.twin is not None:
            same = msgspec.structs.replace(one.twin, id=one.policy.id, contexts=one.policy.contexts)
            assert same == one.policy
