"""What is shown on any page as YAML or JSON can be read, and is what the schemas say it is."""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
import yaml

from docs.site import TAKEN_IN
from sidecar.cli.schemas import SCHEMAS, schema

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / one for one in TAKEN_IN)]
)
FENCE = re.compile(r"^( *)```(yaml|json) ?([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^( *)```python[^\n`]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
SECTIONS = schema("config")["$defs"]["Settings"]["properties"].keys()
OF_POLICIES = {"policies", "definitions"}
WRONG_ON_PURPOSE = {"phishing-resistent"}
"""Words of blocks that are shown since they are refused."""


class Core(yaml.SafeLoader):
    """YAML as it is read here: only `true` and `false` are truths, as in YAML 1.2."""


Core.yaml_implicit_resolvers = {
    first: [one for one in found if one[0] != "tag:yaml.org,2002:bool" or first in "tf"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Shown(NamedTuple):
    """A block of code: where it is, its language and its text without its indent."""

    where: str
    language: str
    text: str


def shown() -> Iterator[Shown]:
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            indent, language, _, block = found.groups()
            line = text.count("\n", 0, found.start()) + 1
            lines = (one.removeprefix(indent) for one in block.splitlines())
            yield Shown(f"{page.relative_to(ROOT)}:{line}", language, "\n".join(lines))


BLOCKS = list(shown())


def documents(block: Shown) -> list[Any]:
    """Return what a block says: of JSON one document, or one a line."""
    if block.language == "yaml":
        return list(yaml.load_all(block.text, Core))
    try:
        return [json.loads(block.text)]
    except ValueError:
        return [json.loads(line) for line in block.text.splitlines() if line.strip()]


def kind_of(document: Any) -> str:
    """Return the name of the schema that a document is of; empty: none of ours."""
    if not isinstance(document, dict):
        return ""
    if isinstance(document.get("policies"), list) and document.keys() <= OF_POLICIES:
        return "policy"
    if "scenarios" in document:
        return "scenario"
    if {"type", "subject"} <= document.keys() and document.keys().isdisjoint({"op", "label"}):
        return "event"
    if document and document.keys() <= SECTIONS and "routers" not in document.get("http", ()):
        return "config"
    return ""


VALIDATORS = {name: jsonschema.Draft202012Validator(schema(name)) for name in SCHEMAS}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_a_block_can_be_read_and_is_what_its_schema_says(block: Shown) -> None:
    for document in documents(block):
        kind = kind_of(document)
        if not kind or any(word in block.text for word in WRONG_ON_PURPOSE):
            continue
        wrong = [error.message for error in VALIDATORS[kind].iter_errors(document)]
        assert not wrong, f"{block.where}: as {kind}: {wrong}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_can_be_read(page: Path) -> None:
    for _, text in PYTHON.findall(page.read_text()):
        ast.parse("async def shown():\n" + textwrap.indent(textwrap.dedent(text), "    "))


def test_blocks_of_each_kind_are_looked_at() -> None:
    found = {kind_of(document) for block in BLOCKS for document in documents(block)}
    assert found >= {"config", "policy", "scenario", "event"}
