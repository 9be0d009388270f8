"""What a policy asks of the age of sign-ins: its `session` section."""

from sidecar.domain.policy.policy import EveryTime, SessionControls
from sidecar.wire.yaml import scalars as spellings
from sidecar.wire.yaml.nodes import Leaves, inside
from sidecar.wire.yaml.structs import refuse
from sidecar.wire.yaml.tree import Node, Scalar, Table

KEYS = ("sign_in_frequency", "max_lifetime")
EVERY_TIME = "every_time"
FREQUENCY_KEYS = ("interval", "grace", "within")
LONGEST_WITHIN = 3600
"""Seconds for which a sign-in may wait for the call that it buys, and then be shown again."""


def read_session(leaves: Leaves, node: Node, field: str) -> SessionControls:
    """Read the section; what is wrong goes to the leaves' problems."""
    controls = leaves.table(node, field, KEYS)
    if controls is None:
        return SessionControls()
    if not controls and isinstance(node, Table) and not node.entries:
        leaves.add(node, field, "must have `sign_in_frequency` or `max_lifetime`")
    frequency = cap = None
    if "sign_in_frequency" in controls:
        at = inside(field, "sign_in_frequency")
        frequency = _frequency(leaves, controls["sign_in_frequency"], at)
    if "max_lifetime" in controls:
        cap = seconds(leaves, controls["max_lifetime"], inside(field, "max_lifetime"))
    if isinstance(frequency, EveryTime):
        return SessionControls(None, cap, frequency)
    return SessionControls(frequency, cap)


def seconds(
    leaves: Leaves, node: Node, field: str, least: int = 1, most: int = spellings.LONGEST
) -> int | None:
    """A duration of whole seconds; None where it is none."""
    if not isinstance(node, Scalar) or node.value is None:
        refuse(leaves.problems, node, field, "a duration")
        return None
    try:
        found = spellings.duration(node.value)
    except ValueError as error:
        leaves.add(node, field, str(error))
        return None
    if not least <= found <= most or found != int(found):
        longest = "3650d" if most == spellings.LONGEST else f"{most}s"
        leaves.add(node, field, f"must be whole seconds, from {least}s to {longest}")
        return None
    return int(found)


def _frequency(leaves: Leaves, node: Node, field: str) -> int | EveryTime | None:
    if _is_every_time(node):
        return EveryTime()
    if not isinstance(node, Table):
        return _interval(leaves, node, field)
    table = leaves.table(node, field, FREQUENCY_KEYS)
    if table is None:
        return None
    if "interval" not in table:
        leaves.add(node, inside(field, "interval"), f"is required: a duration, or {EVERY_TIME}")
        return None
    if _is_every_time(table["interval"]):
        found = EveryTime()
        grace, within = found.grace, found.within
        if "grace" in table:
            at = inside(field, "grace")
            grace = seconds(leaves, table["grace"], at, 0, LONGEST_WITHIN) or 0
        if "within" in table:
            at = inside(field, "within")
            within = seconds(leaves, table["within"], at, 1, LONGEST_WITHIN) or within
        return EveryTime(grace, within)
    for key in ("grace", "within"):
        if key in table:
            leaves.add(table[key], inside(field, key), f"is only for `interval: {EVERY_TIME}`")
    return _interval(leaves, table["interval"], inside(field, "interval"))


def _interval(leaves: Leaves, node: Node, field: str) -> int | None:
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value[:1].isalpha():
        leaves.add(node, field, f"must be a duration such as 90s, 15m or 1h, or {EVERY_TIME}")
        return None
    return seconds(leaves, node, field)


def _is_every_time(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value == EVERY_TIME
