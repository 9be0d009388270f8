"""Intake of Security Event Tokens: verified, understood, matched, durable before the answer.

    SET --> verified --> meaning (one event of ours, or nothing) --> intake --> durable --> "202"

A SET that concerns nobody who is known here is taken all the same: its sender must not learn who
is. Each counts once, whichever sidecar it comes to and however often: its event's id is made of
issuer and `jti`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from sidecar.domain.facts.signal import Signal
from sidecar.domain.sources.source import Source
from sidecar.service.observations.observations import (
    Telemetry,
)
from sidecar.service.observations.receiver import (
    SecurityEventTokenTaken,
    SetOutcome,
    StreamChanged,
    StreamVerified,
)
from sidecar.service.ports.calls import Accepted, Forbidden, Overloaded, Unavailable
from sidecar.shared_signals.wire.inbound import Ignored, InboundTerms, meaning_of
from sidecar.shared_signals.wire.security_event_tokens import (
    Event,
    InvalidSet,
    Origin,
    SecurityEventToken,
    UnknownEvent,
    event_id_of,
)
from sidecar.shared_signals.wire.security_events import (
    StreamUpdated,
    Verification,
    name_of,
    text_of,
)
from sidecar.shared_signals.wire.verification_state import is_ours
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.subjects.subject_rules import SubjectRules, Unmatched


class Verified(Protocol):
    """A SET that is believed, and whose it is."""

    @property
    def token(self) -> SecurityEventToken:
        """Return what it says."""

    @property
    def transmitter(self) -> KnownTransmitter:
        """Return who says it."""


class Verifier(Protocol):
    """Knows which SETs to believe."""

    async def verify(self, text: str, now: float) -> Verified:
        """Return it verified. Raises `InvalidSet`, and `Unavailable` where nobody knows now."""


class Events(Protocol):
    """Takes events durably."""

    async def accept(self, signal: Signal) -> Accepted:
        """Take it; returns once it is durable. Raises `Overloaded` and `Unavailable`."""


class Taken(NamedTuple):
    """The fate of a SET that is not refused; `detail` for the log."""

    outcome: SetOutcome
    detail: str = ""


class NotTheirs(InvalidSet):
    """The SET is another transmitter's than the one who brought it."""

    def __init__(self) -> None:
        super().__init__(Fault.ACCESS_DENIED, "the SET is another transmitter's")


class SetReceiver:
    """Takes SETs. `rules` are the transmitters' rules, by their names.

    `source_of` gives the source that a transmitter is, and its powers, by its name.
    `state_secret` gives the secret by which a stream's state is known, empty for none; `skew` is
    how far in the future an event may lie.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        verifier: Verifier,
        events: Events,
        rules: Mapping[str, SubjectRules],
        source_of: Callable[[str], Source],
        state_secret: Callable[[str], Awaitable[str]],
        clock: Callable[[], float],
        skew: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._verifier = verifier
        self._events = events
        self._rules = rules
        self._source_of = source_of
        self._state_secret = state_secret
        self._clock = clock
        self._skew = skew
        self._telemetry = telemetry

    async def take(self, text: str, senders: Collection[str], shown: str = "") -> Taken:
        """Take a SET that one of these transmitters (by name) brought.

        `shown` is the one whose credential was shown, or whom we asked, where that is one: a
        refusal concerns it, even where nothing of the SET is believed.

        Returns once what follows from it is durable. Raises `InvalidSet` where it is refused
        (`NotTheirs` for another's), `Overloaded` and `Unavailable` where it cannot be kept now.
        """
        about = SecurityEventTokenTaken(outcome="", transmitter=shown)
        try:
            verified = await self._verifier.verify(text, self._clock())
            about = _described(verified)
            if verified.transmitter.name not in senders:
                raise NotTheirs
            taken = await self._take(verified.token, verified.transmitter)
        except InvalidSet as error:
            if error.origin is not None:
                about = _taken_of(error.origin)
            self._record(about, error.fault.value, error.description)
            raise
        except Overloaded:
            self._record(about, SetOutcome.OVERLOADED, "too much is waiting")
            raise
        except Unavailable as error:
            self._record(about, SetOutcome.UNAVAILABLE, str(error))
            raise
        self._record(about, taken.outcome, taken.detail)
        return taken

    async def _take(self, token: SecurityEventToken, transmitter: KnownTransmitter) -> Taken:
        event = token.event
        if isinstance(event, Verification):
            return await self._verified(event, transmitter)
        if isinstance(event, StreamUpdated):
            changed = StreamChanged(
                transmitter=transmitter.name,
                status=event.status.value,
                reason=text_of(event.reason),
            )
            self._telemetry.record(changed)
            return Taken(SetOutcome.ACCEPTED)
        name = _name(event)
        if name and transmitter.events and name not in transmitter.events:
            raise InvalidSet(Fault.ACCESS_DENIED, "events of this type are not taken from it")
        meaning = meaning_of(token, self._terms(token, transmitter))
        if isinstance(meaning, Ignored):
            return Taken(SetOutcome.IGNORED, meaning.reason)
        if isinstance(meaning, Unmatched):
            return Taken(SetOutcome.UNMATCHED, meaning.reason)
        try:
            accepted = await self._events.accept(meaning)
        except Forbidden as error:
            raise InvalidSet(Fault.ACCESS_DENIED, error.message) from None
        except InvalidSignal as error:
            if error.field == "id":
                raise InvalidSet(Fault.INVALID_REQUEST, f"jti: {error.message}") from None
            return Taken(SetOutcome.UNMATCHED, str(error))
        return Taken(SetOutcome.DUPLICATE if accepted.duplicate else SetOutcome.ACCEPTED)

    def _terms(self, token: SecurityEventToken, transmitter: KnownTransmitter) -> InboundTerms:
        source = self._source_of(transmitter.name)
        return InboundTerms(
            rules=self._rules[transmitter.name],
            event_id=event_id_of(token.issuer, token.id),
            source=source.name,
            may_prove=source.may_prove,
            now=self._clock(),
            skew=self._skew(),
            user_wide_proofs=transmitter.user_wide_proofs,
        )

    async def _verified(self, event: Verification, transmitter: KnownTransmitter) -> Taken:
        """Check the state: it must be the one that was given (SSF 1.0, "Verification Event")."""
        now = self._clock()
        if event.state:
            secret = await self._state_secret(transmitter.name)
            if secret and not is_ours(event.state, secret, now):
                raise InvalidSet(Fault.INVALID_STATE, "the state is not the one that was given")
        self._telemetry.record(
            StreamVerified(transmitter=transmitter.name, at=now, asked_for=bool(event.state))
        )
        return Taken(SetOutcome.ACCEPTED)

    def _record(self, about: SecurityEventTokenTaken, outcome: str, detail: str) -> None:
        self._telemetry.record(
            SecurityEventTokenTaken(
                outcome=outcome,
                transmitter=about.transmitter,
                event=about.event,
                id=about.id,
                transaction=about.transaction,
                detail=detail,
                left_out=about.left_out,
            )
        )


def _taken_of(origin: Origin) -> SecurityEventTokenTaken:
    return SecurityEventTokenTaken(
        outcome="",
        transmitter=origin.transmitter,
        event=origin.event,
        id=origin.id,
        transaction=origin.transaction,
    )


def _described(verified: Verified) -> SecurityEventTokenTaken:
    """Return what may be logged of a SET: its id is ours, since theirs may say anything."""
    token = verified.token
    return SecurityEventTokenTaken(
        outcome="",
        transmitter=verified.transmitter.name,
        event=_name(token.event),
        id=event_id_of(token.issuer, token.id),
        transaction=token.transaction,
        left_out=token.left_out,
    )


def _name(event: Event) -> str:
    """Return the short name of an event's type; empty for one that is not known."""
    return "" if isinstance(event, UnknownEvent) else name_of(type(event))
