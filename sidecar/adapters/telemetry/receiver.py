"""What came from transmitters, as metrics and log lines.

The label `transmitter` holds configured names only.
"""

from typing import TypeAlias, assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge

from sidecar.adapters.telemetry.logs import Logger
from sidecar.service.observations.receiver import (
    LOGOUT_REQUESTS,
    LogoutOutcome,
    LogoutTaken,
    Polled,
    SecurityEventTokenTaken,
    SetOutcome,
    StreamChanged,
    StreamVerified,
)
from sidecar.wire.events.security_event_names import INFORMING, Fault

Received: TypeAlias = (
    SecurityEventTokenTaken | StreamVerified | StreamChanged | Polled | LogoutTaken
)

_ENDED = (LogoutOutcome.DONE, LogoutOutcome.ALL_SESSIONS, LogoutOutcome.UNKNOWN_SESSION)
_QUIET = (SetOutcome.ACCEPTED, SetOutcome.DUPLICATE)


class ReceivedMetrics:
    """The metrics of what came from transmitters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tokens = Counter(
            "sidecar_security_event_tokens_total",
            "Security Event Tokens, by fate.",
            ("outcome",),
            registry=registry,
        )
        for fate in (*SetOutcome, *Fault):
            self.tokens.labels(fate)
        self.left_out = Counter(
            "sidecar_security_event_members_left_out_total",
            "Members of security events that only inform and could not be read, by name.",
            ("member",),
            registry=registry,
        )
        for member in (*INFORMING, "toe"):
            self.left_out.labels(member)
        self.logouts = Counter(
            "sidecar_logouts_total",
            "Requests of identity providers to end sessions, by kind and outcome.",
            ("request", "outcome"),
            registry=registry,
        )
        for request in LOGOUT_REQUESTS:
            for outcome in LogoutOutcome:
                self.logouts.labels(request, outcome)
        self.polls = Counter(
            "sidecar_polls_total",
            "Polls of transmitters, by outcome.",
            ("transmitter", "outcome"),
            registry=registry,
        )
        self.verified = Gauge(
            "sidecar_stream_verified_timestamp_seconds",
            "When this sidecar last saw a transmitter's stream verified.",
            ("transmitter",),
            registry=registry,
        )
        self.enabled = Gauge(
            "sidecar_stream_enabled",
            "What a transmitter last told of its stream: 1 enabled, 0 paused or disabled.",
            ("transmitter",),
            registry=registry,
        )


def record_received(observation: Received, metrics: ReceivedMetrics, log: Logger) -> None:
    """Count it and, where worth a line, log it."""
    match observation:
        case SecurityEventTokenTaken():
            _token(observation, metrics, log)
        case StreamVerified():
            metrics.verified.labels(observation.transmitter).set(observation.at)
            log.info(
                "stream-verified",
                transmitter=observation.transmitter,
                asked_for=observation.asked_for,
            )
        case StreamChanged():
            metrics.enabled.labels(observation.transmitter).set(observation.status == "enabled")
            log.warning(
                "stream-changed",
                transmitter=observation.transmitter,
                status=observation.status,
                reason=observation.reason,
            )
        case LogoutTaken():
            _logout(observation, metrics, log)
        case Polled():
            _polled(observation, metrics, log)
        case _:
            assert_never(observation)


def _token(token: SecurityEventTokenTaken, metrics: ReceivedMetrics, log: Logger) -> None:
    """What anybody can send is told at debug level only; the metric counts it."""
    metrics.tokens.labels(token.outcome).inc()
    for member in token.left_out:
        metrics.left_out.labels(member).inc()
    quiet = token.outcome in _QUIET or not token.transmitter
    write = log.debug if quiet else log.info
    if token.transmitter and token.outcome in set(Fault):
        write = log.warning
    write(
        "security-event-token",
        outcome=token.outcome,
        transmitter=token.transmitter,
        type=token.event,
        id=token.id,
        transaction=token.transaction,
        detail=token.detail,
        **({"left_out": list(token.left_out)} if token.left_out else {}),
    )


def _logout(taken: LogoutTaken, metrics: ReceivedMetrics, log: Logger) -> None:
    """What anybody can send is told at debug level only; the metric counts it."""
    metrics.logouts.labels(taken.request, taken.outcome).inc()
    write = log.debug
    if taken.issuer:
        write = log.info if taken.outcome in _ENDED else log.warning
    write(
        "logout",
        request=taken.request,
        outcome=taken.outcome,
        issuer=taken.issuer,
        id=taken.id,
        detail=taken.detail,
    )


def _polled(polled: Polled, metrics: ReceivedMetrics, log: Logger) -> None:
    metrics.polls.labels(polled.transmitter, "failed" if polled.failed else "done").inc()
    if not polled.changed:
        return
    if polled.failed:
        log.warning("poll-failed", transmitter=polled.transmitter, detail=polled.detail)
    else:
        log.info("poll-works-again", transmitter=polled.transmitter)
