"""Reading exports: the shapes they come in, and what is no export."""

import json
from typing import Any

import pytest

from sidecar.entra.export import InvalidExport, read_export
from sidecar.entra.graph_objects import GraphNamedLocation, GraphPolicy, GraphStrength, Template

CUT = "was cut by ConvertTo-Json: export again with `-Depth 20`"
POLICY = {"id": "1", "displayName": "P", "conditions": {}}


def kinds(raw: Any) -> list[type | None]:
    found = read_export(json.dumps(raw).encode(), "e.json")
    return [type(each.shape) if each.shape is not None else None for each in found]


def paths(raw: Any) -> list[str]:
    return [each.ledger.at for each in read_export(json.dumps(raw).encode(), "e.json")]


def refusal(content: bytes) -> str:
    with pytest.raises(InvalidExport) as caught:
        read_export(content, "e.json")
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (POLICY, ["$"]),
        ([POLICY, POLICY], ["$[0]", "$[1]"]),
        ({"@odata.context": "x", "value": [POLICY]}, ["$.value[0]"]),
        ([{"value": [POLICY]}, [POLICY]], ["$[0].value[0]", "$[1][0]"]),
    ],
)
def test_one_object_a_list_and_envelopes_are_read(raw: Any, expected: list[str]) -> None:
    assert paths(raw) == expected


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"conditions": None}, GraphPolicy),
        ({"ipRanges": []}, GraphNamedLocation),
        ({"countriesAndRegions": []}, GraphNamedLocation),
        ({"allowedCombinations": []}, GraphStrength),
        ({"details": None}, Template),
        ({"DisplayName": "P", "Conditions": {}}, GraphPolicy),
        ({"AdditionalProperties": {"ipRanges": []}, "DisplayName": "L"}, GraphNamedLocation),
    ],
)
def test_kinds_are_known_by_their_members(members: dict[str, Any], kind: type) -> None:
    assert kinds(members) == [kind]


def test_the_type_that_is_written_there_counts_more_than_members() -> None:
    odd = {"@odata.type": "#microsoft.graph.somethingElse", "conditions": {}}
    assert kinds([POLICY, odd]) == [GraphPolicy, None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_any_encoding_of_unicode_is_read(encoding: str) -> None:
    text = json.dumps({**POLICY, "displayName": "Zürich"}, ensure_ascii=False)
    (found,) = read_export(text.encode(encoding), "e.json")
    assert isinstance(found.shape, GraphPolicy)
    assert found.shape.display_name == "Zürich"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{\n,}", "e.json:2: $: is no JSON: Expecting property name enclosed in double quotes"),
        (b'{"a": NaN}', "e.json:1: $: is no JSON: NaN"),
        (b'{"a": 1, "a": 2}', "e.json:1: $.a: stands there for the second time in one object"),
        (b'"\xff"', "e.json:1: $: is no text in UTF-8, UTF-16 or UTF-32"),
        (b'{"id": "\\ud800"}', "e.json:1: $: has half of a surrogate pair"),
        (b"1" * 5000, "e.json:1: $: has a number that is too long"),
        (b"[" * 100_000, "e.json:1: $: is nested too deeply"),
        (b"[" * 60 + b"]" * 60, "e.json:1: $: is nested more than 48 deep"),
        (b"3", "e.json:1: $: must be an object: "),
        (b"[3]", "e.json:1: $[0]: must be an object: "),
        (b"[]", "e.json:1: $: holds no conditionalAccessPolicy"),
    ],
)
def test_what_is_no_export_is_refused_with_its_reason(content: bytes, message: str) -> None:
    assert refusal(content).startswith(message)


def test_a_value_of_the_wrong_type_is_refused_with_its_path() -> None:
    raw = {"value": [{"conditions": {"users": {"includeUsers": ["a", 5]}}}]}
    refused = refusal(json.dumps(raw).encode())
    assert refused == (
        "e.json:1: $.value[0].conditions.users.includeUsers[1]: must be a text, not a number"
    )


def test_every_mistake_of_a_file_is_reported_with_its_line() -> None:
    text = """{"value": [
  {"conditions": {"users": 3,
    "locations": "@{includeLocations=System.Object[]}"}},
  {"conditions": {"platforms": [],
    "clientAppTypes": [5]}}]}"""
    assert refusal(text.encode()).splitlines() == [
        "e.json:2: $.value[0].conditions.users: must be an object, not a number",
        f"e.json:3: $.value[0].conditions.locations: {CUT}",
        "e.json:5: $.value[1].conditions.clientAppTypes[0]: must be a text, not a number",
    ]


def test_a_member_that_stands_there_twice_is_reported_with_its_line() -> None:
    text = b'{"conditions": {\n "users": null,\n "users": null},\n "state": "a\\"b"}'
    assert refusal(text).startswith("e.json:3: $.conditions.users: stands there for the second")
