"""Sentences of the history: what an entry says, in plain English, with its cause."""

from typing import assert_never

from sidecar.domain.sources.origin import Origins
from sidecar.service.observations.observations import ClearReason
from sidecar.wire.history.entries import Entry, EntryKind

_CLEARED = {
    ClearReason.PROOF.value: "by a later sign-in",
    ClearReason.WITHDRAWN.value: "since its condition went away",
    ClearReason.OPERATOR.value: "by an operator",
    ClearReason.POLICY.value: "since the policy is gone",
    ClearReason.EXPIRED.value: "since it expired",
}


SAID_BY, SOURCE = "(said by ", "(source "


def sentence_of(entry: Entry) -> str:
    """Return what happened: `marked by policy office: network: restricted (source mdm)`."""
    match entry.kind:
        case EntryKind.SIGNAL | EntryKind.ACT:
            return f"{_whose(entry)}{entry.text}{_said_by(entry.source)}"
        case EntryKind.PROOF:
            return entry.text
        case EntryKind.MARKED:
            would = "would be " if entry.report_only else ""
            where = f" for {', '.join(entry.contexts)}" if entry.contexts else ""
            text = entry.text.replace(SAID_BY, SOURCE)
            by = _brought_by(entry.by, besides=text)
            return f"{would}marked by policy {entry.policy}{where}: {text}{by}"
        case EntryKind.CLEARED:
            mark = "what would be the mark" if entry.report_only else "the mark"
            how = _CLEARED.get(entry.what, entry.what)
            return f"{mark} of policy {entry.policy} was cleared {how}{_brought_by(entry.by)}"
        case EntryKind.REVOKED:
            because = f": {entry.text}" if entry.text else ""
            return f"over until a later sign-in{because}{_brought_by(entry.by)}"
        case EntryKind.CHALLENGED | EntryKind.DENIED:
            done = "asked to step up" if entry.kind is EntryKind.CHALLENGED else "refused"
            where = f"in {', '.join(entry.contexts)}" if entry.contexts else "outside all contexts"
            why = entry.text.replace(SAID_BY, SOURCE)
            return f"a call {where} was {done} (decision {entry.decision}): {why}"
        case never:
            assert_never(never)


def _whose(entry: Entry) -> str:
    """Return whom a signal is about, where that is not the session that the line names."""
    if entry.session:
        return ""
    return f"device {entry.device}: " if entry.device else "the user: "


def _said_by(source: str) -> str:
    return f" {SOURCE}{source})" if source else ""


def _brought_by(by: Origins, besides: str = "") -> str:
    """Return which sources' events brought something; those without a source are checks' own.

    `besides`: a text before it, which may name some of them already. It may hold what a source has
    said, which must not stand in the place of another's name.
    """
    sources = dict.fromkeys(source for source, _ in by if source)
    return _said_by(", ".join(one for one in sources if _said_by(one) not in besides))
