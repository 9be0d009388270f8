"""`POST /v1/events`: one event, or many as NDJSON, with the socket's meaning.

One event: 202, or a problem. NDJSON: one result line for each line that is not blank, as the
socket would reply; the status is 503 if any of them should be sent again (sending all again is
safe, as an id counts once), else 200.
"""

import re
from collections.abc import Callable

from sidecar.adapters.event_intake import (
    EventIntake,
    Events,
    OnInvalid,
    Outcome,
    Settling,
    Taken,
    ignore_invalid,
    reply_to,
)
from sidecar.adapters.http_answers import overloaded, unavailable
from sidecar.service.answers import Overloaded, Unavailable
from sidecar.wire.events import InvalidSignal
from sidecar.wire.http_messages import Request, Response, fields_of
from sidecar.wire.jws import strict_object
from sidecar.wire.problems import Problem, problem
from sidecar.wire.socket_lines import EventRequest, Refusal, event_request, ref_of

_NDJSON = re.compile(
    rb"application/(?:x-ndjson|ndjson|jsonl|x-jsonlines|json-lines)\b", re.IGNORECASE
)
_JSON_FIELDS = fields_of((("Content-Type", "application/json"), ("Cache-Control", "no-store")))
_LINES_FIELDS = fields_of((("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store")))
_ONE_OBJECT = "must be one JSON object without repeated members"


class EventDoor:
    """Reads events out of requests and hands them in."""

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        events: Events,
        settling: Settling | None,
        *,
        clock: Callable[[], float],
        skew: float,
        new_id: Callable[[], str],
        on_crash: Callable[[Exception], None],
        on_invalid: OnInvalid = ignore_invalid,
    ) -> None:
        self._intake = EventIntake(events, settling, on_crash)
        self._clock = clock
        self._skew = skew
        self._new_id = new_id
        self._on_invalid = on_invalid

    async def handle(self, request: Request) -> Response:
        """Answer a request for `/v1/events`."""
        if request.method != "POST":
            return problem(Problem.WRONG_METHOD, fields=(("Allow", "POST"),))
        if _NDJSON.match(request.headers.get(b"content-type", b"")):
            return await self._many(request.body)
        lines = request.body.strip().splitlines()
        # Shippers send NDJSON under any name. An object over several lines is none in the first.
        if len(lines) > 1 and _is_object(lines[0]):
            return await self._many(request.body)
        return await self._one(request.body)

    async def _one(self, body: bytes) -> Response:
        event = self._decoded(body)
        outcome = event if isinstance(event, Refusal) else await self._intake.take(event)
        match outcome:
            case Taken():
                return Response(202, _JSON_FIELDS, reply_to(outcome, event.ref))
            case Refusal():
                members = {"field": outcome.field} if outcome.field else {}
                return problem(Problem.INVALID_EVENT, outcome.message, members=members)
            case Overloaded():
                return overloaded(outcome)
            case Unavailable():
                return unavailable()

    async def _many(self, body: bytes) -> Response:
        read = [self._decoded(line) for line in body.split(b"\n") if line.strip()]
        events = [item for item in read if isinstance(item, EventRequest)]
        taken = iter(await self._intake.take_all(events))
        outcomes: list[Outcome] = [
            item if isinstance(item, Refusal) else next(taken) for item in read
        ]
        result = b"".join(
            reply_to(outcome, item.ref) for item, outcome in zip(read, outcomes, strict=True)
        )
        if any(isinstance(outcome, Overloaded | Unavailable) for outcome in outcomes):
            return Response(503, _LINES_FIELDS + b"Retry-After: 1\r\n", result)
        return Response(200, _LINES_FIELDS, result)

    def _decoded(self, raw: bytes) -> EventRequest | Refusal:
        decoded = self._decode(raw)
        if isinstance(decoded, Refusal):
            self._on_invalid(decoded)
        return decoded

    def _decode(self, raw: bytes) -> EventRequest | Refusal:
        try:
            values = strict_object(raw)
        except ValueError:
            return Refusal("invalid_json", _ONE_OBJECT)
        try:
            ref = ref_of(values)
            return event_request(
                values, ref, now=self._clock(), skew=self._skew, new_id=self._new_id
            )
        except InvalidSignal as error:
            return Refusal("invalid_event", error.message, error.field)


def _is_object(line: bytes) -> bool:
    try:
        strict_object(line)
    except ValueError:
        return False
    return True
