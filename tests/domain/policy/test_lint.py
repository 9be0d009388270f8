"""Each finding, where it is made and where it is just not made."""

from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    Asns,
    Assignment,
    Changed,
    Circumstance,
    Condition,
    Countries,
    Device,
    EveryTime,
    Grant,
    Locations,
    Networks,
    Policy,
    PolicyState,
    Principals,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    SessionRisk,
    Signals,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.policy.lint import (
    ADVICE,
    CODES,
    Ground,
    IssuerReading,
    NamedPlace,
    Overlap,
    lint,
)
from sidecar.domain.values.assurance import Ladder, Strength
from sidecar.wire.settings.settings import Assurance

LADDER = Ladder(Assurance().levels)
RISKY = UserRisk(RiskLevel.HIGH)
NOBODY = Principals()
BREAK_GLASS = Assignment(None, Principals(users=frozenset({"break-glass"})))
STAFF = Principals(groups=frozenset({"staff"}))
BLOCK = Grant(block=True)


def names(*included: str) -> Selection:
    return Selection(frozenset(included))


def grant(*ways: str) -> Grant:
    return Grant(tuple(frozenset(way.split("+")) for way in ways))


def policy(name: str = "p", conditions: Condition | None = RISKY, **changed: Any) -> Policy:
    given = {"grant": grant("mfa"), **changed}
    return Policy(name, conditions=conditions, **given)


def codes(*policies: Policy, **ground: Any) -> list[str]:
    return [finding.code for finding in lint(Ground(policies, LADDER, **ground))]


NEVER = All((Countries(names("DE")), Countries(names("PT"))))
CASES: list[tuple[str, Policy, Policy]] = [
    ("never-fires", policy(conditions=NEVER), policy(conditions=NEVER.conditions[0])),
    (
        "never-fires",
        policy(contexts=Selection(frozenset({"c1"}), frozenset({"c1", "c2"}))),
        policy(contexts=Selection(frozenset({"c1", "c3"}), frozenset({"c1", "c2"}))),
    ),
    (
        "never-fires",
        policy(apps=Selection(frozenset({"a"}), frozenset({"a"}))),
        policy(apps=Selection(frozenset({"a"}), frozenset({"b"}))),
    ),
    (
        "never-fires",
        policy(users=Assignment(STAFF, STAFF)),
        policy(users=Assignment(STAFF, Principals(groups=frozenset({"admins"})))),
    ),
    (
        "always-holds",
        policy(conditions=SessionRisk(RiskLevel.LOW)),
        policy(conditions=SessionRisk(RiskLevel.MEDIUM)),
    ),
    (
        "locks-out-everyone",
        policy(conditions=None, grant=BLOCK),
        policy(conditions=None, grant=BLOCK, users=BREAK_GLASS),
    ),
    (
        "locks-out-everyone",
        policy(conditions=None, grant=BLOCK, contexts=names("c9")),
        policy(conditions=None, grant=BLOCK, state=PolicyState.REPORT_ONLY),
    ),
    ("no-break-glass", policy(grant=BLOCK), policy(grant=BLOCK, users=BREAK_GLASS)),
    (
        "no-break-glass",
        policy(grant=grant("compliant-device")),
        policy(grant=grant("compliant-device", "mfa")),
    ),
    (
        "no-break-glass",
        policy(grant=BLOCK, users=Assignment(STAFF)),
        policy(grant=BLOCK, users=Assignment(Principals(users=frozenset({"eve"})))),
    ),
    (
        "contradictory-grant",
        policy(grant=BLOCK, session=SessionControls(60), users=BREAK_GLASS),
        policy(session=SessionControls(60)),
    ),
    (
        "contradictory-grant",
        policy(grant=grant("mfa+phishing-resistant")),
        policy(grant=grant("mfa+compliant-device")),
    ),
    (
        "contradictory-grant",
        policy(grant=grant("mfa", "phishing-resistant")),
        policy(grant=grant("mfa+compliant-device", "phishing-resistant")),
    ),
    (
        "contradictory-grant",
        policy(conditions=Device(compliant=False), grant=grant("mfa", "compliant-device")),
        policy(conditions=Device(known=True), grant=grant("mfa", "compliant-device")),
    ),
    (
        "threshold-out-of-range",
        policy(conditions=Score(101)),
        policy(conditions=Score(100)),
    ),
    (
        "threshold-out-of-range",
        policy(conditions=Signals(frozenset({"odd"}), 0)),
        policy(conditions=Signals(frozenset({"odd"}), 1)),
    ),
]


@pytest.mark.parametrize(("code", "odd", "fine"), CASES, ids=[case[0] for case in CASES])
def test_a_finding_is_made_where_it_should_be_and_not_where_it_should_not(
    code: str, odd: Policy, fine: Policy
) -> None:
    assert code in codes(odd)
    assert code not in codes(fine)


@pytest.mark.parametrize("condition", [Score(101), NEVER])
def test_a_policy_that_rests_is_not_looked_at(condition: Condition) -> None:
    assert codes(policy(conditions=condition, state=PolicyState.DISABLED)) == []


@pytest.mark.parametrize(
    ("condition", "database"),
    [
        (Countries(names("DE")), "city"),
        (TravelSpeed(900), "city"),
        (Changed((Circumstance.IP, Circumstance.REGION)), "city"),
        (Changed((Circumstance.ASN,)), "asn"),
        (Asns(names("64496")), "asn"),
        (Anonymizer(present=True), "anonymous_ip"),
    ],
)
def test_a_condition_on_places_needs_its_database(condition: Condition, database: str) -> None:
    others = frozenset({"city", "asn", "anonymous_ip"} - {database})
    assert codes(policy(conditions=condition), databases=others) == ["needs-geography"]
    assert codes(policy(conditions=condition), databases=frozenset({database})) == []


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        (TravelSpeed(900), "coordinates"),
        (Countries(names("DE")), "country"),
        (Changed((Circumstance.COUNTRY,)), "country"),
        (Changed((Circumstance.IP, Circumstance.REGION)), "region"),
    ],
)
def test_a_condition_needs_a_database_whose_records_have_what_it_asks_for(
    condition: Condition, asked: str
) -> None:
    everything = frozenset({"country", "region", "coordinates"})
    rule = policy(conditions=condition)
    assert codes(rule, found_in_databases=everything - {asked}) == ["untold-by-geography"]
    assert codes(rule, found_in_databases=frozenset({asked})) == []
    assert codes(rule, found_in_databases=None) == []
    without = codes(rule, found_in_databases=frozenset(), databases=frozenset())
    assert without == ["needs-geography"]


def test_conditions_that_are_not_on_places_need_no_database() -> None:
    changed = Changed((Circumstance.IP, Circumstance.DEVICE))
    assert codes(policy(conditions=changed), databases=frozenset()) == []


STRONG = policy("strong", conditions=UserRisk(RiskLevel.MEDIUM), grant=grant("phishing-resistant"))
WEAK = policy("weak")
BESIDE = [
    msgspec.structs.replace(STRONG, conditions=Score(40)),
    msgspec.structs.replace(STRONG, grant=grant("mfa", "compliant-device")),
    msgspec.structs.replace(STRONG, grant=grant("compliant-device")),
    msgspec.structs.replace(STRONG, grant=grant("single-factor")),
    msgspec.structs.replace(STRONG, contexts=names("c1")),
    msgspec.structs.replace(STRONG, apps=Selection(None, frozenset({"x"}))),
    msgspec.structs.replace(STRONG, users=BREAK_GLASS),
    msgspec.structs.replace(STRONG, state=PolicyState.REPORT_ONLY),
    msgspec.structs.replace(STRONG, grace=60),
    msgspec.structs.replace(STRONG, min_interval=60),
]


@pytest.mark.parametrize("order", [(STRONG, WEAK), (WEAK, STRONG)])
def test_a_policy_that_never_adds_anything_is_shadowed(order: tuple[Policy, ...]) -> None:
    found = lint(Ground(order, LADDER))
    assert [(f.where, f.code) for f in found] == [(("policies", "weak"), "shadowed")]
    assert "strong" in found[0].message


@pytest.mark.parametrize("other", BESIDE)
def test_a_policy_that_adds_something_is_not_shadowed(other: Policy) -> None:
    assert "shadowed" not in [
        f.code for f in lint(Ground((WEAK, other), LADDER)) if f.where == ("policies", "weak")
    ]


def test_a_sticky_mark_and_a_shorter_frequency_are_not_shadowed() -> None:
    for added in ({"sticky": True}, {"session": SessionControls(60)}):
        assert codes(STRONG, msgspec.structs.replace(WEAK, **added)) == []
    often = msgspec.structs.replace(STRONG, session=SessionControls(60), sticky=True)
    seldom = msgspec.structs.replace(WEAK, session=SessionControls(90), sticky=True)
    assert codes(often, seldom) == ["shadowed"]


def test_what_asks_sooner_shadows_what_waits() -> None:
    assert codes(STRONG, msgspec.structs.replace(WEAK, grace=60)) == ["shadowed"]
    spared = msgspec.structs.replace(WEAK, min_interval=60)
    assert codes(msgspec.structs.replace(STRONG, min_interval=30), spared) == ["shadowed"]


def test_of_two_alike_the_later_is_shadowed() -> None:
    twin = msgspec.structs.replace(WEAK, id="twin")
    assert [f.where[1] for f in lint(Ground((WEAK, twin), LADDER))] == ["twin"]


def test_a_block_shadows_a_step_up_but_not_the_other_way() -> None:
    block = policy("block", grant=BLOCK, users=BREAK_GLASS)
    step_up = policy("step-up", users=BREAK_GLASS)
    assert [f.where[1] for f in lint(Ground((block, step_up), LADDER))] == ["step-up"]


def test_a_context_wants_a_route_and_a_policy() -> None:
    rule = policy(contexts=names("c1"))
    assert codes(rule, contexts=("c1",), routes=(("c1",),)) == []
    assert codes(rule, contexts=("c1",)) == ["context-unreached"]
    two = {"contexts": ("c1", "c2"), "routes": (("c1", "c2"),)}
    assert codes(rule, **two) == ["context-unprotected"]
    rests = policy(contexts=names("c2"), state=PolicyState.DISABLED)
    assert codes(rule, rests, **two) == ["context-unprotected"]
    assert codes(rule, policy("q", contexts=names("c2")), **two) == []


def test_a_route_wants_contexts_that_are_configured() -> None:
    (found,) = lint(Ground((policy(),), LADDER, ("c1",), (("c1",), ("c1", "c7"))))
    assert (found.where, found.code) == (("routes", "1"), "route-unknown-context")
    assert "c7" in found.message


MET = Overlap(1, 0, "/pay/x", within=True)


@pytest.mark.parametrize(
    ("wide", "narrow", "overlap", "is_found"),
    [
        (("c1",), ("c2",), MET, True),
        (("c1", "c2"), ("c1",), MET, True),
        (("c1",), ("c1", "c2"), MET, False),
        (("c1",), ("c1",), MET, False),
        (("c1",), ("c1", "c2"), MET._replace(within=False), True),
    ],
)
def test_routes_that_meet_want_the_narrower_to_name_all_contexts(
    wide: tuple[str, ...], narrow: tuple[str, ...], overlap: Overlap, *, is_found: bool
) -> None:
    found = lint(Ground((policy(),), LADDER, ("c1", "c2"), (wide, narrow), overlaps=(overlap,)))
    routes = [finding for finding in found if finding.where[0] == "routes"]
    assert [(f.where, f.code) for f in routes] == [(("routes", "1"), "route-overlap")] * is_found
    assert all("/pay/x" in f.message and "c1 and c2" in f.message for f in routes)


def test_every_code_says_what_to_do() -> None:
    assert ADVICE.keys() == CODES.keys()


HQ = NamedPlace("hq", (ip_network("192.0.2.0/24"),), trusted=True)
HALL = NamedPlace("hall", (ip_network("192.0.2.128/25"), ip_network("2001:db8::/32")))
FARM = NamedPlace("farm", (ip_network("198.51.100.0/24"),), frozenset({"DE"}), frozenset({64496}))
LAND = NamedPlace("land", (), frozenset({"DE"}))
ROUTER = NamedPlace("router", (), frozenset(), frozenset({64496}))


def test_a_location_that_nobody_names_is_reported() -> None:
    at_hq = policy(conditions=Locations(names("hq")))
    outside = policy(conditions=Locations(Selection(None, frozenset({"hq"}))))
    trusted = policy(conditions=Locations(names("all-trusted")))
    assert codes(policy(), locations=(HQ,)) == ["location-unused"]
    for rule in (at_hq, outside, trusted):
        assert codes(rule, locations=(HQ,)) == []
    untrusted = HQ._replace(trusted=False)
    assert codes(trusted, locations=(untrusted,)) == ["location-unused"]


@pytest.mark.parametrize(
    ("one", "other"), [(HQ, HALL), (HALL, HQ), (FARM, LAND), (FARM, ROUTER), (HQ, HQ)]
)
def test_locations_that_share_addresses_are_reported(one: NamedPlace, other: NamedPlace) -> None:
    other = other._replace(name="other")
    rule = policy(conditions=Locations(names(one.name, "other")))
    assert codes(rule, locations=(one, other)) == ["location-overlap"]


@pytest.mark.parametrize(("one", "other"), [(HQ, FARM), (LAND, ROUTER), (HALL, LAND)])
def test_locations_that_share_nothing_are_fine(one: NamedPlace, other: NamedPlace) -> None:
    rule = policy(conditions=Locations(names(one.name, other.name)))
    assert codes(rule, locations=(one, other)) == []


def test_an_address_of_one_version_lies_in_no_network_of_the_other() -> None:
    four = NamedPlace("four", (ip_network("0.0.0.0/0"),))
    six = NamedPlace("six", (ip_network("::/0"),))
    rule = policy(conditions=Networks(names("four", "six")))
    assert codes(rule, networks=(four, six)) == []


def test_networks_are_reported_where_nobody_names_them_or_they_nest() -> None:
    named = policy(conditions=Networks(names("hq", "hall")))
    moved = policy(conditions=Changed((Circumstance.NETWORK,)))
    assert codes(named, networks=(HQ,)) == []
    assert codes(moved, networks=(HQ,)) == []
    assert codes(policy(), networks=(HQ,)) == ["network-unused"]
    assert codes(named, networks=(HQ, HALL)) == ["network-overlap"]


@pytest.mark.parametrize(
    ("other", "rule", "shadowed"),
    [
        (EveryTime(), EveryTime(), True),
        (EveryTime(), EveryTime(10), True),
        (EveryTime(10), EveryTime(), False),
        (EveryTime(within=60), EveryTime(within=300), True),
        (EveryTime(within=300), EveryTime(within=60), False),
        (EveryTime(10, 50), 60, True),
        (EveryTime(11, 50), 60, False),
        (60, EveryTime(), False),
        (EveryTime(), None, True),
    ],
)
def test_every_time_asks_as_often_as_its_grace_allows(
    other: EveryTime | int, rule: EveryTime | int | None, shadowed: bool
) -> None:
    def session(asked: EveryTime | int | None) -> SessionControls:
        if isinstance(asked, EveryTime):
            return SessionControls(every_time=asked)
        return SessionControls(asked)

    rules = (policy("first", session=session(other)), policy("second", session=session(rule)))
    found = [f for f in lint(Ground(rules, LADDER)) if f.where == ("policies", "second")]
    assert [f.code for f in found] == (["shadowed"] if shadowed else [])


STRENGTHS = {
    "keys": Strength(acr=("keys", "phr"), amr=(frozenset({"hwk", "user"}),)),
    "one-key": Strength(acr=("keys",)),
    "good-keys": Strength(acr=("phr", "phrh"), amr=(frozenset({"hwk", "user", "geo"}),)),
}
STRONGER = Ladder(Assurance().levels, STRENGTHS)


def findings_of(*ways: str) -> list[str]:
    ground = Ground((policy(grant=grant(*ways)),), STRONGER)
    return [f.message for f in lint(ground) if f.code == "contradictory-grant"]


def test_strengths_are_compared_by_what_shows_them() -> None:
    assert findings_of("keys+one-key") == [
        "one-key includes keys; asking for both is asking for the former"
    ]
    assert findings_of("mfa+good-keys") == [
        "good-keys includes mfa; asking for both is asking for the former"
    ]
    assert findings_of("mfa+keys") == []  # the provider's `keys` is no level that is known
    assert findings_of("one-key", "keys") == ["one-key is never needed, as keys suffices"]
    assert findings_of("good-keys", "one-key") == []


def test_a_policy_of_a_strength_is_shadowed_by_one_of_a_narrower_strength() -> None:
    wide, narrow = policy("wide", grant=grant("keys")), policy("narrow", grant=grant("one-key"))
    found = [f for f in lint(Ground((wide, narrow), STRONGER)) if f.code == "shadowed"]
    assert [f.where for f in found] == [("policies", "wide")]


def test_a_strength_is_reported_where_nobody_asks_for_it_or_nobody_can() -> None:
    ladder = Ladder(Assurance().levels, {"odd": Strength(amr=(frozenset({"hwk"}),))})
    for rule, code in (
        (policy(), "strength-unused"),
        (policy(grant=grant("odd")), "strength-unaskable"),
    ):
        assert [(f.where, f.code) for f in lint(Ground((rule,), ladder))] == [
            (("assurance", "strengths", "odd"), code)
        ]


def test_every_code_is_made_by_some_case() -> None:
    made = {case[0] for case in CASES} | {
        "shadowed",
        "needs-geography",
        "files-passed-over",
        "untold-by-geography",
        "context-unreached",
        "context-unprotected",
        "route-unknown-context",
        "route-overlap",
        "routes-unreached",
        "location-unused",
        "location-overlap",
        "network-unused",
        "network-overlap",
        "strength-unused",
        "strength-unaskable",
        "issuers-alike",
        "session-by-sign-in",
        "app-by-client",
        "app-unknown",
    }
    assert made == set(CODES)


def test_files_that_look_like_policies_and_are_not_read_are_reported() -> None:
    (finding,) = lint(Ground((policy(),), LADDER, passed_over=("night/", "q.json")))
    assert (finding.code, finding.message) == ("files-passed-over", "night/, q.json: not read")


def test_routes_are_reported_that_no_gateways_question_leads_to() -> None:
    routes = (("c1",), ("c1",))
    for paths_known, found in ((False, [(("routes", "0"), "routes-unreached")]), (True, [])):
        ground = Ground((policy(),), LADDER, ("c1",), routes, paths_known=paths_known)
        assert [(f.where, f.code) for f in lint(ground)] == found
    assert lint(Ground((policy(),), LADDER, paths_known=False)) == ()


def test_an_issuer_whose_sessions_or_apps_shed_marks_is_reported() -> None:
    readings = (
        IssuerReading(),
        IssuerReading(session_by_sign_in=True),
        IssuerReading(app_by_client=True),
    )
    found = lint(Ground((), LADDER, issuers=readings))
    assert [(f.where, f.code) for f in found] == [
        (("tokens", "issuers", "1"), "session-by-sign-in"),
        (("tokens", "issuers", "2"), "app-by-client"),
    ]


def test_an_app_that_no_call_can_be_of_is_reported() -> None:
    rule = policy(apps=names("payroll", "payrol"))
    assert codes(rule, apps=frozenset({"payroll"})) == ["app-unknown"]
    assert codes(rule) == []


def test_issuers_that_may_all_say_the_same_are_reported() -> None:
    found = lint(Ground((), LADDER, unsaid_issuers=(0, 2)))
    assert [f.where for f in found] == [("tokens", "issuers", "0"), ("tokens", "issuers", "2")]
    assert {f.code for f in found} == {"issuers-alike"}


def test_a_policy_of_other_issuers_neither_shadows_nor_is_for_their_emergency_accounts() -> None:
    ours, theirs = Selection(frozenset({"i"})), Selection(frozenset({"j"}))
    one, other = policy("one", issuers=ours), policy("other", issuers=theirs)
    assert codes(one, other) == []
    assert codes(one, policy("all")) == ["shadowed"]
    glass = Principals(users=frozenset({"glass"}))
    rule = policy(users=Assignment(glass), issuers=ours)
    both = ("i", "j")
    assert codes(rule, break_glass={"i": glass}, namespaces=both) == ["never-fires"]
    assert codes(rule, break_glass={"j": glass}, namespaces=both) == []


def test_configured_break_glass_accounts_are_emergency_accounts() -> None:
    emergency = Principals(users=frozenset({"glass"}), groups=frozenset({"emergency"}))
    assert codes(policy(grant=BLOCK)) == ["no-break-glass"]
    assert codes(policy(grant=BLOCK), break_glass={"": emergency}) == []


def test_a_policy_for_break_glass_accounts_alone_never_fires() -> None:
    glass = Principals(users=frozenset({"glass"}))
    rule = policy(users=Assignment(glass))
    assert codes(rule, break_glass={"": glass}) == ["never-fires"]
    assert codes(rule) == []
