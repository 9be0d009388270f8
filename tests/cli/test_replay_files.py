"""Recordings as they come: what each format's records become, and why others are left out."""

import codecs
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli.exit_status import Stop
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    RiskLevelChange,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
)
from sidecar.domain.values.location import Place
from sidecar.tuning.recording.occurrences import Occurrence
from tests.cli.replayed import CASES, CHECK, OWN, TEN, read

FAILED = "the sign-in failed"


def signed_in(occurrence: Occurrence) -> SessionEstablished:
    assert isinstance(occurrence.signal, SessionEstablished)
    return occurrence.signal


@pytest.mark.parametrize("name", ["entra-graph.json", "entra-monitor.json"])
def test_entras_sign_ins_become_sessions_with_their_risk(name: str) -> None:
    found = read(CASES / name)
    assert found.format == "entra-signins"
    first, second, risk, refreshed = found.occurrences
    one = signed_in(first)
    assert one.stamp.time == TEN * 1_000_000
    assert (one.auth_time, one.amr, one.ip) == (TEN, ("pwd",), "192.0.2.1")
    assert one.subject.session == "33333331-3333-4333-8333-333333333333"
    assert one.subject.user == "ada@example.com"
    assert first.place == Place(
        country="DE", city="Berlin", asn=64496, latitude=52.52, longitude=13.4
    )
    two = signed_in(second)
    assert (two.subject.session, two.amr) == ("s-2", ("pwd", "swk", "mfa"))
    assert two.subject.device == "44444444-4444-4444-8444-444444444444"
    assert isinstance(risk.signal, RiskLevelChange)
    assert (risk.signal.level, risk.signal.subject.session) == ("high", "s-2")
    assert isinstance(refreshed.signal, SessionPresented)
    assert refreshed.signal.subject.session == "s-2"
    assert refreshed.place == Place(asn=64496)
    assert all(occurrence.call is None for occurrence in found.occurrences)
    others = {
        FAILED: 1,
        "a token was refreshed, and its session is not named (`sessionId`)": 1,
    }
    if name == "entra-graph.json":
        others["no person signed in, but a service or a managed identity"] = 1
    assert found.reasons == others


def test_entras_table_from_the_admin_centre_is_read_without_a_map() -> None:
    found = read(CASES / "entra-portal.csv")
    assert found.format == "entra-signins"
    first, second = found.occurrences
    assert signed_in(first).amr == ("pwd",)
    assert signed_in(second).amr == ("mfa",)
    assert second.place == Place(country="PT", city="Lisbon", asn=64496)
    assert found.reasons == {FAILED: 1}


def test_a_factor_that_was_skipped_is_none(tmp_path: Path) -> None:
    record = json.loads((CASES / "entra-graph.json").read_text())["value"][3]
    record["status"]["additionalDetails"] = "MFA requirement skipped due to IP address"
    record["authenticationDetails"] = []
    file = tmp_path / "one.json"
    file.write_text(json.dumps(record))
    assert signed_in(read(file).occurrences[0]).amr == ("pwd",)


def test_names_may_be_written_as_powershell_and_databases_do(tmp_path: Path) -> None:
    graph = json.loads((CASES / "entra-graph.json").read_text())["value"][4]
    powershell = {name[0].upper() + name[1:]: value for name, value in graph.items()}
    flat = {
        "created_date_time": graph["createdDateTime"],
        "user_principal_name": "ada@example.com",
        "correlation_id": "c",
        "ip_address": "192.0.2.1",
        "status.errorCode": "0",
        "location.countryOrRegion": "DE",
        "location.geoCoordinates.latitude": "52.52",
        "location.geoCoordinates.longitude": "13.4",
    }
    file = tmp_path / "both.ndjson"
    file.write_text(f"{json.dumps(powershell)}\n{json.dumps(flat)}\n")
    found = read(file)
    assert found.format == "entra-signins"
    assert [each.signal.subject.user for each in found.occurrences] == ["ada@example.com"] * 2
    places = [each.place for each in found.occurrences]
    assert all(place is not None and place.latitude == 52.52 for place in places)


def test_oktas_log_becomes_sign_ins_factors_and_sightings() -> None:
    found = read(CASES / "okta.ndjson")
    assert found.format == "okta-system-log"
    first, low, factor, sso, high = found.occurrences
    assert signed_in(first).subject.session == "102abc"
    assert first.place is not None
    assert (first.place.country, first.place.asn) == ("DE", 64496)
    assert isinstance(low.signal, RiskLevelChange)
    assert signed_in(factor).amr == ("mfa", "hwk", "user")
    assert isinstance(sso.signal, SessionPresented)
    assert sso.place is not None
    assert sso.place.country == "US"
    assert isinstance(high.signal, RiskLevelChange)
    assert [low.signal.level, high.signal.level] == ["low", "high"]
    assert found.reasons == {
        FAILED: 1,
        "it names no session (`externalSessionId`)": 1,
        "it is of another kind than sign-ins and what follows on them": 2,
    }


def test_cloudtrail_reports_sign_ins_and_calls_with_temporary_credentials() -> None:
    found = read(CASES / "cloudtrail.json")
    assert found.format == "cloudtrail"
    console, call, elsewhere = found.occurrences
    assert signed_in(console).amr == ("pwd", "mfa")
    assert call.authentication is not None
    assert (call.authentication.auth_time, call.authentication.amr) == (TEN, ("pwd", "mfa"))
    assert len({each.signal.subject.session for each in found.occurrences}) == 1
    assert getattr(elsewhere.signal, "ip", "") == "198.51.100.4"
    assert found.reasons == {
        FAILED: 1,
        "an AWS service called, and no person": 1,
        "it was called with a long-lived key: there is no session": 1,
        "it has no address": 1,
    }
    assert found.account.left_out()[0].first == (f"{CASES}/cloudtrail.json:1, record 4",)


def test_sshds_log_reports_accepted_sign_ins_of_the_latest_year_that_is_not_ahead(
    tmp_path: Path,
) -> None:
    file = tmp_path / "auth.log"
    file.write_text((CASES / "sshd.log").read_text())
    os.utime(file, (TEN + 3600, TEN + 3600))
    found = read(file)
    assert found.format == "sshd"
    bob, ada, hardware = found.occurrences
    assert bob.stamp.time == (TEN - 2 * 3600 + 60) * 1_000_000 + 250_000
    assert (signed_in(bob).amr, signed_in(bob).ip) == (("pwd",), "2001:db8::1")
    assert (ada.stamp.time, signed_in(ada).amr) == (TEN * 1_000_000, ("swk",))
    assert signed_in(hardware).amr == ("hwk", "user")
    assert found.reasons == {
        "(line): is no line of a system log: TIME HOST sshd[PID]: MESSAGE": 1,
        FAILED: 1,
        "it is about no sign-in": 1,
        "another program than sshd wrote it": 1,
    }
    os.utime(file, (TEN - 30 * 86400, TEN - 30 * 86400))  # copied before that day of the year
    assert read(file).occurrences[0].stamp.time < (TEN - 300 * 86400) * 1_000_000


def test_caeps_events_are_read_from_the_payloads_of_their_tokens() -> None:
    found = read(CASES / "caep.ndjson")
    assert found.format == "caep"
    session, risk, device, revoked = found.occurrences
    one = signed_in(session)
    assert (one.subject.session, one.subject.user, one.acr) == ("s1", "ada", "mfa")
    assert (one.ip, one.user_agent, one.auth_time) == ("192.0.2.1", "Mozilla/5.0", TEN)
    assert isinstance(risk.signal, RiskLevelChange)
    assert risk.signal.subject.user == "ada@example.com"
    assert risk.stamp.time == (TEN + 100) * 1_000_000
    assert isinstance(device.signal, DeviceComplianceChange)
    assert device.signal.subject.device == "d1"
    assert isinstance(revoked.signal, SessionRevoked)
    assert revoked.signal.subject.session == "s1"
    assert found.reasons == {"it is about the stream": 1}


def _array(records: list[object]) -> bytes:
    return json.dumps(records, indent=2).encode()


LAYOUTS: dict[str, Callable[[list[object]], bytes]] = {
    "an array": _array,
    "an array on one line": lambda records: json.dumps(records).encode(),
    "values one after another": lambda records: b"\n".join(
        json.dumps(record, indent=1).encode() for record in records
    ),
    "a line each": lambda records: b"\n".join(json.dumps(r).encode() for r in records),
    "UTF-16 with a mark": lambda records: _array(records).decode().encode("utf-16"),
    "UTF-16 without": lambda records: _array(records).decode().encode("utf-16-le"),
    "UTF-16, big": lambda records: (
        codecs.BOM_UTF16_BE + _array(records).decode().encode("utf-16-be")
    ),
    "UTF-8 with a mark": lambda records: codecs.BOM_UTF8 + _array(records),
    "gzip, whatever its name": lambda records: gzip.compress(_array(records)),
    "wrapped": lambda records: json.dumps(
        {"@odata.context": "x", "value": records}, indent=4
    ).encode(),
    "wrapped a page a line": lambda records: b"\n".join(
        json.dumps({"value": [record]}).encode() for record in records
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_json_is_read_however_it_is_laid_out_and_encoded(layout: str, tmp_path: Path) -> None:
    records = json.loads((CASES / "entra-graph.json").read_text())["value"]
    file = tmp_path / "signins"
    file.write_bytes(LAYOUTS[layout](records))
    found = read(file)
    assert found.format == "entra-signins"
    assert found.occurrences == read(CASES / "entra-graph.json").occurrences


def test_a_recording_of_our_own_may_be_an_array_too(tmp_path: Path) -> None:
    lines = [{"op": "check", "time": TEN, "session": "s1", "context": "c1"}, {"type": "dance"}]
    file = tmp_path / "own.json"
    file.write_text(json.dumps(lines, indent=2))
    found = read(file)
    assert (found.format, len(found.occurrences)) == ("ndjson", 1)
    assert found.account.left_out()[0].first == (f"{file}:8",)


def test_a_list_that_breaks_off_is_reported_with_its_line_and_the_rest_counts(
    tmp_path: Path,
) -> None:
    records = json.loads((CASES / "entra-graph.json").read_text())["value"]
    text = json.dumps(records, indent=2)
    file = tmp_path / "cut.json"
    file.write_text(text[: text.index("50126")])
    found = read(file)
    assert len(found.occurrences) == 1
    (cut,) = [one for one in found.account.left_out() if one.bad]
    assert cut.reason == "(line): is no JSON from here on: expecting value"


COLUMNS = """\
time: t
type: {constant: session-presented}
subject.session: s
data.ip: ip
place.country: country
place.latitude: lat
place.longitude: lon
place.asn: as
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_with_its_separator_and_encoding(
    separator: str, encoding: str, tmp_path: Path
) -> None:
    rows = [
        ["t", "s", "ip", "country", "lat", "lon", "as"],
        ["2026-09-22T10:00:00Z", "s1", "192.0.2.1", "Germany", "NaN", "NaN", "AS64496"],
        [str(TEN * 1000), "s1", "192.0.2.2", "us", "40.1", "-74", ""],
        ["2026-09-22T10:09:00Z", "s1", "192.0.2.7", "GB", "inf", "0", ""],
        ["01/09/2007 09:41:00", "s1", "192.0.2.7", "GB", "", "", ""],
    ]
    text = "".join(f"{separator.join(row)}\r\n" for row in rows)
    file = tmp_path / "table.csv"
    file.write_bytes((f"sep={separator}\r\n{text}" if separator == ";" else text).encode(encoding))
    found = read(file, columns=COLUMNS)
    places = [each.place for each in found.occurrences]
    assert places == [
        Place(country="DE", asn=64496),
        Place(country="US", latitude=40.1, longitude=-74.0),
    ]
    assert [each.stamp.time for each in found.occurrences] == [TEN * 1_000_000] * 2
    first = {reason.split(":")[0] for reason in found.reasons}
    assert first == {"place.latitude", "time"}


def test_a_table_whose_columns_nobody_knows_asks_for_a_map(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("when,who\n1,ada\n")
    with pytest.raises(Stop, match="name them with --map"):
        read(file)


BAD: list[tuple[str, str]] = [
    (json.dumps({**CHECK, "context": "c11"}), "context: 'c11' is not configured"),
    (json.dumps({**CHECK, "context": ["c1", "C1"]}), "context: 'C1' is not configured"),
    (json.dumps({**CHECK, "time": 1e30}), "time: is no moment between 1970 and 9999"),
    (json.dumps({**CHECK, "time": -5}), "time: is no moment between 1970 and 9999"),
    (json.dumps({**CHECK, "time": float("nan")}), "time: is no moment between 1970 and 9999"),
    (json.dumps({**CHECK, "auth_time": "noon"}), "data.auth_time: must be seconds"),
    (json.dumps({**OWN, "place": {"latitude": 1e999, "longitude": 0}}), "place.latitude: must be"),
    (json.dumps({**OWN, "place": {"country": "Atlantis"}}), "place.country: 'Atlantis' is no"),
    (json.dumps({**OWN, "place": {"asn": "ASx"}}), "place.asn: must be the number"),
    (json.dumps({**OWN, "place": [1]}), "place: must be an object"),
    (json.dumps({**OWN, "data": {"auth_time": TEN + 1000}}), "data.auth_time: must be"),
    (json.dumps({**OWN, "data": {"ip": "nowhere"}}), "data.ip: must be an IPv4 or IPv6 address"),
    (json.dumps({**OWN, "data": 7}), "data: must be an object"),
    ("{", "(line): must be one JSON object"),
    ("[" * 5000, "(line): must be one JSON object"),
    ('"text"', "(line): must be one JSON object"),
    ("\x00\x01", "(line): must be one JSON object"),
    ('{"time":1,"type":"\\ud800"}', "type: must be one of"),
]


@pytest.mark.parametrize(("line", "printed"), BAD)
def test_a_bad_line_is_reported_with_its_number_and_left_out(
    line: str, printed: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.ndjson"
    file.write_text(f"{json.dumps(OWN)}\n{line}\n{json.dumps(CHECK)}\n")
    found = read(file)
    assert len(found.occurrences) == 2
    (example,) = found.account.examples
    assert example.startswith(f"{file}:2: {printed}")


GOOD: list[dict[str, object]] = [
    {**CHECK, "time": TEN * 1000},
    {**CHECK, "time": str(TEN), "place": {"country": "United States"}},
    {**CHECK, "place": {"country": None, "latitude": float("nan"), "longitude": None}},
    {**CHECK, "auth_time": (TEN - 5) * 1000},
    {**CHECK, "auth_time": None, "place": None},
    {**CHECK, "auth_time": "2026-09-22T09:59:55Z"},
    {**CHECK, "user_agent": "cut in the midst of \ud83d"},
]


@pytest.mark.parametrize("record", GOOD, ids=str)
def test_what_others_write_is_read_rightly(record: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "own.ndjson"
    file.write_text(f"{json.dumps(record)}\n")
    found = read(file)
    (occurrence,) = found.occurrences
    assert occurrence.stamp.time == TEN * 1_000_000
    if record.get("auth_time"):
        assert occurrence.authentication is not None
        assert occurrence.authentication.auth_time == TEN - 5


@pytest.mark.parametrize("chosen", ["entra-signins", "okta-system-log", "cloudtrail", "caep"])
@pytest.mark.parametrize(
    "record",
    [
        {},
        {"eventType": 7, "published": [], "actor": None, "outcome": "SUCCESS"},
        {"eventType": "user.session.start", "outcome": {"result": "SUCCESS"}, "actor": 5},
        {"createdDateTime": {}, "status": {"errorCode": 0}, "userPrincipalName": "ada"},
        {"eventName": "ConsoleLogin", "sourceIPAddress": "x", "userIdentity": {"arn": "a"}},
        {"events": {"x/caep/event-type/session-revoked": {}}, "sub_id": {"id": 7}},
        {"events": {"x/caep/event-type/risk-level-change": []}, "iss": None},
        {"events": []},
        7,
    ],
    ids=str,
)
def test_a_strange_record_of_a_format_is_reported_or_counted(
    chosen: str, record: object, tmp_path: Path
) -> None:
    file = tmp_path / "log.json"
    file.write_text(json.dumps(record))
    found = read(file, chosen)
    assert found.account.records >= len(found.occurrences)
    assert found.account.bad + found.account.skipped == found.account.records


def test_an_export_with_the_newest_first_is_put_into_order(tmp_path: Path) -> None:
    lines = (CASES / "okta.ndjson").read_text().splitlines()
    file = tmp_path / "okta.ndjson"
    file.write_text("\n".join(reversed(lines)))
    stamps = [each.stamp for each in read(file).occurrences]
    assert stamps == sorted(stamps)
    assert len(stamps) == 5


def test_a_sign_in_that_an_earlier_one_satisfied_is_no_new_one(tmp_path: Path) -> None:
    record = json.loads((CASES / "entra-graph.json").read_text())["value"][3]
    step = {"authenticationMethod": "Previously satisfied", "succeeded": True}
    record["authenticationDetails"] = [step, step]
    file = tmp_path / "one.json"
    file.write_text(json.dumps(record))
    seen, *_ = read(file).occurrences
    assert isinstance(seen.signal, SessionPresented)
    assert seen.signal.subject.session == "s-2"
    record["authenticationDetails"] = [
        step,
        {"authenticationMethod": "Password", "succeeded": True},
    ]
    file.write_text(json.dumps(record))
    assert signed_in(read(file).occurrences[0]).amr[0] == "pwd"


def test_cloudtrail_that_went_through_logstash_is_recognised(tmp_path: Path) -> None:
    records = json.loads((CASES / "cloudtrail.json").read_text())["Records"]
    for record in records:
        record["@timestamp"] = record.pop("eventTime")
    file = tmp_path / "moved.ndjson"
    file.write_text("\n".join(map(json.dumps, records)))
    found = read(file)
    assert found.format == "cloudtrail"
    assert found.occurrences == read(CASES / "cloudtrail.json").occurrences


def test_a_record_of_no_format_is_reported_as_that(tmp_path: Path) -> None:
    file = tmp_path / "audit.ndjson"
    record = {"TimeGenerated": "2021-08-02T13:29:25Z", "Operation": "Update", "Type": "AuditLogs"}
    file.write_text(f"{json.dumps(record)}\n")
    assert read(file).reasons == {"(line): is a record of no format that is known here": 1}
