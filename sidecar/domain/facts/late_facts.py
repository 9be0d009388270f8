"""Facts that arrive after a checkpoint of later ones, and are the latest of their kind.

A device that is not compliant says so with a delay, and nobody has said anything else of it since:
that must count, however many steps of other kinds were folded meanwhile. A record keeps the latest
facts of each group, so whatever would supersede a fact that is there is there as well.

Where a session is and with what (address, agent, device, network) is left out: those are known to
the sidecars that serve the session at once, and each is superseded by the next call. What another
source reports of the network is not.
"""

from collections.abc import Iterable, Iterator, Sequence

from sidecar.domain.facts.facts import (
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    Fact,
    MembershipTold,
    NetworkReported,
    RiskReported,
    SetAside,
    SignalRaised,
)
from sidecar.domain.values.stamp import Stamp


def still_latest(
    late: Sequence[Sequence[Fact]], steps: Iterable[Sequence[Fact]]
) -> list[list[Fact]]:
    """Of steps that are late, the facts that nothing among `steps` supersedes."""
    if not late:
        return []
    latest: dict[str, Stamp] = {}
    for step in steps:
        for fact in step:
            for register in _registers(fact):
                latest[register] = max(fact.stamp, latest.get(register, fact.stamp))
    kept = [[fact for fact in step if _is_latest(fact, latest)] for step in late]
    return [step for step in kept if step]


def _is_latest(fact: Fact, latest: dict[str, Stamp]) -> bool:
    registers = tuple(_registers(fact))
    return bool(registers) and all(latest[register] == fact.stamp for register in registers)


def _registers(fact: Fact) -> Iterator[str]:
    """What a fact is the latest of: each source has its own last word."""
    match fact:
        case RiskReported():
            yield f"risk|{fact.scope}|{fact.device}|{fact.source}"
        case ComplianceReported():
            yield f"compliance|{fact.device}|{fact.source}"
        case SignalRaised():
            yield f"signal|{fact.scope}|{fact.device}|{fact.name}|{fact.source}"
        case NetworkReported() if fact.source:
            yield f"network|{fact.device}|{fact.source}"
        case AssuranceLowered():
            yield f"assurance|{fact.source}"
        case MembershipTold():
            # It does not matter when it is known: of one sign-in all that is told adds up.
            yield f"membership|{fact.stamp.encode()}"
        case SetAside():
            yield f"aside|{fact.stamp.encode()}"
        case ClaimsSeen():
            for name, _ in fact.claims:
                yield f"claim|{name}|{fact.source}"
        case _:
            return
