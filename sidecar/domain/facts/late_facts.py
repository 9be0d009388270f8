"""Facts that arrive after a checkpoint of later ones, and are the latest of their kind.

A device that is not compliant says so with a delay, and nobody has said anything else of it since:
that must count, however many steps of other kinds were folded meanwhile. A record keeps the latest
facts of each group, so whatever would supersede a fact that is there is there as well.

Where a session is and with what (address, agent, device, network) is left out: those are known to
the sidecars that serve the session at once, and each is superseded by the next call. What another
source reports of the network is not.

A late fact that is not the latest may still say that what its source says now is not what it has
said all the time: a risk that was low for a while and is high again is another one. When it was
raised again is forgotten with what the checkpoint has folded; it was so by the source's last word
(`interrupt`).
"""

from collections.abc import Iterable, Iterator, Sequence

from sidecar.domain.facts.fact_kinds import (
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    Fact,
    MembershipsShown,
    NetworkReported,
    RiskReported,
    Scope,
    SetAside,
    SignalRaised,
)
from sidecar.domain.facts.precedence import (
    CLAIMS_CHANGE,
    COMPLIANCE_CHANGE,
    COMPLIANT,
    NETWORK_CHANGE,
    NOT_COMPLIANT,
    RISK_CHANGE,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.session.state import ClaimSaid, Moment, RiskHeld, Said, State
from sidecar.domain.sources.source import ITSELF
from sidecar.domain.values.stamp import Stamp


def still_latest(
    late: Sequence[Sequence[Fact]], steps: Iterable[Sequence[Fact]]
) -> list[list[Fact]]:
    """Return those facts of the `late` steps that nothing among the other `steps` supersedes.

    Several late ones may follow each other: what the last of them says was said anew.
    """
    if not late:
        return []
    # Late facts do not supersede each other here: the fold takes them up in their own order.
    latest: dict[str, Stamp] = {}
    came_late = {fact for step in late for fact in step}
    for step in steps:
        for fact in step:
            if fact not in came_late:
                for register in _registers(fact):
                    latest[register] = max(fact.stamp, latest.get(register, fact.stamp))
    kept = [[fact for fact in step if _is_latest(fact, latest)] for step in late]
    return [step for step in kept if step]


def _is_latest(fact: Fact, latest: dict[str, Stamp]) -> bool:
    registers = tuple(_registers(fact))
    return bool(registers) and all(
        latest.get(register, fact.stamp) <= fact.stamp for register in registers
    )


def _registers(fact: Fact) -> Iterator[str]:
    """Yield what a fact is the latest of: each source has its own last word."""
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
        case MembershipsShown():
            # It does not matter when it is known: of one sign-in all that is shown adds up.
            yield f"membership|{fact.stamp.encode()}"
        case SetAside():
            yield f"aside|{fact.stamp.encode()}"
        case ClaimsSeen():
            for name, _ in fact.claims:
                yield f"claim|{name}|{fact.source}"
        case _:
            return


def interrupt(state: State, fact: Fact, moment: int) -> str:
    """Have what a source has said since before `moment` count as of its last word; `state` changes.

    The late fact shows that its source said otherwise at that moment. A sign-in between that
    moment and the source's last word may then be older than what the source says now. Return the
    type of the events whose causes come up anew by that, if they still do; empty for none. They may
    also where this word began later: of a session and of its device a source may say the same.
    """
    match fact:
        case RiskReported():
            return _interrupt_risk(state, fact, moment)
        case ComplianceReported():
            value = COMPLIANT if fact.compliant else NOT_COMPLIANT
            found = _interrupt_in(state.compliance, fact, value, moment)
            return COMPLIANCE_CHANGE if found else ""
        case NetworkReported() if fact.source != ITSELF:
            if fact.device:
                found = _interrupt_in(state.device_network, fact, fact.network, moment)
            else:
                found = _interrupt_word(state.segments, fact, fact.network, moment)
            return NETWORK_CHANGE if found else ""
        case ClaimsSeen() if fact.source != ITSELF:
            return _interrupt_claims(state, fact, moment)
        case _:
            return ""


def _interrupt_risk(state: State, fact: RiskReported, moment: int) -> str:
    words = state.user_risk if fact.scope is Scope.USER else state.session_risk
    if fact.scope is Scope.DEVICE:
        words = dict(state.device_risk.get(fact.device, {}))
    held = words.get(fact.source)
    if held is None or held.level is fact.level:
        return ""
    medium, high, was = held.medium_since, held.high_since, fact.level.height
    if was < RiskLevel.HIGH.height and _spans(moment, high, held.at):
        high = held.at
    if was < RiskLevel.MEDIUM.height and _spans(moment, medium, held.at):
        medium = high  # at the latest: what is high is medium as well
    words[fact.source] = RiskHeld(held.level, medium, high, held.at)
    if fact.scope is Scope.DEVICE:
        state.device_risk[fact.device] = words
    return RISK_CHANGE


def _interrupt_in(
    tables: dict[str, dict[str, Said]],
    fact: ComplianceReported | NetworkReported,
    value: str,
    moment: int,
) -> bool:
    words = dict(tables.get(fact.device, {}))
    found = _interrupt_word(words, fact, value, moment)
    if found:
        tables[fact.device] = words
    return found


def _interrupt_word(words: dict[str, Said], fact: Fact, value: str, moment: int) -> bool:
    held = words.get(fact.source)
    if held is None or held.value == value:
        return False
    if _spans(moment, held.since, held.at):
        words[fact.source] = Said(held.value, held.at, held.at)
    return True


def _interrupt_claims(state: State, fact: ClaimsSeen, moment: int) -> str:
    found = ""
    for name, values in fact.claims:
        words = state.claims_said.get(name, {})
        held = words.get(fact.source)
        if held is None or held.values == values:
            continue
        found = CLAIMS_CHANGE
        if _spans(moment, held.since, held.at):
            again = ClaimSaid(held.values, held.at, held.at)
            state.claims_said[name] = {**words, fact.source: again}
    return found


def _spans(moment: int, since: Moment, at: int) -> bool:
    """Return whether a word that was said from `since` to `at` had begun before the moment."""
    return (since or 0) <= moment < at
