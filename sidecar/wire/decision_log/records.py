"""The records of the log of decisions, as JSON has them.

A record is written in two parts. What only the answer says of it is the same whenever the answer is
repeated, and is encoded once. What a member is for, and what other schemas call it, says `fields`.
"""

from collections.abc import Mapping

import msgspec

from sidecar.domain.values.moments import micros

DECISION = "decision"
DROPPED = "dropped"
CHAIN = "chain"
"""The kinds of records: a decision, a number of them that are missing, and what the chain does."""


class LoggedCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a record that the call says: members as in `fields.FIELDS`."""

    time: str
    kind: str
    id: str
    policy_set: str
    listener: str = ""
    asker: str = ""
    method: str = ""
    route: str = ""
    address: str = ""
    latency: str = ""
    repeated: bool = False
    share: float | None = None
    trace: str = ""


class LoggedCause(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A cause of a reason: what holds, since when, who says so, and the events that brought it."""

    kind: str
    value: str = ""
    since: str = ""
    source: str = ""
    events: tuple[str, ...] = ()


class LoggedReason(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A reason: the policy that asks, the type of the signal that made it ask, and its causes."""

    policy: str = ""
    signal: str = ""
    text: str = ""
    causes: tuple[LoggedCause, ...] = ()


class LoggedTrial(msgspec.Struct, frozen=True, gc=False):
    """A report-only policy that asked something, and the verdict if it were enforced."""

    policy: str
    verdict: str


class LoggedAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a record that the answer says: members as in `fields.FIELDS`."""

    verdict: str
    status: int
    error: str = ""
    app: str = ""
    contexts: tuple[str, ...] = ()
    user: str = ""
    session: str = ""
    issuer: str = ""
    device: str = ""
    assurance: str = ""
    standing: str = ""
    pending: bool = False
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    controls: tuple[str, ...] = ()
    reasons: tuple[LoggedReason, ...] = ()
    report_only: tuple[LoggedTrial, ...] = ()
    country: str = ""
    region: str = ""
    asn: int = 0
    networks: tuple[str, ...] = ()
    break_glass: bool = False
    stale: bool = False


_encode = msgspec.json.Encoder().encode


def encode_call(call: LoggedCall) -> bytes:
    """Return what the call says, with an open end for `encode_answer`."""
    return _encode(call)[:-1]


def encode_answer(answer: LoggedAnswer) -> bytes:
    """Return what the answer says, to stand after what the call says."""
    return b"," + _encode(answer)[1:]


def encode_notice(at: float, kind: str, members: Mapping[str, object]) -> bytes:
    """Return a record that is no decision."""
    return _encode({"time": micros(at), "kind": kind, **members})


LATENCIES = ((0.0001, "0.1ms"), (0.001, "1ms"), (0.01, "10ms"), (0.1, "100ms"), (1.0, "1s"))
"""The latency classes: at most so many seconds, and the name."""


def latency_class(seconds: float) -> str:
    """Return the name of the least bound that it did not exceed; `longer` beyond the last."""
    return next((name for bound, name in LATENCIES if seconds <= bound), "longer")


METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY")
)
OTHER_METHOD = "_OTHER"
"""What stands for a method that is none of them, as OpenTelemetry has it: clients choose it."""


def method_of(method: str) -> str:
    """Return the method of a call as it is logged."""
    upper = method.upper()
    return upper if not upper or upper in METHODS else OTHER_METHOD
