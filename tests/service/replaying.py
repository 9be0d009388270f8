"""Small replays: policies as YAML, occurrences as objects, a report as the outcome."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from sidecar.adapters.geography.networks import load
from sidecar.cli.replay_sets import policy_sets
from sidecar.daemon.configuration.files import Configuration, claims_of, evaluator_of
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.tuning.formats.format_names import Format
from sidecar.tuning.recording.occurrence_order import OccurrenceOrder
from sidecar.tuning.recording.reader import RecordingReader, RecordingSource
from sidecar.tuning.replay.figures import report_of
from sidecar.tuning.replay.passage import PassageModel
from sidecar.tuning.replay.replay import CountOptions, Replay
from sidecar.tuning.replay.shards import SubjectShards
from sidecar.tuning.replay.timeline import nowhere
from sidecar.tuning.report.report import Recording, Report, UserModel
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.routes.routes import Routes

SETTINGS = """\
app: {id: payroll}
contexts: {c1: {name: Pay}, c2: {name: Administration}, c3: {name: Records}}
routes:
  - {path: /pay/**, methods: [POST], contexts: [c1]}
  - {path: /admin/**, contexts: [c2]}
  - {path: "/people/{id}/record", contexts: [c3]}
locations: [{name: home, countries: [DE, NO, SE]}]
"""
BERLIN = {"country": "DE", "asn": 64496, "latitude": 52.52, "longitude": 13.4}
LISBON = {"country": "PT", "asn": 64497, "latitude": 38.72, "longitude": -9.14}


def configuration(policies: str, settings: str = SETTINGS) -> Configuration:
    read = read_settings(settings, "sidecar.yaml", {}, str)
    parsed = read_policies([("policies.yaml", policies)], read)
    prefixes = load(read.networks, read.locations)
    return Configuration(
        Path("sidecar.yaml"),
        read,
        parsed,
        prefixes,
        Routes(read.routes),
        evaluator_of(read, parsed, prefixes),
        claims_of(parsed),
    )


def replay(
    occurrences: Iterable[dict[str, Any]],
    *policies: str,
    thresholds: Iterable[str] = (),
    at_mark: bool = False,
    answers: bool = True,
    window: float = 600,
    flap_within: int = 1800,
    settings: str = SETTINGS,
    parts: int = 1,
) -> Report:
    """Replay occurrences under policy sets; several `parts` one after the other."""
    found = [(f"set{at}", configuration(text, settings)) for at, text in enumerate(policies)]
    model = PassageModel(at_mark=at_mark, answers=answers, flap_within=flap_within * MICROSECONDS)
    counting = CountOptions()
    sets = policy_sets(found, list(thresholds))
    namespaces = found[0][1].settings.tokens.namespaces
    running = [
        Replay(sets, nowhere, model=model, counting=counting, namespaces=namespaces)
        for _ in range(parts)
    ]
    reading, ordering = RecordingReader(strict=True), OccurrenceOrder(window)
    lines = (msgspec.json.encode(occurrence) for occurrence in occurrences)
    source = RecordingSource("recording", Format.NDJSON)
    ordered = list(ordering.sorted(reading.lines(source, lines)))
    shards = SubjectShards()
    for occurrence in ordered:
        shards.add(occurrence.subject)
    shards.divide(parts)
    for occurrence in ordered:
        part = shards.part_of(occurrence.subject)
        assert part is not None
        running[part].take(occurrence)
    counts, *others = [one.finish() for one in running]
    for other in others:
        counts.add(other)
    recording = Recording(
        files=("recording",),
        occurrences=counts.occurrences,
        calls=counts.calls,
        sessions=counts.sessions,
        users=counts.users,
        begins=counts.begins / MICROSECONDS,
        ends=counts.ends / MICROSECONDS,
        bad=reading.account.bad,
        examples=(),
        late=ordering.late,
        repeated=ordering.repeated,
        passed_over=0,
        ownerless_sessions=counts.ownerless,
        labelled=counts.labelled,
        logged_marks={},
    )
    user_model = UserModel(
        prompt_at="mark" if at_mark else "check",
        answers=answers,
        answer_after=20,
        flap_within=flap_within,
        repeat_within=counting.repeat_within,
        budget=counting.budget,
        timezone="UTC",
        window=window,
    )
    return report_of(recording, user_model, counts.outcomes(sets), counts.activity, counting)


def begin(time: float, session: str = "s1", user: str = "ada", **data: Any) -> dict[str, Any]:
    """Return a record that a session begins, from Berlin."""
    usual = {"ip": "192.0.2.1", "acr": "mfa", "auth_time": int(time) - 1, "place": BERLIN}
    return {
        "type": "session-established",
        "time": time,
        "id": f"{session}-{time}",
        "subject": {"session": session, "user": user},
        "data": {**usual, **data},
    }


def call(
    time: float, context: str = "c1", session: str = "s1", *, away: bool = False, **more: Any
) -> dict[str, Any]:
    """Return a record of a call of a session, from Berlin, or from Lisbon."""
    where = (
        {"ip": "198.51.100.1", "place": LISBON} if away else {"ip": "192.0.2.1", "place": BERLIN}
    )
    return {
        "op": "check",
        "time": time,
        "id": f"{session}-{time}",
        "session": session,
        "context": context,
        **where,
        **more,
    }


def risk(time: float, level: str = "HIGH", user: str = "ada") -> dict[str, Any]:
    """Return a record that a user's risk changes."""
    return {
        "type": "risk-level-change",
        "time": time,
        "id": f"risk-{user}-{time}",
        "subject": {"user": user},
        "data": {"current_level": level},
    }
