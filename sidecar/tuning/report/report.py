"""Declares what a replay reports: its JSON, which docs/replay.md describes. HTML is made from it.

Rates are from 0 to 1, null where there is nothing to divide by. Times are seconds since the epoch,
hours and days in the report's timezone.
"""

import msgspec

SCHEMA = "sidecar-replay/1"


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the report."""


class LeftOutRecords(_Part, frozen=True, kw_only=True):
    """Records that were left out for one reason; `first`: where the first ones stand.

    `bad`: they could not be understood. Else they were, and hold nothing that is replayed.
    """

    reason: str
    bad: bool
    records: int
    first: tuple[str, ...]


SIGNATURES_UNKNOWN = "of which no signature was verified (--keys FILE gives the keys)"


class Recording(_Part, frozen=True, kw_only=True):
    """The recording that was read, from `files` in these `formats`; `logged_marks` by policy.

    `records` and `beside` (occurrences that a record gave beside its first) together are what
    became of them: `occurrences`, `bad`, `skipped`, `late`, `repeated`, `passed_over`, and
    `marked_lines` of the daemon's log. `left_out` says why `bad` and `skipped` ones were.
    `tokens` were whole security event tokens; `verified`: each with a signature that fits.
    """

    files: tuple[str, ...]
    formats: tuple[str, ...] = ()
    records: int = 0
    beside: int = 0
    skipped: int = 0
    marked_lines: int = 0
    left_out: tuple[LeftOutRecords, ...] = ()
    tokens: int = 0
    verified: bool = False
    occurrences: int
    calls: int
    sessions: int
    users: int
    begins: float | None
    ends: float | None
    bad: int
    examples: tuple[str, ...]
    late: int
    repeated: int
    passed_over: int
    ownerless_sessions: int
    labelled: int
    logged_marks: dict[str, int]


class UserModel(_Part, frozen=True, kw_only=True):
    """The assumed acts of a user, and what was counted. Durations in seconds.

    `prompt_at` is "check" or "mark"; `budget` prompts a user and day are thought bearable.
    """

    prompt_at: str
    answers: bool
    answer_after: int
    flap_within: int
    repeat_within: int
    budget: int
    timezone: str
    window: float


class PolicyFigures(_Part, frozen=True, kw_only=True):
    """A policy's figures. `state` enabled, report-only or disabled.

    `triggers`: marks set (report-only: that would have been), in `sessions`; `prompts`, `refusals`:
    those that it had a part in (report-only: would have had). `flaps`: triggers soon after one
    before, in the same session. `detected` attacks and `false_sessions` where there are labels.
    """

    id: str
    state: str
    triggers: int
    sessions: int
    prompts: int
    refusals: int
    flaps: int
    detected: int | None = None
    detection_rate: float | None = None
    false_sessions: int | None = None
    false_rate: float | None = None


class SignalFigures(_Part, frozen=True, kw_only=True):
    """Count of the marks that a policy made because of a signal."""

    policy: str
    signal: str
    report_only: bool
    triggers: int


class HourFigures(_Part, frozen=True, kw_only=True):
    """A policy's triggers by hour of day, 24 of them."""

    policy: str
    report_only: bool
    triggers: tuple[int, ...]


class DayTriggers(_Part, frozen=True, kw_only=True):
    """A policy's triggers on a day (ISO 8601) on which there were some."""

    day: str
    policy: str
    report_only: bool
    triggers: int


class Verdicts(_Part, frozen=True, kw_only=True):
    """Counts of recorded calls by their verdict. `revoked` are among `deny`."""

    allow: int
    step_up: int
    deny: int
    revoked: int


class Bin(_Part, frozen=True, kw_only=True):
    """On how many days of a user there were so many prompts."""

    prompts: int
    user_days: int


class Day(_Part, frozen=True, kw_only=True):
    """A day (ISO 8601), its active users and prompts."""

    day: str
    users: int
    prompts: int


class Prompts(_Part, frozen=True, kw_only=True):
    """Prompts. A user-day is a day on which a user was seen; percentiles are over all of them.

    `repeated`: no more than `repeat_within` after the same user's one before. `over_budget`: user-
    days with more than `budget`.
    """

    total: int
    answered: int
    refusals: int
    users: int
    user_days: int
    mean: float
    p50: int
    p95: int
    p99: int
    most: int
    repeated: int
    over_budget: int
    users_over_budget: int
    distribution: tuple[Bin, ...]
    by_hour: tuple[int, ...]
    by_day: tuple[Day, ...]


class UserFigures(_Part, frozen=True, kw_only=True):
    """One of the users who were asked most: `days` with prompts, `most` on one day."""

    user: str
    prompts: int
    days: int
    most: int


class Flap(_Part, frozen=True, kw_only=True):
    """A session that one policy marked again and again."""

    session: str
    user: str
    policy: str
    times: int


class Pair(_Part, frozen=True, kw_only=True):
    """Two policies together: decisions in which both asked, or only one of them.

    `step_up` and `deny` are what the two together make of `both`. Where `a` is `b`: decisions in
    which it asked (`both`), and those where no other policy did (`a_only`).
    """

    a: str
    b: str
    both: int
    a_only: int
    b_only: int
    step_up: int
    deny: int


class Point(_Part, frozen=True, kw_only=True):
    """The figures with the threshold at `value`. `change` is in prompts, against the present.

    `prompts` and `refusals` are those of all enforced policies together, since one answer serves
    many; of a policy that is only reported, those that it would have had a part in. `triggers`,
    `detected` and `false_sessions` are the policy's own; where the risk levels vary, all policies'.
    """

    value: float | str
    is_current: bool
    prompts: int
    change: int
    refusals: int
    triggers: int
    detected: int | None = None
    detection_rate: float | None = None
    false_sessions: int | None = None
    false_rate: float | None = None


class Curve(_Part, frozen=True, kw_only=True):
    """Prompts over a threshold: of `policy`, or of the risk levels (`risk`)."""

    policy: str
    kind: str
    report_only: bool
    current: float | str
    points: tuple[Point, ...]


class Labels(_Part, frozen=True, kw_only=True):
    """Sessions with attacks and without, by the recording's labels.

    `detected`: attacked sessions that an occurrence of the attack marked, or in which a call of it
    was challenged or refused (without calls: in which it met an unmet demand).
    `false_sessions`: legitimate ones with a prompt or refusal; `false_prompts`: prompts in them.
    """

    attacked: int
    legitimate: int
    detected: int
    detection_rate: float | None
    false_sessions: int
    false_rate: float | None
    false_prompts: int


class SetFigures(_Part, frozen=True, kw_only=True):
    """The figures of one policy set over the recording."""

    name: str
    policies: tuple[PolicyFigures, ...]
    never_fired: tuple[str, ...]
    triggers: tuple[SignalFigures, ...]
    hours: tuple[HourFigures, ...]
    days: tuple[DayTriggers, ...] = ()
    verdicts: Verdicts
    prompts: Prompts
    worst_users: tuple[UserFigures, ...]
    flapping: tuple[Flap, ...]
    pairs: tuple[Pair, ...]
    curves: tuple[Curve, ...]
    labels: Labels | None


class Difference(_Part, frozen=True, kw_only=True):
    """A figure before and after."""

    figure: str
    before: float | None
    after: float | None
    change: float | None


class UserDifference(_Part, frozen=True, kw_only=True):
    """A user whose prompts change most."""

    user: str
    before: int
    after: int


class Comparison(_Part, frozen=True, kw_only=True):
    """The first policy set against another one."""

    before: str
    after: str
    figures: tuple[Difference, ...]
    policies: tuple[Difference, ...]
    users: tuple[UserDifference, ...]


class Report(_Part, frozen=True, kw_only=True):
    """The whole report."""

    schema: str
    recording: Recording
    model: UserModel
    sets: tuple[SetFigures, ...]
    comparisons: tuple[Comparison, ...]


def encode(report: Report) -> bytes:
    """Return the report as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def decode(text: bytes) -> Report:
    """Return a report that `encode` wrote; raises msgspec.ValidationError for anything else."""
    return msgspec.json.decode(text, type=Report)
