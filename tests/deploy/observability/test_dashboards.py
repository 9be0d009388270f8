"""The dashboards: each expression is one, of series that there are, on a grid without overlap."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.observability.expressions import plain, unknown_in
from tools.observability.files import DASHBOARDS, GRAFANA
from tools.observability.panels import COLUMNS, TAG, scoped

FILES = sorted(GRAFANA.glob("*.json"))
QUERIES = [(name, query) for name, one in DASHBOARDS.items() for query in one.queries]


def panels(file: Path) -> list[Any]:
    return [one for one in json.loads(file.read_text())["panels"] if one["type"] != "row"]


def test_there_is_a_file_for_each_dashboard_and_no_other() -> None:
    assert {file.stem for file in FILES} == set(DASHBOARDS)


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=lambda one: str(one)[:60])
def test_an_expression_can_be_parsed_and_asks_for_what_a_daemon_exposes(
    name: str, query: Any
) -> None:
    assert unknown_in(plain(scoped(query.expr)), {}) == []


def test_an_expression_that_asks_for_what_nobody_exposes_is_found() -> None:
    assert unknown_in("sum by (shoe) (sidecar_checks_total)", {}) == ["by (shoe)"]
    assert unknown_in('sidecar_checks_total{size="9"}', {}) == ["sidecar_checks_total{size}"]
    assert unknown_in("rate(sidecar_chekcs_total[5m])", {}) == ["sidecar_chekcs_total"]
    with pytest.raises(ValueError, match="unclosed"):
        unknown_in("sum by (", {})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_panels_lie_beside_and_below_each_other_and_overlap_nowhere(file: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(file.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        columns = range(place["x"], place["x"] + place["w"])
        for cell in itertools.product(columns, range(place["y"], place["y"] + place["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_panel_says_what_it_shows_in_which_unit(file: Path) -> None:
    titles = [panel["title"] for panel in panels(file)]
    assert len(titles) == len(set(titles))
    for panel in panels(file):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert values[0] is None
        assert values[1:] == sorted(values[1:])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dashboard_asks_for_its_source_and_for_what_it_shows_by_variables(file: Path) -> None:
    board = json.loads(file.read_text())
    names = [one["name"] for one in board["templating"]["list"]]
    assert names == ["datasource", "namespace", "job", "instance"]
    assert board["tags"] == [TAG]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(file):
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert 'instance=~"$instance"' in target["expr"], target["expr"]
    uids = {json.loads(one.read_text())["uid"] for one in FILES}
    assert len(uids) == len(FILES)
