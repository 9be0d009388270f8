"""Frames of `sidecar top`: two scrapes of the metrics, compared, with what probes and lists say."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from sidecar.cli.admin_answers import AdminPage
from sidecar.cli.admin_client import AdminClient

MARKED_SESSIONS = 200
"""Sessions with a mark that are asked for, of which the latest are shown."""

SHOWN_MARKS = 8
SHARES = (0.5, 0.99)

_Labels: TypeAlias = tuple[tuple[str, str], ...]


class Scrape(msgspec.Struct, frozen=True):
    """The metrics at one moment: values by name and labels."""

    at: float
    values: Mapping[str, Mapping[_Labels, float]]

    def total(self, name: str) -> float:
        """Return the sum of all series of a metric."""
        return sum(self.values.get(name, {}).values())

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums by the values of a label, in order."""
        sums: dict[str, float] = {}
        for labels, value in self.values.get(name, {}).items():
            key = dict(labels).get(label, "")
            sums[key] = sums.get(key, 0.0) + value
        return dict(sorted(sums.items()))

    def label(self, name: str, label: str) -> str:
        """Return a label of the only series of a metric; empty where there is none."""
        return next(iter(self.by(name, label)), "")


class ShownMark(msgspec.Struct, frozen=True):
    """A mark of a session; `since` in seconds since the epoch, 0: from the sign-in."""

    since: float
    session: str
    user: str
    policy: str
    signal: str
    reason: str


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A sidecar at a glance. Rates are those of the last `seconds`; ages are in seconds.

    `check_seconds` are the times within which half of the checks were answered, and 99 of 100; None
    where there were none.
    """

    at: float
    url: str
    version: str
    status: str
    conditions: Sequence[Mapping[str, str]]
    policy_set: str
    loaded_age: float | None
    reload_failed: bool
    restart_required: bool
    seconds: float
    checks: Mapping[str, float]
    checks_total: Mapping[str, float]
    check_seconds: Sequence[float | None]
    events: float
    events_total: float
    marks: float
    marks_total: float
    marks_active: int
    sessions: int
    store_up: bool
    store_staleness: float
    spooled: int
    dead_letters: int
    keys: Mapping[str, float]
    databases: Mapping[str, float]
    latest_marks: Sequence[ShownMark]
    rescore: Mapping[str, Any]


def scrape(client: AdminClient, at: float) -> Scrape:
    """Return the metrics as they are now."""
    values: dict[str, dict[_Labels, float]] = {}
    for family in text_string_to_metric_families(client.text("/metrics")):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            values.setdefault(sample.name, {})[labels] = sample.value
    return Scrape(at, values)


def frame(client: AdminClient, url: str, before: Scrape, now: Scrape) -> Frame:
    """Return what is shown, by two scrapes and what the daemon answers now."""
    probe = client.probe("/readyz")
    seconds = max(now.at - before.at, 1e-9)

    def rate(name: str) -> float:
        return max(0.0, now.total(name) - before.total(name)) / seconds

    checks, earlier = (one.by("sidecar_checks_total", "decision") for one in (now, before))
    loaded = now.total("sidecar_config_last_reload_success_timestamp_seconds")
    return Frame(
        at=now.at,
        url=url,
        version=now.label("sidecar_build_info", "version"),
        status=probe["status"],
        conditions=probe.get("checks") or (),
        policy_set=now.label("sidecar_policy_set_info", "hash"),
        loaded_age=now.at - loaded if loaded else None,
        reload_failed="sidecar_config_last_reload_successful" in now.values
        and not now.total("sidecar_config_last_reload_successful"),
        restart_required=bool(now.total("sidecar_restart_required")),
        seconds=seconds,
        checks={
            name: max(0.0, count - earlier.get(name, 0.0)) / seconds
            for name, count in checks.items()
        },
        checks_total=checks,
        check_seconds=[*quantiles(before, now, SHARES)],
        events=rate("sidecar_events_total"),
        events_total=now.total("sidecar_events_total"),
        marks=rate("sidecar_marks_total"),
        marks_total=now.total("sidecar_marks_total"),
        marks_active=int(now.total("sidecar_marks_active")),
        sessions=int(now.total("sidecar_sessions")),
        store_up=bool(now.total("sidecar_store_up")),
        store_staleness=now.total("sidecar_store_staleness_seconds"),
        spooled=int(now.total("sidecar_spool_events")),
        dead_letters=int(now.total("sidecar_dead_letters_waiting")),
        keys=_ages(now, "sidecar_jwks_last_success_timestamp_seconds", "issuer"),
        databases=_ages(now, "sidecar_geo_database_build_timestamp_seconds", "database"),
        latest_marks=_latest_marks(client),
        rescore=client.get("/v1/rescore", {}),
    )


def _ages(now: Scrape, name: str, label: str) -> dict[str, float]:
    return {key: now.at - moment for key, moment in now.by(name, label).items() if moment}


def quantiles(before: Scrape, now: Scrape, shares: Sequence[float]) -> Iterator[float | None]:
    """Yield the times within which these shares of the checks since were answered."""
    buckets = [_buckets(one) for one in (before, now)]
    counts = [
        (bound, count - buckets[0].get(bound, 0.0)) for bound, count in sorted(buckets[1].items())
    ]
    total = counts[-1][1] if counts else 0.0
    for share in shares:
        if total <= 0:
            yield None
            continue
        place = bisect_left([count for _, count in counts], share * total)
        yield _between(counts, place, share * total)


def _buckets(one: Scrape) -> dict[float, float]:
    found = one.values.get("sidecar_check_seconds_bucket", {})
    return {float(dict(labels)["le"]): count for labels, count in found.items()}


def _between(counts: Sequence[tuple[float, float]], place: int, wanted: float) -> float:
    """Return where in a bucket so many lie, if they lie evenly; the last has no end."""
    bound, count = counts[place]
    if place == len(counts) - 1:
        return counts[place - 1][0] if place else bound
    least, fewer = counts[place - 1] if place else (0.0, 0.0)
    return least + (bound - least) * (wanted - fewer) / max(count - fewer, 1e-9)


def _latest_marks(client: AdminClient) -> list[ShownMark]:
    query = {"standing": "step_up", "limit": MARKED_SESSIONS}
    found = [
        ShownMark(
            float(mark.get("since") or 0.0),
            str(session.get("session", "")),
            str(session.get("user", "")),
            str(mark.get("policy", "")),
            str(mark.get("signal", "")),
            str(mark.get("text", "")),
        )
        for session in client.get("/v1/sessions", query, AdminPage)["sessions"]
        for mark in session.get("marks") or ()
        if not mark.get("report_only")
    ]
    return sorted(found, key=lambda mark: -mark.since)[:SHOWN_MARKS]
