"""Network segments of a session: by its address, and by what sources report of it.

The daemon's own word is the segment of the session's address, and what an event of no other source
has reported: that is a circumstance like any other. What other sources report, of the session or of
the device that it is on, is kept beside it, each with the value that it had at the start, so that
none of them can take the place of another (`precedence`).
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from sidecar.domain.facts.precedence import NETWORK_CHANGE, words_that_count
from sidecar.domain.policy.conditional_access import Circumstance
from sidecar.domain.session.state import Said, State, said_by
from sidecar.domain.sources.source import ITSELF, Sources

Segment: TypeAlias = tuple[str, Said]
"""Who says so, and in which segment; empty: in none."""

_KIND = Circumstance.NETWORK


def report(state: State, source: str, segment: str, device: str, moment: int) -> None:
    """Keep what another source than the daemon reports of the session, or of a device."""
    words = state.device_network.get(device, {}) if device else state.segments
    said = said_again(state, words.get(source), segment, moment)
    if device:
        state.device_network[device] = {**words, source: said}
    else:
        state.segments[source] = said
    key = _baseline_key(source, device)
    if not state.established or (key not in state.baseline and _KIND not in state.baseline):
        state.baseline[key] = segment


def said_again(state: State, before: Said | None, value: str, moment: int) -> Said:
    """Return what a source says now.

    Since when, unless an operator has cleared what it said before.
    """
    same = before is not None and before.value == value and state.goes_on(before.at)
    return Said(value, before.since if before is not None and same else moment, moment)


def _baseline_key(source: str, device: str) -> str:
    return f"{_KIND}@{source}|{device}" if device else f"{_KIND}@{source}"


def circumstance_of(source: str, segment: str) -> str:
    """Return what a sign-in in this segment proves: of each source's word by itself."""
    return f"{_KIND}@{source}={segment}" if source else f"{_KIND}={segment}"


def reported(state: State) -> Iterator[Segment]:
    """Return the latest word of each other source, of the session or of its device."""
    return (segment for words in _registers(state) for segment in words.items())


def _registers(state: State) -> tuple[dict[str, Said], dict[str, Said]]:
    """Return what is said of the session, its device included, and what else is said of that.

    Where nobody vouches for it that the session is on that device, the words of the one replace
    none of the other: else a session would be taken out of a segment with its device.
    """
    words = dict(state.segments)
    others = state.device_network.get(state.device, {})
    of_device = {source: said for source, said in others.items() if source != ITSELF}
    if not state.vouched:
        return words, of_device
    for source, said in of_device.items():
        if source not in words or words[source].at < said.at:
            words[source] = said
    return words, {}


def segments(state: State, sources: Sources) -> Sequence[Segment]:
    """Return all segments that the session is in by a word that counts.

    It is in none only where nobody says otherwise who may loosen: else anybody who reports a
    segment would take a session out of a policy for those who are in none.
    """
    own = _own(state)
    if not state.segments and not state.device_network:  # nobody else has said anything
        return ((ITSELF, own),)
    words, of_device = _registers(state)
    if own.value:
        words[ITSELF] = own
    found = list(words_that_count(words, NETWORK_CHANGE, sources))
    if not any(sources.loosens(source, NETWORK_CHANGE) for source, _ in found):
        found.append((ITSELF, own))
    found.extend(words_that_count(of_device, NETWORK_CHANGE, sources))
    return found


def describe_segments(state: State, sources: Sources) -> str:
    """Return the segments that the session is in, in words; empty: none is known."""
    found = segments(state, sources)
    return ", ".join(f"{said.value}{said_by(source)}" for source, said in found if said.value)


def _own(state: State) -> Said:
    """Return the daemon's own word.

    It is renewed at every sighting in a segment that is configured.
    """
    held = state.circumstances.get(_KIND)
    if held is None:
        return Said("", None, 0)
    at = held.since or 0
    if state.own is not None and not state.network_reported:
        at = max(at, state.own.moment)
    return Said(held.value, held.since, at)


def changes(state: State, sources: Sources) -> Iterator[tuple[str, Said, bool]]:
    """Yield each word on the session's segment, and whether that is another than at the start."""
    held = state.circumstances.get(_KIND)
    if not state.segments and not state.device_network:  # nobody else has said anything
        if held is not None:
            yield ITSELF, _own(state), not state.began_with(_KIND, held.value)
        return
    words, others = _registers(state)
    if held is not None:
        words[ITSELF] = _own(state)
    of_device = state.device_network.get(state.device, {})
    counted = [*words_that_count(words, NETWORK_CHANGE, sources)]
    for source, said in (*counted, *words_that_count(others, NETWORK_CHANGE, sources)):
        key = _KIND.value
        if source != ITSELF:
            device = state.device if of_device.get(source) == said else ""
            key = _baseline_key(source, device)
        yield (
            source,
            said,
            not state.began_with(key if key in state.baseline else _KIND, said.value),
        )
