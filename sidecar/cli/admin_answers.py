"""Answers of the admin listener, as far as commands read them; the rest is just shown."""

from typing import Annotated, Any, Required, TypedDict

from msgspec import Meta

_YEAR_9999 = 253_370_764_800
_Moment = Annotated[float, Meta(ge=0, le=_YEAR_9999)]
"""Seconds since the epoch, or of a duration, that can be written as a date."""


class Mark(TypedDict, total=False):
    """A mark: the demand of one policy on a session."""

    policy: Required[str]
    text: Required[str]
    contexts: list[str] | None
    met_until: _Moment | None
    binds_from: _Moment | None


class Standing(TypedDict, total=False):
    """The standing of a session."""

    standing: Required[str]
    score: float
    marks: list[Mark] | None
    cleared: list[str] | None


class Summary(Standing, total=False):
    """A session as a line of a list."""

    session: Required[str]


class AdminPage(TypedDict, total=False):
    """Some sessions; `cursor` leads to more."""

    sessions: list[Summary]
    cursor: str


class HistoryEntry(TypedDict, total=False):
    """One thing that happened, in a sentence."""

    time: Required[_Moment]
    sentence: Required[str]
    session: str


class AdminHistory(TypedDict, total=False):
    """Some entries of a history; `cursor` leads to more, and `unread` cannot be read."""

    entries: list[HistoryEntry]
    cursor: str
    unread: int


class Term(TypedDict, total=False):
    """One contribution to a score."""

    points: float
    weight: float
    half_life: _Moment | None


class Moment(TypedDict, total=False):
    """One line of a timeline."""

    time: _Moment


class AdminDetail(TypedDict, total=False):
    """One session in full."""

    summary: Summary
    terms: list[Term] | None
    proven: list[str] | None
    circumstances: dict[str, Any] | None
    baseline: dict[str, Any] | None
    timeline: list[Moment] | None
    others: list[Standing] | None


class Work(TypedDict, total=False):
    """Work that sidecars share."""

    sessions: int
    sidecars: list[str] | None


class AdminProgress(TypedDict, total=False):
    """The progress of the re-score of all sessions."""

    done: int
    expected: int
    rate: _Moment
    seconds_left: _Moment
    begun: _Moment
    finished: _Moment
    fan_out: Work | None


class Condition(TypedDict, total=False):
    """A condition of a probe: `good`, `limping` or `bad`, and why."""

    name: Required[str]
    state: Required[str]
    reason: str


class AdminProbe(TypedDict, total=False):
    """The answer of a probe about the daemon."""

    status: Required[str]
    checks: list[Condition] | None


class AdminLetter(TypedDict):
    """An event that was given up."""

    id: str


class AdminLetters(TypedDict, total=False):
    """Some of them; `cursor` leads to more."""

    letters: list[AdminLetter]
    cursor: str


class AdminAct(TypedDict, total=False):
    """The outcome of an operator's act."""

    on: str
    name: str
    issuer: str
    sessions: int | None
    seconds: float | None


class AdminPolicyAct(TypedDict, total=False):
    """The outcome of an act on the policies of the fleet."""

    sequence: Required[int]
    sidecars: Required[int]
    in_force: Required[int]
    waits: Required[dict[str, str]]


class Activation(TypedDict, total=False):
    """A bundle that was in force; `at` in microseconds."""

    sequence: Required[int]
    at: Required[Annotated[int, Meta(ge=0, le=_YEAR_9999 * 1_000_000)]]


class AdminBundles(TypedDict, total=False):
    """The bundles that are and were in force, the latest first."""

    in_force: Required[int]
    here: Required[int]
    proposed: Required[int]
    activations: Required[list[Activation]]
