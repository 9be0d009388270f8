"""State of a session as the fold keeps it, with an activation for each policy (see `fold`)."""

import copy
from collections.abc import Callable, Iterable

import msgspec

from sidecar.domain.facts.memberships import Membership
from sidecar.domain.policy.conditional_access import Circumstance, RiskLevel
from sidecar.domain.sources.origin import Origins, together
from sidecar.domain.values.assurance import Authentication, is_later
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS, Stamp

PLACE = "place"
"""The circumstance "at these coordinates, in this network" (`places.label`): no policy names it."""

ANONYMIZER = "anonymizer"
"""The circumstance "behind these kinds of anonymizer", which no policy names as one either."""

PROVEN_BOUND = 96
PROVEN_BY_BOUND = 8
"""Ways of signing in that are kept of each circumstance that is proven."""

PLACES_BOUND = 64
"""Places that are proven in a session, and as many that are remembered of its user."""

ARRIVALS_BOUND = 8
IDENTITIES_BOUND = 4
SIGN_INS_BOUND = 16
SIGNALS_BOUND = 64
SPENT_BOUND = 64
ASKED_BOUND = 16

_DEVICE = Circumstance.DEVICE
"""To ask a class of an enumeration for a member takes longer than to look one up in a table."""

Moment = int | None
"""Microseconds since the epoch; None: from the start of the session."""


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value and the moment it began."""

    value: str
    since: Moment


class Revocation(Held, frozen=True, array_like=True):
    """A reason for which sign-ins until a moment are void, and the events that say so (`by`)."""

    by: Origins = ()


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last word of a source: its value, since when the source says so, and when it last did."""

    value: str
    since: Moment
    at: int


class ClaimSaid(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last word of a source on a claim: its values, since when, and when it last said so."""

    values: tuple[str, ...]
    since: Moment
    at: int


class RiskHeld(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A risk level that a source reported, and since when it has said at least medium, and high.

    `at`: when it spoke last.
    """

    level: RiskLevel
    medium_since: int
    high_since: int
    at: int


class Sighting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An address and its place at which somebody was seen, and the moment."""

    ip: str
    place: Place
    moment: int


class TravelHeld(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A journey that ended where the session is: its speed, both of its ends and the arrival.

    `proven_by` are the sign-ins that came with the arrival itself.
    """

    speed: float
    distance: float
    hours: float
    since: int
    origin: Sighting
    destination: Sighting
    text: str
    proven_by: tuple[Authentication, ...] = ()


class PlaceHeld(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A place, and the sign-ins that came from there."""

    ip: str
    place: Place
    sign_ins: tuple[Authentication, ...]


class Remembered(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A place that the user proved in an earlier session, on a device, by a sign-in, at a moment.

    `circumstances` are what it says of the address, as `State.proven` names them.
    """

    device: str
    ip: str
    place: Place
    authentication: Authentication
    moment: int
    circumstances: tuple[str, ...]


class SignalHeld(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A signal that a source raised; `device` names the device it was raised on, if any.

    `register` is what it is a word of: signals of one name, of a user, a session or a device.
    """

    name: str
    weight: float
    half_life: float
    since: int
    device: str = ""
    source: str = ""
    register: str = ""

    @property
    def at(self) -> int:
        """Return when it was said."""
        return self.since


class SpentHeld(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The token by which a proof was spent, and when (microseconds)."""

    token: str
    moment: int


def said_by(source: str) -> str:
    """Return whose word something is, in brackets; empty where it is the daemon's own."""
    return f" (said by {source})" if source else ""


class StepUpHeld(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A step-up that an operator asked for, and when (`at`); see `facts.StepUpAsked`.

    One sign-in, or several, must show all of the `controls`. `device` set: of sessions on it.
    `by`: the events that asked.
    """

    contexts: tuple[str, ...]
    controls: tuple[str, ...]
    max_age: int
    device: str
    at: int
    by: Origins = ()


class Early(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A sign-in or context shown ahead of its time: the second it claims, and that of the showing.

    `sign_in` is what was shown; None: a context was.
    """

    claimed: int
    shown: int
    sign_in: Authentication | None = None


class Cause(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One thing that makes a condition hold.

    `kind` and `value` identify it; `circumstance` (`kind=value`) is what a sign-in would prove,
    empty where a sign-in proves nothing of the kind; `signal` the event type that brings such
    causes; `source` who says so, empty for the daemon itself. `by`, of a marked one: the events
    with which it came up, empty where time alone brought it, or other policies.
    """

    kind: str
    value: str
    since: Moment
    signal: str
    circumstance: str = ""
    source: str = ""
    by: Origins = ()

    @property
    def key(self) -> str:
        """Return what makes two causes the same one.

        What another source says is another cause: who has signed in after the word of one has
        answered nothing that another one says later.
        """
        key = self.kind + "=" + self.value  # members of enumerations are slow to format
        return key + said_by(self.source) if self.source else key


class Activation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Per-session policy state: is its condition true, why, and the causes of its mark.

    `begun`, of a policy with a grace period: since when the mark waits on a compliant device, and
    `begun_otherwise` on one that is not known to be compliant. `prompted`, of one with a
    least interval: the causes that were marked and when, latest last. `life`, of one with a session
    lifetime: the second of the sign-in with which the present one began. `excused`: the causes that
    an operator has cleared, and when: as long as they go on, nobody is asked for them. `ended`: the
    events that took its last mark away, or where time did that, those that had brought it, and
    `ended_since` when that mark had come up.
    """

    holds: bool = False
    causes: tuple[Cause, ...] = ()
    mark: tuple[Cause, ...] = ()
    begun: Moment = None
    prompted: tuple[tuple[str, int], ...] = ()
    life: int | None = None
    begun_otherwise: Moment = None
    excused: tuple[tuple[str, int], ...] = ()
    ended: Origins = ()
    ended_since: Moment = None

    @property
    def is_cleared(self) -> bool:
        """Return whether an operator has cleared all that makes it hold."""
        if not self.excused:
            return False
        excused = {key for key, _ in self.excused}
        return self.holds and not self.mark and all(cause.key in excused for cause in self.causes)

    @property
    def since(self) -> Moment:
        """Return when the mark's latest cause came up; None also where all are from the start."""
        mark = self.mark
        if len(mark) == 1:
            return mark[0].since
        return max([c.since for c in mark if c.since is not None], default=None)

    @property
    def by(self) -> Origins:
        """The events that brought the mark's latest causes, as far as it is known."""
        return together(cause.by for cause in self.mark if cause.since == self.since)


class Steady(msgspec.Struct, frozen=True, gc=False, eq=False):
    """The moments from and until which time alone changes nothing, as an evaluator has found out.

    `by` is the number of that evaluator. Any two are equal, so that states are that differ in
    nothing else.
    """

    by: int
    since: int
    until: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Steady, msgspec.UnsetType))

    __hash__ = None  # type: ignore[assignment]


class State(msgspec.Struct, gc=False):
    """The state of a session. Only the fold changes it (`Evaluator.advance`).

    What sources say is kept by source, and weighed by whoever reads it (`precedence`). A table in
    a table is replaced, never changed: copies share it. `claims` are those that tokens show, and
    `claims_said` what others say of them; `segments` are what others report of its network,
    `bound_by` who says which device it is on, and `vouched` that it may loosen by saying so.

    `baseline` is what the circumstances were at first, by whoever said so, and `witnessed` what
    they were by those alone whose word may loosen: what differs from either has changed. `hearsay`
    are those that hold by the word of another alone, and whose word it is.

    `lost`: what was known before this moment (microseconds) may be lost; 0: nothing is. It is no
    fact, and is set by whoever has the records: see `domain.values.loss`.

    `own` is the session's last sighting, `left` when it was last seen at another address than that,
    `placed` the last sightings whose coordinates say something, by whose they are. `arrivals` are
    the journeys that ended where it is. `proven` and `proven_places` are what sign-ins have proven,
    `attached` the sign-ins that a call from some address has shown; `remembered` are places proven
    in earlier sessions, and `on` the devices and keys that the latest sign-in came with.

    `asked` are the step-ups that operators ask for, `timely` the sign-ins by which those that ask
    for a young one were met, and `cleared` when an operator last cleared all that then was.

    `issuer` is the namespace of the names of its user, groups and devices. `steady` follows from
    all this: it is noted by an evaluator, and is no part of a state that is compared or stored.
    `claims_issued` is when the tokens were issued that showed the claims.
    """

    last: Stamp = Stamp(0, "")
    established: int = 0
    ip: str = ""
    location: Place = Place()
    circumstances: dict[str, Held] = {}
    baseline: dict[str, str] = {}
    witnessed: dict[str, str] = {}
    hearsay: dict[str, str] = {}
    bound_by: str = ""
    vouched: bool = False
    proven: dict[str, tuple[Authentication, ...]] = {}
    proven_places: dict[str, PlaceHeld] = {}
    remembered: dict[str, Remembered] = {}
    on: tuple[str, ...] = ()
    attached: tuple[Authentication, ...] = ()
    sign_ins: tuple[Authentication, ...] = ()
    shown_contexts: dict[str, int] = {}
    lowered: dict[str, Said] = {}
    early: dict[str, Early] = {}
    early_by: int = 0
    network_reported: bool = False
    user_risk: dict[str, RiskHeld] = {}
    session_risk: dict[str, RiskHeld] = {}
    device_risk: dict[str, dict[str, RiskHeld]] = {}
    compliance: dict[str, dict[str, Said]] = {}
    device_network: dict[str, dict[str, Said]] = {}
    segments: dict[str, Said] = {}
    signals: dict[str, SignalHeld] = {}
    claims: dict[str, tuple[tuple[str, ...], Moment]] = {}
    claims_issued: dict[str, int] = {}
    claims_said: dict[str, dict[str, ClaimSaid]] = {}
    memberships: dict[str, Membership] = {}
    revocations: dict[str, Revocation] = {}
    spent: dict[int, SpentHeld] = {}
    asked: dict[str, StepUpHeld] = {}
    timely: dict[str, tuple[Authentication, ...]] = {}
    cleared: int = 0
    score_level: RiskLevel = RiskLevel.LOW
    loosening_level: RiskLevel = RiskLevel.LOW
    credentials_changed: int = 0
    arrivals: tuple[TravelHeld, ...] = ()
    own: Sighting | None = None
    left: int = 0
    elsewhere: Sighting | None = None
    placed: dict[str, Sighting] = {}
    activations: dict[str, Activation] = msgspec.field(default_factory=dict, name="holdings")
    aside: int = 0
    lost: int = 0
    issuer: str = ""
    steady: Steady | msgspec.UnsetType = msgspec.UNSET

    @property
    def device(self) -> str:
        """The device the session is on; empty where it is not known."""
        held = self.circumstances.get(_DEVICE)
        return held.value if held else ""

    @property
    def travel(self) -> TravelHeld | None:
        """The fastest journey that ended where the session is; None: there was none."""
        return max(self.arrivals, key=_speed, default=None)

    def began_with(self, circumstance: str, value: str) -> bool:
        """Return whether a circumstance was this at the start, by all who have said so."""
        return value == self.baseline.get(circumstance) == self.witnessed.get(circumstance, value)

    def goes_on(self, at: int) -> bool:
        """Return whether what a source said then goes on where it says the same again.

        It does not where an operator has cleared it meanwhile: then that is news.
        """
        return at >= self.cleared

    def concerns(self, device: str) -> bool:
        """Return whether what is said of `device` concerns this session.

        Empty: it is said of no device in particular, and concerns the session.
        """
        return not device or device == self.device

    def copy(self) -> "State":
        """Return a state that can be changed without changing this one."""
        twin = copy.copy(self)
        _COPY_TABLES(self, twin)
        return twin

    @property
    def last_revocation(self) -> float:
        """The moment of the last revocation, made good or not, in seconds; 0: there was none."""
        moments = (
            held.since or 0
            for key, held in self.revocations.items()
            if self.concerns(key.partition("|")[2])
        )
        return max(moments, default=0) / MICROSECONDS

    def revoked(self, skew: int, own: Authentication | None = None) -> Revocation | None:
        """Return the latest revocation that no later sign-in made good; None: the session lives.

        Of a call, none but its `own` sign-in can have made it good.
        """
        if not self.revocations:
            return None
        latest: Revocation | None = None
        for key, held in self.revocations.items():
            scope, _, device = key.partition("|")
            # A session that is named is meant, unless it is known to be on another device: by the
            # word of who may loosen, since else anybody could call its revocation off.
            if not self.concerns(device) and (scope != "session" or self.vouched):
                continue
            if latest is None or (held.since or 0) > (latest.since or 0):
                latest = held
            elif held.since == latest.since:
                latest = msgspec.structs.replace(latest, by=together((latest.by, held.by)))
        if latest is None or any(
            is_later(auth.auth_time, (latest.since or 0) // MICROSECONDS, skew)
            for auth in (self.sign_ins if own is None else (own,))
        ):
            return None
        return latest


def _speed(journey: TravelHeld) -> tuple[float, int]:
    return journey.speed, journey.since


def unproven(state: State) -> State:
    """Return the same, had nobody ever signed in to prove where the session is.

    It shares its tables.
    """
    if not (state.proven or state.proven_places or state.remembered):
        return state
    twin = copy.copy(state)
    twin.proven, twin.proven_places, twin.remembered = {}, {}, {}
    return twin


_TABLES = tuple(
    field.name
    for field in msgspec.structs.fields(State)
    if isinstance(getattr(State(), field.name), dict)
)


def _copier(names: Iterable[str]) -> Callable[[State, State], None]:
    """Return what gives a state tables of its own, equal to another's, written out for each.

    A loop over their names, with `getattr` and `setattr`, takes twice as long.
    """
    lines = ["def copy_tables(one, twin):"]
    for name in names:  # most are empty
        lines += [f"    table = one.{name}", f"    twin.{name} = table.copy() if table else {{}}"]
    namespace: dict[str, Callable[[State, State], None]] = {}
    exec("\n".join(lines), namespace)  # noqa: S102 - the fields' names only
    return namespace["copy_tables"]


_COPY_TABLES = _copier(_TABLES)

EARLIER_BOUND = 3
"""So many seconds with a sign-in, before the latest one, are kept in a checkpoint."""


class Earlier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A state as of the sign-ins until a second, where that differs from the whole one."""

    until: int
    state: State

    @classmethod
    def of(cls, until: int, state: State) -> "Earlier":
        """Return what is kept of a state as of that second."""
        return cls(until, State(**{name: getattr(state, name) for name in _PROVEN}))

    def restore(self, state: State) -> None:
        """Make a state, which changes and is the whole one, what it is as of that second."""
        for name in _PROVEN:
            value = getattr(self.state, name)
            setattr(state, name, dict(value) if isinstance(value, dict) else value)


_PROVEN = (
    *("sign_ins", "attached", "proven", "proven_places", "on", "arrivals"),
    *("activations", "timely", "score_level", "loosening_level"),
)
"""The fields of a state that depend on sign-ins."""


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """The state up to `state.last`, and the digests of the facts that are folded into it.

    A fact that is no later than `state.last` and not in `folded` has arrived late. `earlier`
    has the states by which calls are judged whose token is older than the session's latest sign-in;
    the one of second 0 is the state had nobody signed in.
    """

    state: State
    folded: frozenset[int] = frozenset()
    earlier: tuple[Earlier, ...] = ()

    @property
    def seconds(self) -> tuple[int, ...]:
        """The seconds of all sign-ins, latest first, as of which the session is known here."""
        found = {auth.auth_time for auth in self.state.sign_ins}
        found.update(one.until for one in self.earlier)
        return tuple(sorted(found, reverse=True))

    def as_of(self, until: int | None) -> State:
        """Return the state, to be changed, as of the sign-ins until that second; None: as of all.

        Where that is no longer known, the state is that of a session without any sign-in.
        """
        state = self.state.copy()
        state.steady = msgspec.UNSET
        latest = next(iter(state.sign_ins), None)
        if until is None or latest is None or latest.auth_time <= until:
            return state
        known = [one for one in self.earlier if one.until <= until]
        max(known, key=lambda each: each.until, default=_UNKNOWN).restore(state)
        return state


_UNKNOWN = Earlier.of(0, State())
"""Nothing is known: all that holds is to be proven."""
