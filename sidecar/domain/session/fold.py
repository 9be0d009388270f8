"""A live session: how its facts become its state.

Theory of operation. Nothing that is observed is ever overwritten: sidecars only *join facts*
(`lattice`), so they may learn the news late, twice or in any order. A session's state is the fold
of its facts, its user's and its device's, in stamp order - a pure function of the set of facts,
of the policies and of the configuration. So all sidecars agree without talking to each other.

What the fold keeps:

- *circumstances*: where and with what the session is, each with the moment it began (`since`;
  None: it was so from the start), the *baseline* they are held against, and what is *proven*:
  circumstances that came with a sign-in (`places`). A sign-in belongs to the call that first shows
  it if it was made shortly before, and after the session was last seen elsewhere; or to where it
  says it was made. It proves nothing else, however old the circumstances are.
- *registers*: risk, compliance, claims, live signals, the best sign-ins, the latest revocation.
- for each policy an *activation*: the causes for which it holds now, and its *mark*: the causes
  that were fresh when they came up and that no circumstance proven before excuses.

The life of a mark, per policy:

    (no mark) --fresh cause--> marked --every cause gone, and not sticky--> (no mark)
    marked --sign-in that suffices, later than the mark's last cause--> satisfied (derived)

Whether a mark is satisfied is never stored: it is derived in `standing` from the sign-ins.
Challenging is no state at all.

A long history is cut: the state up to some stamp becomes a *checkpoint* and the facts before it
may be dropped. A fact that arrives later than the checkpoint with an older stamp is then joined
into the registers only where it is newer than what they hold.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

import msgspec

from sidecar.domain.facts import arrivals, segments
from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    ContextsShown,
    DeviceBound,
    Fact,
    MarksCleared,
    MembershipsShown,
    NetworkReported,
    PlaceProven,
    Revoked,
    RiskReported,
    Scope,
    Seen,
    SetAside,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
    establishes,
)
from sidecar.domain.facts.first_shown import counted, counted_when, show
from sidecar.domain.facts.memberships import updated
from sidecar.domain.facts.precedence import COMPLIANT, CREDENTIAL_CHANGE, IDENTITY, NOT_COMPLIANT
from sidecar.domain.facts.segments import said_again
from sidecar.domain.policy.conditional_access import Circumstance, RiskLevel
from sidecar.domain.session import operator_acts
from sidecar.domain.session.context_proofs import keep_shown
from sidecar.domain.session.revocation import revoke
from sidecar.domain.session.single_use import keep_spent
from sidecar.domain.session.state import (
    IDENTITIES_BOUND,
    PLACES_BOUND,
    PROVEN_BOUND,
    PROVEN_BY_BOUND,
    SIGN_INS_BOUND,
    SIGNALS_BOUND,
    ClaimSaid,
    Held,
    Moment,
    PlaceHeld,
    Remembered,
    RiskHeld,
    Said,
    Sighting,
    SignalHeld,
    SpentHeld,
    State,
)
from sidecar.domain.sources.source import ITSELF, Sources
from sidecar.domain.values import places
from sidecar.domain.values.assurance import Authentication, is_later
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS


class Surroundings(msgspec.Struct, frozen=True):
    """Configuration of the fold: pure look-ups and allowances.

    `session` is the record's name, to distinguish the session's own sightings from its siblings';
    `network_of` maps an address to its named network segment, empty for none. `memory` is for
    how long (microseconds) facts of users and devices are kept where no session needs them; 0:
    always. `until`: the session is folded as of the sign-ins until that second; None: as of all.
    A sign-in is a call's own for `establish_within` seconds; places that a user has proven on a
    device are remembered for `remember` microseconds; 0: not at all. `sources` are the world's. Of
    an IPv6 address its first `ipv6_prefix` bits are what changes or stays.
    """

    session: str
    network_of: Callable[[str], str]
    skew: int = 0
    least_distance_km: float = 100.0
    memory: int = 0
    until: int | None = None
    establish_within: int = 300
    remember: int = 0
    sources: Sources = Sources()
    ipv6_prefix: int = 128


def apply(state: State, facts: Sequence[Fact], around: Surroundings) -> None:
    """Fold facts of one stamp into `state`, which changes."""
    moment = facts[0].stamp.time
    since = moment if state.established else None
    if not state.established and any(establishes(fact) for fact in facts):
        state.established = moment
        oldest, remembered = moment - around.remember, state.remembered
        state.remembered = {k: one for k, one in remembered.items() if one.moment >= oldest}
    for fact in sorted(facts, key=_order) if len(facts) > 1 else facts:
        _apply_one(state, fact, moment, since, around)
    state.last = max(state.last, facts[0].stamp)


def _order(fact: Fact) -> tuple[int, str]:
    """Order the facts of one stamp, which several sources may have given their events.

    The device comes before the address, since its network is the better known one; sign-ins come
    last, since they prove where the session then is.
    """
    if isinstance(fact, SignedIn):
        return 2, fact.source
    return 1 if isinstance(fact, Sighted) else 0, fact.source


def _apply_one(  # noqa: C901, PLR0912 - one case a kind
    state: State, fact: Fact, moment: int, since: Moment, around: Surroundings
) -> None:
    match fact:  # the most frequent first
        case Sighted():
            _sighted(state, fact, moment, around)
        case Seen():
            doubtful = bool(_hearsay(fact, around.sources))
            arrivals.see(state, fact, moment, around.session, hearsay=doubtful)
        case AgentSeen():
            hearsay = _hearsay(fact, around.sources)
            _hold(state, Circumstance.USER_AGENT, fact.user_agent, since, hearsay=hearsay)
        case DeviceBound():
            _bind(state, fact, since, around.sources)
        case SignedIn():
            sign_in = sign_in_that_counts(state, fact, around)
            if sign_in is not None:
                _sign_in(state, fact, sign_in, around)
        case ContextsShown():
            keep_shown(state, fact.contexts, fact.second, fact.stamp.second)
        case AssuranceLowered():
            state.lowered[fact.source] = Said(fact.level, moment, moment)
        case ClaimsSeen():
            _claims(state, fact, moment, since)
        case MembershipsShown():
            for kind, shown in fact.memberships:
                state.memberships[kind] = updated(state.memberships.get(kind), shown)
        case NetworkReported():
            _network(state, fact, moment)
        case RiskReported():
            _risk(state, fact, moment)
        case SignalRaised():
            _signal(state, fact, moment)
        case ComplianceReported():
            _compliance(state, fact, moment)
        case Revoked():
            revoke(state, fact, f"{fact.scope}|{fact.device}", fact.reason)
        case StepUpAsked():
            operator_acts.ask(state, fact, moment)
        case MarksCleared():
            operator_acts.clear(state, fact, moment)
        case Spent():
            keep_spent(state, fact.auth_time, SpentHeld(fact.token, moment))
        case PlaceProven():
            _remember(state, fact, moment, around)
        case SetAside():
            # It may have been what a policy marks for, so it is taken to be.
            state.aside = max(state.aside, moment)
            if fact.ends:
                revoke(state, fact, "set-aside|", "a revocation cannot be read")
        case _:
            assert_never(fact)


def _bind(state: State, fact: DeviceBound, since: Moment, sources: Sources) -> None:
    """Take up on which device the session is. To replace one is to loosen.

    Who may loosen says so as if nobody else had: also what was there at the start.
    """
    hearsay = _hearsay(fact, sources)
    vouched = not hearsay
    if not vouched and state.device and fact.source != state.bound_by:
        return
    if vouched and not state.vouched:
        state.circumstances.pop(Circumstance.DEVICE, None)
        state.baseline.pop(Circumstance.DEVICE, None)
    state.bound_by, state.vouched = fact.source, vouched
    _hold(state, Circumstance.DEVICE, fact.device, since, hearsay=hearsay)
    _network_of_device(state)


BINDING = ("session-established", "session-presented")
"""The types of the events that say where a session is, with what, and on which device."""


def _hearsay(fact: Fact, sources: Sources) -> str:
    """Return who reports a session's surroundings and may not loosen by it, else an empty name."""
    if fact.source == ITSELF:
        return ITSELF
    may = any(sources.loosens(fact.source, kind) for kind in BINDING)
    return ITSELF if may else fact.source


def _hold(
    state: State, circumstance: str, value: str, since: Moment, *, hearsay: str = ITSELF
) -> None:
    """Take up what a circumstance is from now on.

    What is hearsay may be dated as its source likes. So it neither makes the baseline alone, nor
    makes what others say later any older: by them it is another cause, from when they say so.
    """
    held = state.circumstances.get(circumstance)
    if held is None:
        state.baseline[circumstance] = value
    if not hearsay:
        state.witnessed.setdefault(circumstance, value)
    same = held is not None and held.value == value
    if same and (hearsay or circumstance not in state.hearsay):
        return
    if hearsay:
        state.hearsay[circumstance] = hearsay
    else:
        state.hearsay.pop(circumstance, None)
    state.circumstances[circumstance] = Held(value, since)


def _sighted(state: State, fact: Sighted, moment: int, around: Surroundings) -> None:
    if state.own is not None and state.own.ip != fact.ip:
        state.left = state.own.moment
    sighting = Sighting(fact.ip, fact.place, moment)
    place, hearsay = fact.place, _hearsay(fact, around.sources)
    arrivals.arrive(state, sighting, around.least_distance_km, hearsay=bool(hearsay))
    known, plain = state.circumstances, not (hearsay or state.hearsay)
    for circumstance, value, is_unknown in places.seen_as(fact.ip, place, around.ipv6_prefix):
        held = known.get(circumstance)
        # Where it was never known, there is nothing that could have changed; else what is not
        # known is not known to be as before.
        if held is None and is_unknown:
            continue
        if held is None or not plain:
            _hold(state, circumstance, value, moment, hearsay=hearsay)
        elif held.value != value:  # what `_hold` comes to where all of it was shown
            known[circumstance] = Held(value, moment)
    network = around.network_of(fact.ip)
    if network or not state.network_reported:
        state.network_reported = False
        _hold(state, Circumstance.NETWORK, network, moment, hearsay=hearsay)
    state.ip, state.location = fact.ip, place
    state.own = sighting


def _network(state: State, fact: NetworkReported, moment: int) -> None:
    if fact.source != ITSELF:
        segments.report(state, fact.source, fact.network, fact.device, moment)
    elif fact.device:
        words = state.device_network.get(fact.device, {})
        said = Said(fact.network, moment, moment)
        state.device_network[fact.device] = {**words, ITSELF: said}
        _network_of_device(state)
    else:
        state.network_reported = True
        _hold(state, Circumstance.NETWORK, fact.network, moment)


def _network_of_device(state: State) -> None:
    said = state.device_network.get(state.device, {}).get(ITSELF)
    current = state.circumstances.get(Circumstance.NETWORK)
    if said is None or (current is not None and (current.since or 0) > said.at):
        return
    state.network_reported = True
    _hold(state, Circumstance.NETWORK, said.value, said.since)


NOTHING_SHOWN = Authentication(0)
"""A sign-in of which neither the time nor the method is known."""


def _authentication_of(fact: SignedIn, sources: Sources) -> Authentication:
    return fact.authentication if sources.proves(fact.source) else NOTHING_SHOWN


def sign_in_that_counts(
    state: State, fact: SignedIn, around: Surroundings
) -> Authentication | None:
    """Return the sign-in as it counts here; None: it does not.

    One of the user everywhere counts only where the session lives; one by the word of a source
    which may not prove anything shows nothing.
    """
    if fact.everywhere and not (
        0 < state.established <= fact.stamp.time and state.revoked(around.skew) is None
    ):
        return None
    sign_in = show(state, _authentication_of(fact, around.sources), fact.stamp.second)
    if around.until is not None and sign_in.auth_time > around.until:
        return None
    return sign_in


def belongs(
    state: State, ip: str, authentication: Authentication, moment: int, around: Surroundings
) -> bool:
    """Return whether a sign-in belongs to the call from `ip` that first shows it at `moment`.

    It must have been made shortly before, and after the session was last seen elsewhere: who has
    signed in earlier, or from where the session was then, has proven nothing of where it is now.
    """
    second = moment // MICROSECONDS
    made = min(authentication.auth_time, second)
    if made <= 0 or second - made > around.establish_within:
        return False
    moved = bool(ip) and state.own is not None and state.own.ip != ip
    left = state.own.moment if moved and state.own is not None else state.left
    return left == 0 or is_later(made, left // MICROSECONDS, around.skew)


def is_shown(authentication: Authentication, before: Sequence[Authentication]) -> bool:
    """Return whether this sign-in, or a later one of its kind, is among those."""
    return any(
        (one.acr, one.amr) == (authentication.acr, authentication.amr)
        and one.at_most == authentication.at_most
        and one.auth_time >= authentication.auth_time
        for one in before
    )


def _sign_in(state: State, fact: SignedIn, auth: Authentication, around: Surroundings) -> None:
    """Take up a sign-in, and make what came with it part of what is proven.

    A later call that shows it again, from wherever that comes, proves nothing more.
    """
    came, moment = fact.shown_with, fact.stamp.time
    first = not is_shown(auth, state.attached)
    own = first and belongs(state, came.ip, auth, moment, around)
    state.sign_ins = best_sign_ins((*state.sign_ins, auth))
    if not auth.auth_time:
        return  # of when nobody knows, it proves nothing
    operator_acts.show(state, auth, fact.stamp.second)
    if came.device or came.key:
        state.on = identities(came.device, came.key)
    if came.ip:
        state.attached = best_sign_ins((*state.attached, auth))
    if not (own or (came.made_there and came.ip)):
        return
    proven = [f"{Circumstance.DEVICE}={came.device}"] if came.device else []
    if came.user_agent and own:
        proven.append(f"{Circumstance.USER_AGENT}={came.user_agent}")
    if came.ip:
        proven += places.circumstances(came.ip, came.place, around.ipv6_prefix)
        proven += _segment(state, came.ip, auth, around)
        proven += _reported_segments(state, came.ip, auth, around)
        _prove_place(state, came.ip, came.place, auth)
    for key in proven:
        state.proven[key] = best_sign_ins((*state.proven.pop(key, ()), auth), PROVEN_BY_BOUND)
    while len(state.proven) > PROVEN_BOUND:
        state.proven.pop(next(iter(state.proven)))
    if own and any(one.since == moment for one in state.arrivals):
        state.arrivals = tuple(
            msgspec.structs.replace(one, proven_by=(*one.proven_by, auth))
            if one.since == moment and one.destination.ip == came.ip
            else one
            for one in state.arrivals
        )


def proven_by(state: State, fact: SignedIn, around: Surroundings) -> tuple[PlaceProven, ...]:
    """Return the places that a sign-in proves on its device, shown in a session that stands so.

    One for the device and one for the key: a later session may show either.
    """
    came = fact.shown_with
    auth = counted_when(state, _authentication_of(fact, around.sources), fact.stamp.second)
    if not came.ip or fact.everywhere or not auth.auth_time:
        return ()
    first = not is_shown(auth, state.attached)
    if not came.made_there and not (
        first and belongs(state, came.ip, auth, fact.stamp.time, around)
    ):
        return ()
    return tuple(
        PlaceProven(stamp=fact.stamp, device=one, ip=came.ip, place=came.place, authentication=auth)
        for one in identities(came.device, came.key)
    )


def came_from(state: State) -> ShownWith:
    """Return what comes with a sign-in that a call shows from where the session is."""
    agent = state.circumstances.get(Circumstance.USER_AGENT)
    return ShownWith(
        state.ip, state.location, state.device, user_agent=agent.value if agent else ""
    )


def identities(device: str, key: str) -> tuple[str, ...]:
    """Return what a device is known by, as `PlaceProven.device` names it."""
    named = (("id", device), ("key", key))
    return tuple(f"{kind}:{name}" for kind, name in named if name)[:IDENTITIES_BOUND]


BOUND_TO = "cnf:"
"""Begins the claim that holds what a session's tokens are bound to, the present one last."""


def _segment(
    state: State, ip: str, authentication: Authentication, around: Surroundings
) -> tuple[str, ...]:
    """Return the network segment that came with a sign-in: the address's, or the one reported."""
    held = state.circumstances.get(Circumstance.NETWORK)
    if state.ip != ip or held is None or not state.network_reported:
        return (f"{Circumstance.NETWORK}={around.network_of(ip)}",)
    since = None if held.since is None else held.since // MICROSECONDS
    if is_later(authentication.auth_time, since, around.skew):
        return (f"{Circumstance.NETWORK}={held.value}",)
    return ()


def _reported_segments(
    state: State, ip: str, authentication: Authentication, around: Surroundings
) -> Iterator[str]:
    """Yield the segments that others had reported when a sign-in was made where the session is."""
    if state.ip != ip:
        return
    for source, said in segments.reported(state):
        since = None if said.since is None else said.since // MICROSECONDS
        if is_later(authentication.auth_time, since, around.skew):
            yield segments.circumstance_of(source, said.value)


def _prove_place(state: State, ip: str, place: Place, authentication: Authentication) -> None:
    key = places.label(ip, place)
    before = state.proven_places.pop(key, None)
    sign_ins = (*(before.sign_ins if before else ()), authentication)
    state.proven_places[key] = PlaceHeld(ip, place, best_sign_ins(sign_ins, PROVEN_BY_BOUND))
    while len(state.proven_places) > PLACES_BOUND:
        state.proven_places.pop(next(iter(state.proven_places)))


def _remember(state: State, fact: PlaceProven, moment: int, around: Surroundings) -> None:
    """Take up what an earlier session has proven: what a session proves, it knows itself."""
    if not around.remember or state.established:
        return
    auth, key = fact.authentication, places.proof_key(fact)
    state.remembered.pop(key, None)
    shown = (
        *places.circumstances(fact.ip, fact.place, around.ipv6_prefix),
        f"{Circumstance.NETWORK}={around.network_of(fact.ip)}",
    )
    state.remembered[key] = Remembered(fact.device, fact.ip, fact.place, auth, moment, shown)
    while len(state.remembered) > PLACES_BOUND:
        state.remembered.pop(next(iter(state.remembered)))


def sign_in_late(state: State, fact: SignedIn, around: Surroundings) -> None:
    """Fold a sign-in that is older than the checkpoint; `state` changes.

    Where it turns out that one which counts already was shown before its own time, it counts as of
    then; what it has proven since is not known to be proven.
    """
    said = _authentication_of(fact, around.sources)
    # Taking it up may bring forward the second that the same sign-in counts from.
    before = counted(state, said).auth_time
    sign_in = sign_in_that_counts(state, fact, around)
    known: tuple[Authentication, ...] = state.sign_ins
    since = counted(state, said).auth_time
    if since != before:
        moved = [one for one in known if one.auth_time == before]
        shown_then = [e.sign_in for e in state.early.values() if e.sign_in is not None]
        others = [one for each in shown_then if (one := counted(state, each)).auth_time == before]
        again = [msgspec.structs.replace(one, auth_time=since) for one in moved]
        known = (*(one for one in known if one not in moved), *others, *again)
        for one in moved:
            _withdraw(state, one)
    state.sign_ins = best_sign_ins((*known, *(() if sign_in is None else (sign_in,))))


def _withdraw(state: State, sign_in: Authentication) -> None:
    """Take back what a sign-in has proven."""

    def without(sign_ins: tuple[Authentication, ...]) -> tuple[Authentication, ...]:
        return tuple(one for one in sign_ins if one != sign_in)

    proven = ((circumstance, without(by)) for circumstance, by in state.proven.items())
    state.proven = {circumstance: by for circumstance, by in proven if by}
    places_proven = (
        (name, PlaceHeld(held.ip, held.place, without(held.sign_ins)))
        for name, held in state.proven_places.items()
    )
    state.proven_places = {name: held for name, held in places_proven if held.sign_ins}
    state.arrivals = tuple(
        msgspec.structs.replace(one, proven_by=without(one.proven_by)) for one in state.arrivals
    )


def best_sign_ins(
    sign_ins: Sequence[Authentication], bound: int = SIGN_INS_BOUND
) -> tuple[Authentication, ...]:
    """Return the latest sign-in of each kind: the `bound` latest of them, latest first."""
    if len(sign_ins) == 1:
        return tuple(sign_ins)
    latest: dict[tuple[str, tuple[str, ...], str], Authentication] = {}
    for sign_in in sign_ins:
        key = (sign_in.acr, sign_in.amr, sign_in.at_most)
        known = latest.get(key)
        if known is None or known.auth_time < sign_in.auth_time:
            latest[key] = sign_in
    ordered = sorted(latest.values(), key=lambda a: (-a.auth_time, a.acr, a.amr, a.at_most))
    return tuple(ordered[:bound])


def _risk(state: State, fact: RiskReported, moment: int) -> None:
    match fact.scope:
        case Scope.USER:
            before = state.user_risk.get(fact.source)
            state.user_risk[fact.source] = _raised(state, before, fact.level, moment)
        case Scope.SESSION:
            before = state.session_risk.get(fact.source)
            state.session_risk[fact.source] = _raised(state, before, fact.level, moment)
        case Scope.DEVICE:
            words = state.device_risk.get(fact.device, {})
            raised = _raised(state, words.get(fact.source), fact.level, moment)
            state.device_risk[fact.device] = {**words, fact.source: raised}
        case _:
            assert_never(fact.scope)


def _raised(state: State, before: RiskHeld | None, level: RiskLevel, moment: int) -> RiskHeld:
    before = before if before and state.goes_on(before.at) else None
    height = before.level.height if before else 0
    medium = before.medium_since if before and height >= 1 else moment
    high = before.high_since if before and height >= 2 else moment
    return RiskHeld(level, medium, high, moment)


def _signal(state: State, fact: SignalRaised, moment: int) -> None:
    register = f"{fact.scope}|{fact.device}|{fact.name}"
    key = f"{register}|{fact.source}"
    state.signals.pop(key, None)
    state.signals[key] = SignalHeld(
        fact.name, fact.weight, fact.half_life, moment, fact.device, fact.source, register
    )
    if fact.scope is Scope.USER and fact.name == CREDENTIAL_CHANGE:
        state.credentials_changed = max(state.credentials_changed, moment)
    # A source that raises many of them loses its own oldest, and nobody else's.
    own = [key for key, held in state.signals.items() if held.source == fact.source]
    for key in own[:-SIGNALS_BOUND]:
        del state.signals[key]


def _claims(state: State, fact: ClaimsSeen, moment: int, since: Moment) -> None:
    for name, values in fact.claims:
        if fact.source == ITSELF:
            is_key = name.startswith(BOUND_TO)
            if fact.issued_at and not is_key and name not in IDENTITY:
                if fact.issued_at < state.claims_issued.get(name, 0):
                    continue
                state.claims_issued[name] = fact.issued_at
            state.claims[name] = (values, since)
            if is_key and values:
                bound = f"key:{values[-1]}"
                state.on = tuple(o for o in state.on if o == bound or o.startswith("id:"))
            continue
        words = state.claims_said.get(name, {})
        before = words.get(fact.source)
        same = before is not None and before.values == values and state.goes_on(before.at)
        began = before.since if before is not None and same else since
        said = ClaimSaid(values, began, moment)
        state.claims_said[name] = {**words, fact.source: said}


def _compliance(state: State, fact: ComplianceReported, moment: int) -> None:
    words = state.compliance.get(fact.device, {})
    value = COMPLIANT if fact.compliant else NOT_COMPLIANT
    said = said_again(state, words.get(fact.source), value, moment)
    state.compliance[fact.device] = {**words, fact.source: said}
