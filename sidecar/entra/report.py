"""Report of an import: for people, and as JSON."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sidecar.domain.policy.conditional_access import PolicyState
from sidecar.domain.values.plural import counted, verb
from sidecar.entra.conversion.policy import NOTHING_ASKED
from sidecar.entra.conversion.users import KEPT
from sidecar.entra.importer import Import, Imported

_INDEX = re.compile(r"\[\d+\]")


def report_lines(result: Import) -> Iterator[str]:
    """Yield the report as lines: each policy, each part that was not carried over, what to know."""
    for one in result.imported:
        yield f"{one.policy.id}: {_state(one)}"
    if result.losses:
        yield ""
        yield "Not carried over:"
    for loss in result.losses:
        line = f"{loss.value}: {loss.reason} ({loss.effect.value})"
        yield f"  {loss.file}: {loss.path}: {line}"
    notes = [note for note in result.notes if note.text != KEPT]
    kept = len(result.notes) - len(notes)
    if result.notes:
        yield ""
        yield "Carried over, and to know:"
    for note in notes:
        yield f"  {note.file}: {note.path}: {note.text}"
    if kept:
        yield f"  {counted(kept, 'id')} {verb(kept, 'was', 'were')} {KEPT}"


def summary_lines(result: Import) -> Iterator[str]:
    """Yield how many policies arrive in which state, and for how many each reason counts."""
    states = Counter((one.was, one.policy.state) for one in result.imported)
    files = len({one.ledger.file for one in result.imported})
    yield f"{counted(len(result.imported), 'policy')} of {counted(files, 'file')}:"
    for state in PolicyState:
        count = sum(number for (_, now), number in states.items() if now is state)
        were = ", ".join(
            f"{states[was, state]} {verb(states[was, state], 'was', 'were')} {was.value}"
            for was in PolicyState
            if states[was, state]
        )
        yield f"  {state.value}: {count}" + (f" ({were})" if were else "")
    reasons = Counter(reason for one in result.imported for reason in reasons_of(one))
    if reasons:
        yield ""
        yield "Why, by the number of policies (none: it changes no answer here):"
    for (effect, where, reason), count in sorted(reasons.items(), key=lambda of: (-of[1], of[0])):
        yield f"  {count} {effect}: {where}: {reason}"


def reasons_of(one: Imported) -> frozenset[tuple[str, str, str]]:
    """Return the effect, the place and the reason of each loss; items of a list are one place."""
    ledger = one.ledger
    found = {(loss.effect.value, _place(loss.path, one), loss.reason) for loss in ledger.losses}
    idle = [note for note in ledger.notes if note.text in ledger.idle]
    found |= {("never", _place(note.path, one), note.text) for note in idle}
    if NOTHING_ASKED in one.why:
        found.add(("state", "grantControls", NOTHING_ASKED))
    return frozenset(found)


def _place(path: str, one: Imported) -> str:
    return _INDEX.sub("", path.removeprefix(one.ledger.at).lstrip("."))


def _state(one: Imported) -> str:
    state = one.policy.state
    if state is one.was:
        return state.value
    return f"{state.value}, was {one.was.value}: {'; '.join(one.why)}"


def report_json(result: Import) -> dict[str, Any]:
    """Return the same as JSON, with the texts of the files."""
    return {
        "policies": [
            {
                "id": one.policy.id,
                "twin": one.twin.id if one.twin is not None else None,
                "source": one.source,
                "file": one.ledger.file,
                "path": one.ledger.at,
                "was": one.was.value,
                "state": one.policy.state.value,
                "why": list(one.why),
            }
            for one in result.imported
        ],
        "not_carried": [
            {
                "file": loss.file,
                "path": loss.path,
                "value": loss.value,
                "reason": loss.reason,
                "effect": loss.effect.value,
            }
            for loss in result.losses
        ],
        "notes": [
            {"file": note.file, "path": note.path, "text": note.text} for note in result.notes
        ],
        "locations": result.locations,
        "strengths": list(result.strengths),
        "policies_yaml": result.policies_text,
        "settings_yaml": result.settings_text,
    }
