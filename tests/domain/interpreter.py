"""A slow interpreter of policies, written to be obviously right rather than good.

It keeps no state: whatever it is asked, it looks through the whole history again. It covers what
tests/domain/random_policies.py makes: each fact at a stamp of its own, but for the
session's first moment. The evaluator is held to it in test_interpreter.py.
"""

import datetime as dt
import itertools
from typing import NamedTuple

from sidecar.domain.evaluation.conditions import is_strict
from sidecar.domain.facts.fact_kinds import (
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    NetworkReported,
    RiskReported,
    Scope,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
)
from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
    Changed,
    Claims,
    Condition,
    Countries,
    Device,
    Locations,
    Networks,
    Not,
    Policy,
    PolicyState,
    RiskLevel,
    Score,
    Selection,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import NotEvaluable, Place, Waypoint, travel
from tests.domain.scenes import LADDER, STRENGTHS, WORLD, locations_of, network_of

MICRO = 1_000_000
Ways = list[frozenset[str]]


class Why(NamedTuple):
    """What makes a condition hold: a name, since when (None: the start), what would prove it."""

    name: str
    since: int | None
    proof: str


class Circumstance(NamedTuple):
    value: str
    since: int | None


def spot(place: Place) -> str:
    """A place as it is shown: no two of the tests' places are one."""
    return f"{place.country} AS{place.asn} {place.latitude:.2f},{place.longitude:.2f}"


class Interpreter:
    """Everything that happened to one session, in order, and questions about it."""

    def __init__(self, facts: list[Fact]) -> None:
        # Of one moment, the device is known before the address, and a sign-in proves it all.
        self.facts = sorted(
            facts,
            key=lambda f: (f.stamp, isinstance(f, SignedIn), isinstance(f, Sighted)),
        )
        self.begun = self.facts[0].stamp.time if self.facts else 0
        self.is_cleared = False
        """Whether an operator has cleared all that makes the policy hold."""
        self.bare = False
        """Judge as had nobody ever proven anything."""

    def until(self, count: int) -> list[Fact]:
        return self.facts[:count]

    # What is so after the first `count` facts.

    def circumstances(self, count: int) -> dict[str, Circumstance]:
        """Each circumstance with the moment its present value began."""
        found: dict[str, Circumstance] = {}
        base: dict[str, str] = {}
        reported = False
        for fact in self.until(count):
            since = None if fact.stamp.time == self.begun else fact.stamp.time
            now: dict[str, tuple[str, int | None]] = {}
            match fact:
                case Sighted():
                    arrived = fact.stamp.time
                    place = fact.place
                    now["ip"] = (fact.ip, arrived)
                    now["country"] = (place.country, arrived)
                    now["region"] = (place.region, arrived)
                    now["asn"] = (str(place.asn), arrived)
                    now["place"] = (spot(place), arrived)
                    now["anonymizer"] = ("none", arrived)
                    if network_of(fact.ip) or not reported:
                        now["network"] = (network_of(fact.ip), arrived)
                case DeviceBound():
                    now["device"] = (fact.device, since)
                case NetworkReported():
                    reported = True
                    now["network"] = (fact.network, fact.stamp.time)
            for name, (value, moment) in now.items():
                base.setdefault(name, value)
                if name not in found or found[name].value != value:
                    found[name] = Circumstance(value, moment)
        self.baseline = base
        self.reported = reported
        return found

    def proven(self, count: int, proof: str, ways: Ways) -> bool:
        """Whether sign-ins that are one of these ways came with this circumstance."""
        if self.bare:
            return False
        if proof.startswith("journey="):
            start, end = proof.removeprefix("journey=").split(" to ")
            return all(self.proven(count, f"place={one}", ways) for one in (start, end))
        made = self.made_in(count, proof)
        return any(
            all(any(shows(auth, control) for auth in made) for control in way) and bool(made)
            for way in ways
        )

    def made_in(self, count: int, proof: str) -> list[Authentication]:
        """The sign-ins that came with this circumstance."""
        made = []
        for at in range(1, count + 1):
            fact = self.facts[at - 1]
            if isinstance(fact, SignedIn) and proof in self._came_with(at, fact):
                made.append(fact.authentication)
        return made

    def _came_with(self, at: int, fact: SignedIn) -> set[str]:
        """What the call proves that shows a sign-in, if that belongs to it."""
        came, auth, second = fact.shown_with, fact.authentication, fact.stamp.time // MICRO
        shown_before = any(
            isinstance(one, SignedIn)
            and one.shown_with.ip
            and one.authentication.acr == auth.acr
            and one.authentication.amr == auth.amr
            and one.authentication.auth_time >= auth.auth_time
            for one in self.until(at - 1)
        )
        now = self.place(at)[0]
        elsewhere = [
            one.stamp.time // MICRO
            for one in self.until(at)
            if isinstance(one, Sighted) and one.ip != (came.ip or now)
        ]
        made = min(auth.auth_time, second)
        if shown_before or second - made > 300 or made <= max(elsewhere, default=0):
            return set()
        proven = {f"device={came.device}"} if came.device else set()
        if not came.ip:
            return proven
        held, place = self.circumstances(at), came.place
        segment = network_of(came.ip)
        if now == came.ip and self.reported:
            since = held["network"].since
            segment = held["network"].value
            if since is not None and auth.auth_time <= since // MICRO:
                segment = "?"
        names = locations_of(came.ip, place)
        return proven | {
            f"ip={came.ip}",
            f"country={place.country}",
            f"region={place.region}",
            f"asn={place.asn}",
            f"place={spot(place)}",
            f"network={segment}",
            "anonymizer=none",
            *(
                f"location={','.join(sorted(some))}"
                for size in range(1, len(names) + 1)
                for some in itertools.combinations(names, size)
            ),
        }

    def place(self, count: int) -> tuple[str, Place]:
        seen = [fact for fact in self.until(count) if isinstance(fact, Sighted)]
        return (seen[-1].ip, seen[-1].place) if seen else ("", Place())

    def device(self, count: int) -> str:
        bound = [fact for fact in self.until(count) if isinstance(fact, DeviceBound)]
        return bound[-1].device if bound else ""

    def compliance(self, count: int) -> bool | None:
        device = self.device(count)
        reports = [
            fact.compliant
            for fact in self.until(count)
            if isinstance(fact, ComplianceReported) and fact.device == device
        ]
        return reports[-1] if reports else None

    def compliance_since(self, count: int) -> int | None:
        device = self.device(count)
        since, last, said, cleared = None, None, 0, 0
        for fact in self.until(count):
            if isinstance(fact, MarksCleared):
                cleared = fact.stamp.time
            if not isinstance(fact, ComplianceReported) or fact.device != device:
                continue
            if fact.compliant != last or said < cleared:
                last, since = fact.compliant, fact.stamp.time
            said = fact.stamp.time
        return since

    def claim(self, count: int, name: str) -> tuple[tuple[str, ...], int | None]:
        values: tuple[str, ...] = ()
        since = None
        for fact in self.until(count):
            if isinstance(fact, ClaimsSeen):
                for claim, shown in fact.claims:
                    if claim == name:
                        values = shown
                        since = None if fact.stamp.time == self.begun else fact.stamp.time
        return values, since

    def risk(self, count: int, scope: Scope) -> tuple[RiskLevel | None, dict[RiskLevel, int]]:
        """The reported level, and since when it has been at least medium and high."""
        level = None
        since: dict[RiskLevel, int] = {}
        said = cleared = 0
        for fact in self.until(count):
            if isinstance(fact, MarksCleared):
                cleared = fact.stamp.time
            if isinstance(fact, RiskReported) and fact.scope is scope:
                for step in (RiskLevel.MEDIUM, RiskLevel.HIGH):
                    if level is None or level.height < step.height or said < cleared:
                        since[step] = fact.stamp.time
                level, said = fact.level, fact.stamp.time
        return level, since

    def journey(self, count: int) -> tuple[float, str, int, str] | None:
        """The speed of the last arrival, how it is described, and when it was."""
        seen = [fact for fact in self.until(count) if isinstance(fact, Sighted)]
        found = None
        for before, after in itertools.pairwise(seen):
            seconds = (after.stamp.time - before.stamp.time) / MICRO
            trip = travel(
                Waypoint(before.place, before.ip),
                Waypoint(after.place, after.ip),
                seconds,
                100.0,
            )
            if not isinstance(trip, NotEvaluable) and trip.speed:
                ends = f"{spot(before.place)} to {spot(after.place)}"
                text = f"{trip.distance:.0f} km in {trip.hours:.2f} h, {ends}"
                found = (trip.speed, text, after.stamp.time, ends)
        return found

    def live(self, count: int, now: int) -> list[tuple[SignalRaised, float]]:
        """The latest of each named signal, and what is left of its weight."""
        latest = {f.name: f for f in self.until(count) if isinstance(f, SignalRaised)}
        return [
            (f, f.weight * 0.5 ** (max(0, now - f.stamp.time) / MICRO / f.half_life))
            for f in latest.values()
        ]

    def terms(self, count: int, now: int) -> list[tuple[int, str, float]]:
        """(since, name, points) of the score's terms, as WORLD weighs them."""
        found = []
        level, since = self.risk(count, Scope.USER)
        if level is RiskLevel.HIGH:
            found.append((since[RiskLevel.HIGH], "user-risk-high", 60.0))
        country = self.circumstances(count).get("country")
        if (
            country
            and country.value != self.baseline["country"]
            and not self.proven(count, f"country={country.value}", [frozenset()])
        ):
            began = country.since or 0
            age = 0.0 if country.since is None else (now - began) / MICRO
            found.append((began, "country-changed", 30.0 * 0.5 ** (max(0.0, age) / 3600)))
        found += [(fact.stamp.time, fact.name, left) for fact, left in self.live(count, now)]
        return [term for term in found if term[2] >= 0.05]

    def score(self, count: int, now: int) -> float:
        return min(100.0, sum(points for _, _, points in self.terms(count, now)))

    # Conditions.

    def judge(
        self,
        condition: Condition,
        count: int,
        now: int,
        needs: Ways,
        level: RiskLevel,
    ) -> tuple[bool, list[Why]]:
        """Whether the condition holds, and why or why not."""
        match condition:
            case All() | AnyOf():
                findings = [self.judge(c, count, now, needs, level) for c in condition.conditions]
                quantifier = all if isinstance(condition, All) else any
                holds = quantifier(held for held, _ in findings)
                return holds, [why for held, whys in findings if held == holds for why in whys]
            case Not():
                holds, whys = self.judge(condition.condition, count, now, needs, level)
                return not holds, whys
        return self.leaf(condition, count, now, needs, level)

    def leaf(  # noqa: C901, PLR0912, PLR0915 - one case a kind
        self,
        condition: Condition,
        count: int,
        now: int,
        needs: Ways,
        level: RiskLevel,
    ) -> tuple[bool, list[Why]]:
        held = self.circumstances(count)
        ip, place = self.place(count)
        where = held.get("place")
        here = f"place={where.value}" if where else ""
        arrived = where.since if where else None
        match condition:
            case Changed():
                new: list[Why] = []
                old: list[Why] = []
                for circumstance in condition.circumstances:
                    name = circumstance.value
                    if name not in held:
                        continue
                    key = f"{name}={held[name].value}"
                    same = held[name].value == self.baseline[name]
                    kept = same or self.proven(count, key, needs)
                    (old if kept else new).append(Why(key, held[name].since, key))
                return bool(new), new or old
            case Locations():
                names = locations_of(ip, place) if ip else frozenset()
                named = (condition.selection.include or frozenset()) | condition.selection.exclude
                inside = ",".join(sorted(names & named))
                text = inside or f"outside ({here.partition('=')[2]})"
                why = Why(f"location={text}", arrived, f"location={inside}" if inside else here)
                return _chosen(condition.selection, *names), [why]
            case Networks():
                network = held["network"].value if "network" in held else ""
                since = held["network"].since if "network" in held else None
                proof = f"network={network}" if network else here
                chosen = _chosen(condition.selection, *([network] if network else []))
                label = network
                if not network:
                    label = f"none ({here.partition('=')[2]})" if here else "none"
                    since = max(since or 0, arrived or 0) or None
                return chosen, [Why(f"network={label}", since, proof)]
            case Countries() | Asns():
                kind = "country" if isinstance(condition, Countries) else "asn"
                value = place.country if kind == "country" else str(place.asn or "")
                since = held[kind].since if value else arrived
                why = Why(
                    f"{kind}={value or 'unknown'}", since, f"{kind}={value}" if value else here
                )
                return _chosen(condition.selection, *([value] if value else [])), [why]
            case Anonymizer():  # no place of the tests is one
                since = held["anonymizer"].since if "anonymizer" in held else None
                return not condition.present, [Why("anonymizer=none", since, "anonymizer=none")]
            case TravelSpeed():
                journey = self.journey(count)
                if journey is None:
                    return False, []
                return journey[0] >= condition.at_least, [
                    Why(f"travel={journey[1]}", journey[2], f"journey={journey[3]}")
                ]
            case Device():
                return self._device(condition, count)
            case UserRisk():
                return self._risk("user_risk", Scope.USER, condition.at_least, count)
            case SessionRisk():
                reported = self._risk("session_risk", Scope.SESSION, condition.at_least, count)
                if condition.reported or reported[0] or level.height < condition.at_least.height:
                    return reported
                return True, [self._score_why("session_risk", f"score {level}", count, now)]
            case Score():
                holds = self.score(count, now) >= condition.at_least
                text = f"{'at least' if holds else 'below'} {condition.at_least:g}"
                return holds, [self._score_why("score", text, count, now)]
            case Signals():
                live = [f for f, left in self.live(count, now) if left >= condition.at_least]
                return bool(live), [Why(f"signal={f.stamp.time}", f.stamp.time, "") for f in live]
            case Claims():
                ((name, wanted),) = condition.required
                values, since = self.claim(count, name)
                why = Why(f"claim={name}: {','.join(values)}", since, "")
                return bool(wanted & set(values)), [why]
            case TimeOfDay():
                return self._time(condition, now)
        raise AssertionError(condition)

    def _device(self, condition: Device, count: int) -> tuple[bool, list[Why]]:
        device, compliant = self.device(count), self.compliance(count)
        holds = condition.known in (None, bool(device))
        if condition.compliant is not None:
            holds = holds and compliant == condition.compliant
        since = self.compliance_since(count)
        if compliant is None:
            held = self.circumstances(count).get("device")
            since = held.since if held else None
        word = {None: "unreported", True: "compliant", False: "not-compliant"}[compliant]
        return holds, [Why(f"device={device or 'unknown'}: {word}", since, "")]

    def _risk(
        self, kind: str, scope: Scope, at_least: RiskLevel, count: int
    ) -> tuple[bool, list[Why]]:
        level, since = self.risk(count, scope)
        if level is None or level.height < at_least.height:
            began = None if level is None else since[RiskLevel.MEDIUM]
            return False, [Why(f"{kind}={level or RiskLevel.LOW}", began, "")]
        return True, [
            Why(f"{kind}={step}", since.get(step), "")
            for step in RiskLevel
            if at_least.height <= step.height <= level.height
        ]

    def _score_why(self, kind: str, text: str, count: int, now: int) -> Why:
        terms = self.terms(count, now)
        since = max(terms)[0] if terms else None
        return Why(f"{kind}={text}", since or None, "")

    def _time(self, condition: TimeOfDay, now: int) -> tuple[bool, list[Why]]:
        local = dt.datetime.fromtimestamp(now // MICRO, dt.UTC)  # the tests' windows are in UTC
        minute = local.hour * 60 + local.minute
        if not condition.start <= minute < condition.end:
            return False, []
        began = local.replace(hour=0, minute=0, second=0) + dt.timedelta(minutes=condition.start)
        return True, [Why(f"window={began}", int(began.timestamp()) * MICRO, "")]

    # Policies.

    def demand(self, policy: Policy, now: int) -> tuple[str, int | None]:
        """What the policy asks for after everything, at `now` (microseconds), and since when.

        One of `nothing`, `block`, `device`, `step-up`; or the second until which it is met, or
        from which it binds.
        """
        marks, holds, waits = self._marks(policy, now)
        begun = waits[self.compliance(len(self.facts)) is True]
        asked, since = self._asked(policy, now, marks, holds)
        if policy.grace and begun is not None and asked in ("device", "step-up", "every call"):
            binds = begun // MICRO + policy.grace
            if now / MICRO < binds:
                return f"{asked} from {binds}", since
        return asked, since

    def _asked(
        self, policy: Policy, now: int, marks: dict[str, Why], holds: bool
    ) -> tuple[str, int | None]:
        if policy.state is PolicyState.DISABLED or (not holds and not marks):
            return "nothing", None
        since = max((w.since for w in marks.values() if w.since is not None), default=None)
        if policy.grant.block:
            return "block", since
        frequency = policy.session.sign_in_frequency if holds else None
        ways = self._needs(policy, len(self.facts))
        if not ways:
            return ("device", since) if holds else ("nothing", None)
        if self.is_cleared:
            return "nothing", None
        if holds and policy.session.every_time is not None:
            return "every call", since if all(ways) else None
        if frequency is None and not all(ways):
            return "nothing", None
        shown = max(self.shown(way, since) for way in ways)
        if frequency is None:
            return ("nothing", None) if shown >= 0 else ("step-up", since)
        if shown >= 0 and now / MICRO <= shown + frequency:
            return f"met until {shown + frequency}", None
        return "step-up", since if all(ways) else None

    def refuses_without_address(self, policy: Policy, now: int) -> bool:
        """Whether the policy would hold for some answer to what it asks of the call's address."""
        condition = policy.conditions
        if policy.state is PolicyState.DISABLED or condition is None or not is_strict(condition):
            return False
        self._marks(policy, now)
        count = len(self.facts)
        return self._for(policy, count) and any(
            self.judge(possible, count, now, self._needs(policy, count), self.level)[0]
            for possible in answers(condition)
        )

    def pays(self, policy: Policy, now: int, auth: Authentication, token: str) -> str:
        """What a call gets whose token shows `auth`, where each needs a sign-in of its own.

        `asked` for another one; or this one is `spendable`; or it is `paid` for.
        """
        marks, _, _ = self._marks(policy, now)
        since = max((w.since for w in marks.values() if w.since is not None), default=None)
        enough = any(
            all(shows(auth, control) for control in way)
            and (not way or since is None or auth.auth_time > since // MICRO)
            for way in self._needs(policy, len(self.facts))
        )
        every_time = policy.session.every_time
        assert every_time is not None
        spent = [f for f in self.facts if isinstance(f, Spent) and f.auth_time == auth.auth_time]
        if not enough:
            return "asked"
        if not spent:
            return "spendable" if now / MICRO <= auth.auth_time + every_time.within else "asked"
        same = token in ("", spent[-1].token)
        grace_ends = spent[-1].stamp.time + every_time.grace * MICRO
        return "paid" if same and now < grace_ends else "asked"

    def life_ends(self, policy: Policy, now: int) -> int | None:
        """The second in which the session's present life ends; None where nothing ends it."""
        cap = policy.session.max_lifetime
        _, holds, _ = self._marks(policy, now)
        ways = self._needs(policy, len(self.facts))
        if policy.state is PolicyState.DISABLED or cap is None or not holds or not ways:
            return None
        begun = None
        for count in self._steps():
            if begun is None:
                proofs = [fact for fact in self.until(count) if isinstance(fact, SignedIn)]
                begun = min(fact.authentication.auth_time for fact in proofs)
            proof = self._proof(count, self._needs(policy, count), (begun + cap) * MICRO)
            begun = begun if proof < 0 else proof
        return None if begun is None else begun + cap

    def _steps(self) -> list[int]:
        """How many facts there are after each moment."""
        return [
            i
            for i in range(1, len(self.facts) + 1)
            if i == len(self.facts) or self.facts[i].stamp != self.facts[i - 1].stamp
        ]

    def shown(self, way: frozenset[str], since: int | None) -> int:
        """Since which second all controls of a way have been shown, after `since`; -1: not.

        Where a way asks for no sign-in in particular, any one will do, from whenever.
        """
        made = [fact.authentication for fact in self.facts if isinstance(fact, SignedIn)]
        if not way:
            return max((auth.auth_time for auth in made), default=-1)
        later = [auth for auth in made if since is None or auth.auth_time > since // MICRO]
        return min(
            max((auth.auth_time for auth in later if shows(auth, control)), default=-1)
            for control in way
        )

    def _marks(  # noqa: C901, PLR0912, PLR0915 - the whole life of a mark, in one place
        self, policy: Policy, now: int
    ) -> tuple[dict[str, Why], bool, dict[bool, int | None]]:
        """The mark's causes by name, whether the policy holds, and since when the mark waits.

        That depends on whether the device is compliant, which it may cease to be.
        """
        marks: dict[str, Why] = {}
        known: set[str] = set()
        causes: list[Why] = []
        excused: dict[str, int] = {}
        begun: dict[bool, int | None] = {True: None, False: None}
        prompted: dict[str, int] = {}
        holds = False
        lasts = bool(policy.session.sign_in_frequency or policy.session.every_time)
        level = RiskLevel.LOW
        counts = self._steps()
        moments = [self.facts[i - 1].stamp.time for i in counts]
        # First time passes, then the facts of a moment count.
        for before, after, moment in zip(
            [0, *counts], [*counts, counts[-1]], [*moments, now], strict=True
        ):
            for count, arrived in ((before, []), (after, self.facts[before:after])):
                if not count:
                    continue
                for fact in arrived:
                    if isinstance(fact, MarksCleared):
                        marks = {n: w for n, w in marks.items() if not _until(w, moment)}
                        excused |= {w.name: moment for w in causes if _until(w, moment)}
                        begun = begun if marks else dict.fromkeys(begun)
                level_before, held = level, holds
                level = self._level(level, self.score(count, moment))
                holds, whys = self._holds(policy, count, moment, level)
                if not holds and marks and self._waits(policy, marks, count, moment, level_before):
                    holds = True
                    continue
                if not holds:
                    marks, known = (
                        (marks if policy.sticky and self._for(policy, count) else {}),
                        set(),
                    )
                    begun = begun if marks else dict.fromkeys(begun)
                    causes, excused = [], {}
                    if not self._for(policy, count):
                        prompted = {}
                    continue
                causes = whys or [Why("always", None, "")]
                began = {why.name: why.since or 0 for why in causes}
                over = {n for n, at in excused.items() if not (n in began and began[n] < at)}
                excused = {name: at for name, at in excused.items() if name not in over}
                known -= over
                kept = dict(marks) if policy.sticky else {}
                fresh: list[Why] = []
                for why in causes:
                    if why.name in known:
                        if why.name in marks:
                            kept[why.name] = marks[why.name]
                    elif not self._excused(policy, why, count, moment, prompted.get(why.name)):
                        kept[why.name] = why
                        fresh.append(why)
                gone = {name: why for name, why in marks.items() if name not in kept}
                if gone and self._waits(policy, marks, count, moment, level_before):
                    bare = self._bare(policy, count, moment, level_before)
                    kept |= {name: why for name, why in gone.items() if name in bare}
                prompted |= {why.name: moment for why in fresh}
                before_since = max((w.since for w in marks.values() if w.since), default=None)
                if lasts and (held or marks):
                    pass  # the grace of what lasts is not renewed
                elif fresh:
                    anew = min(w.since or self.begun for w in fresh)
                    begun = {
                        compliant: anew
                        if not marks
                        or self._proof(count, self._ways(policy, compliant), before_since) >= 0
                        else waits
                        for compliant, waits in begun.items()
                    }
                marks = dict(list(kept.items())[-16:])
                begun = begun if marks else dict.fromkeys(begun)
                known = {why.name for why in causes}
        self.level = level
        all_over = bool(excused) and all(why.name in excused for why in causes)
        self.is_cleared = holds and not marks and all_over
        return marks, holds, begun if marks else dict.fromkeys(begun)

    def _waits(
        self, policy: Policy, marks: dict[str, Why], count: int, now: int, before: RiskLevel
    ) -> bool:
        """Whether only sign-ins that do not meet the mark made its condition go away."""
        since = max((w.since for w in marks.values() if w.since is not None), default=None)
        if self._proof(count, self._needs(policy, count) or [frozenset()], since) >= 0:
            return False
        self.bare = True
        try:
            level = self._level(before, self.score(count, now))
            return self._holds(policy, count, now, level)[0]
        finally:
            self.bare = False

    def _bare(self, policy: Policy, count: int, now: int, before: RiskLevel) -> set[str]:
        """The names of what makes the policy hold, had nobody ever proven anything."""
        self.bare = True
        try:
            level = self._level(before, self.score(count, now))
            return {why.name for why in self._holds(policy, count, now, level)[1]}
        finally:
            self.bare = False

    def _excused(
        self, policy: Policy, why: Why, count: int, now: int, prompted: int | None
    ) -> bool:
        """Whether it was proven there, or so shortly before that nobody is asked again."""
        needs = self._needs(policy, count)
        if why.proof and self.proven(count, why.proof, needs):
            return True
        proof = -1 if prompted is None else self._proof(count, needs, prompted)
        return proof >= 0 and now // MICRO - proof < (policy.min_interval or 0)

    def _proof(self, count: int, ways: Ways, moment: int | None) -> int:
        """Since which second one of the ways has been shown, later than a moment; -1: not."""
        made = [fact.authentication for fact in self.until(count) if isinstance(fact, SignedIn)]
        later = [auth for auth in made if moment is None or auth.auth_time > moment // MICRO]
        shown = [
            min(
                max((auth.auth_time for auth in later if shows(auth, control)), default=-1)
                for control in (way or {"anything"})
            )
            for way in ways
        ]
        return max(shown, default=-1)

    def _level(self, before: RiskLevel, score: float) -> RiskLevel:
        for level, begins in ((RiskLevel.HIGH, 70), (RiskLevel.MEDIUM, 40)):
            if score >= begins or (before.height >= level.height and score >= begins - 10):
                return level
        return RiskLevel.LOW

    def _holds(
        self, policy: Policy, count: int, now: int, level: RiskLevel
    ) -> tuple[bool, list[Why]]:
        if not self._for(policy, count):
            return False, []
        if policy.conditions is None:
            return True, [Why("always", None, "")]
        return self.judge(policy.conditions, count, now, self._needs(policy, count), level)

    def _for(self, policy: Policy, count: int) -> bool:
        def named(who: object) -> bool:
            return any(
                set(self.claim(count, claim)[0]) & getattr(who, field)
                for claim, field in (("user", "users"), ("groups", "groups"), ("roles", "roles"))
            )

        users = policy.users
        return (users.include is None or named(users.include)) and not named(users.exclude)

    def _needs(self, policy: Policy, count: int) -> Ways:
        """The ways that a sign-in can satisfy as things are, each as what it must show."""
        return self._ways(policy, self.compliance(count) is True)

    @staticmethod
    def _ways(policy: Policy, compliant: bool) -> Ways:
        if policy.grant.block:
            return []
        return [
            way - {"compliant-device"}
            for way in policy.grant.alternatives or (frozenset[str](),)
            if compliant or "compliant-device" not in way
        ]


def answers(condition: Condition) -> list[Condition]:
    """The condition, with every strict one answered by yes and by no, in all combinations."""
    match condition:
        case All():
            parts = itertools.product(*map(answers, condition.conditions))
            return [All(tuple(each)) for each in parts]
        case AnyOf():
            parts = itertools.product(*map(answers, condition.conditions))
            return [AnyOf(tuple(each)) for each in parts]
        case Not():
            return [Not(each) for each in answers(condition.condition)]
        case Locations() if condition.strict:
            return [All(()), AnyOf(())]
        case _:
            return [condition]


def shows(auth: Authentication, control: str) -> bool:
    """Whether a sign-in shows a level or a strength."""
    if control not in STRENGTHS:
        return LADDER.rank(auth.acr, auth.amr) >= (LADDER.rank_of_level(control) or 0)
    strength = STRENGTHS[control]
    return auth.acr in strength.acr or any(set(way) <= set(auth.amr) for way in strength.amr)


def _until(why: Why, moment: int) -> bool:
    """Whether a clear at this moment takes it away."""
    return why.name != "always" and (why.since or 0) < moment


def _chosen(selection: Selection, *names: str) -> bool:
    included = selection.include is None or any(name in selection.include for name in names)
    return included and not any(name in selection.exclude for name in names)


assert WORLD.rating.thresholds.hysteresis == 10
