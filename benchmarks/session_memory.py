"""What a session in the view is made of, by a walk through what it alone holds.

Usage: python -m benchmarks.session_memory [SESSIONS]

A view on an empty store has SESSIONS (5,000) calm sessions, each of a user and on a device of its
own. Of one that nobody has asked for lately each part is counted by `sys.getsizeof`: what others
hold too, as policies, names of fields and the store's connections, is no part of it.
"""

import sys
from collections.abc import Iterator, Mapping

import trio

from benchmarks.evaluator import HOME, evaluator
from sidecar.domain.facts.fact_kinds import DeviceBound, Fact, ShownWith, Sighted, SignedIn
from sidecar.domain.session.presented import Presented
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import at
from sidecar.service.compact.packing import Packing
from sidecar.service.observations.observations import Observation
from sidecar.service.ports.store import Load, Loaded
from sidecar.service.view.live_session import NO_ENTRIES, NO_FIELDS, Live, Tracked
from sidecar.service.view.view import View
from sidecar.service.view.watchers import Watches
from sidecar.wire.store.keys import StoreKeys

ISSUER = "https://id.example"
NOW = 1_800_000_000

PARTS = {
    "names": ("user", "session"),
    "state": ("_state", "_packed", "_culprits", "_earlier"),
    "judged": ("_standing", "_judged", "_latest", "presented"),
    "records": ("own", "users", "locator", "_devices"),
}
"""The slots of a session that are walked through, by part; all others are numbers, or shared."""

_LEAVES = (str, bytes, int, float, bool, type(None), type)


def walk(root: object, seen: set[int]) -> int:
    """Return the bytes of an object and of all that it holds and was not seen before."""
    if id(root) in seen or isinstance(root, (Packing, Live)):
        return 0
    seen.add(id(root))
    return sys.getsizeof(root) + sum(walk(one, seen) for one in _held(root))


def _held(root: object) -> Iterator[object]:
    if isinstance(root, _LEAVES):
        return
    if isinstance(root, Mapping):
        yield from root.keys()
        yield from root.values()
    elif isinstance(root, (tuple, list, set, frozenset)):
        yield from root
    kind = type(root)
    fields: tuple[str, ...] = getattr(kind, "__struct_fields__", getattr(kind, "__slots__", ()))
    yield from (getattr(root, name) for name in fields if hasattr(root, name))


def parts_of(live: Live, *, shared: object = None) -> dict[str, int]:
    """Return the bytes of each part of a session, without what is reached by `shared`."""
    seen: set[int] = set()
    for one in (shared, NO_FIELDS, NO_ENTRIES):
        walk(one, seen)
    parts = {"itself": sys.getsizeof(live)}
    for part, slots in PARTS.items():
        parts[part] = sum(walk(getattr(live, slot), seen) for slot in slots)
    numbers = (live.version, live.standing_number, live.expires_at, live.seen_at)
    parts["numbers"] = sum(walk(one, seen) for one in numbers)
    return parts


def is_at_rest(live: Live) -> bool:
    """Return whether the session and all its records are packed."""
    tracked: tuple[Tracked, ...] = tuple(live.tracked)
    return live.is_packed and all(one.is_packed for one in tracked)


class _Outside:
    """A store that has nothing, news that never come, and telemetry that nobody reads."""

    async def load(self, *loads: Load) -> list[Loaded]:
        return [Loaded({}, ()) for _ in loads]

    async def follow(self, *channels: bytes) -> None:
        pass

    def unfollow(self, channel: bytes) -> None:
        pass

    def staleness(self) -> float:
        return 0.0

    def record(self, observation: Observation) -> None:
        pass

    def checked(self, verdict: str, context: str, seconds: float) -> None:
        pass


def _shown(n: int) -> list[Fact]:
    """What the first call of the n-th session shows."""
    stamp = at(NOW + n, f"a{n:06}")
    ip, device = f"192.0.2.{n % 250}", f"device-{n}"
    signed_in = Authentication(NOW + n - 60, "single-factor")
    return [
        Sighted(stamp=stamp, ip=ip, place=HOME),
        DeviceBound(stamp=stamp, device=device),
        SignedIn(
            stamp=stamp, authentication=signed_in, shown_with=ShownWith(ip, HOME, device, "", "")
        ),
    ]


async def measured(sessions: int) -> dict[str, int]:
    """Fill a view, and return the parts of a session that nobody has asked for lately."""
    outside = _Outside()
    view = View(
        store=outside,
        news=outside,
        names=StoreKeys("stepup"),
        evaluator=evaluator(3),
        watches=Watches(),
        telemetry=outside,
        clock=lambda: NOW + sessions + 1.0,
        bound=sessions,
    )
    for n in range(sessions):
        live = await view.open(ISSUER, f"user-{n}", f"session-{n}", f"device-{n}")
        view.write((live.own, _shown(n)))
        live.judged(view.evaluator, NOW + n, Presented(Authentication(NOW + n - 60)))
        for tracked in await view.take_unsaved():
            tracked.unsaved = NO_FIELDS
    resting = [live for live in view if is_at_rest(live)]
    return parts_of(resting[len(resting) // 8], shared=view.evaluator)


def main() -> None:
    """Measure, and print."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    parts = trio.run(measured, sessions)
    for part, size in parts.items():
        print(f"{part:10} {size:6,}")
    print(f"{'together':10} {sum(parts.values()):6,}")


if __name__ == "__main__":
    main()
