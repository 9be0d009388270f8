"""Reading policy files: what is written means what it says, or is refused with its line."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
    Assignment,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Countries,
    Device,
    EveryTime,
    Grant,
    Locations,
    Networks,
    Not,
    Policy,
    PolicyState,
    Principals,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import (
    App,
    Context,
    Issuer,
    NamedLocation,
    Network,
    Requires,
    Settings,
    Tokens,
)
from sidecar.wire.yaml.tree import ConfigError

ROOT = Path(__file__).parents[3]
CASES = yaml.safe_load((ROOT / "tests/cases/refused-policies.yaml").read_text())
SETTINGS = Settings(
    contexts={"c1": Context(name="One"), "c2": Context(name="Two")},
    locations=(NamedLocation(name="office", countries=("NO",)),),
    networks=(Network(name="restricted"),),
)


def policy(body: str, settings: Settings = SETTINGS) -> Policy:
    (found,) = read_policies([("p.yaml", f"policies: [{{id: a, {body}}}]")], settings)
    return found


def condition(text: str) -> Condition | None:
    return policy(f"grant: mfa, conditions: {text}").conditions


def grant(text: str) -> Grant:
    return policy(f"grant: {text}").grant


def some(*names: str) -> Selection:
    return Selection(frozenset(names))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_all_mistakes_of_a_refused_file_are_shown(case: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_policies([("p.yaml", case["text"])], SETTINGS)
    assert [str(problem) for problem in caught.value.problems] == case["problems"]


def test_the_contracts_sample_means_what_it_says() -> None:
    text = """
policies:
  - id: payroll-leaves-the-office
    description: Payroll needs a fresh strong sign-in
    state: enabled
    users: {include: {groups: [finance]}, exclude: {users: [break-glass]}}
    apps: {include: [payroll]}
    contexts: {include: [c1]}
    conditions:
      any:
        - changed: [country]
        - networks: {include: [restricted]}
        - device: {compliant: false}
        - user_risk: {at_least: medium}
    grant: {operator: OR, controls: [phishing-resistant, {all: [mfa, compliant-device]}]}
    session: {sign_in_frequency: 1h}
"""
    assert read_policies([("p.yaml", text)], Settings()) == (
        Policy(
            id="payroll-leaves-the-office",
            description="Payroll needs a fresh strong sign-in",
            state=PolicyState.ENABLED,
            users=Assignment(
                Principals(groups=frozenset({"finance"})),
                Principals(users=frozenset({"break-glass"})),
            ),
            apps=some("payroll"),
            contexts=some("c1"),
            conditions=AnyOf(
                (
                    Changed((Circumstance.COUNTRY,)),
                    Networks(some("restricted")),
                    Device(compliant=False),
                    UserRisk(RiskLevel.MEDIUM),
                )
            ),
            grant=Grant(
                (
                    frozenset({"phishing-resistant"}),
                    frozenset({"mfa", "compliant-device"}),
                )
            ),
            session=SessionControls(3600),
        ),
    )


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("{changed: ip}", Changed((Circumstance.IP,))),
        ("{locations: office}", Locations(some("office"))),
        ("{locations: {include: office, strict: true}}", Locations(some("office"), strict=True)),
        (
            "{locations: {exclude: [office]}}",
            Locations(Selection(None, frozenset({"office"}))),
        ),
        ("{networks: {include: all, exclude: [restricted]}}", None),
        ("{countries: [NO, de]}", Countries(some("NO", "DE"))),
        ("{asns: [64496, AS64497, '64498', as0]}", Asns(some("64496", "64497", "64498", "0"))),
        ("{anonymizer: true}", Anonymizer(present=True)),
        ("{anonymizer: false}", Anonymizer(present=False)),
        ("{anonymizer: {kinds: [tor]}}", Anonymizer(present=True, kinds=frozenset({"tor"}))),
        ("{travel_speed: 900}", TravelSpeed(900)),
        ("{travel_speed: {at_least: 900.5}}", TravelSpeed(900.5)),
        ("{device: {known: true}}", Device(known=True)),
        ("{device: {known: true, compliant: false}}", Device(known=True, compliant=False)),
        ("{user_risk: high}", UserRisk(RiskLevel.HIGH)),
        ("{session_risk: {at_least: low}}", SessionRisk(RiskLevel.LOW)),
        (
            "{session_risk: {at_least: high, reported: true}}",
            SessionRisk(RiskLevel.HIGH, reported=True),
        ),
        ("{score: 70}", Score(70)),
        ("{signals: [a, b]}", Signals(frozenset({"a", "b"}))),
        ("{signals: {include: [a], at_least: 3}}", Signals(frozenset({"a"}), 3)),
        (
            "{claims: {acr: [1, 2], vip: true, dept: x}}",
            Claims(
                (
                    ("acr", frozenset({"1", "2"})),
                    ("vip", frozenset({"true"})),
                    ("dept", frozenset({"x"})),
                )
            ),
        ),
        (
            "{time_of_day: {start: 22:00, end: 06:00, days: [mon, sun], timezone: Europe/Berlin}}",
            TimeOfDay(1320, 360, frozenset({0, 6}), "Europe/Berlin"),
        ),
        ("{time_of_day: {start: '00:00', end: '24:00'}}", TimeOfDay(0, 1440)),
        ("{score: 1, user_risk: low}", All((Score(1), UserRisk(RiskLevel.LOW)))),
        ("[{score: 1}, {user_risk: low}]", All((Score(1), UserRisk(RiskLevel.LOW)))),
        ("[{score: 1}]", Score(1)),
        ("{any: [{score: 1}]}", AnyOf((Score(1),))),
        ("{not: {score: 1}}", Not(Score(1))),
        (
            "{not: [{score: 1}, {all: [{score: 2}]}]}",
            Not(All((Score(1), All((Score(2),))))),
        ),
    ],
)
def test_a_condition_reads_as(text: str, meaning: Condition | None) -> None:
    expected = meaning or Networks(Selection(None, frozenset({"restricted"})))
    assert condition(text) == expected


@pytest.mark.parametrize(
    ("text", "alternatives"),
    [
        ("mfa", [{"mfa"}]),
        ("[mfa, compliant-device]", [{"mfa", "compliant-device"}]),
        ("{controls: [mfa, compliant-device]}", [{"mfa", "compliant-device"}]),
        ("{operator: or, controls: [mfa, compliant-device]}", [{"mfa"}, {"compliant-device"}]),
        ("{any: [mfa, {all: [mfa, compliant-device]}]}", [{"mfa"}]),
        (
            "{all: [{any: [mfa, passwordless]}, {any: [compliant-device, phishing-resistant]}]}",
            [
                {"mfa", "compliant-device"},
                {"mfa", "phishing-resistant"},
                {"passwordless", "compliant-device"},
                {"passwordless", "phishing-resistant"},
            ],
        ),
    ],
)
def test_a_grant_becomes_alternatives(text: str, alternatives: list[set[str]]) -> None:
    found = grant(text)
    assert not found.block
    assert sorted(map(sorted, found.alternatives)) == sorted(map(sorted, alternatives))


@pytest.mark.parametrize("text", ["block", "[block]", "{operator: OR, controls: [block]}"])
def test_block_is_a_grant_that_nothing_satisfies(text: str) -> None:
    assert grant(text) == Grant(block=True)


def test_a_grant_of_too_many_alternatives_is_refused() -> None:
    levels = ", ".join(f"{{name: l{n}}}" for n in range(14))
    settings = read_settings(f"assurance: {{levels: [{levels}]}}", "s", {}, str)
    pairs = ", ".join(f"{{any: [l{n}, l{n + 7}]}}" for n in range(7))
    with pytest.raises(ConfigError, match=r"grant\.all: comes to more than 64 alternatives"):
        policy(f"grant: {{all: [{pairs}]}}", settings)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("all", Assignment()),
        ("{include: all}", Assignment()),
        ("[alice]", Assignment(Principals(users=frozenset({"alice"})))),
        ("alice", Assignment(Principals(users=frozenset({"alice"})))),
        ("{include: {roles: [x]}}", Assignment(Principals(roles=frozenset({"x"})))),
        ("{exclude: [bob]}", Assignment(None, Principals(users=frozenset({"bob"})))),
        ("{exclude: []}", Assignment()),
        ("{exclude: {users: []}}", Assignment()),
    ],
)
def test_users_read_as(text: str, meaning: Assignment) -> None:
    assert policy(f"grant: mfa, users: {text}").users == meaning


def test_a_session_control_needs_no_grant() -> None:
    found = policy("session: {sign_in_frequency: 90s}, sticky: true, state: report-only")
    assert found == Policy(
        id="a",
        grant=Grant(),
        session=SessionControls(90),
        sticky=True,
        state=PolicyState.REPORT_ONLY,
    )


def test_routine_calls_can_be_included() -> None:
    assert policy("grant: mfa, contexts: [routine, c1]").contexts == some("routine", "c1")


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("every_time", SessionControls(every_time=EveryTime(0, 300))),
        ("{interval: every_time}", SessionControls(every_time=EveryTime())),
        ("{interval: every_time, grace: 30s}", SessionControls(every_time=EveryTime(30, 300))),
        ("{interval: every_time, within: 1m}", SessionControls(every_time=EveryTime(0, 60))),
        ("{interval: 1h}", SessionControls(3600)),
    ],
)
def test_a_sign_in_frequency_is_a_duration_or_every_time(
    spelling: str, expected: SessionControls
) -> None:
    assert policy(f"session: {{sign_in_frequency: {spelling}}}").session == expected


def test_networks_that_only_agents_know_can_be_named() -> None:
    found = policy("grant: mfa, conditions: {networks: [lab]}", Settings())
    assert found.conditions == Networks(some("lab"))


def test_files_keep_their_order_and_share_one_space_of_ids() -> None:
    one, two = ("1.yaml", "policies: [{id: b, grant: mfa}]"), ("2.yaml", "policies: []")
    three = ("3.yaml", "policies: [{id: a, grant: mfa}, {id: b, grant: mfa}]")
    assert [p.id for p in read_policies([one, two], SETTINGS)] == ["b"]
    with pytest.raises(ConfigError) as caught:
        read_policies([one, two, three], SETTINGS)
    assert str(caught.value) == "3.yaml:1: policies[1].id: 'b' is used already, in 1.yaml:1"


REQUIRING = Settings(
    contexts={
        "c1": Context(name="Pay"),
        "c2": Context(
            name="Keys",
            requires=Requires(
                assurance="mfa", max_age=900, exclude=Principals(users=frozenset({"eve"}))
            ),
        ),
        "c3": Context(name="Books", requires=Requires(max_age=3600)),
    }
)


def test_what_a_context_requires_is_a_policy_after_those_of_the_files() -> None:
    found = read_policies([("p.yaml", "policies: [{id: a, grant: mfa}]")], REQUIRING)
    assert [policy.id for policy in found] == ["a", "context-c2", "context-c3"]
    keys, books = found[1:]
    assert keys == Policy(
        "context-c2",
        Grant((frozenset({"mfa"}),)),
        description="What Keys (c2) always requires",
        users=Assignment(exclude=Principals(users=frozenset({"eve"}))),
        contexts=some("c2"),
        session=SessionControls(900),
    )
    assert (books.grant, books.session) == (Grant(), SessionControls(3600))


def test_no_policy_of_a_file_takes_the_name_of_what_a_context_requires() -> None:
    text = "policies: [{id: context-c1, grant: mfa}, {id: context-c2, grant: mfa}]"
    with pytest.raises(ConfigError) as caught:
        read_policies([("p.yaml", text)], REQUIRING)
    said = "'context-c2' is what `contexts.c2.requires` is called"
    assert str(caught.value) == f"p.yaml:1: policies[1].id: {said}"


def test_norway_and_times_are_what_they_look_like() -> None:
    found = condition("{countries: [NO], time_of_day: {start: 22:00, end: 06:30}}")
    assert found == All((Countries(some("NO")), TimeOfDay(1320, 390)))


def test_the_sample_policies_are_valid_and_described() -> None:
    path = "config/sidecar.yaml"
    settings = read_settings((ROOT / path).read_text(), path, {}, str)
    files = sorted((ROOT / "config/policies").glob("*.yaml"))
    policies = read_policies([(file.name, file.read_text()) for file in files], settings)
    assert len(policies) >= 7
    assert all(each.description for each in policies)
    assert any(each.sticky for each in policies)


def test_a_thousand_policies_are_read_whole() -> None:
    body = "grant: {any: [mfa, passwordless]}"
    lines = "\n".join(f"  - {{id: p{n}, {body}, conditions: {{score: 1}}}}" for n in range(1000))
    assert len(read_policies([("p", f"policies:\n{lines}")], SETTINGS)) == 1000


@given(st.text() | st.from_regex(r"(?s)(policies:\n( *- )?)?[a-z{}\[\],:&*!|>'\"#\-\n ]{0,80}"))
def test_no_text_makes_the_reader_raise_anything_but_its_own_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        read_policies([("p", text)], SETTINGS)


WORDS = (
    "id grant users apps contexts conditions session state all any not changed locations networks"
    " countries asns anonymizer travel_speed device user_risk score signals claims time_of_day"
    " include exclude controls operator kinds at_least start end days timezone groups"
)
KEYS = st.sampled_from(WORDS.split())
SCALARS = st.sampled_from(
    ["all", "mfa", "block", "c1", "NO", "a", "22:00", "mon", "UTC", "high", ""]
)
TREES = st.recursive(
    SCALARS | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=15,
)


@given(st.lists(st.dictionaries(KEYS, TREES, max_size=5), max_size=3))
def test_no_shape_makes_the_reader_raise_anything_but_its_own_error(trees: list[Any]) -> None:
    with contextlib.suppress(ConfigError):
        read_policies([("p", yaml.safe_dump({"policies": trees}))], SETTINGS)


def test_grace_and_the_least_interval_are_read_in_seconds() -> None:
    found = policy("grant: mfa, grace: 10m, min_interval: 0s")
    assert (found.grace, found.min_interval) == (600, 0)
    found = policy("grant: mfa")
    assert (found.grace, found.min_interval) == (0, None)


COMMON = """
definitions:
  conditions:
    away: {not: {locations: [office]}}
    away-and-odd: {use: away, score: 20}
  grants:
    strong: {any: [phishing-resistant, {all: [mfa, compliant-device]}]}
  users:
    staff: {include: {groups: [staff]}, exclude: {users: [glass]}}
"""


def test_what_is_defined_in_one_file_is_used_in_another() -> None:
    using = """
policies:
  - {id: a, users: {use: staff}, conditions: {use: away-and-odd}, grant: {use: strong}}
"""
    written_out = """
policies:
  - id: a
    users: {include: {groups: [staff]}, exclude: {users: [glass]}}
    conditions: {all: [{not: {locations: [office]}}, {score: 20}]}
    grant: {any: [phishing-resistant, {all: [mfa, compliant-device]}]}
"""
    expected = read_policies([("w.yaml", written_out)], SETTINGS)
    assert read_policies([("a.yaml", using), ("common.yaml", COMMON)], SETTINGS) == expected
    assert read_policies([("common.yaml", COMMON), ("z.yaml", using)], SETTINGS) == expected


def test_a_name_that_two_files_define_is_reported_with_the_first() -> None:
    with pytest.raises(ConfigError) as caught:
        read_policies([("a.yaml", COMMON), ("b.yaml", COMMON)], SETTINGS)
    said = [str(problem) for problem in caught.value.problems]
    assert "b.yaml:4: definitions.conditions.away: is defined already, in a.yaml:4" in said
    assert len(said) == 4


def test_definitions_that_double_each_other_are_refused() -> None:
    lines = ["definitions:", "  conditions:", "    n0: {score: 20}"]
    lines += [f"    n{n}: {{all: [{{use: n{n - 1}}}, {{use: n{n - 1}}}]}}" for n in range(1, 40)]
    with pytest.raises(ConfigError) as caught:
        read_policies([("p.yaml", "\n".join(lines))], SETTINGS)
    assert "comes to more than 1000 uses of others" in str(caught.value.problems[0])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("kind", "first", "use"),
    [
        ("conditions", "{score: 20}", "{use: n%d}"),
        ("conditions", "{score: 20}", "{not: {any: [{use: n%d}]}}"),
        ("grants", "mfa", "{all: [{use: n%d}]}"),
        ("users", "all", "{use: n%d}"),
    ],
)
def test_definitions_that_nest_too_deeply_in_each_other_are_refused(
    kind: str, first: str, use: str, order: int
) -> None:
    lines = [f"    n0: {first}", *(f"    n{n}: {use % (n - 1)}" for n in range(1, 1000))]
    with pytest.raises(ConfigError) as caught:
        read_policies(
            [("p.yaml", f"definitions:\n  {kind}:\n" + "\n".join(lines[::order]))], SETTINGS
        )
    for problem in caught.value.problems:
        assert problem.message == "comes to more than 64 levels, with those of what it uses"
        assert problem.field.endswith(".use")


def test_definitions_may_be_used_one_within_the_other_up_to_the_depth_of_a_file() -> None:
    lines = [f"    n{n}: {{use: n{n - 1}}}" for n in range(63, 0, -1)]
    around = "{not: " * 60 + "{use: n63}" + "}" * 60
    text = "\n".join(["definitions:", "  conditions:", *lines, "    n0: {score: 20}", "policies:"])
    text += f"\n  - {{id: p, grant: mfa, conditions: {around}}}"
    (policy,) = read_policies([("p.yaml", text)], SETTINGS)
    condition = policy.conditions
    for _ in range(60):
        assert isinstance(condition, Not)
        condition = condition.condition
    assert condition == Score(20)


SEVERAL = Settings(
    tokens=Tokens(
        issuers=(
            Issuer(issuer="https://a.example", audiences=("x",)),
            Issuer(issuer="https://b.example", audiences=("x",), namespace="partners"),
        )
    )
)


@pytest.mark.parametrize("named", ["https://b.example", "partners"])
def test_a_policy_names_issuers_by_themselves_or_their_namespace(named: str) -> None:
    found = policy(f"grant: mfa, issuers: {{exclude: [{named!r}]}}", SEVERAL)
    assert found.issuers == Selection(exclude=frozenset({"partners"}))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "issuers: [https://c.example]",
            "issuers[0]: 'https://c.example' is not in `tokens.issuers`; did you mean",
        ),
        (
            "users: {exclude: {users: [glass]}}",
            "users.exclude: would leave out users of these names at every issuer: say `issuers`",
        ),
    ],
)
def test_an_issuer_must_be_known_and_whoever_is_left_out_must_be_of_one(
    body: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"p.yaml:1: policies[0].{said}")):
        policy(f"grant: mfa, {body}", SEVERAL)


def test_users_may_be_left_out_at_every_issuer_where_a_policy_says_so() -> None:
    found = policy("grant: mfa, issuers: all, users: {exclude: {users: [glass]}}", SEVERAL)
    assert found.issuers == Selection()


def of_audiences(app: str = "") -> Settings:
    issuer = Issuer(issuer="https://id.example", audiences=("payroll", "reports"))
    return Settings(app=App(id=app), tokens=Tokens(issuers=(issuer,)))


APPS = "policies: [{id: a, grant: mfa, apps: [payroll, payrol]}]"


def test_an_app_is_an_audience_where_the_app_has_no_id() -> None:
    with pytest.raises(ConfigError) as caught:
        read_policies([("p.yaml", APPS)], of_audiences())
    (problem,) = caught.value.problems
    assert problem.field == "policies[0].apps[1]"
    assert "'payrol' is not an audience of an issuer; else give `app.id`" in problem.message
    assert "did you mean 'payroll'" in problem.message


def test_beside_an_app_with_an_id_policies_may_be_for_others_too() -> None:
    assert read_policies([("p.yaml", APPS)], of_audiences("payroll"))


def test_names_are_read_in_one_form_and_what_no_token_could_name_is_reported() -> None:
    composed, decomposed = "Jos\u00e9", "Jose\u0301"
    text = f"policies: [{{id: a, grant: mfa, users: ['{decomposed}']}}]"
    (policy,) = read_policies([("p.yaml", text)], Settings())
    assert policy.users.include == Principals(users=frozenset({composed}))
    with pytest.raises(ConfigError) as caught:
        read_policies([("p.yaml", 'policies: [{id: a, grant: mfa, users: ["a\\tb"]}]')], Settings())
    assert "control characters" in str(caught.value.problems[0])


@pytest.mark.parametrize("spelled", ["3", "3.0", "3e0", "'3'"])
def test_a_number_of_a_claim_is_one_text_however_it_is_written(spelled: str) -> None:
    text = f"policies: [{{id: a, grant: mfa, conditions: {{claims: {{level: {spelled}}}}}}}]"
    (policy,) = read_policies([("p.yaml", text)], Settings())
    assert policy.conditions == Claims((("level", frozenset({"3"})),))


def test_a_path_that_leads_to_no_claim_is_reported() -> None:
    text = "policies: [{id: a, grant: mfa, conditions: {claims: {'a\\b': x}}}]"
    with pytest.raises(ConfigError) as caught:
        read_policies([("p.yaml", text)], Settings())
    assert "must be names with dots between them" in str(caught.value.problems[0])


def test_a_policy_may_call_a_context_by_its_alias() -> None:
    contexts = {"c1": Context(name="Payroll", alias="payments"), "c2": Context(name="Keys")}
    settings = Settings(contexts=contexts)
    text = "policies: [{id: p, contexts: {include: [payments, c2]}, grant: block}]"
    (found,) = read_policies([("p.yaml", text)], settings)
    assert found.contexts.include == frozenset({"c1", "c2"})
    with pytest.raises(ConfigError, match="did you mean 'payments'"):
        read_policies([("p.yaml", text.replace("payments", "paymnets"))], settings)


def test_a_name_with_a_blank_around_it_is_refused() -> None:
    text = "policies: [{id: p, users: {include: {groups: ['finance ']}}, grant: block}]"
    with pytest.raises(ConfigError, match="'finance ' begins or ends with a blank"):
        read_policies([("p.yaml", text)], SETTINGS)
