"""The lines that the local socket sends: contract, section 4. What is empty is left out.

Pure; it stands on this floor because `Answer` belongs to the services.
"""

import msgspec

from sidecar.service.checks.kept_answers import KEPT_BOUND, RepeatedAnswer
from sidecar.service.ports.calls import (
    UNKNOWN_CONTEXT,
    Accepted,
    Answer,
    FleetAcknowledgement,
    Overloaded,
    StandingChange,
)
from sidecar.wire.events.socket_lines import Ref, Refusal

BEGUN_BOUND = KEPT_BOUND
"""Replies of which the beginning is kept; where they are more, all begin anew."""

_encode = msgspec.json.Encoder().encode


def ok_reply(ref: Ref) -> bytes:
    """Return the reply to a ping or watch."""
    return _line({"ok": True}, ref)


def event_reply(
    accepted: Accepted, ref: Ref, acknowledgement: FleetAcknowledgement | None = None
) -> bytes:
    """Return the reply to an event that is durable, and perhaps everywhere."""
    reply: dict[str, object] = {"ok": True, "id": accepted.id}
    if accepted.duplicate:
        reply["duplicate"] = True
    if accepted.spooled:
        reply["spooled"] = True
    if acknowledgement is not None:
        reply["settled"] = acknowledgement.is_everywhere
        reply["have"] = acknowledgement.have
        if acknowledgement.live:
            reply["live"] = acknowledgement.live
    return _line(reply, ref)


def check_reply(answer: Answer, ref: Ref) -> bytes:
    """Return the reply to a check.

    A token that is not believed, and no decision at all, are errors.
    """
    if answer.error == UNKNOWN_CONTEXT:
        refusal = Refusal(UNKNOWN_CONTEXT, answer.message, "context", ref)
        return refusal_reply(refusal, status=answer.status, decision=answer.id)
    if answer.error == "invalid_token" or (answer.error and answer.status == 503):
        return _undecided(answer, ref)
    reply: dict[str, object] = {
        "ok": True,
        "decision": answer.verdict.value,
        "status": answer.status,
    }
    optional = {
        "session": answer.session,
        "subject": answer.subject,
        "assurance": answer.assurance,
        "www_authenticate": answer.challenge,
        "acr_values": answer.acr_values,
        "message": answer.message,
        "reasons": answer.reasons,
        "step_up_pending": answer.pending,
    }
    reply.update((name, value) for name, value in optional.items() if value)
    if answer.max_age is not None:
        reply["max_age"] = answer.max_age
    if answer.id:
        reply["id"] = answer.id
    return _line(reply, ref)


class RepeatedReplies:
    """Makes replies of answers that come again and again; what they have in common is kept."""

    def __init__(self) -> None:
        self._begun: dict[int, tuple[Answer, bytes]] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def reply(self, repeated: RepeatedAnswer, ref: Ref) -> bytes:
        """Return what `check_reply` returns of an answer."""
        answer, decision = repeated
        kept = self._begun.get(id(answer))
        # Where an answer lay that is gone, another may have come to lie.
        if kept is None or kept[0] is not answer:
            kept = self._begin(answer)
        end = b',"id":"%b"' % decision.encode() if decision else b""
        if ref is msgspec.UNSET:
            return b"%b%b}\n" % (kept[1], end)
        return b'%b%b,"ref":%b}\n' % (kept[1], end, _encode(ref))

    def _begin(self, answer: Answer) -> tuple[Answer, bytes]:
        """Keep a reply without what differs, which is at its end, and without its last brace."""
        if len(self._begun) >= BEGUN_BOUND:
            self._begun.clear()
        kept = self._begun[id(answer)] = (answer, check_reply(answer, msgspec.UNSET)[:-2])
        return kept


def refusal_reply(refusal: Refusal, *, status: int = 0, decision: str = "") -> bytes:
    """Return the reply to a line that is refused.

    `status` is what the app should answer, where known, and `decision` the id of a check's.
    """
    reply: dict[str, object] = {"ok": False, "error": refusal.error}
    if refusal.field:
        reply["field"] = refusal.field
    reply["message"] = refusal.message
    if status:
        reply["status"] = status
    if decision:
        reply["id"] = decision
    return _line(reply, refusal.ref)


def overloaded_reply(error: Overloaded, ref: Ref) -> bytes:
    """Return the reply where a bounded queue is full."""
    reply = {"ok": False, "error": "overloaded", "message": str(error)}
    return _line({**reply, "retry_after": error.retry_after}, ref)


def unavailable_reply(message: str, ref: Ref) -> bytes:
    """Return the reply where something outside, or something here, does not work."""
    return _line({"ok": False, "error": "unavailable", "message": message}, ref)


def standing_line(change: StandingChange) -> bytes:
    """Return the line that a watcher gets of a change."""
    line: dict[str, object] = {
        "event": "standing",
        "session": change.session,
        "standing": change.standing,
    }
    if change.contexts:
        line["contexts"] = change.contexts
    if change.reasons:
        line["reasons"] = change.reasons
    return _encode(line) + b"\n"


def _undecided(answer: Answer, ref: Ref) -> bytes:
    reply: dict[str, object] = {
        "ok": False,
        "error": answer.error,
        "message": answer.message or "no decision could be made",
        "status": answer.status,
    }
    if answer.challenge:
        reply["www_authenticate"] = answer.challenge
    if answer.retry_after:
        reply["retry_after"] = answer.retry_after
    if answer.id:
        reply["id"] = answer.id
    return _line(reply, ref)


def _line(reply: dict[str, object], ref: Ref) -> bytes:
    if ref is not msgspec.UNSET:
        reply["ref"] = ref
    return _encode(reply) + b"\n"
