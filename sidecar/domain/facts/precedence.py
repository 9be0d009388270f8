"""Precedence of sources: of several words on one thing, which of them count.

A *register* holds one thing that is said of a user, a device or a session: for each source its
latest word. A word counts unless a newer one of a source that is over its own has replaced it, and
of those that count the strictest decides. The words are kept by source and weighed when they are
read, so that they may be learned late, twice or in any order, and so that a change of the
configuration is obeyed at once.

Two views follow. A condition that something said makes hold sees all words: whoever speaks may
tighten. A condition that something said keeps from holding (it stands below a `not`, or asks for
what is well) sees only the words of sources that may loosen: else anybody could undo it.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from sidecar.domain.policy.conditional_access import Circumstance
from sidecar.domain.session.state import ClaimSaid, RiskHeld, SignalHeld, State
from sidecar.domain.sources.source import ITSELF, Sources

COMPLIANT = "compliant"
NOT_COMPLIANT = "not-compliant"

COMPLIANCE_CHANGE = "device-compliance-change"
RISK_CHANGE = "risk-level-change"
ASSURANCE_CHANGE = "assurance-level-change"
NETWORK_CHANGE = "network-change"
CLAIMS_CHANGE = "token-claims-change"
RISK_SIGNAL = "risk-signal"
CREDENTIAL_CHANGE = "credential-change"

IDENTITY = frozenset({"user", "groups", "roles"})
"""Claims that say who a user is."""


class Word(Protocol):
    """The latest that a source said of one thing; `at` is when (microseconds)."""

    @property
    def at(self) -> int:
        """Return when it was said."""


W = TypeVar("W", bound=Word)


def words_that_count(
    words: Mapping[str, W], kind: str, sources: Sources
) -> Iterator[tuple[str, W]]:
    """Yield the words that count, each with its source, in the order of the sources' names.

    `kind` is the event type that such words come in.
    """
    if len(words) == 1:
        yield from words.items()
        return
    for source in sorted(words):
        word = words[source]
        if not any(
            word.at < other.at and sources.replaces(upper, source, kind)
            for upper, other in words.items()
        ):
            yield source, word


def of_those_who_loosen(words: Mapping[str, W], kind: str, sources: Sources) -> Mapping[str, W]:
    """Return the words of sources that may loosen by this event type; `words` itself if all may."""
    for source in words:
        if source != ITSELF and not sources.loosens(source, kind):
            break
    else:
        return words
    return {source: word for source, word in words.items() if sources.loosens(source, kind)}


def compliance(state: State, sources: Sources) -> str:
    """Return what the session's device is; empty where nobody says, or the session has none.

    Compliant it is by the word of who may loosen, where nobody says otherwise: the `compliant` of
    any other source takes back what it said itself, and no more. And so must be who says that this
    is the session's device: else anybody could put it on one that is compliant.
    """
    words = state.compliance.get(state.device)
    if not words:
        return ""
    found = ""
    for source, said in words_that_count(words, COMPLIANCE_CHANGE, sources):
        if said.value == NOT_COMPLIANT:
            return NOT_COMPLIANT
        if state.vouched and sources.loosens(source, COMPLIANCE_CHANGE):
            found = COMPLIANT
    return found


def highest(words: Mapping[str, RiskHeld], sources: Sources) -> RiskHeld | None:
    """Return the highest risk level that counts; None where nobody has reported any."""
    held = [held for _, held in words_that_count(words, RISK_CHANGE, sources)]
    return max(held, key=lambda one: one.level.height, default=None)


def signal_type(held: SignalHeld) -> str:
    """Return the type of the events that bring this signal."""
    return CREDENTIAL_CHANGE if held.name == CREDENTIAL_CHANGE else RISK_SIGNAL


def raised_signals(state: State, sources: Sources) -> Iterator[Sequence[SignalHeld]]:
    """Yield, of each register, the signals on the session, its user or its device that count."""
    if len(state.signals) == 1:
        (held,) = state.signals.values()
        if state.concerns(held.device):
            yield (held,)
        return
    registers: dict[str, dict[str, SignalHeld]] = {}
    for held in state.signals.values():
        if state.concerns(held.device):
            registers.setdefault(held.register, {})[held.source] = held
    for words in registers.values():
        kind = signal_type(next(iter(words.values())))
        yield [held for _, held in words_that_count(words, kind, sources)]


def claim_words(state: State, name: str, sources: Sources) -> Sequence[tuple[str, ClaimSaid]]:
    """Return all that counts of what is said of a claim, each with its source.

    The word of the tokens comes first.
    """
    said = state.claims_said.get(name)
    values, since = state.claims.get(name, ((), None))
    shown = ClaimSaid(values, since, since or 0)
    if not said:
        return ((ITSELF, shown),) if name in state.claims else ()
    words = {ITSELF: shown, **said} if name in state.claims else said
    return tuple(words_that_count(words, CLAIMS_CHANGE, sources))


def _claims_of_those(
    name: str, words: Mapping[str, ClaimSaid], sources: Sources
) -> Mapping[str, ClaimSaid]:
    """Return the words on a claim of those who may take a user out of a policy's reach by it."""
    if name not in IDENTITY:
        return of_those_who_loosen(words, CLAIMS_CHANGE, sources)
    if all(sources.identifies(source) for source in words):
        return words
    return {source: said for source, said in words.items() if sources.identifies(source)}


def _claims_by_loosening_words(state: State, sources: Sources) -> dict[str, Mapping[str, object]]:
    claims = state.claims_said
    said = {name: _claims_of_those(name, words, sources) for name, words in claims.items()}
    if all(said[name] is words for name, words in claims.items()):
        return {}
    return {"claims_said": said}


def _tables_by_loosening_words(state: State, sources: Sources) -> dict[str, Mapping[str, object]]:
    changed: dict[str, Mapping[str, object]] = {}
    for name, kind in _TABLES_OF_REGISTERS:
        table = getattr(state, name)
        if not table:
            continue
        of_key = {key: of_those_who_loosen(words, kind, sources) for key, words in table.items()}
        if any(of_key[key] is not words for key, words in table.items()):
            changed[name] = of_key
    return changed


def by_loosening_words(state: State, sources: Sources) -> State:
    """Return the state by the words of those alone who may loosen.

    It shares tables with `state`, and is the same where nobody else has said anything.
    """
    if _nobody_else_speaks(state):
        return state
    changed: dict[str, Mapping[str, object]] = {}
    for name, kind in _REGISTERS:
        words = getattr(state, name)
        kept = of_those_who_loosen(words, kind, sources)
        if kept is not words:
            changed[name] = kept
    if state.signals:
        kept_signals = {
            key: held
            for key, held in state.signals.items()
            if sources.loosens(held.source, signal_type(held))
        }
        if len(kept_signals) < len(state.signals):
            changed["signals"] = kept_signals
    changed |= _claims_by_loosening_words(state, sources) | _tables_by_loosening_words(
        state, sources
    )
    if state.device and not state.vouched:
        known = state.circumstances.items()
        changed["circumstances"] = {k: held for k, held in known if k != Circumstance.DEVICE}
    if not changed:
        return state
    twin = copy.copy(state)
    for name, table in changed.items():
        setattr(twin, name, table)
    twin.score_level = state.loosening_level
    return twin


def _nobody_else_speaks(state: State) -> bool:
    """Return whether all that is known of a session was said by the daemon itself."""
    if state.claims_said or (state.device and not state.vouched):
        return False
    for words in (state.user_risk, state.session_risk, state.segments):
        if words and (len(words) > 1 or ITSELF not in words):
            return False
    for table in (state.device_risk, state.compliance, state.device_network):
        for words in table.values():
            if len(words) > 1 or ITSELF not in words:
                return False
    for held in state.signals.values():  # noqa: SIM110 - a generator takes longer
        if held.source != ITSELF:
            return False
    return True


_REGISTERS = (
    ("user_risk", RISK_CHANGE),
    ("session_risk", RISK_CHANGE),
    ("segments", NETWORK_CHANGE),
)
_TABLES_OF_REGISTERS = (
    ("device_risk", RISK_CHANGE),
    ("compliance", COMPLIANCE_CHANGE),
    ("device_network", NETWORK_CHANGE),
)
