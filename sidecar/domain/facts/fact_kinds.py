"""Facts of users, devices and sessions: single observations, each with its stamp.

A fact is one line of a timeline. Facts of a session lie in the session's record, facts of its
user and its device in theirs; `session` folds the three timelines into one standing.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.memberships import TokenMemberships
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import Stamp


class Scope(StrEnum):
    """The owner of the record that a fact lies in."""

    SESSION = "session"
    USER = "user"
    DEVICE = "device"


class _Fact(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Stamp and source of a fact; the source's name is empty for the daemon itself."""

    stamp: Stamp
    source: str = ""


class Sighted(_Fact, frozen=True, kw_only=True, array_like=True):
    """The session was used from this address."""

    ip: str
    place: Place


class AgentSeen(_Fact, frozen=True, kw_only=True, array_like=True):
    """The session was used with this user agent."""

    user_agent: str


class DeviceBound(_Fact, frozen=True, kw_only=True, array_like=True):
    """The session is on this device."""

    device: str


class ShownWith(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Circumstances of a sign-in: all that it can prove. Empty: it does not say.

    `key` is what the token that showed it is bound to. `made_there`: the sign-in itself says that
    it was made at that address; else a call from there showed it.
    """

    ip: str = ""
    place: Place = Place()
    device: str = ""
    key: str = ""
    user_agent: str = ""
    made_there: bool = False


class SignedIn(_Fact, frozen=True, kw_only=True, array_like=True):
    """This authentication was shown (the stamp is when, `auth_time` when it took place).

    `shown_with` is what came with it, and so what it can prove. `everywhere`: of the user, by
    somebody who knows; it counts in the sessions that live then, begins none, and brings none
    back that was revoked.
    """

    authentication: Authentication
    everywhere: bool = False
    shown_with: ShownWith = ShownWith()


class ContextsShown(_Fact, frozen=True, kw_only=True, array_like=True):
    """A trusted token says that these authentication contexts are satisfied as of this second."""

    contexts: tuple[str, ...]
    second: int


class AssuranceLowered(_Fact, frozen=True, kw_only=True, array_like=True):
    """A limit on what was shown until now: it counts for no more than this level or `acr`."""

    level: str


class ClaimsSeen(_Fact, frozen=True, kw_only=True, array_like=True):
    """Claims of the session or user; a claim named here replaces what was known of it.

    `issued_at` is when the token was issued that shows them (seconds): of two tokens the later one
    counts, whichever was shown last. 0: they are of no token, or of one without that time.
    """

    scope: Scope
    claims: tuple[tuple[str, tuple[str, ...]], ...]
    issued_at: int = 0


class MembershipsShown(_Fact, frozen=True, kw_only=True, array_like=True):
    """Groups and roles of the user, by kind, as a token of the session shows or omits them."""

    memberships: tuple[tuple[str, TokenMemberships], ...]


class NetworkReported(_Fact, frozen=True, kw_only=True, array_like=True):
    """An agent reports the network segment of the session, or of `device`."""

    network: str
    device: str = ""


class RiskReported(_Fact, frozen=True, kw_only=True, array_like=True):
    """The risk level of the session, its user, or `device`."""

    scope: Scope
    level: RiskLevel
    device: str = ""


class SignalRaised(_Fact, frozen=True, kw_only=True, array_like=True):
    """A detection. Negative `weight` or `half_life`: as configured."""

    scope: Scope
    name: str
    weight: float = -1.0
    half_life: float = -1.0
    device: str = ""


class ComplianceReported(_Fact, frozen=True, kw_only=True, array_like=True):
    """A word on the compliance of `device`."""

    device: str
    compliant: bool


class Revoked(_Fact, frozen=True, kw_only=True, array_like=True):
    """Sign-ins until now are void. `device` set: only those of sessions on it."""

    scope: Scope
    reason: str = ""
    device: str = ""


class StepUpAsked(_Fact, frozen=True, kw_only=True, array_like=True):
    """An operator asks for a step-up; see `signal.OperatorMark`.

    `device` set: of sessions on it.
    """

    scope: Scope
    contexts: tuple[str, ...] = ()
    control: str = "mfa"
    max_age: int = -1
    reason: str = ""
    device: str = ""


class MarksCleared(_Fact, frozen=True, kw_only=True, array_like=True):
    """An operator clears what sign-ins could clear. `device` set: of sessions on it."""

    scope: Scope
    reason: str = ""
    device: str = ""


class Spent(_Fact, frozen=True, kw_only=True, array_like=True):
    """The sign-in of `auth_time` has bought a call that needed one of its own; `token` showed it.

    The stamp is when; a sign-in that is dated ahead may be spent before its `auth_time`.
    """

    auth_time: int
    token: str


class Seen(_Fact, frozen=True, kw_only=True, array_like=True):
    """The user was somewhere, in this or another session (`session` is the record's name)."""

    session: str
    ip: str
    place: Place


class PlaceProven(_Fact, frozen=True, kw_only=True, array_like=True):
    """The user has proven this place on this device, by this sign-in (`friction.remember`).

    `device` is `id:NAME` or `key:BINDING`: what a later session must be on for it to count there.
    """

    device: str
    ip: str
    place: Place
    authentication: Authentication


class SetAside(_Fact, frozen=True, kw_only=True, array_like=True):
    """Stands for what cannot be read or folded. `ends`: it may have been a revocation.

    Never stored: it is what this version makes of a field, and a later one may know better.
    """

    ends: bool = False


Fact: TypeAlias = (
    Sighted
    | AgentSeen
    | DeviceBound
    | SignedIn
    | ContextsShown
    | AssuranceLowered
    | ClaimsSeen
    | MembershipsShown
    | NetworkReported
    | RiskReported
    | SignalRaised
    | ComplianceReported
    | Revoked
    | StepUpAsked
    | MarksCleared
    | Spent
    | Seen
    | PlaceProven
    | SetAside
)


def seen_in(fact: Sighted, session: str) -> Seen:
    """Return what a sighting says of the user, by the same source; `session` is its record."""
    return Seen(stamp=fact.stamp, source=fact.source, session=session, ip=fact.ip, place=fact.place)


ESTABLISHING = (Sighted, AgentSeen, DeviceBound, SignedIn)
"""A session begins with the first of these, if it `establishes`."""


def establishes(fact: Fact) -> bool:
    """Return whether a session begins with this fact, if it has none before."""
    return isinstance(fact, ESTABLISHING) and not (isinstance(fact, SignedIn) and fact.everywhere)


SIGNALS = (
    "session-established",
    "session-presented",
    "session-revoked",
    "network-change",
    "device-compliance-change",
    "risk-level-change",
    "credential-change",
    "assurance-level-change",
    "token-claims-change",
    "risk-signal",
)
"""The contract's event types; also the values of the metric label `signal`, with `policy`."""

ACTS = ("operator-mark", "operator-clear")
"""The types of the events that operators alone can say: they come by no door for events."""
