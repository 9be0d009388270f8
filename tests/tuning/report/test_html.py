import json
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.recordings import recording
from sidecar.tuning.report.figures import spelled
from sidecar.tuning.report.html import render
from sidecar.tuning.report.plots import TOP, nice
from sidecar.tuning.report.report import Report, encode
from tests.service.replaying import begin, call, replay, risk
from tests.tuning.replay.recordings import COUNTRY, POLICIES, RISK, TEN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "link"}


@pytest.fixture(scope="module")
def report() -> Report:
    lines = list(islice(recording(seed=5, users=12), 2000))
    return replay(lines, POLICIES, RISK, thresholds=["travel", "risky", "score=10..50/3"])


class Page(HTMLParser):
    """The figures of a page by their path, and everything that points elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[tuple[str, str, dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[int | None] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        path = found.get("data-figure")
        if path is not None:
            self.figures.append((path, found["data-value"] or "", found, ""))
        if tag not in VOID:
            self._open.append(len(self.figures) - 1 if path is not None else None)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for at in self._open:
            if at is not None:
                path, value, found, text = self.figures[at]
                self.figures[at] = (path, value, found, text + data)


def at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


def test_every_figure_of_the_page_is_the_jsons(report: Report) -> None:
    document = json.loads(encode(report))
    page = Page(render(report))
    assert len(page.figures) > 300
    for path, value, found, text in page.figures:
        figure = at(document, path)
        assert json.loads(value) == figure, path
        shown = spelled(figure, rate=path.endswith("_rate"))
        if "cx" in found or "height" in found:
            assert text.endswith(f": {shown}"), path
        else:
            assert text == shown, path


def test_every_figure_of_the_policies_prompts_and_curves_is_on_the_page(report: Report) -> None:
    document = json.loads(encode(report))
    shown = {path for path, *_ in Page(render(report)).figures}
    for number, figures in enumerate(document["sets"]):
        for row, policy in enumerate(figures["policies"]):
            assert {f"sets.{number}.policies.{row}.{key}" for key in policy} <= shown
        for key, value in figures["prompts"].items():
            if not isinstance(value, list):
                assert f"sets.{number}.prompts.{key}" in shown
        for curve, found in enumerate(figures["curves"]):
            for point in range(len(found["points"])):
                assert f"sets.{number}.curves.{curve}.points.{point}.prompts" in shown
    assert document["comparisons"]


def test_bars_are_as_high_as_their_figures(report: Report) -> None:
    hours = report.sets[0].prompts.by_hour
    heights = {
        path.rpartition(".")[2]: float(found["height"] or 0)
        for path, _, found, _ in Page(render(report)).figures
        if path.startswith("sets.0.prompts.by_hour.")
    }
    unit = (220 - TOP - 36) / nice(max(hours))
    assert len(heights) == 24
    for hour, count in enumerate(hours):
        assert heights[str(hour)] == pytest.approx(count * unit, abs=0.01)


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(report: Report) -> None:
    text = render(report)
    page = Page(text)
    assert "http://" not in text
    assert "https://" not in text
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "base", "form"}
    for tag, found in page.tags:
        for name in ("src", "href", "srcset", "action"):
            value = found.get(name)
            assert value is None or value.startswith(("#", "data:,")), (tag, name)
        assert not [name for name in found if name.startswith("on")]


def test_every_plot_has_a_title_and_every_table_a_caption(report: Report) -> None:
    text = render(report)
    assert text.count("<svg ") == text.count('<svg role="img"') == text.count("<desc ") > 5
    assert text.count("<table>") == text.count("<caption>") > 5
    idents = [found["id"] for _, found in Page(text).tags if found.get("id")]
    assert len(idents) == len(set(idents))
    assert "prefers-color-scheme:dark" in text
    assert '<html lang="en">' in text


def test_names_from_the_recording_are_text_and_nothing_else() -> None:
    evil = "<script>alert(1)</script>\"'&\u202e"
    lines = [begin(TEN, "s1", evil), risk(TEN + 1, user=evil) | {"id": "r"}, call(TEN + 2)]
    text = render(replay(lines, RISK, COUNTRY))
    assert "<script" not in text
    assert "\u202e" not in text
    assert escape("<script>alert(1)</script>") in text


def test_a_curve_names_the_value_of_each_point_where_rates_are_missing(report: Report) -> None:
    first, *others = report.sets[0].curves[0].points
    rest = [msgspec.structs.replace(one, detection_rate=0.5, detected=1) for one in others]
    curve = msgspec.structs.replace(report.sets[0].curves[0], points=(first, *rest))
    figures = msgspec.structs.replace(report.sets[0], curves=(curve,))
    page = Page(render(msgspec.structs.replace(report, sets=(figures,))))
    titles = {path: text for path, _, found, text in page.figures if "cx" in found}
    for number, point in enumerate(curve.points):
        title = titles.get(f"sets.0.curves.0.points.{number}.detection_rate", "")
        assert title == (f"detection at {spelled(point.value)}: 50.0 %" if number else "")


def test_a_report_of_nothing_can_be_shown() -> None:
    text = render(replay([begin(TEN)], "policies: []\n"))
    assert Page(text).figures


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_opens_in_a_browser_without_an_error(report: Report, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(report))
    done = subprocess.run(
        [
            *(
                str(CHROMIUM),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ),
            *(f"--user-data-dir={tmp_path}/profile", "--enable-logging=stderr", "--log-level=0"),
            *("--virtual-time-budget=2000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    log = done.stderr.decode(errors="replace")
    assert "CONSOLE" not in log, log
    shown = Page(done.stdout.decode().partition("<!DOCTYPE html>")[2])
    assert {f[:2] for f in shown.figures} == {f[:2] for f in Page(render(report)).figures}
