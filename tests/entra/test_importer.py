"""What holds for the import of any export: it is accounted for, and it never crashes."""

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import ROUTINE, PolicyState, Selection
from sidecar.entra.export import Exported, InvalidExport, read_export
from sidecar.entra.importer import Import, import_entra
from sidecar.entra.ledger import UNKNOWN, Effect
from sidecar.entra.names import NO_NAMES, DirectoryNames, read_names
from sidecar.entra.report import report_json, report_lines
from sidecar.wire.config.settings_reader import ConfigError
from sidecar.wire.settings.settings import Context, NamedLocation, Settings
from tests.entra.sessions import Session, verdict

CASES = Path(__file__).parents[1] / "cases" / "entra"
EXPORTS = {file.stem: json.loads(file.read_bytes()) for file in sorted(CASES.glob("*.json"))}
KINDS = [
    "conditionalAccessPolicy",
    "conditionalAccessTemplate",
    "ipNamedLocation",
    "countryNamedLocation",
    "authenticationStrengthPolicy",
    "authenticationContextClassReference",
]


def objects_of(raw: Any) -> list[Exported]:
    return read_export(json.dumps(raw).encode(), "export.json")


def imported(
    raw: Any, names: DirectoryNames = NO_NAMES, settings: Settings | None = None
) -> Import:
    configured = settings is not None
    return import_entra(objects_of(raw), names, settings or Settings(), configured=configured)


def policy(**members: Any) -> dict[str, Any]:
    conditions = {
        "users": {"includeUsers": ["All"]},
        "applications": {"includeApplications": ["All"]},
        "clientAppTypes": ["all"],
        **members.pop("conditions", {}),
    }
    grant = {"operator": "OR", "builtInControls": ["mfa"]}
    return {
        "id": "1",
        "displayName": "P",
        "state": "enabled",
        "conditions": conditions,
        "grantControls": grant,
        **members,
    }


Steps = tuple[str | int, ...]


def every(raw: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Each node of a JSON value, with the steps to it."""
    yield steps, raw
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield from every(value, (*steps, key))
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            yield from every(value, (*steps, index))


def spelled(steps: Steps) -> str:
    return "$" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)


def within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))


def part_at(raw: Any, steps: Steps) -> Any:
    for step in steps:
        raw = raw[step]
    return raw


def reported(result: Import) -> set[str]:
    return {loss.path for loss in result.losses} | {note.path for note in result.notes}


def changed(raw: Any, steps: Steps, value: Any) -> Any:
    if not steps:
        return value
    after = copy.deepcopy(raw)
    node = after
    for step in steps[:-1]:
        node = node[step]
    node[steps[-1]] = value
    return after


NODES = [(name, steps, value) for name, raw in EXPORTS.items() for steps, value in every(raw)]
PARTS = [
    (name, steps)
    for name, steps, value in NODES
    if isinstance(value, dict) and "@" not in "".join(map(str, steps))
]
WORDS = sorted(
    {value for _, _, value in NODES if isinstance(value, str)}
    | {str(step) for _, steps, _ in NODES for step in steps if isinstance(step, str)}
    | {"", "all", "-", "é", "\ud800", "\x00", "#", "c0", "c99", ",", ": ", "0.0.0.0/0"}
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(WORDS)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=20,
)


def survives(raw: Any) -> None:
    with contextlib.suppress(InvalidExport, ConfigError):
        result = imported(raw)
        list(report_lines(result))
        json.dumps(report_json(result))


@given(JSON)
def test_no_json_makes_it_raise_anything_but_its_own_errors(raw: Any) -> None:
    survives(raw)


@example("ipNamedLocation", {"ipRanges": [[]]})
@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6))
def test_no_object_of_a_known_kind_makes_it_crash(kind: str, members: dict[str, Any]) -> None:
    survives({**members, "@odata.type": f"#microsoft.graph.{kind}"})


@given(st.sampled_from(NODES), JSON)
def test_no_change_of_a_real_export_makes_it_crash(
    node: tuple[str, Steps, Any], value: Any
) -> None:
    name, steps, _ = node
    survives(changed(EXPORTS[name], steps, value))


@given(st.binary(max_size=64))
def test_no_bytes_make_it_crash(content: bytes) -> None:
    with contextlib.suppress(InvalidExport):
        read_export(content, "export.json")


@given(st.sampled_from(PARTS), st.sampled_from(["wonder", "a b", "isNew"]), st.booleans())
def test_a_member_that_is_not_known_is_reported_wherever_it_stands(
    part: tuple[str, Steps], key: str, flag: bool
) -> None:
    name, steps = part
    raw = changed(EXPORTS[name], (*steps, key), flag)
    step = f".{key}" if " " not in key else f'["{key}"]'
    path = spelled(steps) + step
    result = imported(raw)
    written = reported(result)
    is_switched_off = part_at(raw, steps).get("isEnabled") is False
    assert is_switched_off or any(within(path, each) for each in written)


@pytest.mark.parametrize("name", EXPORTS)
def test_what_is_not_carried_over_is_reported_and_nothing_else(name: str) -> None:
    objects = objects_of(EXPORTS[name])
    result = import_entra(objects, NO_NAMES, Settings(), configured=False)
    carried = set().union(*(each.ledger.carried for each in objects))
    nodes = {
        spelled(steps): value
        for steps, value in every(EXPORTS[name])
        if "@" not in "".join(map(str, steps))
    }
    rest = {
        path
        for path, value in nodes.items()
        if value is not None and not isinstance(value, dict | list) and path not in carried
    }
    written = reported(result)
    assert {path for path in rest if not any(within(path, each) for each in written)} == set()
    assert {each.path for each in result.losses} <= nodes.keys()


@pytest.mark.parametrize("name", EXPORTS)
def test_an_import_is_the_same_each_time(name: str) -> None:
    once, again = imported(EXPORTS[name]), imported(EXPORTS[name])
    assert once.policies_text == again.policies_text
    assert once.settings_text == again.settings_text


def test_an_unknown_member_keeps_a_policy_from_being_enforced() -> None:
    result = imported(policy(moon="full"))
    assert [(loss.path, loss.reason) for loss in result.losses] == [("$.moon", UNKNOWN)]
    assert [one.state for one in result.policies] == [PolicyState.REPORT_ONLY] * 2


def test_a_policy_that_was_disabled_stays_so_whatever_is_lost() -> None:
    result = imported(policy(state="disabled", moon="full"))
    assert [one.state for one in result.policies] == [PolicyState.DISABLED]


def test_a_state_that_is_not_known_is_report_only() -> None:
    assert imported(policy(state="half")).imported[0].policy.state is PolicyState.REPORT_ONLY


def test_without_twins_only_calls_in_a_context_are_asked() -> None:
    result = import_entra(objects_of(policy()), NO_NAMES, Settings(), routine=False)
    assert [one.contexts for one in result.policies] == [Selection()]


def test_a_block_needs_no_twin() -> None:
    result = imported(policy(grantControls={"operator": "OR", "builtInControls": ["block"]}))
    assert [one.id for one in result.policies] == ["p"]


def test_policies_of_one_name_get_ids_of_their_own() -> None:
    result = imported([policy(id="1"), policy(id="2")])
    assert [one.id for one in result.policies] == ["p", "p.routine", "p-2", "p-2.routine"]


def test_a_name_without_latin_letters_becomes_an_id_by_guid() -> None:
    result = imported(policy(id="7F3A0000-0000-4000-8000-000000000000", displayName="すべて"))
    assert result.policies[0].id == "entra-7f3a0000"
    assert result.policies[0].description == "すべて"


@pytest.mark.parametrize(
    ("first", "second", "ids"),
    [
        ("CA-001: Admins", "ca 001 admins!", ["ca-001-admins", "ca-001-admins-bbbbbbbb"]),
        ("CA Москва", "CA Киев", ["ca-aaaaaaaa", "ca-bbbbbbbb"]),
        ("Gäste außen", "Gaste aussen", ["gaste-aussen", "gaste-aussen-bbbbbbbb"]),
        ("x" * 200, "x" * 201, ["x" * 25 + "-" + "x" * 26, f"{'x' * 19}-{'x' * 20}-bbbbbbbb"]),
        ("Ж" + "x" * 200, "P", [f"{'x' * 19}-{'x' * 20}-aaaaaaaa", "p"]),
    ],
    ids=["case", "letters", "accents", "long", "long-letters"],
)
def test_what_distinguishes_policies_stays_in_their_ids(
    first: str, second: str, ids: list[str]
) -> None:
    own = [f"{letter * 8}-0000-4000-8000-000000000000" for letter in "ab"]
    written = [
        policy(id=guid, displayName=name) for guid, name in zip(own, (first, second), strict=True)
    ]
    found = [one.policy.id for one in imported(written).imported]
    assert [len(name) <= 56 for name in found] == [True, True]
    assert found == ids


def test_hundreds_of_policies_of_one_name_get_ids_each() -> None:
    written = [policy(id=f"{n:08x}-0000-4000-8000-000000000000") for n in range(300)]
    same = [policy(id=f"00000000-0000-4000-8000-{n:012x}", displayName="Q") for n in range(300)]
    result = imported([*written, *same])
    assert len({one.id for one in result.policies}) == 1200


def test_what_is_lost_by_the_thousand_leaves_a_file_that_can_be_read() -> None:
    users = {"includeUsers": ["All"], "excludeUsers": [f"user {n}" for n in range(2000)]}
    result = imported(
        policy(conditions={"users": users}, more=dict.fromkeys(map(str, range(2000)), 1))
    )
    (one,) = result.imported
    assert len(one.ledger.losses) == 4000
    assert "and 3900 more, which the report of the import names" in result.policies_text
    assert len(result.policies_text) < 20_000


def test_policies_that_no_file_can_hold_are_reported_before_they_are_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.entra.importer.MAX_CHARACTERS", 1000)
    users = {"includeUsers": [f"{n:08x}-0000-4000-8000-{'0' * 12}" for n in range(50)]}
    with pytest.raises(ConfigError) as refused:
        imported(policy(conditions={"users": users}))
    (problem,) = refused.value.problems
    assert problem.file == "export.json"
    assert "import fewer of them at a time" in problem.message


def test_an_object_that_is_given_twice_counts_once() -> None:
    result = imported([policy(), policy()])
    assert len(result.imported) == 1
    assert any(note.path == "$[1]" for note in result.notes)


def test_names_replace_ids_of_every_kind_in_any_case() -> None:
    text = "users: {AB: anna}\ngroups: {ab: staff}\nroles: {ab: admin}\nAb: the-app\n"
    users = {"includeUsers": ["ab"], "includeGroups": ["aB"], "excludeRoles": ["AB"]}
    written = policy(conditions={"users": users, "applications": {"includeApplications": ["AB"]}})
    (one, _) = imported(written, read_names(text, "names.yaml")).policies
    assert one.users.include is not None
    assert one.users.include.users == {"anna"}
    assert one.users.include.groups == {"staff"}
    assert one.users.exclude.roles == {"admin"}
    assert one.apps == Selection(frozenset({"the-app"}))


def test_a_location_that_is_configured_already_is_not_added_again() -> None:
    office = NamedLocation(name="office", cidrs=("10.0.0.0/8",), trusted=True)
    location = {
        "id": "l",
        "displayName": "Office",
        "isTrusted": True,
        "ipRanges": [{"cidrAddress": "10.0.0.0/8"}],
    }
    where = {"locations": {"includeLocations": ["l"]}}
    raw = [location, policy(conditions=where)]
    result = imported(raw, settings=Settings(locations=(office,)))
    assert result.settings_text == ""
    assert result.settings.locations == (office,)
    assert not result.losses


def test_another_location_of_a_configured_name_gets_its_own() -> None:
    office = NamedLocation(name="office", cidrs=("192.0.2.0/24",))
    raw = {"id": "l", "displayName": "Office", "ipRanges": [{"cidrAddress": "10.0.0.0/8"}]}
    result = imported([raw, policy()], settings=Settings(locations=(office,)))
    assert [location.name for location in result.settings.locations] == ["office", "office-2"]


def test_a_named_location_that_is_configured_elsewhere_is_believed() -> None:
    names = read_names("locations: {l: branch}", "names.yaml")
    result = imported(policy(conditions={"locations": {"includeLocations": ["L"]}}), names)
    assert "branch" in result.policies_text
    assert result.settings_text == ""
    assert not result.losses


def test_contexts_are_added_where_the_configuration_names_contexts_without_them() -> None:
    guarded = {"includeAuthenticationContextClassReferences": ["c2", "c9"]}
    raw = policy(conditions={"applications": guarded})
    known = Settings(contexts={"c2": Context(name="Pay")})
    assert list(imported(raw, settings=known).settings.contexts) == ["c2", "c9"]
    assert imported(raw, settings=Settings()).settings_text == ""


def test_a_policy_for_a_context_has_no_twin() -> None:
    guarded = {"includeAuthenticationContextClassReferences": ["c2"]}
    (one,) = imported(policy(conditions={"applications": guarded})).policies
    assert ROUTINE not in one.contexts


def test_further_pages_are_not_forgotten() -> None:
    link = "https://graph.microsoft.com/v1.0/next"
    result = imported({"@odata.nextLink": link, "value": [policy()]})
    assert [(loss.path, loss.effect) for loss in result.losses] == [
        ('$["@odata.nextLink"]', Effect.NONE)
    ]


def test_objects_of_other_kinds_are_reported() -> None:
    other = {"@odata.type": "#microsoft.graph.compliantNetworkNamedLocation", "displayName": "GSA"}
    assert [loss.path for loss in imported([policy(), other]).losses] == ["$[1]"]


def test_names_that_steer_a_terminal_or_a_yaml_file_do_no_harm() -> None:
    evil = "x\n  - id: owned\x1b[31m\u2028# \x85"
    raw = policy(id=evil, displayName=evil, conditions={"users": {"includeUsers": [evil]}})
    result = imported(raw)
    assert [one.policy.state for one in result.imported] == [PolicyState.DISABLED]
    assert "\x1b" not in result.policies_text
    assert "\n  - id: owned" not in result.policies_text


def restored(raw: Any) -> Any:
    action = {"title": "restore", "target": "https://graph.example/restore"}
    return {**raw, "#microsoft.graph.restore": action, "state@odata.type": "#state"}


def test_what_is_the_transports_changes_nothing() -> None:
    plain, full = imported(policy()), imported(restored(policy()))
    assert (full.policies, full.losses) == (plain.policies, ())
    assert [one.state for one in full.policies] == [PolicyState.ENABLED] * 2


BLOCK = {"operator": "OR", "builtInControls": ["block"]}


@pytest.mark.parametrize(
    "empty",
    [
        {"locations": {"includeLocations": [], "excludeLocations": []}},
        {"locations": {"includeLocations": None, "excludeLocations": ["AllTrusted"]}},
        {"clientAppTypes": []},
        {"platforms": {"includePlatforms": [], "excludePlatforms": []}},
        {"users": {"includeUsers": []}},
        {"applications": {"includeApplications": []}},
    ],
)
def test_a_condition_that_is_empty_never_widens_a_block(empty: dict[str, Any]) -> None:
    (one,) = imported(policy(conditions=empty, grantControls=BLOCK)).imported
    assert (one.policy.state, bool(one.why)) == (PolicyState.DISABLED, True)
    by_hand = msgspec.structs.replace(one.policy, state=PolicyState.ENABLED)
    assert verdict((by_hand,), Settings(), Session()) is Verdict.ALLOW


@pytest.mark.parametrize("empty", [[], {}])
def test_what_powershell_leaves_for_null_is_null_but_in_a_block(empty: Any) -> None:
    where = {"locations": empty, "platforms": None}
    (asks,) = imported(policy(conditions=where)).imported
    (blocks,) = imported(policy(conditions=where, grantControls=BLOCK)).imported
    assert (asks.policy.state, blocks.policy.state) == (
        PolicyState.ENABLED,
        PolicyState.REPORT_ONLY,
    )
    assert [loss.path for loss in blocks.ledger.losses] == ["$.conditions.locations"]


def test_a_block_whose_only_location_is_lost_denies_nobody_who_enables_it() -> None:
    place = {"id": "l", "displayName": "Bad", "countriesAndRegions": ["nowhere"]}
    raw = policy(conditions={"locations": {"includeLocations": ["l"]}}, grantControls=BLOCK)
    (one,) = imported([place, raw]).imported
    assert one.policy.state is PolicyState.REPORT_ONLY
    by_hand = msgspec.structs.replace(one.policy, state=PolicyState.ENABLED)
    assert verdict((by_hand,), Settings(), Session()) is Verdict.ALLOW


def test_words_of_graph_count_in_any_case() -> None:
    where = {
        "userRiskLevels": ["High"],
        "clientAppTypes": ["All"],
        "users": {"includeUsers": ["all"]},
    }
    grant = {"operator": "or", "builtInControls": ["Mfa"]}
    written = policy(state="Enabled", conditions=where, grantControls=grant)
    expected = policy(conditions={**where, "userRiskLevels": ["high"]})
    assert imported(written).policies == imported(expected).policies
    assert imported(written).losses == ()


def test_an_id_in_capitals_is_the_one_that_tokens_carry_in_small_letters() -> None:
    group, app = "0000000B-ABCD-4000-8000-000000000001", "0000000D-ABCD-4000-8000-000000000001"
    users = {"includeGroups": [group]}
    written = policy(conditions={"users": users, "applications": {"includeApplications": [app]}})
    session = Session(claims={"groups": (group.lower(),)}, app=app.lower())
    result = imported(written)
    assert verdict(result.policies, result.settings, session) is Verdict.STEP_UP


@pytest.mark.parametrize(
    "apps",
    [
        {"includeApplications": ["All"]},
        {"excludeApplications": ["0000000d-abcd-4000-8000-00000000"]},
    ],
    ids=str,
)
def test_a_target_of_two_kinds_is_reported_and_not_enforced(apps: dict[str, Any]) -> None:
    contexts = {"includeAuthenticationContextClassReferences": ["c1"]}
    (one,) = imported(policy(conditions={"applications": {**contexts, **apps}})).imported
    assert one.policy.state is PolicyState.REPORT_ONLY
    assert Effect.WEAKER in one.ledger.effects()


def test_a_placeholder_for_an_id_is_reported_and_not_enforced() -> None:
    users = {"includeUsers": ["All"], "excludeGroups": ["<BreakGlass>"]}
    (one,) = imported(policy(conditions={"users": users}, grantControls=BLOCK)).imported
    assert one.policy.state is PolicyState.REPORT_ONLY
