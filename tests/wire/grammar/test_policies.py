"""One description of policies: its reader and its schema accept the same documents."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sidecar
from sidecar.domain.policy.conditional_access import TravelSpeed, key_of
from sidecar.wire.policies import policy_grammar
from sidecar.wire.policies.assignments import SIDES, USED, OrUsed
from sidecar.wire.policies.conditions import CONDITIONS, Conjunction, Required
from sidecar.wire.policies.grants import (
    ALTERNATIVES,
    EXPRESSION,
    FORMS,
    NESTED,
    Expression,
    GrantControl,
    GrantOperator,
    JoinedGrants,
    WholeGrant,
)
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.policies.session_controls import Interval
from sidecar.wire.settings.settings import Context, Issuer, NamedLocation, Settings, Tokens
from sidecar.wire.yaml.tree import ConfigError, Problems, plain, read_tree
from tests.wire.grammar.documents import Documents

SETTINGS = Settings(
    contexts={"c1": Context(name="One"), "c2": Context(name="Two")},
    locations=(
        NamedLocation(name="office", countries=("NO",)),
        NamedLocation(name="headquarters", countries=("NO",)),
    ),
    tokens=Tokens(issuers=(Issuer(issuer="https://id.example", audiences=("pay",)),)),
)
NAMES = {
    "policy": ["a", "b", "c"],
    "issuer": ["https://id.example"],
    "app": ["pay"],
    "context": ["c1", "routine"],
    "location": ["office", "all-trusted"],
    "network": ["lab"],
    "time zone": ["UTC", "Europe/Berlin"],
    "conditions": ["one"],
    "grants": ["one"],
    "users": ["one"],
}
DEFINITIONS = {
    "conditions": {"one": {"score": 1}},
    "grants": {"one": "mfa"},
    "users": {"one": "all"},
}
NEEDS_MORE_THAN_THE_SHAPE = re.compile(
    r"""is\ used\ already | is\ what\ `contexts | is\ what\ the\ daemon
    | \ is\ not\ (?:in|a\ control|a\ time\ zone|an\ audience|known)
    | must\ be\ a\ mapping\ of\ names
    | has\ `block`\ beside | is\ not\ for\ `block` | comes\ to\ more\ than
    | `all`\ can\ only\ stand\ alone | begins\ or\ ends\ with\ a\ blank
    | must\ name\ users,\ groups,\ roles | must\ start\ before\ 24:00
    | is\ no\ country's\ code | must\ be\ the\ number\ of\ an\ autonomous
    | must\ be\ whole\ seconds | no\ file\ has\ any | uses\ itself
    """,
    re.VERBOSE,
)
VALID = jsonschema.Draft202012Validator(policy_grammar.policy_schema())


def _conjunction(documents: Documents, _rule: Conjunction) -> dict[str, Any]:
    rows = documents.several(lambda: documents.sample(CONDITIONS))
    return {row.key: documents.of(row.rule) for row in rows}


def _operator(documents: Documents, _rule: GrantOperator) -> str:
    return str(documents.sample(["AND", "OR", "and", "or"]))


def _expression(documents: Documents, _rule: Expression) -> dict[str, Any]:
    several = {key: EXPRESSION[key] for key in ("operator", "controls")}
    keys = documents.sample([several, *({key: EXPRESSION[key]} for key in ("all", "any", "use"))])
    return {key: documents.of(one.rule) for key, one in keys.items()}


OWN: dict[type, Any] = {
    Conjunction: _conjunction,
    Required: lambda documents, _: {documents.sample(["acr", "a.b"]): documents.sample([1, ["x"]])},
    GrantControl: lambda documents, _: documents.sample(
        ["mfa", "compliant-device", "block", "mfaa"]
    ),
    JoinedGrants: lambda documents, _: documents.several(lambda: documents.of(NESTED)),
    GrantOperator: _operator,
    Expression: _expression,
    WholeGrant: lambda documents, _: documents.of(ALTERNATIVES),
    Interval: lambda documents, _: documents.sample(["every_time", "1h", 90]),
    OrUsed: lambda documents, _: documents.sample(
        [documents.of(SIDES), {"use": documents.of(USED)}]
    ),
}


LEAST = {"condition": {"score": 1}, "grant": "mfa", "users": "all"}


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    documents = Documents(draw, NAMES, OWN, LEAST, draw(st.sampled_from([0, 8, 16])))
    keys = documents.several(lambda: documents.sample(policy_grammar.POLICY.keys), most=3)
    policy = {"id": "z", "grant": "mfa"}
    policy |= {key: documents.of(policy_grammar.POLICY.keys[key].rule) for key in keys}
    policies = [policy, documents.of(policy_grammar.POLICY)] if documents.is_odd() else [policy]
    return {"definitions": DEFINITIONS, "policies": policies}


def problems(file: object) -> list[str]:
    try:
        read_policies([("p", json.dumps(file))], SETTINGS)
    except ConfigError as error:
        return [problem.message for problem in error.problems]
    return []


@settings(max_examples=200)
@given(files())
def test_reader_and_schema_accept_the_same_policies(file: dict[str, Any]) -> None:
    found = problems(file)
    by_shape = [message for message in found if not NEEDS_MORE_THAN_THE_SHAPE.search(message)]
    fits = VALID.is_valid(file)
    assert fits or found, "the reader accepts what the schema refuses"
    assert not (fits and by_shape), "the reader refuses by shape what the schema accepts"


def test_the_key_of_a_condition_is_spelled_with_its_type_alone() -> None:
    key = key_of(TravelSpeed)
    code = Path(sidecar.__file__).parent
    assert [module.name for module in code.rglob("*.py") if key in texts_in(module)] == [
        "conditional_access.py"
    ]


def texts_in(module: Path) -> set[object]:
    nodes = ast.walk(ast.parse(module.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant)}


def value_of(text: str) -> Any:
    found = read_tree(text, "p", Problems())
    assert found is not None
    return plain(found)


@pytest.mark.parametrize("row", CONDITIONS, ids=lambda row: row.key)
def test_the_example_of_each_condition_is_one(row: Any) -> None:
    conditions = value_of(f"{{{row.key}: {row.example}}}")
    names = {"conditions": {"away": {"score": 1}}}
    policies = [{"id": "a", "grant": "mfa", "conditions": conditions}]
    file = {"definitions": names, "policies": policies}
    assert not problems(file)
    assert VALID.is_valid(file)


@pytest.mark.parametrize(("written", "_meaning"), FORMS)
def test_the_example_of_each_form_of_a_grant_is_one(written: str, _meaning: str) -> None:
    strong = {"definitions": {"grants": {"strong": "mfa"}}}
    file = {**strong, "policies": [{"id": "a", "grant": value_of(written)}]}
    assert not problems(file)
    assert VALID.is_valid(file)
