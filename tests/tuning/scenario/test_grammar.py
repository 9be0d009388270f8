"""One description of scenarios: their reader and their schema accept the same documents."""

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no types
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.tuning.scenario import given as beginnings
from sidecar.tuning.scenario.files import FILE, SCENARIO, STEP, read_scenarios, scenario_schema
from sidecar.tuning.scenario.then import CALL, CallAddress
from sidecar.tuning.scenario.when import SIGN_IN
from sidecar.wire.yaml.tree import ConfigError
from tests.wire.events.drawn import events
from tests.wire.grammar.documents import ODD, Documents

VALID = jsonschema.Draft202012Validator(scenario_schema())
NAMES = {
    "scenario": ["a", "b"],
    "session": ["session", "other"],
    "context": ["c1"],
    "issuer": ["https://id.example"],
}
NEEDS_MORE_THAN_THE_SHAPE = re.compile(
    r"""is\ not\ in\ ` | is\ used\ already | is\ no\ IP\ address | the\ path\ | a\ percent\ sign
    | is\ no\ country's\ code | must\ be\ the\ number\ of | must\ be\ a\ number\ from
    | is\ before\ the\ step | must\ have\ `acr`\ or\ `amr` | begins\ or\ ends\ with\ a\ blank
    | must\ be\ a\ time\ such | must\ be\ a\ duration\ from | is\ required$ | must\ name\ at\ least
    | must\ be\ an\ IPv4 | must\ have\ printable | without\ control\ characters
    """,
    re.VERBOSE,
)


def _place_value(documents: Documents, rule: beginnings.PlaceValue[Any]) -> Any:
    return documents.sample(
        {
            "code or English name": ["DE", "Germany", "XX"],
            "AS number": [64496, "AS64496"],
            "number": [1, "1.5", 50],
        }[rule.called]
    )


OWN: dict[type, Any] = {
    beginnings.Duration: lambda documents, _: documents.sample([0, 1.5, "90s", "1h"]),
    beginnings.Memberships: lambda documents, _: documents.sample(["unknown", [], ["a"], "a"]),
    beginnings.ValuesOfClaims: lambda documents, _: documents.sample([{}, {"a": 1}, {"a": ["b"]}]),
    beginnings.Weights: lambda documents, _: documents.sample([{}, {"odd": 20}]),
    beginnings.PlaceValue: _place_value,
    beginnings.Places: lambda documents, _: {"192.0.2.1": documents.of(beginnings.PLACE)},
    beginnings.Sessions: lambda documents, _: {"session": documents.of(beginnings.SESSION)},
    CallAddress: lambda documents, _: documents.sample(["none", "192.0.2.1"]),
}


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    documents = Documents(draw, NAMES, OWN, {}, draw(st.sampled_from([0, 8, 16])))
    step = {
        key: documents.of(STEP.keys[key].rule)
        for key in (documents.sample(["at", "after"]), "session")
        if draw(st.booleans())
    }
    thing = documents.sample(
        [{"sign_in": documents.of(SIGN_IN)}, {"sign_in": "phr"}, draw(events())]
    )
    step["when"] = documents.sample([thing, [thing]])
    step["then"] = documents.sample([documents.of(CALL), "allow", [documents.of(CALL)]])
    given_ = documents.of(beginnings.GIVEN)
    if isinstance(given_, dict) and not documents.is_odd():
        given_.pop("sessions", None)
        given_["session"] = documents.of(beginnings.SESSION)
    scenario = {"name": documents.of(SCENARIO.keys["name"].rule), "given": given_, "steps": [step]}
    file = {"scenarios": [scenario, draw(ODD)] if documents.is_odd() else [scenario]}
    for key in ("policies", "places"):
        if draw(st.booleans()):
            file[key] = documents.of(FILE.keys[key].rule)
    return file


def problems(file: object) -> list[str]:
    try:
        read_scenarios([("p", json.dumps(file))], ["c1"])
    except ConfigError as error:
        return [problem.message for problem in error.problems]
    return []


@settings(max_examples=200)
@given(files())
def test_reader_and_schema_accept_the_same_scenarios(file: dict[str, Any]) -> None:
    found = problems(file)
    by_shape = [message for message in found if not NEEDS_MORE_THAN_THE_SHAPE.search(message)]
    fits = VALID.is_valid(file)
    assert fits or found, "the reader accepts what the schema refuses"
    assert not (fits and by_shape), "the reader refuses by shape what the schema accepts"
