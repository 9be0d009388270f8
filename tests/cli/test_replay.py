import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.recordings import recording
from tests.cli.command import sidecar
from tests.cli.recorded_tokens import KEY, tokens
from tests.service.replaying import SETTINGS, begin, risk
from tests.tuning.replay.recordings import BOTH, COUNTRY, TINY

LINES = "".join(f"{json.dumps(line)}\n" for line in TINY)
CSV = """\
when,what,user,session,address,land,verdict,context
1790071200,login,ada,s1,192.0.2.1,DE,,
2026-09-22T11:00:00Z,use,ada,s1,198.51.100.1,PT,fraud,c1
2026-09-22T11:30:00Z,use,ada,s1,nowhere,PT,,c1
"""
MAP = """\
time: when
type: {column: what, values: {login: session-established, use: session-presented}}
subject.user: user
subject.session: session
data.ip: address
place.country: land
label: {column: verdict, values: {fraud: attack}, default: legitimate}
context: context
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, policies in (("policies", BOTH), ("proposed", COUNTRY)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "all.yaml").write_text(policies)
    (tmp_path / "sidecar.yaml").write_text(SETTINGS)
    (tmp_path / "tiny.ndjson").write_text(LINES)
    (tmp_path / "signins.csv").write_text(CSV)
    (tmp_path / "columns.yaml").write_text(MAP)
    return tmp_path


def config(place: Path) -> tuple[str, str]:
    return "--config", str(place / "sidecar.yaml")


async def test_the_report_is_printed_as_text(place: Path) -> None:
    done = await sidecar("replay", str(place / "tiny.ndjson"), *config(place))
    assert (done.status, done.err) == (0, "")
    assert "13 occurrences, 9 calls, 2 sessions, 2 users, from 2026-09-22 10:00Z" in done.out
    assert "2 prompts to 1 user; a user and day: mean 1, p50 0, p95 2, most 2" in done.out
    assert "risky" in done.out
    assert "risk-level-change" in done.out


async def test_the_report_is_written_as_json_and_html(place: Path) -> None:
    json_file, html_file = place / "r.json", place / "r.html"
    done = await sidecar(
        *("replay", str(place / "tiny.ndjson"), *config(place), "--quiet"),
        *("--json", str(json_file), "--html", str(html_file), "--threshold", "risky"),
    )
    assert done == (0, "", "")
    report = json.loads(json_file.read_text())
    assert report["schema"] == "sidecar-replay/1"
    assert report["sets"][0]["prompts"]["total"] == 2
    values = [point["value"] for point in report["sets"][0]["curves"][0]["points"]]
    assert values == ["low", "medium", "high"]
    assert html_file.read_text().startswith("<!doctype html>")


async def test_json_alone_goes_to_standard_output_and_a_recording_comes_from_input(
    place: Path,
) -> None:
    done = await sidecar("replay", "-", *config(place), "--json", "-", given=LINES)
    assert json.loads(done.out)["recording"]["files"] == ["-"]
    assert json.loads(done.out)["sets"][0]["prompts"]["total"] == 2


async def test_a_compressed_recording_is_read_and_a_broken_one_reported(place: Path) -> None:
    packed = place / "tiny.ndjson.gz"
    packed.write_bytes(gzip.compress(LINES.encode()))
    done = await sidecar("replay", str(packed), *config(place), "--json", "-")
    assert json.loads(done.out)["recording"]["occurrences"] == 13
    packed.write_bytes(gzip.compress(LINES.encode())[:100])
    done = await sidecar("replay", str(packed), *config(place))
    printed = f"{packed}:1: (line): the compressed file is damaged or cut off"
    assert (done.status, done.err.startswith(printed)) == (2, True)


async def test_two_policy_sets_are_compared(place: Path) -> None:
    done = await sidecar(
        *("replay", str(place / "tiny.ndjson"), *config(place)),
        *("--policies", str(place / "policies"), "--policies", str(place / "proposed")),
    )
    assert done.status == 0
    assert f"{place}/policies -> {place}/proposed" in done.out
    row = next(line for line in done.out.splitlines() if line.startswith("prompts.total"))
    assert row.split() == ["prompts.total", "2", "1", "-1"]


async def test_csv_is_read_by_a_map_of_its_columns(place: Path) -> None:
    done = await sidecar(
        *("replay", str(place / "signins.csv"), "--map", str(place / "columns.yaml")),
        *(*config(place), "--json", "-", "--labels"),
    )
    assert done.status == 0
    assert done.err == f"{place}/signins.csv:4: data.ip: must be an IPv4 or IPv6 address\n"
    report = json.loads(done.out)
    assert (report["recording"]["occurrences"], report["recording"]["bad"]) == (2, 1)
    assert report["sets"][0]["labels"]["detected"] == 1


async def test_a_mistake_in_the_map_is_reported_with_file_and_line(place: Path) -> None:
    (place / "columns.yaml").write_text(MAP.replace("context: context", "context: contxt"))
    done = await sidecar(
        *("replay", str(place / "signins.csv"), "--map", str(place / "columns.yaml")),
        *config(place),
    )
    assert done.status == 2
    assert done.err.startswith(f"{place}/columns.yaml:8: context: there is no column 'contxt'")
    assert "did you mean 'context'?" in done.err


async def test_bad_lines_are_counted_and_reported_or_fatal(place: Path) -> None:
    file = place / "bad.ndjson"
    bad = '{"type":"dance","time":1}\n' * 12
    file.write_text(f"{bad}\n{LINES}")
    done = await sidecar("replay", str(file), *config(place))
    assert done.status == 0
    assert done.err.count(f"{file}:") == 10
    assert done.err.startswith(f"{file}:1: type: must be one of ")
    assert "... and 2 more lines that cannot be read" in done.err
    assert "12 lines could not be read" in done.out
    assert "13 occurrences" in done.out
    strict = await sidecar("replay", str(file), *config(place), "--strict")
    assert (strict.status, strict.out) == (2, "")
    assert strict.err.startswith(f"{file}:1: type: ")


async def test_prompts_are_counted_at_marks_where_no_calls_are_recorded(place: Path) -> None:
    file = place / "signals.ndjson"
    file.write_text(f"{json.dumps(begin(1_790_071_200))}\n{json.dumps(risk(1_790_071_300))}\n")
    done = await sidecar("replay", str(file), *config(place), "--json", "-")
    report = json.loads(done.out)
    assert report["model"]["prompt_at"] == "mark"
    assert report["sets"][0]["prompts"]["total"] == 1
    asked = await sidecar(
        "replay", str(file), *config(place), "--prompt-at", "check", "--json", "-"
    )
    assert json.loads(asked.out)["sets"][0]["prompts"]["total"] == 0


async def test_the_daemons_own_log_can_be_replayed_beside_the_events(place: Path) -> None:
    log = place / "daemon.log"
    printed = {"time": "2026-09-22T10:01:45Z", "level": "info"}
    lines = [
        {**printed, "event": "store-up", "detail": ""},
        {**printed, "event": "session-marked", "policy": "risky", "session": "s1"},
        {**printed, "event": "checked", "decision": "step_up", "context": "c1", "session": "s1"},
    ]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    events = place / "events.ndjson"
    events.write_text(f"{json.dumps(begin(1_790_071_200))}\n{json.dumps(risk(1_790_071_300))}\n")
    done = await sidecar("replay", str(events), str(log), *config(place), "--json", "-")
    report = json.loads(done.out)
    assert report["recording"]["logged_marks"] == {"risky": 1}
    assert report["recording"]["passed_over"] == 1
    assert report["sets"][0]["prompts"]["total"] == 1


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--threshold", "riski=1..2"], "there is no policy 'riski'; did you mean 'risky'?"),
        (["--threshold", "country=1..2"], "has no score, travel_speed, signals or risk condition"),
        (["--threshold", "risky=1..2"], "must be from low, medium or high to another"),
        (["--threshold", "risk.medium=50..20"], "must be from a number to a greater one"),
        (["--threshold", "risky=low..high/999"], "must have 2 to 101 steps"),
        (["--threshold", "risky=low"], "must be POLICY, POLICY=FROM..TO or POLICY=FROM..TO/STEPS"),
        (["--timezone", "Mars"], "--timezone: 'Mars' is not known"),
        (["--answer-after", "0s"], "must be a time such as 20s, 10m or 1h"),
        (["--labels"], "no line of the recording has a label"),
        (["--map", "nowhere.yaml"], "nowhere.yaml: No such file or directory"),
    ],
)
async def test_what_cannot_be_done_is_reported(place: Path, words: list[str], printed: str) -> None:
    done = await sidecar("replay", str(place / "tiny.ndjson"), *config(place), *words)
    assert (done.status, printed in done.err) == (2, True), done.err
    assert "Traceback" not in done.err


async def test_a_recording_or_configuration_that_is_not_there(place: Path) -> None:
    done = await sidecar("replay", str(place / "none.ndjson"), *config(place))
    assert (done.status, done.err) == (2, f"{place}/none.ndjson: No such file or directory\n")
    done = await sidecar("replay", str(place / "tiny.ndjson"), "--config", str(place / "none.yaml"))
    assert done.status == 2
    assert f"{place}/none.yaml" in done.err


async def test_the_projects_own_policies_replay_a_made_up_recording(tmp_path: Path) -> None:
    file = tmp_path / "made.ndjson"
    lines = islice(recording(seed=1, users=20), 3000)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    root = Path(__file__).parents[2]
    done = await sidecar(
        *("replay", str(file), "--config", str(root / "config/sidecar.yaml"), "--json", "-"),
        *("--threshold", "impossible-travel=600..1200/3"),
    )
    report = json.loads(done.out)
    assert report["recording"]["occurrences"] == 3000
    assert report["recording"]["bad"] == 0
    assert report["sets"][0]["prompts"]["total"] > 0


CASES = Path(__file__).parents[1] / "cases" / "recordings"


async def test_logs_of_three_vendors_are_replayed_and_what_is_left_out_is_reported(
    place: Path,
) -> None:
    files = [str(CASES / name) for name in ("entra-graph.json", "okta.ndjson", "cloudtrail.json")]
    html, report_file = place / "r.html", place / "r.json"
    done = await sidecar(
        *("replay", *files, *config(place), "--html", str(html), "--json", str(report_file)),
    )
    assert (done.status, done.err) == (0, "")
    recording = json.loads(report_file.read_text())["recording"]
    assert recording["formats"] == ["entra-signins", "okta-system-log", "cloudtrail"]
    became = ("occurrences", "bad", "skipped", "late", "repeated", "passed_over", "marked_lines")
    assert recording["records"] + recording["beside"] == sum(recording[name] for name in became)
    assert (recording["records"], recording["occurrences"], recording["skipped"]) == (20, 12, 11)
    assert recording["left_out"][0] == {
        "reason": "the sign-in failed",
        "bad": False,
        "records": 3,
        "first": [f"{files[0]}:113", f"{files[1]}:4", f"{files[2]}:1, record 5"],
    }
    assert done.out.index("3  the sign-in failed (") < done.out.index("Policies of ")
    page = html.read_text()
    assert page.index("the sign-in failed") < page.index("Policies of ")


async def test_a_call_in_a_context_that_is_not_configured_is_reported_and_no_routine_call(
    place: Path,
) -> None:
    settings = SETTINGS.replace("{name: Pay}", "{name: Pay, alias: payments}")
    (place / "sidecar.yaml").write_text(settings)
    file = place / "calls.ndjson"
    calls = [
        {"op": "check", "time": 1_790_071_200 + at, "session": "s1", "context": name}
        for at, name in enumerate(("c1", "payments", "c11"))
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in calls))
    done = await sidecar("replay", str(file), *config(place))
    assert done.err == f"{file}:3: context: 'c11' is not configured\n"
    assert "2 occurrences, 2 calls" in done.out


async def test_a_format_and_a_map_are_not_asked_for_at_once(place: Path) -> None:
    done = await sidecar(
        *("replay", str(place / "signins.csv"), "--map", str(place / "columns.yaml")),
        *(*config(place), "--format", "sshd"),
    )
    assert (done.status, "--map is for CSV of one's own" in done.err) == (2, True)


async def test_whole_tokens_are_said_to_be_unverified_unless_keys_are_given(place: Path) -> None:
    file, keys = place / "tokens", place / "keys.json"
    file.write_text("\n".join(tokens()))
    done = await sidecar("replay", str(file), *config(place), "--html", str(place / "r.html"))
    assert (done.status, done.err) == (0, "")
    unverified = "5 whole tokens, of which no signature was verified (--keys FILE gives the keys)"
    assert done.out.index(unverified) < done.out.index("Policies of ")
    page = (place / "r.html").read_text()
    assert page.index("of which no signature was verified") < page.index("Policies of ")
    keys.write_text(json.dumps({"keys": [KEY.jwk()]}))
    done = await sidecar("replay", str(file), *config(place), "--keys", str(keys))
    assert "5 whole tokens, each well signed" in done.out
