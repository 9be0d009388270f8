"""A small world for tests of the ground floor: three places, four levels, and a policy maker."""

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import ClaimsSeen, Fact, Scope, ShownWith, Sighted, SignedIn
from sidecar.domain.policy.conditional_access import Condition, Grant, Policy, Selection
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.risk import Rating, Thresholds, Weight
from sidecar.domain.session.scene import World
from sidecar.domain.values.assurance import Authentication, Ladder, Strength
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import Stamp, at
from sidecar.wire.settings.settings import Assurance

BERLIN = Place(
    country="DE", region="DE-BE", asn=64496, latitude=52.52, longitude=13.40, accuracy_km=20
)
LISBON = Place(
    country="PT", region="PT-11", asn=64497, latitude=38.72, longitude=-9.14, accuracy_km=20
)
SAO_PAULO = Place(
    country="BR", region="BR-SP", asn=64498, latitude=-23.55, longitude=-46.63, accuracy_km=20
)
PLACES = {"192.0.2.1": BERLIN, "198.51.100.1": LISBON, "203.0.113.1": SAO_PAULO}
HOME, AWAY, FAR = PLACES

STRENGTHS = {
    "partner": Strength(
        acr=("partner",), amr=(frozenset({"sc", "pin"}), frozenset({"kba", "geo"}))
    ),
    "hardware": Strength(acr=("hardware", "phr"), amr=(frozenset({"hwk", "pop"}),)),
}
LADDER = Ladder(Assurance().levels, STRENGTHS)
MFA = frozenset({"mfa"})
STRONG = frozenset({"phishing-resistant"})


def network_of(ip: str) -> str:
    return "office" if ip.startswith("10.") else ""


def locations_of(ip: str, place: Place) -> frozenset[str]:
    names = {"home"} if place.country == "DE" else set()
    return frozenset(names | ({"trusted"} if ip == HOME else set()))


WORLD = World(
    LADDER,
    Rating({"user-risk-high": Weight(60), "country-changed": Weight(30, 3600)}, Thresholds()),
    locations_of,
)


def evaluator(*policies: Policy, skew: int = 0) -> Evaluator:
    return Evaluator(policies, WORLD, Surroundings("", network_of, skew))


def policy(
    conditions: Condition | None = None,
    *controls: str,
    name: str = "p",
    sticky: bool = False,
    contexts: frozenset[str] | None = frozenset({"c1"}),
    block: bool = False,
) -> Policy:
    return Policy(
        name,
        Grant(tuple(frozenset({c}) for c in controls or ("mfa",)), block)
        if not block
        else Grant(block=True),
        conditions=conditions,
        contexts=Selection(contexts),
        sticky=sticky,
    )


def stamp(second: float, name: str = "") -> Stamp:
    return at(second, name or f"e{second}")


def sighted(second: float, ip: str = HOME, name: str = "") -> Sighted:
    return Sighted(stamp=stamp(second, name), ip=ip, place=PLACES[ip])


def signed_in(  # noqa: PLR0917 - a sign-in, and what came with it
    second: float,
    auth_time: int,
    acr: str = "mfa",
    name: str = "",
    amr: tuple[str, ...] = (),
    ip: str = "",
    device: str = "",
) -> SignedIn:
    """A sign-in that a call from `ip` shows; empty: it came without an address."""
    came = ShownWith(ip, PLACES[ip] if ip else Place(), device)
    shown = Authentication(auth_time, acr, amr)
    return SignedIn(stamp=stamp(second, name), authentication=shown, shown_with=came)


def established(second: float = 1000, acr: str = "single-factor", ip: str = HOME) -> list[Fact]:
    return [
        sighted(second, ip),
        signed_in(second, int(second) - 1, acr, ip=ip),
        ClaimsSeen(
            stamp=stamp(second),
            scope=Scope.SESSION,
            claims=(("groups", ("staff",)), ("user", ("alice",))),
        ),
    ]
