"""Random policies over every kind of condition, and random lives of a session, for properties."""

from collections.abc import Callable

import msgspec
from hypothesis import strategies as st

from sidecar.domain.facts.fact_kinds import (
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    NetworkReported,
    Revoked,
    RiskReported,
    Scope,
    SignalRaised,
    Spent,
    StepUpAsked,
)
from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
    Assignment,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Countries,
    Device,
    EveryTime,
    Grant,
    Locations,
    Networks,
    Not,
    Policy,
    PolicyState,
    Principals,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)
from tests.domain.scenes import AWAY, FAR, HOME, sighted, signed_in
from tests.domain.scenes import stamp as at


def _selection(*names: str) -> st.SearchStrategy[Selection]:
    some = st.frozensets(st.sampled_from(names), min_size=1, max_size=2)
    return st.builds(Selection, st.none() | some, some | st.just(frozenset[str]()))


LEAVES: st.SearchStrategy[Condition] = st.one_of(
    st.builds(
        lambda names: Changed(tuple(names)),
        st.lists(st.sampled_from(Circumstance), min_size=1, max_size=3, unique=True),
    ),
    st.builds(Locations, _selection("home", "trusted"), st.booleans()),
    st.builds(Networks, _selection("restricted", "office")),
    st.builds(Countries, _selection("DE", "PT")),
    st.builds(Asns, _selection("64496", "64497")),
    st.builds(Anonymizer, st.booleans(), st.sampled_from([frozenset[str](), frozenset({"tor"})])),
    st.builds(TravelSpeed, st.sampled_from([100.0, 900.0, 1e6])),
    st.builds(Device, st.none() | st.booleans(), st.none() | st.booleans()),
    st.builds(UserRisk, st.sampled_from(RiskLevel)),
    st.builds(SessionRisk, st.sampled_from(RiskLevel), st.booleans()),
    st.builds(Score, st.sampled_from([20.0, 40.0, 70.0])),
    st.builds(Signals, st.just(frozenset({"odd"})), st.sampled_from([1.0, 30.0])),
    st.builds(Claims, st.sampled_from([(("groups", frozenset({"staff", "admins"})),)])),
    st.builds(TimeOfDay, st.just(0), st.sampled_from([17, 18, 19])),
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda c: All(tuple(c)), st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda c: AnyOf(tuple(c)), st.lists(inner, min_size=1, max_size=3))
        | st.builds(Not, inner)
    ),
    max_leaves=5,
)
_PRINCIPALS = st.sampled_from(
    [
        Principals(groups=frozenset({"staff"})),
        Principals(users=frozenset({"alice"}), roles=frozenset({"admin"})),
        Principals(users=frozenset({"bob"})),
        Principals(),
    ]
)
_CONTROLS = st.frozensets(
    st.sampled_from(
        ["single-factor", "mfa", "phishing-resistant", "compliant-device", "partner", "hardware"]
    ),
    min_size=1,
    max_size=3,
)
GRANTS = st.just(Grant(block=True)) | st.builds(
    lambda alternatives: Grant(tuple(alternatives)), st.lists(_CONTROLS, max_size=2)
)


CAPS = st.none() | st.sampled_from([60, 250])
EVERY_TIME = st.builds(EveryTime, st.sampled_from([0, 20, 100]), st.sampled_from([60, 200]))
SESSIONS = st.builds(SessionControls, st.none() | st.sampled_from([30, 120]), CAPS) | st.builds(
    SessionControls, st.none(), CAPS, EVERY_TIME
)


def policies(name: str) -> st.SearchStrategy[Policy]:
    """Random policies of this name; their grant may ask for nothing but a frequency."""
    return st.builds(
        Policy,
        st.just(name),
        GRANTS,
        state=st.sampled_from(
            [
                PolicyState.ENABLED,
                PolicyState.ENABLED,
                PolicyState.REPORT_ONLY,
                PolicyState.DISABLED,
            ]
        ),
        users=st.just(Assignment()) | st.builds(Assignment, st.none() | _PRINCIPALS, _PRINCIPALS),
        apps=st.just(Selection()) | _selection("app", "other"),
        contexts=st.just(Selection()) | _selection("c1", "c2", "routine"),
        conditions=st.none() | CONDITIONS,
        session=SESSIONS,
        sticky=st.booleans(),
        grace=st.just(0) | st.sampled_from([10, 60]),
        min_interval=st.none() | st.sampled_from([0, 30, 90]),
    )


SECONDS = st.integers(1001, 1100)
_MAKERS = st.one_of(
    st.builds(
        lambda ip: lambda s, n: sighted(s, ip, n),
        st.sampled_from([HOME, AWAY, FAR]),
    ),
    st.builds(
        lambda back, shown, ip, device: (
            lambda s, n: signed_in(s, s - back, shown[0], n, shown[1], ip, device)
        ),
        st.integers(0, 60) | st.integers(0, 400),
        st.sampled_from(
            [
                *((acr, ()) for acr in ("single-factor", "mfa", "phr", "partner", "hardware")),
                ("", ("hwk", "pop", "user")),
                ("mfa", ("kba", "geo")),
                ("", ("kba", "pop")),
            ]
        ),
        st.sampled_from(["", HOME, AWAY, FAR]),
        st.sampled_from(["", "d1"]),
    ),
    st.builds(
        lambda scope, level: lambda s, n: RiskReported(stamp=at(s, n), scope=scope, level=level),
        st.sampled_from([Scope.USER, Scope.SESSION]),
        st.sampled_from(RiskLevel),
    ),
    st.builds(
        lambda device, ok: (
            lambda s, n: ComplianceReported(stamp=at(s, n), device=device, compliant=ok)
        ),
        st.sampled_from(["d1", "d2"]),
        st.booleans(),
    ),
    st.builds(
        lambda device: lambda s, n: DeviceBound(stamp=at(s, n), device=device),
        st.sampled_from(["d1", "d2"]),
    ),
    st.builds(
        lambda name: lambda s, n: NetworkReported(stamp=at(s, n), network=name),
        st.sampled_from(["restricted", "office"]),
    ),
    st.just(lambda s, n: MarksCleared(stamp=at(s, n), scope=Scope.USER)),
    st.builds(
        lambda age: lambda s, n: StepUpAsked(stamp=at(s, n), scope=Scope.USER, max_age=age),
        st.sampled_from([-1, 30]),
    ),
    st.builds(
        lambda back, token: lambda s, n: Spent(stamp=at(s, n), auth_time=s - back, token=token),
        st.integers(0, 60),
        st.sampled_from(["t1", "t2"]),
    ),
    st.builds(
        lambda weight: (
            lambda s, n: SignalRaised(
                stamp=at(s, n), scope=Scope.SESSION, name="odd", weight=weight, half_life=40
            )
        ),
        st.sampled_from([20.0, 50.0]),
    ),
    st.builds(
        lambda groups: (
            lambda s, n: ClaimsSeen(
                stamp=at(s, n), scope=Scope.USER, claims=(("groups", tuple(groups)),)
            )
        ),
        st.lists(st.sampled_from(["staff", "admins"]), max_size=2, unique=True),
    ),
)


@st.composite
def lives(draw: st.DrawFn) -> list[Fact]:
    """What happens to a session after it began, each thing at a stamp of its own."""
    made = draw(st.lists(st.tuples(SECONDS, _MAKERS), max_size=12))
    return [make(second, f"n{index:02}") for index, (second, make) in enumerate(made)]


def _words(source: str) -> st.SearchStrategy[Callable[[int, str], Fact]]:
    """Everything that an event of a source can say that is kept by source."""
    by = {"source": source}
    scopes = st.sampled_from([Scope.USER, Scope.SESSION])
    devices = st.sampled_from(["d1", "d2"])
    return st.one_of(
        st.builds(
            lambda scope, level: (
                lambda s, n: RiskReported(stamp=at(s, n), scope=scope, level=level, **by)
            ),
            scopes,
            st.sampled_from(RiskLevel),
        ),
        st.builds(
            lambda device, level: (
                lambda s, n: RiskReported(
                    stamp=at(s, n), scope=Scope.DEVICE, level=level, device=device, **by
                )
            ),
            devices,
            st.sampled_from(RiskLevel),
        ),
        st.builds(
            lambda device, ok: (
                lambda s, n: ComplianceReported(stamp=at(s, n), device=device, compliant=ok, **by)
            ),
            devices,
            st.booleans(),
        ),
        st.builds(
            lambda device, name: (
                lambda s, n: NetworkReported(stamp=at(s, n), network=name, device=device, **by)
            ),
            st.just("") | devices,
            st.sampled_from(["restricted", "office"]),
        ),
        st.builds(
            lambda scope, weight: (
                lambda s, n: SignalRaised(
                    stamp=at(s, n), scope=scope, name="odd", weight=weight, half_life=40, **by
                )
            ),
            scopes,
            st.sampled_from([0.0, 20.0, 50.0]),
        ),
        st.builds(
            lambda groups: (
                lambda s, n: ClaimsSeen(
                    stamp=at(s, n),
                    source=source,
                    scope=Scope.USER,
                    claims=(("groups", tuple(groups)),),
                )
            ),
            st.lists(st.sampled_from(["staff", "admins"]), max_size=2, unique=True),
        ),
        st.builds(
            lambda device: lambda s, n: DeviceBound(stamp=at(s, n), device=device, **by),
            devices,
        ),
        st.builds(
            lambda back, acr: (
                lambda s, n: msgspec.structs.replace(signed_in(s, s - back, acr, n), **by)
            ),
            st.integers(0, 60),
            st.sampled_from(["single-factor", "mfa", "phr"]),
        ),
        st.builds(
            lambda level: lambda s, n: AssuranceLowered(stamp=at(s, n), level=level, **by),
            st.sampled_from(["single-factor", "mfa", "phr", "unknown"]),
        ),
        st.builds(
            lambda device: (
                lambda s, n: Revoked(stamp=at(s, n), scope=Scope.USER, device=device, **by)
            ),
            st.just("") | devices,
        ),
    )


@st.composite
def said_by(draw: st.DrawFn, *sources: str) -> list[Fact]:
    """What these sources say of a session, also before it began, each at a stamp of its own."""
    words = st.one_of(
        [st.tuples(st.integers(950, 1100), _words(source), st.just(source)) for source in sources]
    )
    made = draw(st.lists(words, max_size=10))
    return [
        make(second, f"{source}{index:02}") for index, (second, make, source) in enumerate(made)
    ]
