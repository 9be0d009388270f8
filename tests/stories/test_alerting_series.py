"""What alerts wait for is there when a daemon has started: derived from the rules themselves.

An alert on a counter sees an increase only where the series was there before it. So each series
that the expression of an alert selects is to be in the first scrape, with each value of its labels
that is known beforehand.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

import msgspec
import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.adapters.telemetry.declarations import MetricDeclaration
from sidecar.adapters.telemetry.table import TABLE
from sidecar.wire.bundles.minisign import SecretKey
from sidecar.wire.bundles.settings import PolicyBundles
from sidecar.wire.decision_log.settings import DecisionFile, DecisionLogSettings, DecisionOutput
from sidecar.wire.settings.settings import (
    BreakGlass,
    Friction,
    Settings,
    SharedTable,
    SpoolSettings,
)
from sidecar.wire.traces.settings import TracesSettings
from tests import plain_http
from tests.adapters.servers import Server
from tests.deploy.observability.expressions import OF_A_SCRAPE, selectors
from tests.stories.running import running
from tools.observability.alert import Alert
from tools.observability.rules import ALERTS, GROUPS

RECORDED = {one.name: one.expr for group in GROUPS for one in group.recordings}
OF_PROMETHEUS = {"up", "ALERTS"}
Series = dict[str, list[Mapping[str, str]]]


@pytest.fixture(scope="module")
def started(valkey_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Series:
    """The series of a daemon that has every part and to which nothing has happened."""
    directory = tmp_path_factory.mktemp("parts")
    (directory / "bundles").mkdir()

    def change(settings: Settings, _: int) -> Settings:
        bundle = PolicyBundles(
            directory=str(directory / "bundles"),
            public_keys=(SecretKey(bytes(8), bytes(32)).public.text,),
            poll=60.0,
        )
        return msgspec.structs.replace(
            settings,
            policies=msgspec.structs.replace(settings.policies, bundle=bundle, path=""),
            break_glass=BreakGlass(groups=("emergency",)),
            friction=Friction(prompts=1),
            spool=SpoolSettings(dir=str(directory / "spool")),
            shared_table=SharedTable(enabled=True),
            traces=TracesSettings(endpoint="http://127.0.0.1:1/v1/traces"),
            decision_log=DecisionLogSettings(
                output=DecisionOutput.FILE, file=DecisionFile(path=str(directory / "decisions"))
            ),
        )

    with running(valkey_server.url, (), 1, change) as pods:
        text = plain_http.get(f"{pods.addresses[0].admin[0]}/metrics").text
    found: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append(sample.labels)
    return found


@cache
def declared() -> Mapping[str, MetricDeclaration]:
    """The metrics of the table, by their names."""
    columns = (column for row in TABLE for column in row.columns)
    return {one.name: one for one in columns if isinstance(one, MetricDeclaration)}


def wanted(alert: Alert) -> Iterator[promql_parser.VectorSelector]:
    """The series that an alert asks for, also by rules that record."""
    for one in selectors(alert.expr):
        if one.name in RECORDED:
            yield from selectors(RECORDED[str(one.name)])
        elif one.name not in OF_PROMETHEUS:
            yield one


def passes(matcher: promql_parser.Matcher, value: str) -> bool:
    """Whether a value of a label is one that a matcher selects."""
    match str(matcher.op):
        case "MatchOp.Equal":
            return value == matcher.value
        case "MatchOp.NotEqual":
            return value != matcher.value
        case "MatchOp.Re":
            return re.fullmatch(matcher.value, value) is not None
        case "MatchOp.NotRe":
            return re.fullmatch(matcher.value, value) is None
        case other:
            raise AssertionError(other)


def missing(selector: promql_parser.VectorSelector, started: Series) -> Iterator[str]:
    """What of the series that a selector means is not there."""
    name = str(selector.name)
    matchers = [one for one in selector.matchers.matchers if one.name not in OF_A_SCRAPE]
    there = [
        labels
        for labels in started.get(name, ())
        if all(passes(one, labels.get(one.name, "")) for one in matchers)
    ]
    if not there:
        yield name
        return
    for matcher in matchers:
        if str(matcher.op) == "MatchOp.Re":
            shown = {labels[matcher.name] for labels in there}
            for one in matcher.value.split("|"):
                if not any(re.fullmatch(one, value) for value in shown):
                    yield f"{name}{{{one}}}"
    metric = declared().get(name)
    for label in () if metric is None or metric.series is not None else metric.labels:
        closed = set(label.values or ())
        asked = {
            value
            for value in closed
            if all(passes(one, value) for one in matchers if one.name == label.name)
        }
        lacking = asked - {labels[label.name] for labels in there}
        yield from (f"{name}{{{label.name}={one}}}" for one in sorted(lacking))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_what_an_alert_waits_for_is_there_from_the_start(alert: Alert, started: Series) -> None:
    assert not [lacking for one in wanted(alert) for lacking in missing(one, started)]


def test_a_series_that_begins_with_what_it_counts_is_found(started: Series) -> None:
    for expr, lacks in (
        ("rate(sidecar_events_total[5m])", ["sidecar_events_total"]),
        ('increase(sidecar_events_refused_total{outcome=~"failed|late"}[5m])', ["{late}"]),
        ('increase(sidecar_events_refused_total{outcome!="failed"}[5m])', []),
        ("sidecar_shared_table_callz", ["sidecar_shared_table_callz"]),
    ):
        found = [lacking for one in selectors(expr) for lacking in missing(one, started)]
        assert len(found) == len(lacks), found
        assert all(one.endswith(end) for one, end in zip(found, lacks, strict=True))
