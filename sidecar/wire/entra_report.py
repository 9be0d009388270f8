"""What an import tells: for people, and as JSON."""

from collections.abc import Iterator
from typing import Any

from sidecar.wire.entra import Import, Imported
from sidecar.wire.entra_users import KEPT


def report_lines(result: Import) -> Iterator[str]:
    """The report as lines: each policy, each part that was not carried over, what to know."""
    for one in result.imported:
        yield f"{one.policy.id}: {_state(one)}"
    if result.losses:
        yield ""
        yield "Not carried over:"
    for loss in result.losses:
        told = f"{loss.value}: {loss.reason} ({loss.effect.value})"
        yield f"  {loss.file}: {loss.path}: {told}"
    notes = [note for note in result.notes if note.text != KEPT]
    kept = len(result.notes) - len(notes)
    if result.notes:
        yield ""
        yield "Carried over, and to know:"
    for note in notes:
        yield f"  {note.file}: {note.path}: {note.text}"
    if kept:
        yield f"  {kept} ids were {KEPT}"


def _state(one: Imported) -> str:
    state = one.policy.state
    if state is one.was:
        return state.value
    return f"{state.value}, was {one.was.value}: {'; '.join(one.why)}"


def report_json(result: Import) -> dict[str, Any]:
    """The same as JSON, with the texts of the files."""
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
