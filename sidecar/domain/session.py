"""A live session: how its facts become its state.

Theory of operation. Nothing that is observed is ever overwritten: sidecars only *join facts*
(`lattice`), so they may learn the news late, twice or in any order. A session's state is the fold
of its facts, its user's and its device's, in stamp order - a pure function of the set of facts,
of the policies and of the configuration. So all sidecars agree without talking to each other.

What the fold keeps:

- *circumstances*: where and with what the session is, each with the moment it began (`since`;
  None: it was so from the start), the *baseline* they are held against, and what is *proven*:
  circumstances in which the user has signed in after they began.
- *registers*: risk, compliance, claims, live signals, the best sign-ins, the latest revocation.
- for each policy a *holding*: the causes for which it holds now, and its *mark*: the causes that
  were fresh when they came up and that no circumstance proven before excuses.

The life of a mark, per policy:

    (no mark) --fresh cause--> marked --every cause gone, and not sticky--> (no mark)
    marked --sign-in that suffices, later than the mark's last cause--> satisfied (derived)

Whether a mark is satisfied is never stored: it is derived in `standing` from the sign-ins.
Challenging is no state at all.

A long history is cut: the state up to some stamp becomes a *checkpoint* and the facts before it
may be dropped. A fact that arrives later than the checkpoint with an older stamp is then joined
into the registers only where it is newer than what they hold.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from sidecar.domain.assurance import Authentication, is_later
from sidecar.domain.context_proofs import keep_shown
from sidecar.domain.facts import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    ContextsShown,
    DeviceBound,
    Fact,
    NetworkReported,
    Revoked,
    RiskReported,
    Scope,
    Seen,
    SetAside,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    establishes,
)
from sidecar.domain.location import NotEvaluable, Travel, travel
from sidecar.domain.policy import Circumstance, RiskLevel
from sidecar.domain.precedence import COMPLIANT, NOT_COMPLIANT
from sidecar.domain.spending import keep_spent
from sidecar.domain.stamp import MICROSECONDS
from sidecar.domain.state import (
    PLACE,
    PROVEN_BOUND,
    PROVEN_BY_BOUND,
    SIGN_INS_BOUND,
    SIGNALS_BOUND,
    Held,
    Moment,
    RiskHeld,
    Said,
    Sighting,
    SignalHeld,
    SpentHeld,
    State,
    TravelHeld,
)


class Surroundings(msgspec.Struct, frozen=True):
    """What the fold must know of the configuration: pure look-ups and allowances.

    `session` is the record's name, to tell the session's own sightings from its siblings';
    `network_of` maps an address to its named network segment, empty for none. `memory` is for
    how long (microseconds) facts of users and devices are kept where no session needs them; 0:
    always. `until`: the session is folded as of the sign-ins until that second; None: as of all.
    """

    session: str
    network_of: Callable[[str], str]
    skew: int = 0
    least_distance_km: float = 100.0
    memory: int = 0
    until: int | None = None


def apply(state: State, facts: Sequence[Fact], around: Surroundings) -> None:
    """Fold facts of one stamp into `state`, which changes."""
    moment = facts[0].stamp.time
    since = moment if state.established else None
    if not state.established and any(establishes(fact) for fact in facts):
        state.established = moment
    for fact in sorted(facts, key=_order) if len(facts) > 1 else facts:
        _apply_one(state, fact, moment, since, around)
    state.last = max(state.last, facts[0].stamp)


def _order(fact: Fact) -> int:
    """Order the facts of one stamp.

    The device comes before the address, since its network is the better known one; sign-ins come
    last, since they prove where the session then is.
    """
    if isinstance(fact, SignedIn):
        return 2
    return 1 if isinstance(fact, Sighted) else 0


def _apply_one(  # noqa: C901, PLR0912 - one case a kind
    state: State, fact: Fact, moment: int, since: Moment, around: Surroundings
) -> None:
    match fact:
        case Sighted():
            _sighted(state, fact, moment, since, around)
        case AgentSeen():
            _hold(state, Circumstance.USER_AGENT, fact.user_agent, since)
        case DeviceBound():
            _hold(state, Circumstance.DEVICE, fact.device, since)
            _network_of_device(state)
        case SignedIn():
            sign_in = counting(state, fact, around)
            if sign_in is not None:
                _sign_in(state, sign_in, around.skew)
        case ContextsShown():
            keep_shown(state, fact.contexts, fact.second)
        case AssuranceLowered():
            state.lowered = Held(fact.level, moment)
        case ClaimsSeen():
            for name, values in fact.claims:
                state.claims[name] = (values, since)
        case NetworkReported():
            if fact.device:
                state.device_network[fact.device] = Held(fact.network, moment)
                _network_of_device(state)
            else:
                state.network_reported = True
                _hold(state, Circumstance.NETWORK, fact.network, moment)
        case RiskReported():
            _risk(state, fact, moment)
        case SignalRaised():
            _signal(state, fact, moment)
        case ComplianceReported():
            _compliance(state, fact, moment)
        case Revoked():
            state.revocations[f"{fact.scope}|{fact.device}"] = Held(fact.reason, moment)
        case Spent():
            keep_spent(state, fact.auth_time, SpentHeld(fact.token, moment))
        case Seen():
            if fact.session == around.session:
                if state.own is not None and state.own.ip == fact.ip:
                    state.own = Sighting(fact.ip, fact.place, moment)
            else:
                state.elsewhere = Sighting(fact.ip, fact.place, moment)
        case SetAside():
            # It may have been what a policy marks for, so it is taken to be.
            state.aside = max(state.aside, moment)
            if fact.ends:
                state.revocations["set-aside|"] = Held("a revocation cannot be read", moment)
        case _:
            assert_never(fact)


def _hold(state: State, circumstance: str, value: str, since: Moment) -> None:
    held = state.circumstances.get(circumstance)
    if held is None:
        state.baseline[circumstance] = value
    elif held.value == value:
        return
    state.circumstances[circumstance] = Held(value, since)


def _sighted(state: State, fact: Sighted, moment: int, since: Moment, around: Surroundings) -> None:
    first = state.own is None
    arrival = None if first else since
    _travel(state, fact, moment, around.least_distance_km)
    place = fact.place
    _hold(state, Circumstance.IP, fact.ip, arrival)
    for circumstance, value in (
        (Circumstance.COUNTRY, place.country),
        (Circumstance.REGION, place.region),
        (Circumstance.ASN, str(place.asn) if place.asn else ""),
    ):
        if value:
            _hold(state, circumstance, value, arrival)
        elif circumstance in state.circumstances and not first:
            # Unknown is neither here nor there: it is not a change, and not the old place either.
            _forget(state, circumstance)
    _hold(state, PLACE, f"{place.country}/{place.asn}" if place.country else fact.ip, arrival)
    network = around.network_of(fact.ip)
    if network or not state.network_reported:
        state.network_reported = False
        _hold(state, Circumstance.NETWORK, network, arrival)
    state.ip, state.location = fact.ip, place
    state.own = Sighting(fact.ip, place, moment)


def _forget(state: State, circumstance: str) -> None:
    baseline = state.baseline[circumstance]
    held = state.circumstances[circumstance]
    if held.value != baseline:
        state.circumstances[circumstance] = Held(baseline, held.since)


def _network_of_device(state: State) -> None:
    held = state.device_network.get(state.device)
    current = state.circumstances.get(Circumstance.NETWORK)
    if held is None or (current is not None and (current.since or 0) > (held.since or 0)):
        return
    state.network_reported = True
    _hold(state, Circumstance.NETWORK, held.value, held.since)


def _travel(state: State, fact: Sighted, moment: int, least_distance_km: float) -> None:
    origin = state.own
    if state.elsewhere is not None and (origin is None or state.elsewhere.moment > origin.moment):
        origin = state.elsewhere
    if origin is None:
        return
    seconds = (moment - origin.moment) / MICROSECONDS
    journey = travel(origin.place, origin.ip, fact.place, fact.ip, seconds, least_distance_km)
    if isinstance(journey, NotEvaluable):
        return  # what cannot be known does not excuse an earlier arrival
    if journey.speed == 0 and origin is state.own:
        return  # still at the place of that arrival
    state.travel = _arrival(journey, moment) if journey.speed else None


def _arrival(journey: Travel, moment: int) -> TravelHeld:
    return TravelHeld(journey.speed, journey.distance, journey.hours, moment)


def counting(state: State, fact: SignedIn, around: Surroundings) -> Authentication | None:
    """The sign-in as it counts here; None: it does not.

    One of the user everywhere counts only where the session lives.
    """
    if fact.everywhere and not (
        0 < state.established <= fact.stamp.time and state.revoked(around.skew) is None
    ):
        return None
    sign_in = fact.authentication
    if around.until is not None and sign_in.auth_time > around.until:
        return None
    return sign_in


def _sign_in(state: State, authentication: Authentication, skew: int) -> None:
    state.sign_ins = best_sign_ins((*state.sign_ins, authentication))
    for circumstance, held in state.circumstances.items():
        second = None if held.since is None else held.since // MICROSECONDS
        if is_later(authentication.auth_time, second, skew):
            key = f"{circumstance}={held.value}"
            known = state.proven.pop(key, ())
            state.proven[key] = best_sign_ins((*known, authentication), PROVEN_BY_BOUND)
    while len(state.proven) > PROVEN_BOUND:
        state.proven.pop(next(iter(state.proven)))


def best_sign_ins(
    sign_ins: Sequence[Authentication], bound: int = SIGN_INS_BOUND
) -> tuple[Authentication, ...]:
    """For each way of signing in the latest, the `bound` latest of them, latest first."""
    latest: dict[tuple[str, tuple[str, ...]], Authentication] = {}
    for sign_in in sign_ins:
        key = (sign_in.acr, sign_in.amr)
        known = latest.get(key)
        if known is None or known.auth_time < sign_in.auth_time:
            latest[key] = sign_in
    ordered = sorted(latest.values(), key=lambda a: (-a.auth_time, a.acr, a.amr))
    return tuple(ordered[:bound])


def _risk(state: State, fact: RiskReported, moment: int) -> None:
    match fact.scope:
        case Scope.USER:
            before = state.user_risk.get(fact.source)
            state.user_risk[fact.source] = _raised(before, fact.level, moment)
        case Scope.SESSION:
            before = state.session_risk.get(fact.source)
            state.session_risk[fact.source] = _raised(before, fact.level, moment)
        case Scope.DEVICE:
            words = state.device_risk.get(fact.device, {})
            raised = _raised(words.get(fact.source), fact.level, moment)
            state.device_risk[fact.device] = {**words, fact.source: raised}
        case _:
            assert_never(fact.scope)


def _raised(before: RiskHeld | None, level: RiskLevel, moment: int) -> RiskHeld:
    height = before.level.height if before else 0
    medium = before.medium_since if before and height >= 1 else moment
    high = before.high_since if before and height >= 2 else moment
    return RiskHeld(level, medium, high, moment)


def _signal(state: State, fact: SignalRaised, moment: int) -> None:
    key = f"{fact.scope}|{fact.device}|{fact.name}"
    state.signals.pop(key, None)
    state.signals[key] = SignalHeld(fact.name, fact.weight, fact.half_life, moment, fact.device)
    while len(state.signals) > SIGNALS_BOUND:
        state.signals.pop(next(iter(state.signals)))


def _compliance(state: State, fact: ComplianceReported, moment: int) -> None:
    words = state.compliance.get(fact.device, {})
    said = _said(words.get(fact.source), COMPLIANT if fact.compliant else NOT_COMPLIANT, moment)
    state.compliance[fact.device] = {**words, fact.source: said}


def _said(before: Said | None, value: str, moment: int) -> Said:
    since = before.since if before is not None and before.value == value else moment
    return Said(value, since, moment)
