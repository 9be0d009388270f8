"""Scenario files: what is right is read, what is wrong is reported with its line."""

import contextlib
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.schemas import schema
from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import RiskLevelChange, SessionPresented
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.assurance import Authentication
from sidecar.tuning.scenario.files import DEFAULT_START, Scenario, read_scenarios
from sidecar.tuning.scenario.when import SignInStep
from sidecar.wire.yaml.tree import ConfigError

ROOT = Path(__file__).parents[3]
OURS = sorted((ROOT / "config/scenarios").glob("*.yaml"))


def read(text: str, *contexts: str) -> Scenario:
    (scenario,) = read_scenarios([("f.yaml", text)], contexts)
    return scenario


def problems(text: str, *contexts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_scenarios([("f.yaml", text)], contexts)
    return [str(problem) for problem in caught.value.problems]


def scenario(steps: str, given_: str = "session: {user: ada}") -> str:
    body = "\n".join(f"      {line}" for line in steps.splitlines())
    return f"scenarios:\n  - name: n\n    given:\n      {given_}\n    steps:\n{body}\n"


def test_steps_follow_each_other_in_virtual_time() -> None:
    found = read(
        scenario(
            "- then: allow\n"
            "- after: 10s\n  then: allow\n"
            "- at: +1h\n  then: allow\n"
            "- at: 2h\n  then: allow\n"
        )
    )
    times = [step.time - DEFAULT_START for step in found.steps]
    assert times == [60, 70, 3600, 7200]


def test_a_scenario_can_begin_when_it_likes() -> None:
    given_ = 'session: {}\n      time: "2026-03-29T01:30:00+01:00"'
    assert read(scenario("- then: allow", given_)).start == 1774744200


def test_an_event_is_about_the_steps_session_unless_it_says() -> None:
    found = read(
        scenario(
            "- session: phone\n"
            "  when:\n"
            "    - {type: session-presented, data: {ip: '::ffff:192.0.2.1'}}\n"
            "    - {type: risk-level-change, data: {current_level: HIGH}}\n"
            "    - {type: risk-level-change, subject: {session: laptop},"
            " data: {current_level: LOW}, time: +5s}\n",
            "sessions: {laptop: {user: ada}, phone: {user: bob}}",
        )
    )
    seen, risk, other = found.steps[0].actions
    assert isinstance(seen, SessionPresented)
    assert (seen.subject.session, seen.ip) == ("phone", "192.0.2.1")
    assert isinstance(risk, RiskLevelChange)
    assert (risk.subject.user, risk.level) == ("bob", RiskLevel.HIGH)
    assert isinstance(other, RiskLevelChange)
    assert other.subject.session == "laptop"
    assert other.stamp.time == (DEFAULT_START + 5) * 1_000_000


def test_a_sign_in_takes_place_at_its_step() -> None:
    found = read(
        scenario(
            "- when: {sign_in: phr}\n"
            "- when: {sign_in: {amr: [pwd, otp], ago: 30s, ip: 192.0.2.1}}\n"
        )
    )
    (first,), (second,) = (step.actions for step in found.steps)
    now = DEFAULT_START + 60
    assert first == SignInStep("session", Authentication(now, "phr"))
    assert second == SignInStep(
        "session", Authentication(now + 30, "", ("pwd", "otp")), "192.0.2.1"
    )


def test_an_expectation_is_read_whole() -> None:
    found = read(
        scenario(
            "- then:\n"
            "    context: c1\n    path: /p%61y/7\n    verdict: step_up\n"
            "    acr_values: [phr, phrh]\n    max_age: 5m\n    reasons: p\n    would: []\n"
            "    pending: true\n"
        )
    )
    (check,) = found.steps[0].checks
    assert (check.contexts, check.path, check.line) == (("c1",), "/pay/7", 7)
    assert check.expected.verdict is Verdict.STEP_UP
    assert check.expected.acr_values == ("phr", "phrh")
    assert check.expected.max_age == 300
    assert check.expected.reasons == frozenset({"p"})
    assert check.expected.would == frozenset()
    assert check.expected.pending is True


WRONG = [
    ("- then: {verdict: alow}", "f.yaml:6: scenarios[0].steps[0].then.verdict: 'alow'"),
    ("- then: {context: c1}", "f.yaml:6: scenarios[0].steps[0].then.verdict: is required"),
    ("- then: {verdict: allow, contxt: c1}", "unknown key; did you mean 'context'?"),
    ("- {}", "must have `when` or `then`"),
    ("- {at: +5m, after: 5m, then: allow}", "give one"),
    ("- {at: +5m, then: allow}\n- {at: +4m, then: allow}", "f.yaml:7: "),
    ("- {after: soon, then: allow}", "must be seconds, or a duration"),
    ("- {session: phone, then: allow}", "'phone' is not in `given.sessions`"),
    ("- when: {tpye: risk-signal}", "an event with its `type`, or a `sign_in`"),
    ("- when: {type: risk-sgnal}", "steps[0].when.type: must be one of"),
    ("- when:\n    type: network-change\n    data:\n      segmnt: x", "f.yaml:8: "),
    (
        "- when:\n    type: risk-level-change\n    data:\n      current_level: higher",
        "f.yaml:9: scenarios[0].steps[0].when.data.current_level: must be one of LOW",
    ),
    ("- when: {type: session-revoked, subject: {session: x}}", "'x' is not in `given.sessions`"),
    ("- when: {sign_in: {}}", "must have `acr` or `amr`"),
    ("- then: {verdict: allow, ip: 1.2.3}", "is no IP address"),
    ("- then: {verdict: allow, path: /a%2fb}", "the path has an encoded slash"),
    ("- then: {verdict: allow, path: /a/../b}", "the path has a dot segment"),
    ("- then: {verdict: allow, path: //pay/7}", "the path has a repeated slash"),
    ("- then: {verdict: allow, context: c9}", "'c9' is not in `contexts`"),
]


@pytest.mark.parametrize(("steps", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_what_is_wrong_is_reported_with_its_line(steps: str, said: str) -> None:
    assert any(said in problem for problem in problems(scenario(steps), "c1"))


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("time: tomorrow", "given.time: must be a time such as"),
        ("session: {usr: ada}", "f.yaml:4: scenarios[0].given.session.usr: unknown key"),
        ("session: {ip: x}", "given.session.ip: is no IP address"),
        ("session: {user_risk: HIGH}", "did you mean 'high'?"),
        ("session: {signals: {odd: 101}}", "must be from 0 to 100"),
        ("sessions: {}", "must be a mapping of names to sessions"),
        ("{session: {}, sessions: {a: {}}}", "either `session` or `sessions`"),
        ("{session: {}, places: {x: {}}}", "given.places.x: is no IP address"),
        ("{session: {}, places: {192.0.2.1: {country: Germania}}}", "English name"),
        ("{session: {}, places: {192.0.2.1: {anonymizer: [tr]}}}", "did you mean 'tor'?"),
    ],
)
def test_what_is_given_wrongly_is_reported(given_: str, said: str) -> None:
    found = problems(scenario("- then: allow", given_))
    assert any(said in problem for problem in found), found


def test_all_that_is_wrong_is_reported_at_once() -> None:
    text = "scenarios:\n  - name: a\n  - name: a\n    given: {session: {}}\n    steps: []\n"
    found = problems(text)
    assert [problem.split(": ")[0] for problem in found] == [
        "f.yaml:2",
        "f.yaml:2",
        "f.yaml:3",
        "f.yaml:5",
    ]


class Core(yaml.SafeLoader):
    """As YAML 1.2: no sexagesimal numbers, no dates."""

    yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012 - PyYAML's own form
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":int", ":null"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        if first not in "yYnNoO"
    }


Core.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
FLOAT = re.compile(r"^-?\d+\.\d+$")
Core.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-0123456789"))


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.name)
def test_our_own_scenarios_are_read_and_fit_the_schema(file: Path) -> None:
    assert read_scenarios([(str(file), file.read_text())])
    jsonschema.validate(yaml.load(file.read_text(), Core), schema("scenario"))


SHAPELESS = ("- {at: +5m, after", "- {at: +5m, then: allow}\n", "- {session: phone")


@pytest.mark.parametrize("steps", [s for s, _ in WRONG[:11] if not s.startswith(SHAPELESS)])
def test_the_schema_refuses_what_the_reader_refuses(steps: str) -> None:
    value = yaml.load(scenario(steps), Core)
    assert not jsonschema.Draft202012Validator(schema("scenario")).is_valid(value)


@given(st.text(max_size=200) | st.text("scenrio:-[]{} \n'", max_size=200))
def test_no_text_makes_the_reader_raise_anything_else(text: str) -> None:
    with contextlib.suppress(ConfigError):
        read_scenarios([("f", text)])


def test_groups_and_roles_are_none_where_left_out_and_unknown_where_said_so() -> None:
    steps = "- then:\n    context: c1\n    verdict: allow"
    for given_, groups, roles in (
        ("session: {user: ada}", (), ()),
        ("session: {user: ada, groups: unknown, roles: unknown}", None, None),
        ("session: {user: ada, groups: [unknown], roles: []}", ("unknown",), ()),
    ):
        described = read(scenario(steps, given_), "c1").sessions[0][1]
        assert (described.groups, described.roles) == (groups, roles)
