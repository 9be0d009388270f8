"""The schemas we print: valid themselves, and of one mind with the readers."""

import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
import yaml

from sidecar.cli.schemas import SCHEMAS, schema
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.policies.conditions import BY_KEY
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.tree import ConfigError

ROOT = Path(__file__).parents[2]
REFUSED = yaml.safe_load((ROOT / "tests/cases/refused-policies.yaml").read_text())
POLICIES = sorted((ROOT / "config/policies").glob("*.yaml"))
NEEDS_MORE_THAN_THE_SHAPE = {
    "a policy has no name by which the daemon itself asks for something",
    "a control that is no level is reported with the nearest",
    "a block has no grace",
    "block stands alone",
    "the same policy by an alias is one too many",
}


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema as far as our samples need it: only these plain scalars resolve."""

    yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012 - PyYAML's own form
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":int", ":null"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        if first not in "yYnNoO"
    }


Core.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def fits(name: str, value: object) -> bool:
    return bool(jsonschema.Draft202012Validator(schema(name)).is_valid(value))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_says_which_dialect_it_speaks(name: str) -> None:
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert not [key for key in _keys(found) if key.startswith("x-")]


def _keys(node: object) -> set[str]:
    if isinstance(node, dict):
        return set(node) | {key for value in node.values() for key in _keys(value)}
    if isinstance(node, list):
        return {key for value in node for key in _keys(value)}
    return set()


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.name)
def test_the_sample_policies_fit_the_schema(file: Path) -> None:
    value = yaml.load(file.read_text(), Core)
    jsonschema.validate(value, schema("policy"))


@pytest.mark.parametrize("path", ["config/sidecar.yaml", "deploy/k8s/base/sidecar.yaml"])
def test_the_sample_configurations_fit_the_schema(path: str) -> None:
    value = yaml.load((ROOT / path).read_text(), Core)
    jsonschema.validate(value, schema("config"))


GOOD = [
    "grant: mfa, users: all",
    "grant: [mfa, {any: [mfa, compliant-device]}], conditions: {not: {score: 1}}",
    "grant: mfa, grace: 10m, min_interval: 0",
    "session: {max_lifetime: 12h}",
    "grant: [mfa, {any: [compliant-device, passwordless]}], users: {exclude: []}",
    "session: {sign_in_frequency: 90}, apps: {include: all, exclude: [x]}",
    "session: {sign_in_frequency: every_time}",
    "session: {sign_in_frequency: {interval: every_time, grace: 0, within: 10m}}",
    "grant: mfa, session: {sign_in_frequency: {interval: 1h}, max_lifetime: 12h}",
    "grant: block, conditions: [{asns: [1, AS2]}, {not: {anonymizer: true}}]",
    "grant: mfa, conditions: {claims: {acr: [1, true, x]}, travel_speed: 9, score: {at_least: 1}}",
    "grant: mfa, conditions: {signals: {include: a, at_least: 2}, device: {known: false}}",
    'grant: mfa, conditions: {time_of_day: {start: "22:00", end: "24:00", days: [mon]}}',
    "grant: mfa, conditions: {countries: {exclude: [no]}, user_risk: low, changed: ip}",
]
BAD = [
    "grant: mfa, grnt: mfa",
    "description: x",
    "grant: []",
    "grant: {operator: XOR, controls: [mfa]}",
    "grant: mfa, users: []",
    "grant: mfa, users: {groups: [x]}",
    "grant: mfa, apps: {}",
    "grant: mfa, conditions: {}",
    "grant: mfa, conditions: {score: 101}",
    "grant: mfa, conditions: {device: {}}",
    "grant: mfa, conditions: {any: {score: 1}}",
    "grant: mfa, conditions: {countries: [NOR]}",
    'grant: mfa, conditions: {time_of_day: {start: "24:30", end: "01:00"}}',
    "grant: mfa, state: off",
    "grant: mfa, grace: 0",
    "session: {max_lifetime: 0}",
    "grant: mfa, min_interval: true",
    "session: {}",
    "session: {sign_in_frequency: everytime}",
    "session: {sign_in_frequency: {interval: 1h, grace: 1m}}",
    "session: {sign_in_frequency: {grace: 1m}}",
]


def accepted(text: str) -> bool:
    try:
        read_policies([("p", text)], Settings())
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("body", [*GOOD, *BAD])
def test_schema_and_reader_agree_on_the_shape_of_a_policy(body: str) -> None:
    text = f"policies: [{{id: a, {body}}}]"
    value = yaml.load(text, Core)
    assert (accepted(text), fits("policy", value)) == (body in GOOD, body in GOOD)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_the_schema_refuses_what_the_reader_refuses_by_shape(case: dict[str, Any]) -> None:
    value = yaml.load(case["text"], Core)
    assert not accepted(case["text"])
    assert fits("policy", value) == (case["name"] in NEEDS_MORE_THAN_THE_SHAPE)


def test_the_schema_has_every_condition_that_the_reader_knows() -> None:
    found = schema("policy")["$defs"]["condition"]["anyOf"][0]["properties"]
    assert set(found) == set(BY_KEY)


@pytest.mark.parametrize(
    ("text", "fitting"),
    [
        ("{socket: {idle_timeout: 1h, max_line_bytes: 64KiB}}", True),
        ("{socket: {idle_timeout: 60}}", True),
        ("{risk: {weights: {x: {weight: 1, half_life: 6h}}}}", True),
        ("{socket: {idle_timeout: 1 hour}}", False),
        ("{socket: {idle_timeout: 0}}", False),
        ("{socket: {idel_timeout: 1}}", False),
        ("{risk: {weights: {x: {weight: 101}}}}", False),
        ("{risk: {weights: {x: {weight: 1, color: 1}}}}", False),
        (
            "{tokens: {issuers: [{issuer: 'https://i', audiences: [a], algorithms: [HS256]}]}}",
            False,
        ),
        ("{contexts: {pay: {name: x}}}", False),
        ("{http: {bind: 8181}}", False),
    ],
)
def test_schema_and_reader_agree_on_a_configuration(text: str, fitting: bool) -> None:
    value = yaml.load(text, Core)
    try:
        read_settings(text, "s", {}, str)
    except ConfigError:
        assert not fitting
    else:
        assert fitting
    assert fits("config", value) == fitting


GOOD_EVENTS = [
    {"type": "session-established", "subject": {"session": "s"}, "data": {"amr": ["pwd"]}},
    {"type": "session-revoked", "subject": {"user": "u"}},
    {"type": "network-change", "subject": {"device": "d"}, "data": {"segment": "x"}},
    {
        "type": "device-compliance-change",
        "subject": {"device": "d"},
        "data": {"current_status": "compliant", "more": 1},
    },
    {"type": "risk-level-change", "subject": {"user": "u"}, "data": {"current_level": "LOW"}},
    {"type": "risk-level-change", "subject": {"user": "u"}, "data": {"current_level": "low"}},
    {
        "type": "device-compliance-change",
        "subject": {"device": "d"},
        "data": {"current_status": "NOT_COMPLIANT", "previous_status": None},
    },
    {"type": "session-revoked", "subject": {"user": "u"}, "data": {"reason": ["left", 1]}},
    {"type": "credential-change", "subject": {"user": "u"}, "time": 1.5, "id": "x"},
    {
        "type": "assurance-level-change",
        "subject": {"session": "s"},
        "data": {"namespace": "n", "current_level": "mfa"},
    },
    {"type": "token-claims-change", "subject": {"user": "u"}, "data": {"claims": {"a": [1, "b"]}}},
    {"type": "risk-signal", "subject": {"user": "u"}, "data": {"name": "x", "weight": 5}},
]
BAD_EVENTS: list[dict[str, Any]] = [
    {},
    {"type": "unheard-of", "subject": {"user": "u"}},
    {"type": "session-established", "subject": {"user": "u"}},
    {"type": "network-change", "subject": {"device": "d"}},
    {"type": "risk-level-change", "subject": {"user": "u"}, "data": {"current_level": "lower"}},
    {"type": "risk-signal", "subject": {"user": "u"}, "data": {"name": "x", "weight": 101}},
    {"type": "session-revoked", "subject": {"user": "u", "sesion": "s"}},
    {"type": "session-revoked", "subject": {"user": "u"}, "when": 1},
    {"type": "token-claims-change", "subject": {"user": "u"}, "data": {"claims": {}}},
]


@pytest.mark.parametrize("event", [*GOOD_EVENTS, *BAD_EVENTS], ids=str)
def test_schema_and_reader_agree_on_an_event(event: dict[str, Any]) -> None:
    try:
        decode_event(event, now=10.0, skew=60.0, new_id="n")
    except InvalidSignal:
        assert event in BAD_EVENTS
    else:
        assert event in GOOD_EVENTS
    assert fits("event", event) == (event in GOOD_EVENTS)
