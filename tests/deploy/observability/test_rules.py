"""The alert rules: as the code has them, without a fault that promtool finds, each at work."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from tests.deploy.observability.expressions import exposed, unknown_in
from tools.observability.alert import SEVERITIES, Count
from tools.observability.files import PROMETHEUS, written
from tools.observability.rules import ALERTS, GROUPS

RECORDED = {one.name: frozenset[str]() for group in GROUPS for one in group.recordings}
NEEDS_PROMTOOL = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed"
)


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(written()), ids=lambda path: path.name)
def test_what_is_written_is_current(path: Path) -> None:
    assert path.read_text() == written()[path], "run `python -m tools.observability`"


@NEEDS_PROMTOOL
def test_promtool_finds_nothing_to_complain_of_in_the_rules() -> None:
    promtool("check", "rules", "rules.yaml")


@NEEDS_PROMTOOL
def test_each_alert_is_silent_and_fires_with_its_cause_and_is_over_after_it() -> None:
    promtool("test", "rules", "rules_test.yaml")


def test_each_alert_has_a_case_of_its_own_in_these_tests() -> None:
    cases = yaml.safe_load((PROMETHEUS / "rules_test.yaml").read_text())["tests"]
    expected: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for case in cases:
        for one in case["promql_expr_test"]:
            named = re.search(r'alertname="(\w+)",severity="(\w+)"', one["expr"])
            if named is not None:
                expected[named[1], named[2]].append(bool(one["exp_samples"]))
    rules = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
    alerts = [rule for group in rules for rule in group["rules"] if "alert" in rule]
    assert expected == {
        (rule["alert"], rule["labels"]["severity"]): [False, True, False] for rule in alerts
    }


def test_each_alert_says_how_bad_it_is_what_is_wrong_and_what_to_do_first() -> None:
    for alert in ALERTS:
        assert alert.severity in SEVERITIES
        assert len(alert.summary) <= 90, alert.name
        assert "ee first" in alert.description, alert.name
        assert alert.description.endswith("."), alert.name
        assert not alert.summary.endswith("."), alert.name
        named = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
        assert named - {"job", "instance"} <= set(re.findall(r"\w+", alert.expr)) | {
            label for series in alert.planted for label in re.findall(r"(\w+)=", series)
        }, alert.name


@pytest.mark.parametrize(
    "expr",
    [
        *(one.expr for group in GROUPS for one in group.recordings),
        *(alert.expr for alert in ALERTS),
    ],
    ids=lambda expr: expr[:60],
)
def test_a_rule_can_be_parsed_and_asks_for_what_a_daemon_exposes(expr: str) -> None:
    assert unknown_in(expr, RECORDED) == []


def test_what_a_test_shows_an_alert_is_what_a_daemon_exposes() -> None:
    for alert in ALERTS:
        for series, what in alert.planted.items():
            name = series.partition("{")[0]
            labels = set(re.findall(r"(\w+)=", series)) - {"instance"}
            assert name == "up" or labels == exposed()[name], series
            is_counted = name.endswith(("_total", "_bucket", "_count"))
            is_moment = name == "process_start_time_seconds"
            assert isinstance(what, Count) is (is_counted or is_moment), series
