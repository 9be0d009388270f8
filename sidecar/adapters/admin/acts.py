"""The acts that operators order at the admin listener: to sessions, users and devices.

POST    /v1/sessions/{id}/revoke            likewise `mark`, `clear`; `users`, `devices`

The body is a JSON object: `reason` (required), `issuer`, `user` (of a session that several have),
`id`, `unseen`, `wait` and `timeout`; of a mark `contexts`, `acr`, `max_age` and `confirm_risk`, of
a clear `dismiss_risk`. Answered are 200 once it is durable, 400 for what cannot be read, 404 for a
name that nobody has heard of, 409 for one that several have or an id that has counted for another
act, and 503 where it may not be done: the same again does no harm.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import NoReturn, Protocol, assert_never

import msgspec
import trio
from starlette.responses import Response

from sidecar.adapters.events.intake import DurableEvent, EventIntake, Outcome
from sidecar.adapters.listening.application import JSON, RequestRefused, retry_after
from sidecar.domain.facts.signal import Signal
from sidecar.service.admin.acts import ActConflict, NotSeen, PreparedAct
from sidecar.service.observations.operator import ActOutcome, OperatorActed
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.operator_acts import Act, Order, Where, order_of
from sidecar.wire.events.socket_lines import EventRequest, Refusal
from sidecar.wire.settings.admin import Role


class OrderReader(Protocol):
    """Makes events of an order."""

    async def prepare(self, order: Order, operator: str) -> PreparedAct:
        """Return the events of an order.

        Raises `InvalidSignal`, `ActConflict`, `NotSeen`, `Unavailable`.
        """


class ActAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to an act that is done; `sessions` is how many live ones it is known to concern.

    `settled` and the two counts are there where waiting was asked for; `seconds` is how long it
    took until then.
    """

    act: Act
    on: str
    name: str
    issuer: str
    id: str
    by: str
    sessions: int | None = None
    duplicate: bool = False
    spooled: bool = False
    settled: bool | None = None
    have: int | None = None
    live: int | None = None
    seconds: float | None = None


class ActDoor:
    """Does what operators order."""

    def __init__(
        self, *, acts: OrderReader, events: EventIntake, record: Callable[[OperatorActed], None]
    ) -> None:
        self._acts = acts
        self._events = events
        self._record = record

    def forbid(self, where: Where, operator: str) -> NoReturn:
        """Refuse the act to an operator who may only look. Raises `RequestRefused`."""
        words = f"{operator} may look, and not act: the role is {Role.VIEWER}"
        self._record_outcome(where, operator, ActOutcome.FORBIDDEN, detail=words)
        raise RequestRefused(403, words)

    async def answer(self, where: Where, operator: str, content_type: str, body: bytes) -> Response:
        """Do the act for this operator. Raises `RequestRefused`."""
        if content_type.partition(";")[0].strip().lower() != JSON:
            raise RequestRefused(415, f"the content type must be {JSON}")
        begun = trio.current_time()
        try:
            order = order_of(where, body)
        except InvalidSignal as error:
            self._record_outcome(where, operator, ActOutcome.INVALID, detail=str(error))
            raise RequestRefused(400, str(error)) from None
        try:
            prepared = await self._acts.prepare(order, operator)
            return await self._take(where, operator, order, prepared, begun)
        except InvalidSignal as error:
            raise self._refused(where, operator, order, (400, str(error))) from None
        except NotSeen as error:
            raise self._refused(
                where, operator, order, (404, str(error)), ActOutcome.NOT_SEEN
            ) from None
        except ActConflict as error:
            raise self._refused(
                where, operator, order, (409, str(error)), ActOutcome.CONFLICT
            ) from None
        except (Overloaded, Unavailable) as error:
            status = 503, f"it is not known to be done: {error}; to do it again does no harm"
            raise self._refused(where, operator, order, status, ActOutcome.UNAVAILABLE) from None

    async def _take(
        self, where: Where, operator: str, order: Order, prepared: PreparedAct, begun: float
    ) -> Response:
        signal = prepared.signals[-1]
        outcome = await self._take_all(prepared.signals, order, begun)
        match outcome:
            case DurableEvent(accepted, acknowledgement):
                done = ActAnswer(
                    act=order.act,
                    on=order.scope,
                    name=order.name,
                    issuer=signal.subject.issuer,
                    id=signal.stamp.id,
                    by=operator,
                    sessions=prepared.sessions,
                    duplicate=accepted.duplicate,
                    spooled=accepted.spooled,
                )
                if acknowledgement is not None:
                    done = msgspec.structs.replace(
                        done,
                        settled=acknowledgement.is_everywhere,
                        have=acknowledgement.have,
                        live=acknowledgement.live or None,
                        seconds=round(trio.current_time() - begun, 6),
                    )
                fate = ActOutcome.SPOOLED if accepted.spooled else ActOutcome.DONE
                self._record_outcome(where, operator, fate, order, signal)
                return Response(msgspec.json.encode(done), media_type=JSON)
            case _:
                raise self._failed(where, operator, order, outcome)

    async def _take_all(self, signals: tuple[Signal, ...], order: Order, begun: float) -> Outcome:
        """Take the events of an act in turn, all in the time of one; the outcome is the last's.

        What is not everywhere of one of them is not of the act.
        """
        *others, last = signals
        within, late = order.wait, None
        for other in others:
            outcome = await self._events.take(EventRequest(other, within))
            if not isinstance(outcome, DurableEvent):
                return outcome
            if within is not None:
                within = max(0.0, begun + (order.wait or 0) - trio.current_time())
            if outcome.acknowledgement is not None and not outcome.acknowledgement.is_everywhere:
                late = outcome.acknowledgement
        outcome = await self._events.take(EventRequest(last, within))
        if late is not None and isinstance(outcome, DurableEvent):
            return outcome._replace(acknowledgement=late)
        return outcome

    def _failed(
        self,
        where: Where,
        operator: str,
        order: Order,
        outcome: Refusal | Overloaded | Unavailable,
    ) -> Exception:
        match outcome:
            case Refusal():
                status = 409 if outcome.field == "id" else 400
                words = f"{outcome.field}: {outcome.message}" if outcome.field else outcome.message
                fate = ActOutcome.CONFLICT if status == HTTPStatus.CONFLICT else ActOutcome.INVALID
                return self._refused(where, operator, order, (status, words), fate)
            case Overloaded() | Unavailable():
                return outcome
            case _:
                assert_never(outcome)

    def _refused(
        self,
        where: Where,
        operator: str,
        order: Order,
        answer: tuple[int, str],
        fate: ActOutcome = ActOutcome.INVALID,
    ) -> RequestRefused:
        status, words = answer
        self._record_outcome(where, operator, fate, order, detail=words)
        later = status == HTTPStatus.SERVICE_UNAVAILABLE
        return RequestRefused(status, words, retry_after(1) if later else None)

    def _record_outcome(  # noqa: PLR0913, PLR0917 - what is recorded
        self,
        where: Where,
        operator: str,
        outcome: ActOutcome,
        order: Order | None = None,
        signal: Signal | None = None,
        detail: str = "",
    ) -> None:
        named = {where.scope.value: order.name} if order is not None else {}
        self._record(
            OperatorActed(
                act=where.act,
                on=where.scope,
                outcome=outcome,
                operator=operator,
                # Of an order that is refused it is just what was typed there.
                issuer=signal.subject.issuer if signal else "",
                id=signal.stamp.id if signal else order.id if order else "",
                reason=order.reason if order else "",
                detail=detail,
                **named,
            )
        )
