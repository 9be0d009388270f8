"""Routes that match some of the same calls, each pair with a call that shows it.

All routes that match a call add up (`routes`), which an author who thinks of the narrowest one may
not expect: `lint` warns of it. Only templates are looked at, so it costs no calls.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from sidecar.wire.routes.routes import bare_host, template_segments
from sidecar.wire.settings.settings import Route

MOST = 500
"""So many pairs are named; whoever has more has seen enough."""

_REST = "**"


class Overlap(NamedTuple):
    """`route` and `other`, by their places; `within`: the former matches no call alone."""

    route: int
    other: int
    example: str
    within: bool


class _Shape(NamedTuple):
    """The parts of a route that decide whether it matches. No methods or hosts: all."""

    place: int
    segments: tuple[str, ...]
    methods: frozenset[str]
    hosts: frozenset[str]

    @property
    def open_ended(self) -> bool:
        """Return whether all below is meant, too."""
        return self.segments[-1:] == (_REST,)

    @property
    def first(self) -> str:
        """The literal that its paths begin with; empty: there is none."""
        segment = self.segments[0] if self.segments else ""
        return "" if _variable(segment) or segment == _REST else segment


def overlaps(routes: Sequence[Route]) -> tuple[Overlap, ...]:
    """Return all pairs that overlap, the narrower first.

    Of neither, the later. Raises `InvalidRoute`.
    """
    shapes = [_shape(place, route) for place, route in enumerate(routes)]
    found: list[Overlap] = []
    for one, other in _candidates(shapes):
        example = _meet(one, other)
        if example is None:
            continue
        narrower = _within(one, other) and not _within(other, one)
        narrow, wide = (one, other) if narrower else (other, one)
        found.append(Overlap(narrow.place, wide.place, example, _within(narrow, wide)))
        if len(found) == MOST:
            break
    return tuple(sorted(found))


def _shape(place: int, route: Route) -> _Shape:
    methods = {"GET" if method.upper() == "HEAD" else method.upper() for method in route.methods}
    return _Shape(
        place,
        tuple(template_segments(place, route.path)),
        frozenset(methods),
        frozenset("*." + bare_host(h[2:]) if h[:2] == "*." else bare_host(h) for h in route.hosts),
    )


def _candidates(shapes: Sequence[_Shape]) -> Iterator[tuple[_Shape, _Shape]]:
    """Pairs that may meet, the earlier first: those that do not begin with different literals."""
    by_first: dict[str, list[_Shape]] = defaultdict(list)
    for shape in shapes:
        if shape.first:
            before = by_first[shape.first] + by_first[""]
        else:
            before = [each for same in by_first.values() for each in same]
        for other in sorted(before):
            yield other, shape
        by_first[shape.first].append(shape)


def _meet(one: _Shape, other: _Shape) -> str | None:
    """Return a call that both match: `GET shop.example/pay/x`."""
    if one.methods and other.methods and one.methods.isdisjoint(other.methods):
        return None
    host = _common_host(one.hosts, other.hosts)
    path = _common_path(one, other)
    if host is None or path is None:
        return None
    both = one.methods & other.methods if one.methods and other.methods else None
    methods = sorted(one.methods | other.methods if both is None else both)
    return f"{methods[0] + ' ' if methods else ''}{host}{path}"


def _common_path(one: _Shape, other: _Shape) -> str | None:
    path: list[str] = []
    for mine, others in zip_longest(one.segments, other.segments):
        if _REST in (mine, others):
            longer = other.segments if mine == _REST else one.segments
            rest = longer[len(path) :]
            path += [_example(segment) for segment in rest if segment != _REST]
            return "/" + "/".join(path)
        common = None if mine is None or others is None else _common(mine, others)
        if common is None:
            return None
        path.append(common)
    return "/" + "/".join(path)


def _variable(segment: str) -> bool:
    return segment == "*" or "{}" in segment


def _parts(segment: str) -> tuple[str, str]:
    """Return what stands before and after the variable of a segment that has one."""
    before, _, after = segment.replace("*", "{}").partition("{}")
    return before, after


def _example(segment: str) -> str:
    if not _variable(segment):
        return segment
    before, after = _parts(segment)
    return f"{before}x{after}"


def _common(one: str, other: str) -> str | None:
    """Return a segment that both match."""
    if not _variable(one):
        return one if _takes(other, one) else None
    if not _variable(other):
        return other if _takes(one, other) else None
    (before, after), (others, others_after) = _parts(one), _parts(other)
    begins, ends = max(before, others, key=len), max(after, others_after, key=len)
    fits = begins.startswith(before) and begins.startswith(others)
    fits = fits and ends.endswith(after) and ends.endswith(others_after)
    return f"{begins}x{ends}" if fits else None


def _takes(wide: str, narrow: str) -> bool:
    """Return whether a segment matches all that another one does."""
    if not _variable(wide):
        return wide == narrow
    before, after = _parts(wide)
    if not _variable(narrow):
        long_enough = len(narrow) > len(before) + len(after)
        return long_enough and narrow.startswith(before) and narrow.endswith(after)
    begins, ends = _parts(narrow)
    return begins.startswith(before) and ends.endswith(after)


def _common_host(one: frozenset[str], other: frozenset[str]) -> str | None:
    """Return a host that both are for; empty: any is."""
    if not one or not other:
        return next((_host(name) for name in sorted(one or other)), "")
    for mine in sorted(one):
        for others in sorted(other):
            if _host_takes(mine, others):
                return _host(others)
            if _host_takes(others, mine):
                return _host(mine)
    return None


def _host(name: str) -> str:
    return "x" + name[1:] if name.startswith("*.") else name


def _host_takes(wide: str, narrow: str) -> bool:
    return wide == narrow or (wide.startswith("*.") and narrow.endswith(wide[1:]))


def _within(one: _Shape, other: _Shape) -> bool:
    """Return whether `other` matches whatever `one` does."""
    if other.methods and not (one.methods and one.methods <= other.methods):
        return False
    if other.hosts and not (
        one.hosts and all(any(_host_takes(w, n) for w in other.hosts) for n in one.hosts)
    ):
        return False
    wide = other.segments[:-1] if other.open_ended else other.segments
    narrow = one.segments[:-1] if one.open_ended else one.segments
    if other.open_ended:
        fits = len(narrow) >= len(wide)
    else:
        fits = len(narrow) == len(wide) and not one.open_ended
    return fits and all(map(_takes, wide, narrow))
