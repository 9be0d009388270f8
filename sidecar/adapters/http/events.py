"""`POST /v1/events`: one event, or many as NDJSON, with the socket's meaning.

Who sends it is who its credential says, or on a unix socket its uid. One event: 202, or a problem.
NDJSON: one result line for each line that is not blank, as the socket would reply; the status is
503 if any of them should be sent again (sending all again is safe, as an id counts once), else 200.
After `REFUSALS` lines that are no events it ends with a 400, whose last line says how many others
were not looked at. More lines than `http.max_events` are a 413, and none of them was.
"""

from collections.abc import Callable, Sequence

import trio

from sidecar.adapters.events.intake import (
    CONCURRENT,
    DurableEvent,
    DurableEvents,
    EventIntake,
    FleetAcknowledgements,
    OnInvalid,
    Outcome,
    ignore_invalid,
    reply_to,
)
from sidecar.adapters.events.replies import refusal_reply
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.http.check_responses import overloaded, unavailable
from sidecar.adapters.http.foreign_calls import ForeignCalls, is_of
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.traces.current import SENDER
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.socket_lines import EventRequest, Refusal, event_request, ref_of
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http, HttpEvents
from sidecar.wire.tokens.jws import strict_object
from sidecar.wire.traces.trace_context import sent_context

MAX_EVENT_BYTES = 65536
REFUSALS = 16
"""Lines of one request that may be no events; what follows them is not looked at."""
AT_A_TIME = 16
"""Lines that are read before others get their turn."""

_NDJSON = frozenset(
    f"application/{name}" for name in ("x-ndjson", "ndjson", "jsonl", "x-jsonlines", "json-lines")
)
_EVENT_TYPES = _NDJSON | {"application/json"}
_JSON_FIELDS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
_LINES_FIELDS = (("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store"))
_NOT_HERE = "is shown in the Authorization header here"
_TOO_LARGE = f"an event has at most {MAX_EVENT_BYTES} bytes"
_ONE_OBJECT = "must be one JSON object without repeated members"
_NO_CREDENTIAL = problem(
    Problem.NO_CREDENTIAL,
    "show the credential of a source in `sources`",
    fields=(("WWW-Authenticate", 'Bearer realm="events"'),),
)


class EventDoor:
    """Reads events out of requests and hands them in.

    Over TCP it takes those that `http.events` says; on a unix socket, where the peer's uid is
    known, it takes them as the local socket does. `foreign` turns away what browsers send.
    """

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        events: DurableEvents,
        acknowledger: FleetAcknowledgements | None,
        *,
        settings: Http,
        speakers: Speakers,
        foreign: ForeignCalls,
        clock: Callable[[], float],
        skew: Callable[[], float],
        new_id: Callable[[], str],
        on_crash: Callable[[Exception], None],
        on_invalid: OnInvalid = ignore_invalid,
    ) -> None:
        self._intake = EventIntake(events, acknowledger, on_crash)
        self._speakers = speakers
        self.replace(settings, foreign)
        self._clock = clock
        self._skew = skew
        self._new_id = new_id
        self._on_invalid = on_invalid

    def replace(self, settings: Http, foreign: ForeignCalls) -> None:
        """Take what is configured now."""
        self._taken = settings.events
        self._most = settings.max_events
        self._foreign = foreign

    async def handle(self, request: Request) -> Response:
        """Answer a request for `/v1/events`."""
        if request.peer and self._taken is HttpEvents.OFF:
            return problem(Problem.NOT_FOUND, "http.events is off: events are not taken over TCP")
        if request.method != "POST":
            return problem(Problem.WRONG_METHOD, fields=(("Allow", "POST"),))
        SENDER.set(sent_context(request.values(b"traceparent"), request.values(b"tracestate")))
        refusal = self._foreign.refusal(request)
        if refusal is not None:
            return refusal
        kind = request.headers.get(b"content-type")
        if not is_of(kind, _EVENT_TYPES):
            message = "an event is application/json, many are application/x-ndjson"
            return problem(Problem.MEDIA_TYPE, message)
        try:
            source = self._source(request)
        except Overloaded as error:
            return overloaded(error)
        if not source:
            return _NO_CREDENTIAL
        if is_of(kind, _NDJSON):
            return await self._many(request.body, source)
        first, _, more = request.body.strip().partition(b"\n")
        # Shippers send NDJSON under any name. An object over several lines is none in the first.
        if more and _is_object(first):
            return await self._many(request.body, source)
        if len(request.body) > MAX_EVENT_BYTES:
            return problem(Problem.BODY_TOO_LARGE, _TOO_LARGE)
        return await self._one(request.body, source)

    def _source(self, request: Request) -> str:
        """Return who sends a request; empty where that is nobody whose events are taken."""
        shown = request.headers.get(b"authorization") is not None
        if shown or not request.peer or self._taken is HttpEvents.LOCAL:
            return self._speakers.caller(request)
        return ""

    async def _one(self, body: bytes, source: str) -> Response:
        event = self._decoded(body, source)
        outcome = event if isinstance(event, Refusal) else await self._intake.take(event)
        match outcome:
            case DurableEvent():
                return Response(202, _JSON_FIELDS, reply_to(outcome, event.ref))
            case Refusal():
                members = {"field": outcome.field} if outcome.field else {}
                forbidden = outcome.error == "not_allowed"
                kind = Problem.NOT_ALLOWED if forbidden else Problem.INVALID_EVENT
                return problem(kind, outcome.message, members=members)
            case Overloaded():
                return overloaded(outcome)
            case Unavailable():
                return unavailable()

    async def _many(self, body: bytes, source: str) -> Response:
        if body.count(b"\n") > self._most:
            detail = f"a request has at most {self._most} lines; none of these was looked at"
            return problem(Problem.BODY_TOO_LARGE, detail)
        lines = [line for line in body.split(b"\n") if line.strip()]
        result = bytearray()
        refused = looked_at = 0
        again = False
        while looked_at < len(lines) and refused < REFUSALS:
            read = await self._read(lines[looked_at : looked_at + CONCURRENT], source, refused)
            looked_at += len(read)
            refused += sum(isinstance(item, Refusal) for item in read)
            outcomes = await self._outcomes(read)
            for item, outcome in zip(read, outcomes, strict=True):
                result += reply_to(outcome, item.ref)
                again |= isinstance(outcome, Overloaded | Unavailable)
        left = len(lines) - looked_at
        if left:
            message = (
                f"{refused} lines are no events: {looked_at} lines were looked at, and the {left}"
                " after them were not"
            )
            result += refusal_reply(Refusal("too_many_refusals", message))
        if again:
            return Response(503, (*_LINES_FIELDS, ("Retry-After", "1")), bytes(result))
        return Response(400 if left else 200, _LINES_FIELDS, bytes(result))

    async def _read(
        self, lines: Sequence[bytes], source: str, refused: int
    ) -> list[EventRequest | Refusal]:
        """Read lines, up to the last that may be refused."""
        read: list[EventRequest | Refusal] = []
        for line in lines:
            read.append(self._decoded(line, source))
            refused += isinstance(read[-1], Refusal)
            if refused >= REFUSALS:
                break
            if len(read) % AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
        return read

    async def _outcomes(self, read: Sequence[EventRequest | Refusal]) -> list[Outcome]:
        events = [item for item in read if isinstance(item, EventRequest)]
        taken = iter(await self._intake.take_all(events))
        return [item if isinstance(item, Refusal) else next(taken) for item in read]

    def _decoded(self, raw: bytes, source: str) -> EventRequest | Refusal:
        decoded = self._decode(raw, source)
        if isinstance(decoded, Refusal):
            self._on_invalid(decoded)
        return decoded

    def _decode(self, raw: bytes, source: str) -> EventRequest | Refusal:
        if len(raw) > MAX_EVENT_BYTES:
            return Refusal("too_large", _TOO_LARGE)
        try:
            values = strict_object(raw)
        except ValueError:
            return Refusal("invalid_json", _ONE_OBJECT)
        try:
            ref = ref_of(values)
            if "credential" in values:
                return Refusal("invalid_event", _NOT_HERE, "credential", ref)
            return event_request(
                values,
                ref,
                now=self._clock(),
                skew=self._skew(),
                new_id=self._new_id,
                source=source,
            )
        except InvalidSignal as error:
            return Refusal("invalid_event", error.message, error.field)


def _is_object(line: bytes) -> bool:
    if len(line) > MAX_EVENT_BYTES:
        return False
    try:
        strict_object(line)
    except ValueError:
        return False
    return True
