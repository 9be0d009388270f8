import io
import json
import shutil
import subprocess
import threading
from collections import Counter
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.metrics import ScrapedLevel, ScrapeFormat
from sidecar.adapters.telemetry.sampled_lines import IN_FULL
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.domain.explanation.explain import explain_call
from sidecar.service.admin.health import Health
from sidecar.service.observations.observations import (
    BreakGlassUsed,
    Buried,
    Checked,
    ClaimMissing,
    Cleared,
    ClearReason,
    ConfigurationRead,
    CredentialRefused,
    DaemonEvent,
    DeadReason,
    EventOutcome,
    EventTaken,
    GeographyFailed,
    GeographyLoaded,
    Introspected,
    KeysOutcome,
    KeysRefreshed,
    LinkState,
    LinkStatus,
    Marked,
    Observation,
    PromptBudgetExceeded,
    QueueRejected,
    Reloaded,
    ReloadOutcome,
    ReportedOnly,
    Rescored,
    RevokedSession,
    SpoolIncident,
    SpoolReplayed,
    SpoolTrouble,
    StoreUp,
    TokenRefused,
    ViewEvicted,
    WorkClaimed,
    WorkerFailed,
)
from sidecar.service.observations.receiver import SecurityEventTokenTaken
from sidecar.service.ports.calls import Reason
from sidecar.wire.decision_log.settings import DecisionLogSettings, DecisionOutput
from sidecar.wire.policies.explanation_log import MOST_BYTES
from sidecar.wire.settings.settings import (
    BreakGlass,
    Context,
    Friction,
    GeographySettings,
    Issuer,
    Log,
    Settings,
    SpoolSettings,
    Tokens,
)
from sidecar.wire.tokens.claims import ClaimNeed
from tests.domain.scenes import established, evaluator, policy

ISSUERS = (Issuer(issuer="https://a.example", audiences=("x",)),)
MARK = Marked(
    session="s1",
    subject="ada",
    policy="p1",
    signal="risk-level-change",
    text="the user's risk is high",
    since=1_700_000_000.0,
    contexts=("c1",),
    signal_to_mark_seconds=0.004,
)
EVERYTHING: tuple[Observation, ...] = (
    MARK,
    Cleared(session="s1", subject="ada", policy="p1", reason=ClearReason.PROOF),
    RevokedSession(session="s1", subject="ada", reason="theft"),
    ReportedOnly(
        session="s1", subject="ada", policy="p2", decision="deny", answered="allow", context="c1"
    ),
    EventTaken(type="network-change", outcome=EventOutcome.ACCEPTED, id="e1"),
    Rescored(cause="policies", sessions=3),
    Checked(
        verdict="step_up",
        context="c1",
        session="s1",
        subject="ada",
        status=401,
        seconds=0.0001,
        reasons=(Reason("p1", "risk-level-change", "the user's risk is high"),),
    ),
    Reloaded(what="policies", outcome=ReloadOutcome.REFUSED, detail="p.yaml:3: id: is missing"),
    StoreUp(up=True),
    LinkState(state=LinkStatus.LOST, detail="closed by peer"),
    TokenRefused(reason="expired"),
    SecurityEventTokenTaken(outcome="accepted"),
    KeysRefreshed(issuer="https://a.example", outcome=KeysOutcome.DONE),
    GeographyLoaded(builds=(("city", 1.0),)),
    GeographyFailed(database="city", detail="broken"),
    QueueRejected(queue="events"),
    ViewEvicted(sessions=2),
    SpoolIncident(trouble=SpoolTrouble.DAMAGED, detail="0000000000000001.spool is damaged"),
    SpoolReplayed(events=3, duplicates=1, left=0),
    Buried(type="risk-level-change", event="e1", reason=DeadReason.REFUSED, error="no", tries=5),
    WorkClaimed(entries=2),
    WorkerFailed(where="evaluation", error=ValueError("innards")),
    DaemonEvent(event="ready", fields={"socket": "/run/s.sock"}),
    PromptBudgetExceeded(subject="ada", prompts=6, budget=5, seconds=86400.0),
    BreakGlassUsed(session="s1", subject="glass-1", decision="allow", context="c1"),
)


class Said:
    """A telemetry at a time that the test sets, and the lines it wrote."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.stream = io.BytesIO()
        settings = Settings(tokens=Tokens(issuers=ISSUERS))
        self.telemetry = PrometheusTelemetry(settings, LogLines(self.stream), lambda: self.now)

    def events(self) -> list[tuple[str, Any]]:
        lines = map(json.loads, self.stream.getvalue().splitlines())
        return [(line["event"], line.get("unsaid")) for line in lines]


def asked_about(outcome: str, detail: str = "") -> Introspected:
    return Introspected(issuer="https://a.example", outcome=outcome, seconds=0.1, detail=detail)


def test_an_event_of_thousands_of_sessions_is_some_lines_and_counted_in_full() -> None:
    said = Said()
    for number in range(8000):
        name = f"s{number}"
        mark = msgspec.structs.replace(MARK, session=name, since=1000.25, by=(("idp", "e1"),))
        said.telemetry.record(mark)
        said.telemetry.record(msgspec.structs.replace(mark, by=(), policy="p2"))
        said.telemetry.record(RevokedSession(session=name, subject="ada", by=(("idp", "e2"),)))
    # Another event of that moment, and one of another source that has the same id.
    for by in ((("idp", "e3"),), (("local:app", "e1"),)):
        said.telemetry.record(msgspec.structs.replace(MARK, since=1000.25, by=by))
    lines = map(json.loads, said.stream.getvalue().splitlines())
    logged = Counter((line["event"], line.get("policy")) for line in lines)
    assert logged == {
        ("session-marked", "p1"): IN_FULL + 2,
        ("session-marked", "p2"): 8000,  # of no event
        ("session-revoked", None): IN_FULL,
    }
    value = said.telemetry.metrics.registry.get_sample_value
    labels = {"policy": "p1", "signal": "risk-level-change", "state": "enabled"}
    assert value("sidecar_marks_total", labels) == 8002
    assert value("sidecar_sessions_revoked_total") == 8000


def test_a_flood_of_what_anybody_may_send_is_a_line_a_minute_with_a_count() -> None:
    said = Said()
    flood: list[Observation] = [
        CredentialRefused(door="admin", address="10.0.0.1"),
        asked_about("invalid", "the answer has status 400"),
        TokenRefused(reason="wrong-audience", detail="its aud is 'shop'; expected is 'payroll'"),
        TokenRefused(reason="expired"),
    ]
    for _ in range(1000):
        for one in flood:
            said.telemetry.record(one)
    said.now += 60
    for one in flood:
        said.telemetry.record(one)
    names = ["admin-credential-refused", "introspection-unclear", "token-refused", "token-refused"]
    assert said.events() == [(name, unsaid) for unsaid in (0, 999) for name in names]


def test_an_issuer_that_fails_now_and_then_is_reported_once_a_minute() -> None:
    said = Said()
    for _ in range(100):
        said.telemetry.record(asked_about("failed", "the answer has status 500"))
        said.telemetry.record(asked_about("active"))
    assert [event for event, _ in said.events()] == [
        "introspection-failed",
        "introspection-restored",
    ]


class Recorded:
    def __init__(self, **log: Any) -> None:
        self.stream = io.BytesIO()
        settings = Settings(
            log=Log(**log),
            contexts={"c1": Context(name="Payroll"), "c2": Context(name="Admin")},
            tokens=Tokens(issuers=ISSUERS),
            spool=SpoolSettings(dir="spool"),
            friction=Friction(prompts=3),
            geography=GeographySettings(city="city.mmdb"),
            break_glass=BreakGlass(users=("glass-1",)),
        )
        self.telemetry = PrometheusTelemetry(
            settings, LogLines(self.stream), lambda: 1_700_000_000.0
        )

    def record(self, *observations: Observation) -> "Recorded":
        for observation in observations:
            self.telemetry.record(observation)
        return self

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def value(self, name: str, **labels: str) -> float | None:
        return self.telemetry.metrics.registry.get_sample_value(name, labels)


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


CONTRACT = {
    "sidecar_checks": {"decision", "context"},
    "sidecar_check_seconds": set(),
    "sidecar_events": {"type", "outcome"},
    "sidecar_signal_to_mark_seconds": set(),
    "sidecar_marks": {"policy", "signal", "state"},
    "sidecar_marks_cleared": {"reason"},
    "sidecar_marks_active": set(),
    "sidecar_sessions": set(),
    "sidecar_rescored_sessions": {"cause"},
    "sidecar_store_up": set(),
    "sidecar_store_seconds": {"operation"},
    "sidecar_store_staleness_seconds": set(),
    "sidecar_context_stale": {"context"},
    "sidecar_dead_letters_waiting": set(),
    "sidecar_dead_letters": {"reason"},
    "sidecar_work_claimed": set(),
    "sidecar_work_log_entries": set(),
    "sidecar_spool_events": set(),
    "sidecar_reloads": {"what", "outcome"},
    "sidecar_geo_database_build_timestamp_seconds": {"database"},
    "sidecar_security_event_tokens": {"outcome"},
    "sidecar_build_info": {"version"},
    "sidecar_report_only": {"policy", "decision", "answered"},
    "sidecar_watchers": set(),
    "sidecar_queue_depth": {"queue"},
    "sidecar_queue_rejected": {"queue"},
    "sidecar_invalid_tokens": {"reason"},
    "sidecar_token_claims_missing": {"issuer", "claim"},
    "sidecar_jwks_refreshes": {"issuer", "outcome"},
    "sidecar_http_requests": {"route", "status"},
    "sidecar_geo_lookup_errors": set(),
    "sidecar_view_sessions": set(),
    "sidecar_view_limit": set(),
    "sidecar_tokens_limit": set(),
    "sidecar_view_evictions": set(),
    "sidecar_worker_errors": {"where"},
    "sidecar_spool_troubles": {"trouble"},
    "sidecar_spool_replayed": set(),
    "sidecar_ready": set(),
    "sidecar_condition_unmet": {"condition", "state"},
    "sidecar_events_refused": {"outcome"},
    "sidecar_jwks_last_success_timestamp_seconds": {"issuer"},
    "sidecar_unexpected_errors": set(),
}


def full() -> Recorded:
    recorded = Recorded(level="debug", checks=True).record(*EVERYTHING)
    recorded.telemetry.checked("allow", "c1", 0.001)
    recorded.telemetry.stored("join", 0.001)
    recorded.telemetry.answered("/v1/check", 200)
    recorded.telemetry.queue("events", lambda: 3)
    for level in ScrapedLevel:
        recorded.telemetry.level(level, lambda: 0)
    recorded.telemetry.health(Health())
    return recorded


def test_every_promised_metric_is_exposed_with_its_labels_and_help() -> None:
    exposed = families(full().telemetry.expose().body.decode())
    for name, labels in CONTRACT.items():
        family = exposed[name]
        shown = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert shown == labels, name
        assert family.documentation.endswith("."), name
    assert {"process_open_fds", "python_info"} <= exposed.keys()


def test_both_expositions_say_the_same_and_hold_no_created_series() -> None:
    telemetry = full().telemetry
    plain = telemetry.expose().body.decode()
    rich = telemetry.expose(ScrapeFormat(openmetrics=True)).body.decode()
    assert plain.count("\nsidecar_") == rich.count("\nsidecar_")
    assert "_created" not in plain + rich


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_finds_nothing_to_complain_of() -> None:
    body = full().telemetry.expose().body
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=body, capture_output=True, check=False)
    logged = done.stdout + done.stderr
    assert (done.returncode, logged) == (0, b"")


def test_two_daemons_in_a_process_share_no_counter_and_touch_no_global() -> None:
    before = sorted(metric.name for metric in REGISTRY.collect())
    one, other = full(), Recorded()
    labels = {"decision": "allow", "context": "c1"}
    assert one.value("sidecar_checks_total", **labels) == 1
    assert other.value("sidecar_checks_total", **labels) == 0
    assert sorted(metric.name for metric in REGISTRY.collect()) == before


@pytest.mark.parametrize(
    ("context", "label"),
    [
        ("", "routine"),
        ("c1", "c1"),
        ("c1 c2", "several"),
        ("c2,c1", "several"),
        ("c1 c1", "c1"),
        ("c3", "other"),
        ("c1 c3", "other"),
        ("routine", "other"),
    ],
)
def test_a_check_is_counted_by_decision_and_configured_context(context: str, label: str) -> None:
    recorded = Recorded()
    recorded.telemetry.checked("step_up", context, 0.001)
    labels = {"decision": "step_up", "context": label}
    assert recorded.value("sidecar_checks_total", **labels) == 1


def test_a_context_that_a_reload_brings_is_counted_and_the_old_counts_stay() -> None:
    recorded = Recorded()
    recorded.telemetry.checked("allow", "c1", 0.001)
    recorded.telemetry.configured(Settings(contexts={"c9": Context(name="New")}))
    for context in ("c9", "c1", ""):
        recorded.telemetry.checked("allow", context, 0.001)
    values = {
        context: recorded.value("sidecar_checks_total", decision="allow", context=context)
        for context in ("c1", "c9", "other", "routine")
    }
    assert values == {"c1": 1, "c9": 1, "other": 1, "routine": 1}


def test_check_times_fall_into_cumulative_buckets() -> None:
    recorded = Recorded()
    for seconds in (0.00002, 0.00003, 0.04, 7.0):
        recorded.telemetry.checked("allow", "", seconds)
    bucket = "sidecar_check_seconds_bucket"
    assert recorded.value(bucket, le="2e-05") == 1
    assert recorded.value(bucket, le="5e-05") == 2
    assert recorded.value(bucket, le="0.05") == 3
    assert recorded.value(bucket, le="1.0") == 3
    assert recorded.value(bucket, le="+Inf") == 4
    assert recorded.value("sidecar_check_seconds_count") == 4
    assert recorded.value("sidecar_check_seconds_sum") == pytest.approx(7.04005)


def test_what_strangers_send_makes_no_new_series() -> None:
    recorded = Recorded()

    def series() -> int:
        return recorded.telemetry.expose().body.count(b"\n")

    def send(name: str) -> None:
        recorded.telemetry.checked("allow", name, 0.1)
        recorded.telemetry.checked(name, "c1", 0.1)
        recorded.record(
            EventTaken(type=name, outcome=EventOutcome.INVALID, id=name, source=name),
            KeysRefreshed(issuer=name, outcome=KeysOutcome.FAILED),
            RevokedSession(session=name, subject=name, reason=name),
        )

    send("first")
    before = series()
    for number in range(50):
        send(f"stranger-{number}")
    assert series() == before
    unknown = recorded.value("sidecar_events_total", type="unknown", outcome="invalid")
    assert unknown == 51


def test_no_session_subject_or_address_becomes_a_label() -> None:
    body = full().telemetry.expose().body.decode()
    assert "s1" not in body
    assert "ada" not in body
    assert "a.example" not in body


def idle(settings: Settings) -> PrometheusTelemetry:
    """What is shown of a daemon that has started, and to which nothing has happened."""
    telemetry = PrometheusTelemetry(settings, LogLines(io.BytesIO()))
    others = {ScrapedLevel.SHARED_CALLS, ScrapedLevel.DECISION_CHAIN, ScrapedLevel.SPOOL_EVENTS}
    for level in set(ScrapedLevel) - others:
        telemetry.level(level, lambda: 0)
    health = Health()
    for condition in health.conditions:
        health.good(condition)
    telemetry.health(health)
    for queue in ("rescore", "settle-waits"):
        telemetry.queue(queue, lambda: 0)
    for operation in ("join", "load", "pipeline", "queue"):
        telemetry.stored(operation, 0.001)
    telemetry.record(KeysRefreshed(issuer=ISSUERS[0].issuer, outcome=KeysOutcome.DONE))
    telemetry.record(ConfigurationRead(successful=True, policy_set="abc"))
    return telemetry


def series(telemetry: PrometheusTelemetry) -> set[str]:
    lines = telemetry.expose().body.decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_an_idle_sidecar_has_few_series_and_parts_that_are_on_bring_their_own() -> None:
    contexts = {"c1": Context(name="Payroll")}
    small = Settings(contexts=contexts, tokens=Tokens(issuers=ISSUERS[:1]))
    few = series(idle(small))
    assert len(few) < 150
    log = DecisionLogSettings(output=DecisionOutput.STDOUT)
    grown = idle(small)
    grown.configured(msgspec.structs.replace(small, decision_log=log))
    assert {line.partition("{")[0] for line in series(grown) - few} == {
        "sidecar_decision_log_dropped_total",
        "sidecar_decision_log_files_total",
        "sidecar_decision_log_records_total",
        "sidecar_decision_log_up",
    }


def test_what_keeps_a_sidecar_from_being_ready_is_shown_only_while_it_does() -> None:
    health = Health(("store", "keys"))
    recorded = Recorded()
    recorded.telemetry.health(health)
    unmet = "sidecar_condition_unmet"
    assert recorded.value("sidecar_ready") == 0
    assert recorded.value(unmet, condition="store", state="bad") == 1
    health.good("store")
    health.limping("keys", "they are old")
    assert recorded.value("sidecar_ready") == 1
    assert recorded.value(unmet, condition="store", state="bad") is None
    assert recorded.value(unmet, condition="keys", state="limping") == 1


def test_a_process_shows_no_metric_of_a_part_that_it_has_not() -> None:
    recorded = Recorded()
    recorded.telemetry.without("sidecar_store_up")
    assert recorded.value("sidecar_store_up") is None
    assert recorded.value("sidecar_news_up") == 0


def test_a_mark_is_counted_timed_and_reported_with_its_reason() -> None:
    recorded = Recorded().record(MARK)
    labels = {"policy": "p1", "signal": "risk-level-change", "state": "enabled"}
    assert recorded.value("sidecar_marks_total", **labels) == 1
    assert recorded.value("sidecar_signal_to_mark_seconds_bucket", le="0.005") == 1
    assert recorded.value("sidecar_signal_to_mark_seconds_bucket", le="0.002") == 0
    assert recorded.log == [
        {
            "time": "2023-11-14T22:13:20.000Z",
            "level": "info",
            "event": "session-marked",
            "session": "s1",
            "subject": "ada",
            "policy": "p1",
            "signal": "risk-level-change",
            "contexts": ["c1"],
            "since": 1_700_000_000.0,
            "reason": "the user's risk is high",
        }
    ]


def test_a_report_only_mark_is_no_enabled_one() -> None:
    mark = Marked(
        session="s1", subject="a", policy="p", signal="odd", text="", since=0, report_only=True
    )
    recorded = Recorded().record(mark)
    labels = {"policy": "p", "signal": "other"}
    assert recorded.value("sidecar_marks_total", state="report-only", **labels) == 1
    assert recorded.value("sidecar_marks_total", state="enabled", **labels) is None
    assert recorded.value("sidecar_signal_to_mark_seconds_count") == 0
    assert recorded.log[0]["event"] == "session-would-be-marked"


def test_marks_clearings_and_revocations_are_always_reported() -> None:
    events = [line["event"] for line in Recorded().record(*EVERYTHING[:3]).log]
    assert events == ["session-marked", "mark-cleared", "session-revoked"]


def test_a_claim_that_tokens_lack_is_counted_each_time_and_reported_once() -> None:
    recorded = Recorded()
    series = "sidecar_token_claims_missing_total"
    assert recorded.value(series, issuer="0", claim="auth_time") == 0
    missing = [
        ClaimMissing(issuer="https://a.example", claim=claim, need=need)
        for claim, need in (("auth_time", ClaimNeed.AUTH_TIME), ("sid", ClaimNeed.SESSION))
    ]
    recorded.record(*missing, *missing)
    assert recorded.value(series, issuer="0", claim="auth_time") == 2
    logged = [line for line in recorded.log if line["event"] == "token-claim-missing"]
    assert [(line["issuer"], line["claim"]) for line in logged] == [
        ("https://a.example", "auth_time"),
        ("https://a.example", "sid"),
    ]
    assert "token-without-auth-time" in logged[0]["detail"]


def test_each_use_of_a_break_glass_account_is_counted_and_logged() -> None:
    recorded = Recorded().record(EVERYTHING[-1], EVERYTHING[-1])
    assert recorded.value("sidecar_break_glass_checks_total", decision="allow") == 2
    assert [line["event"] for line in recorded.log] == ["break-glass-used"] * 2
    assert {line["level"] for line in recorded.log} == {"warning"}


def test_an_exceeded_prompt_budget_names_the_user_in_the_log_and_in_no_metric() -> None:
    recorded = Recorded().record(EVERYTHING[-2])
    assert recorded.value("sidecar_prompt_budget_exceeded_total") == 1
    (line,) = recorded.log
    assert (line["event"], line["subject"], line["prompts"]) == ("prompt-budget-exceeded", "ada", 6)


def test_checks_are_logged_only_where_the_log_asks_for_them() -> None:
    check = EVERYTHING[6]
    assert Recorded().record(check).log == []
    (line,) = Recorded(checks=True).record(check).log
    assert line["decision"] == "step_up"
    assert line["reasons"] == ["p1: the user's risk is high"]


def test_a_check_is_explained_in_its_line_within_a_bound() -> None:
    rules = evaluator(*(policy(None, name=f"p{number}") for number in range(300)))
    logged = explain_call(rules, rules.fold("s", established()), "app", frozenset({"c1"}), 1100)
    check = msgspec.structs.replace(EVERYTHING[6], explanation=logged)
    (line,) = Recorded(checks=True).record(check).log
    explained = line["explanation"]
    assert explained["verdict"] == "step_up"
    assert explained["policies"][0]["outcome"] == "step-up"
    assert len(explained["policies"]) + explained["left_out"] == 300
    assert len(msgspec.json.encode(explained["policies"])) <= MOST_BYTES
    assert "explanation" not in Recorded(checks=True).record(EVERYTHING[6]).log[0]


def test_what_anybody_can_send_fills_no_log_at_its_usual_level() -> None:
    recorded = Recorded()
    recorded.record(
        EventTaken(type="x", outcome=EventOutcome.INVALID, detail="type: is unknown"),
        GeographyFailed(database="city"),
    )
    assert recorded.log == []


def test_the_stores_state_is_reported_when_it_changes_only() -> None:
    recorded = Recorded()
    recorded.record(*(StoreUp(up=up) for up in (True, True, False, False, True)))
    assert [line["event"] for line in recorded.log] == ["store-up", "store-down", "store-up"]
    assert recorded.value("sidecar_store_up") == 1


def test_an_error_of_ours_is_reported_by_kind_and_place_but_not_by_its_words() -> None:
    error = ExceptionGroup("both", [ValueError("eyJhbGciOi"), KeyError("eyJhbGciOi")])
    recorded = Recorded().record(WorkerFailed(where="door", error=error))
    assert [line["error"] for line in recorded.log] == ["ValueError", "KeyError"]
    assert b"eyJhbGciOi" not in recorded.stream.getvalue()
    assert recorded.value("sidecar_worker_errors_total", where="door") == 1


def test_a_refused_reload_is_an_error_with_its_detail() -> None:
    (line,) = Recorded().record(EVERYTHING[7]).log
    assert (line["level"], line["detail"]) == ("error", "p.yaml:3: id: is missing")


def test_levels_and_queues_are_read_at_each_scrape() -> None:
    recorded = Recorded()
    held = [1.0]
    recorded.telemetry.level(ScrapedLevel.MARKS_ACTIVE, lambda: held[0])
    recorded.telemetry.queue("work", lambda: held[0])
    assert recorded.value("sidecar_marks_active") == 1
    held[0] = 5
    assert recorded.value("sidecar_marks_active") == 5
    assert recorded.value("sidecar_queue_depth", queue="work") == 5


def test_dropped_lines_are_counted() -> None:
    recorded = Recorded()
    recorded.stream.close()
    recorded.record(MARK, MARK)
    assert recorded.value("sidecar_log_lines_dropped_total") == 2


def test_any_thread_may_record() -> None:
    recorded = Recorded()
    evicted = ViewEvicted(sessions=1)

    def work() -> None:
        for _ in range(2000):
            recorded.telemetry.record(evicted)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorded.value("sidecar_view_evictions_total") == 8000
