import json

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.cli.command import sidecar


@pytest.mark.parametrize("kind", ["config", "policy", "event", "scenario"])
async def test_each_schema_is_one(kind: str) -> None:
    done = await sidecar("schema", kind)
    assert (done.status, done.err) == (0, "")
    schema = json.loads(done.out)
    Draft202012Validator.check_schema(schema)


async def test_an_unknown_kind_is_bad_usage() -> None:
    done = await sidecar("schema", "polcy")
    assert (done.status, done.out) == (2, "")
    assert "invalid choice: 'polcy'" in done.err
