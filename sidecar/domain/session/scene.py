"""Scene: a session's state at a moment, as conditions read it, and their findings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.facts.precedence import by_loosening_words, compliance, raised_signals
from sidecar.domain.policy.conditional_access import Principals, RiskLevel
from sidecar.domain.session.risk import (
    Contribution,
    Points,
    Rating,
    Sum,
    Term,
    WeighedWords,
    level_after,
    terms_of_points,
    weighed_words,
)
from sidecar.domain.session.state import PLACE, Cause, Moment, SignalHeld, State, unproven
from sidecar.domain.sources.source import Sources
from sidecar.domain.values import places
from sidecar.domain.values.assurance import Authentication, Ladder, Requirement
from sidecar.domain.values.location import Place

JOURNEY = "journey"
"""Begins the circumstance "where a journey began and where it ended"."""

LOCATION = "location"
"""Begins the circumstance "in these named locations"."""

ALWAYS = Cause("always", "", None, "policy")
Needs: TypeAlias = tuple[tuple[Requirement, ...], ...]
"""The ways to satisfy a grant as things are, each as what sign-ins must show."""

NEVER_PROVEN: Needs = ()
"""There is no way: what `block` leaves."""

ANY_SIGN_IN: Needs = ((Requirement(),),)
"""Whoever signs in at all."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """The result of a condition: does it hold, and by which causes."""

    holds: bool
    causes: tuple[Cause, ...]


class World(NamedTuple):
    """Configuration that conditions read.

    `locations_of` gives the names of the named locations that an address and its place lie in;
    `min_interval` is that of the policies that name none. `break_glass` are those whom no policy
    is for, by whose names theirs are; `sources` are those that are configured.
    """

    ladder: Ladder
    rating: Rating
    locations_of: Callable[[str, Place], frozenset[str]]
    min_interval: int = 0
    break_glass: Mapping[str, Principals] = MappingProxyType({})
    sources: Sources = Sources()


class CalledFrom(NamedTuple):
    """Origin of a call: its own address (empty: it gives none) and the place of that."""

    ip: str
    place: Place = Place()


class Scene:
    """A session's state at a moment (`now`, microseconds), with what conditions derive from it.

    Many conditions ask for the same: it is derived once, and the state must not change meanwhile.
    `addressless`: the call that is judged gives no address of its own. `found` are the causes of
    conditions that were asked for already, by what the compiler names them; None: it holds not.
    """

    __slots__ = (
        "_all_loosen",
        "_bare",
        "_compliance",
        "_level",
        "_locations",
        "_loosening",
        "_place",
        "_points",
        "_proven",
        "_raised",
        "_sum",
        "_terms",
        "_weighed",
        "addressless",
        "found",
        "now",
        "state",
        "world",
    )

    def __init__(self, state: State, now: int, world: World, *, addressless: bool = False) -> None:
        self.state = state
        self.addressless = addressless
        self.now = now
        self.world = world
        self._level: RiskLevel | None = None
        self._bare: Scene | None = None
        self._loosening: Scene | None = None
        self._all_loosen = False
        self._compliance: str | None = None
        self._locations: frozenset[str] | None = None
        self._points: Sequence[Points] | None = None
        self._sum: Sum | None = None
        self._terms: tuple[Term, ...] | None = None
        self._weighed: WeighedWords | None = None
        self._place: str | None = None
        self._raised: Sequence[Sequence[SignalHeld]] | None = None
        self._proven: dict[tuple[str, int], bool] = {}
        self.found: dict[tuple[int, int], tuple[Cause, ...] | None] = {}

    @property
    def bare(self) -> "Scene":
        """The same, had nobody ever proven anything: one for all policies that ask."""
        if self._bare is None:
            state = unproven(self.state)
            self._bare = Scene(state, self.now, self.world, addressless=self.addressless)
        return self._bare

    @property
    def loosening(self) -> "Scene":
        """The same by the words of those alone who may loosen: what may keep a policy off."""
        if self._all_loosen:
            return self
        if self._loosening is None:
            state = by_loosening_words(self.state, self.world.sources)
            if state is self.state:
                # Not kept as `_loosening`: a scene that held itself would be left to the collector.
                self._all_loosen = True
                return self
            self._loosening = Scene(state, self.now, self.world, addressless=self.addressless)
        return self._loosening

    def seen_by(self, *, loosens: bool) -> "Scene":
        """Return the scene for a test: the loosening one if its truth `loosens`, as below `not`."""
        return self.loosening if loosens else self

    @property
    def compliance(self) -> str:
        """The compliance of the session's device by all words that count; empty: nobody says."""
        if self._compliance is None:
            self._compliance = compliance(self.state, self.world.sources)
        return self._compliance

    @property
    def locations(self) -> frozenset[str]:
        """The names of the named locations that the session's address lies in."""
        if self._locations is None:
            state = self.state
            known = self.world.locations_of
            self._locations = known(state.ip, state.location) if state.ip else frozenset()
        return self._locations

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of the score, greatest first."""
        if self._terms is None:
            self._terms = terms_of_points(self.points)
        return self._terms

    @property
    def points(self) -> Sequence[Points]:
        """The points that make up the score, negative, with what weighs so; greatest first."""
        if self._points is None:
            self._points = self.sum.ordered()
        return self._points

    @property
    def sum(self) -> Sum:
        """The sum of the words that add to the score."""
        if self._sum is None:
            self._sum = Sum(self.weighed, self.now)
        return self._sum

    @property
    def weighed(self) -> WeighedWords:
        """The words that add to the score, whatever is left of them by now."""
        if self._weighed is None:
            world = self.world
            self._weighed = weighed_words(self.state, world.rating, world.sources, self.raised)
        return self._weighed

    @property
    def raised(self) -> Sequence[Sequence[SignalHeld]]:
        """The signals that count, by what they are words of."""
        if self._raised is None:
            state = self.state
            signals = state.signals
            self._raised = [*raised_signals(state, self.world.sources)] if signals else ()
        return self._raised

    @property
    def newest(self) -> Contribution | None:
        """The contribution to the score that began last; None: nothing adds to it."""
        return self.sum.newest

    @property
    def score(self) -> float:
        """The risk score, 0..100."""
        return self.sum.score

    @property
    def level(self) -> RiskLevel:
        """The level of the score, with hysteresis."""
        if self._level is None:
            before = self.state.score_level
            self._level = level_after(before, self.score, self.world.rating.thresholds)
        return self._level

    def proven(self, circumstance: str, needs: Needs) -> bool:
        """Return whether sign-ins that satisfy one of these ways came with this circumstance.

        Of a journey they must have come from both of its ends, or with the arrival itself.
        The needs are those of a policy, and live as long as that does.
        """
        key = (circumstance, id(needs))  # to hash them takes longer than to ask
        found = self._proven.get(key)
        if found is None:
            found = self._proven[key] = self._is_proven(circumstance, needs)
        return found

    def _is_proven(self, circumstance: str, needs: Needs) -> bool:
        state = self.state
        kind, _, value = circumstance.partition("=")
        if kind == PLACE:
            return self._meet(places.sign_ins_at(state, state.ip, state.location), needs)
        if kind == LOCATION:
            return self._meet(self._signed_in_within(frozenset(value.split(","))), needs)
        if kind == JOURNEY:
            return any(
                self._meet(one.proven_by, needs)
                or all(self._meet(end, needs) for end in places.ends(state, one))
                for one in state.arrivals
                if one.text == value
            )
        return self._meet(places.sign_ins_of(state, circumstance), needs)

    def _signed_in_within(self, names: frozenset[str]) -> tuple[Authentication, ...]:
        """Return the sign-ins that came from an address in all of these named locations."""
        return tuple(
            auth
            for ip, place, sign_ins in places.proven_sites(self.state)
            if names <= self.world.locations_of(ip, place)
            for auth in sign_ins
        )

    def _meet(self, sign_ins: tuple[Authentication, ...], needs: Needs) -> bool:
        if not sign_ins:
            return () in needs
        shown = [self.world.ladder.shown(each) for each in sign_ins]
        for way in needs:
            for requirement in way:
                if not any(each.meets(requirement) for each in shown):
                    break
            else:
                return True
        return False

    def since(self, circumstance: str) -> Moment:
        """Return when the present value of a circumstance began."""
        held = self.state.circumstances.get(circumstance)
        return held.since if held else None

    def said_alone_by(self, circumstance: str) -> str:
        """Return the source by whose word alone the value is known; empty: a call showed it."""
        return self.state.hearsay.get(circumstance, "")

    @property
    def place(self) -> str:
        """The circumstance that stands for where the session is."""
        if self._place is None:
            self._place = places.here(self.state)
        return self._place


Test: TypeAlias = Callable[[Scene, Needs], Finding]
"""From a scene and what could satisfy the policy's grant as things are."""

Found: TypeAlias = Callable[[Scene, Needs], tuple[Cause, ...] | None]
"""From the same: the causes by which it holds; None where it does not."""

Holds: TypeAlias = Callable[[Scene, Needs], bool]
"""From the same: does it hold."""


class ConditionCheck(NamedTuple):
    """A compiled condition: the test that decides, and what explains it.

    `asks` says in words when it holds, `value` what a scene shows of it. `parts` are the
    conditions it is made of, each with the very test that decides within it. `holds` says whether
    the test would find that it holds, without finding out by which causes; None: the test says it.
    `quick`: it takes little less, so that whoever asks for causes asks the test. `found` gives the
    causes of the test, and those alone that are asked for: the first where it holds, the second
    where it does not; None: the test gives them. `joined`, of one with parts, says whether it holds
    given whether each of them does, and is what the test comes to.
    """

    kind: str
    test: Test
    asks: str
    value: Callable[[Scene], str]
    parts: "tuple[ConditionCheck, ...]" = ()
    holds: Holds | None = None
    quick: bool = False
    found: tuple[Found, Found] | None = None
    joined: Callable[[Iterable[bool]], bool] | None = None
