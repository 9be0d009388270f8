"""The outcomes of events for others: an observation like those of `observations`."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation


class TransmissionOutcome(StrEnum):
    """The outcome of an event for others: `sidecar_transmitted_events_total{outcome}`."""

    RECORDED = "recorded"  # found, and kept for the recipients
    HANDED = "handed"  # to a recipient's stream
    DELIVERED = "delivered"  # and acknowledged
    RETRIED = "retried"  # not delivered, and tried again
    REFUSED = "refused"  # the recipient does not want it as it is
    DROPPED = "dropped"  # the stream's backlog was full
    LOST = "lost"  # too many were recorded and not yet handed on
    GIVEN_UP = "given-up"  # the stream was paused


class Transmitted(Observation, frozen=True, kw_only=True):
    """Events for others met a fate. `event` is a CAEP event's name, empty where several fell.

    `recipient` is a configured name; `detail` says what went wrong, never what was sent.
    """

    event: str
    outcome: TransmissionOutcome
    recipient: str = ""
    stream: str = ""
    detail: str = ""
    count: int = 1
