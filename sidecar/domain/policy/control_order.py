"""Order of controls: whoever satisfies grant A satisfies grant B, too."""

from collections.abc import Iterable, Iterator

from sidecar.domain.policy.conditional_access import COMPLIANT_DEVICE
from sidecar.domain.values.assurance import Ladder


def includes(one: frozenset[str], other: frozenset[str], ladder: Ladder) -> bool:
    """Return whether whoever satisfies all of these controls satisfies all of the others."""
    shown = ladder.requirements(one - {COMPLIANT_DEVICE})
    return (COMPLIANT_DEVICE in one or COMPLIANT_DEVICE not in other) and all(
        any(ladder.implies(each, asked) for each in shown)
        for asked in ladder.requirements(other - {COMPLIANT_DEVICE})
    )


def superfluous(controls: frozenset[str], ladder: Ladder) -> Iterator[tuple[str, str]]:
    """Yield each control that another one of these includes, after the strongest that does."""
    asked = [(ladder.requirements((c,))[0], c) for c in controls - {COMPLIANT_DEVICE}]
    for weaker, name in sorted(asked):
        above = [
            (stronger, other)
            for stronger, other in asked
            if other != name
            and ladder.implies(stronger, weaker)
            and (other < name or not ladder.implies(weaker, stronger))
        ]
        if above:
            yield max(above)[1], name


def never_needed(
    ways: Iterable[frozenset[str]], ladder: Ladder
) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """Yield each way to satisfy a grant that is never asked for, and the one that suffices."""
    everything = tuple(ways)
    for way in everything:
        for other in everything:
            if includes(way, other, ladder) and not includes(other, way, ladder):
                yield way, other
                break
