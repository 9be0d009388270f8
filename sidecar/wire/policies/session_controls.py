"""Describes what a policy asks of the age of sign-ins: its `session` section."""

from collections.abc import Iterable

import msgspec

from sidecar.domain.policy.conditional_access import EveryTime, SessionControls
from sidecar.wire.grammar.records import ByShape, Given, Record, RecordKey
from sidecar.wire.grammar.rules import FileReading, Rule, Schema, Seconds
from sidecar.wire.yaml.structs import MISSING, Missing
from sidecar.wire.yaml.tree import Node, Scalar

EVERY_TIME = "every_time"
LONGEST_WITHIN = 3600
"""Seconds for which a sign-in may wait for the call that it buys, and then be shown again."""


class Interval(msgspec.Struct, frozen=True):
    """Accepts a duration, or `every_time`."""

    def read(self, node: Node, field: str, reading: FileReading) -> int | EveryTime | Missing:
        """Return the seconds, or that each call needs a sign-in of its own."""
        if isinstance(node, Scalar) and node.value == EVERY_TIME:
            return EveryTime()
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value[:1].isalpha():
            message = f"must be a duration such as 90s, 15m or 1h, or {EVERY_TIME}"
            reading.add(node, field, message)
            return MISSING
        return Seconds().read(node, field, reading)

    def schema(self) -> Schema:
        """Return the schema of both."""
        return {"anyOf": [{"const": EVERY_TIME}, *Seconds().schema()["anyOf"]]}

    def words(self) -> str:
        """Return the words of both."""
        return f"duration, or `{EVERY_TIME}`"


def _every_time(given: Given) -> Iterable[tuple[str, str]]:
    if "interval" in given.nodes and not isinstance(given.values.get("interval"), EveryTime):
        for key in ("grace", "within"):
            if key in given.nodes:
                yield key, f"is only for `interval: {EVERY_TIME}`"


def _frequency(
    interval: int | EveryTime, grace: int = EveryTime().grace, within: int = EveryTime().within
) -> int | EveryTime:
    return EveryTime(grace, within) if isinstance(interval, EveryTime) else interval


def _controls(
    sign_in_frequency: int | EveryTime | None = None, max_lifetime: int | None = None
) -> SessionControls:
    if isinstance(sign_in_frequency, EveryTime):
        return SessionControls(None, max_lifetime, sign_in_frequency)
    return SessionControls(sign_in_frequency, max_lifetime)


_FOR_EACH_CALL: Schema = {"properties": {"interval": {"const": EVERY_TIME}}}
FREQUENCY: Record[int | EveryTime] = Record(
    {
        "interval": RecordKey(
            Interval(),
            f"`{EVERY_TIME}`; or a duration, as without the mapping",
            required=f"is required: a duration, or {EVERY_TIME}",
        ),
        "grace": RecordKey(
            Seconds(0, LONGEST_WITHIN),
            "for so long after it has bought a call, the same token may call again: a retry, or a"
            " page of several calls",
            default="`0s`",
        ),
        "within": RecordKey(
            Seconds(1, LONGEST_WITHIN),
            "no older than this may a sign-in be to buy a call",
            default="`5m`",
        ),
    },
    _frequency,
    check=_every_time,
    more={"dependentSchemas": {"grace": _FOR_EACH_CALL, "within": _FOR_EACH_CALL}},
)
_FREQUENCY: Rule[int | EveryTime] = ByShape(Interval(), mapping=FREQUENCY)
SESSION = Record(
    {
        "sign_in_frequency": RecordKey(
            _FREQUENCY,
            "while the policy holds, no sign-in older than this: it starts anew with every sign-in"
            " that suffices; or [`every_time`](#every-time), where each call needs one of its own",
        ),
        "max_lifetime": RecordKey(
            Seconds(),
            "so long after the sign-in with which the session began, a fresh one is needed;"
            " whatever was shown meanwhile does not lengthen the life, and the first sign-in after"
            " its end that suffices begins the next",
        ),
    },
    _controls,
    needs=("sign_in_frequency", "max_lifetime"),
    lacking="must have `sign_in_frequency` or `max_lifetime`",
)
