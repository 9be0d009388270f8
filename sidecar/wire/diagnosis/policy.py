"""Warnings of `validate` about what does not work, and their words for `doctor`."""

from collections.abc import Iterable, Iterator

from sidecar.domain.explanation.diagnosis import Diagnosis, Part, Soundness
from sidecar.wire.checks.weaknesses import ALL_ADVICE
from sidecar.wire.yaml.tree import ConfigProblem

_BROKEN = frozenset(
    {
        *("never-fires", "needs-geography", "untold-by-geography", "locks-out-everyone"),
        *("route-unknown-context", "routes-unreached", "strength-unaskable"),
        *("unasked-unreached", "trusted-proxies-everyone", "public-everything", "route-unasked"),
    }
)
"""Those that cannot be meant: what was written does nothing, or undoes the rest."""


def diagnose_warnings(found: Iterable[tuple[str, ConfigProblem]]) -> Iterator[Diagnosis]:
    """Return each warning with its advice as the cure."""
    for code, problem in found:
        advice = ALL_ADVICE[code]
        what = problem.message.removesuffix(f"; {advice}")
        state = Soundness.WRONG if code in _BROKEN else Soundness.DOUBTFUL
        where = f"{problem.file}:{problem.line}: {problem.field}"
        yield Diagnosis(part_of(problem.field), code, state, f"{where}: {what}", advice)


def part_of(field: str) -> Part:
    """Return the part of the set-up that a key belongs to."""
    section = field.partition(".")[0].partition("[")[0]
    match section:
        case "policies" | "contexts" | "routes" | "locations" | "networks" | "assurance":
            return Part.POLICIES
        case "tokens":
            return Part.ISSUERS
        case "store":
            return Part.STORE
        case "sources":
            return Part.SOURCES
        case "geography":
            return Part.DATABASES
        case _:
            return Part.CONFIGURATION
