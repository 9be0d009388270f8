"""Conditional-Access policies as values: who, where, under which conditions -> which controls.

`wire.policies.policy_files` reads them, `domain.evaluation.evaluator` compiles them.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec


class PolicyState(StrEnum):
    """State of a policy: it is enforced (`enabled`), only counted (`report-only`), or unused."""

    ENABLED = "enabled"
    REPORT_ONLY = "report-only"
    DISABLED = "disabled"


class Circumstance(StrEnum):
    """A part of a session's surroundings that can change, be proven, and be returned to."""

    IP = "ip"
    NETWORK = "network"
    COUNTRY = "country"
    REGION = "region"
    ASN = "asn"
    DEVICE = "device"
    USER_AGENT = "user_agent"


class RiskLevel(StrEnum):
    """CAEP's risk levels, in the contract's spelling of policies."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    height: int
    """0 for low, 1 for medium, 2 for high: no property, since this is asked often."""


for _height, _level in enumerate(RiskLevel):
    _level.height = _height


class Selection(msgspec.Struct, frozen=True, gc=False):
    """Names taken in and names left out. `include` None: all; exclusion beats inclusion."""

    include: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        return (self.include is None or name in self.include) and name not in self.exclude

    def is_disjoint(self, names: frozenset[str]) -> bool:
        """Return whether it takes in none of these."""
        if self.exclude:
            names -= self.exclude
        return not names if self.include is None else self.include.isdisjoint(names)


class Principals(msgspec.Struct, frozen=True, gc=False):
    """Users by id, group or role."""

    users: frozenset[str] = frozenset()  # by the issuers' `user_claim`
    groups: frozenset[str] = frozenset()  # by their `groups_claim`
    roles: frozenset[str] = frozenset()  # by their `roles_claim`


NOBODY = Principals()


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """The users that a policy is for. `include` None: everybody; exclusion beats inclusion."""

    include: Principals | None = None
    exclude: Principals = Principals()


class All(msgspec.Struct, frozen=True, tag="all", gc=False):
    """Every condition holds."""

    conditions: tuple["Condition", ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any", gc=False):
    """At least one condition holds."""

    conditions: tuple["Condition", ...]


class Not(msgspec.Struct, frozen=True, tag="not", gc=False):
    """The condition does not hold."""

    condition: "Condition"


class Changed(msgspec.Struct, frozen=True, tag="changed", gc=False):
    """Any of these circumstances is neither the baseline's nor proven since."""

    circumstances: tuple[Circumstance, ...]


class Locations(msgspec.Struct, frozen=True, tag="locations", gc=False):
    """The address lies in (or outside of) named locations.

    `strict`: the call's own address does, instead of the one that the session was last seen at.
    """

    selection: Selection
    strict: bool = False


class Networks(msgspec.Struct, frozen=True, tag="networks", gc=False):
    """The session's network segment is one of these (or none of those)."""

    selection: Selection


class Countries(msgspec.Struct, frozen=True, tag="countries", gc=False):
    """The address's country, ISO 3166-1 alpha-2."""

    selection: Selection


class Asns(msgspec.Struct, frozen=True, tag="asns", gc=False):
    """The address's autonomous system, as decimal strings without `AS`."""

    selection: Selection


class Anonymizer(msgspec.Struct, frozen=True, tag="anonymizer", gc=False):
    """The address is (or is not) an anonymizer; `kinds` empty: any kind."""

    present: bool
    kinds: frozenset[str] = frozenset()


class TravelSpeed(msgspec.Struct, frozen=True, tag="travel_speed", gc=False):
    """The session got where it is faster than `at_least` km/h."""

    at_least: float


class Device(msgspec.Struct, frozen=True, tag="device", gc=False):
    """The device's compliance (`compliant`), or whether a device is known at all (`known`)."""

    compliant: bool | None = None
    known: bool | None = None


class UserRisk(msgspec.Struct, frozen=True, tag="user_risk", gc=False):
    """The user's reported risk level is at least this."""

    at_least: RiskLevel


class SessionRisk(msgspec.Struct, frozen=True, tag="session_risk", gc=False):
    """The session's risk level, reported or from its score, is at least this.

    `reported`: only what was reported counts, and what was not is no level at all.
    """

    at_least: RiskLevel
    reported: bool = False


class Score(msgspec.Struct, frozen=True, tag="score", gc=False):
    """The session's risk score, 0..100, is at least this."""

    at_least: float


class Signals(msgspec.Struct, frozen=True, tag="signals", gc=False):
    """A named signal is live, its decayed weight at least `at_least`."""

    include: frozenset[str]
    at_least: float = 1.0


class Claims(msgspec.Struct, frozen=True, tag="claims", gc=False):
    """Each named claim has (or, as a list, contains) one of these values."""

    required: tuple[tuple[str, frozenset[str]], ...]


class TimeOfDay(msgspec.Struct, frozen=True, tag="time_of_day", gc=False):
    """The local time lies in [`start`, `end`) minutes after midnight on one of `days`.

    `days` are 0 (Monday) .. 6. Where `end` <= `start` the window runs over midnight and belongs
    to the day it begins on. `timezone` is an IANA name.
    """

    start: int
    end: int
    days: frozenset[int] = frozenset(range(7))
    timezone: str = "UTC"


Condition: TypeAlias = (
    All
    | AnyOf
    | Not
    | Changed
    | Locations
    | Networks
    | Countries
    | Asns
    | Anonymizer
    | TravelSpeed
    | Device
    | UserRisk
    | SessionRisk
    | Score
    | Signals
    | Claims
    | TimeOfDay
)


def key_of(kind: type[Condition]) -> str:
    """Return the key by which a policy has a condition of this type: it is spelled there alone."""
    return str(kind.__struct_config__.tag)


COMPLIANT_DEVICE = "compliant-device"
BLOCK = "block"
ROUTINE = "routine"
"""The name by which a policy can include calls that map to no authentication context."""


class Grant(msgspec.Struct, frozen=True, gc=False):
    """The controls that let a session pass, in disjunctive form.

    Any one of `alternatives` suffices, each a set of controls that must all be met. A control is
    an assurance level's name or `compliant-device`. `block` refuses, whatever is shown.
    """

    alternatives: tuple[frozenset[str], ...] = ()
    block: bool = False


class EveryTime(msgspec.Struct, frozen=True, gc=False):
    """Each call needs a sign-in of its own, no older than `within` seconds.

    For `grace` seconds after it has bought a call, its token may call again.
    """

    grace: int = 0
    within: int = 300


class SessionControls(msgspec.Struct, frozen=True, gc=False):
    """Demands of a policy on sign-ins while it holds, in seconds.

    `sign_in_frequency`: none older than this; or `every_time`: each call its own. `max_lifetime`:
    so long after the sign-in with which the session began a fresh one is needed, whatever was shown
    meanwhile; it begins a new life.
    """

    sign_in_frequency: int | None = None
    max_lifetime: int | None = None
    every_time: EveryTime | None = None


class Policy(msgspec.Struct, frozen=True, gc=False):
    """One policy, as its author wrote it.

    `issuers`: at whose users' sessions it looks, by their namespaces.
    `grace`: so many seconds a mark waits before it binds. `min_interval`: for so many seconds after
    a proof its cause does not ask again (None: as configured for all).
    """

    id: str
    grant: Grant
    description: str = ""
    state: PolicyState = PolicyState.ENABLED
    users: Assignment = Assignment()
    issuers: Selection = Selection()
    apps: Selection = Selection()
    contexts: Selection = Selection()
    conditions: Condition | None = None
    session: SessionControls = SessionControls()
    sticky: bool = False
    grace: int = 0
    min_interval: int | None = None
