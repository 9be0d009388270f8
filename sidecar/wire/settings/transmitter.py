"""The configuration of the transmitter of shared signals; see `settings` for how it is read."""

import enum
from typing import Annotated, assert_never

import msgspec

from sidecar.domain.evaluation.announcement import (
    AssuranceChanged,
    Change,
    PresentedElsewhere,
    RiskChanged,
    SessionOver,
)
from sidecar.wire.settings.reload import Restart
from sidecar.wire.yaml.scalars import (
    Binds,
    Duration,
    File,
    Size,
    StringOrUri,
    Url,
    WholeDuration,
    instead,
)

PositiveInt = Annotated[int, msgspec.Meta(gt=0)]
Natural = Annotated[int, msgspec.Meta(ge=0)]


class Announced(enum.StrEnum):
    """The events that the transmitter can send (CAEP 1.0)."""

    ASSURANCE_LEVEL_CHANGE = "assurance-level-change"
    SESSION_REVOKED = "session-revoked"
    RISK_LEVEL_CHANGE = "risk-level-change"
    SESSION_PRESENTED = "session-presented"


def kind_of(change: Change) -> Announced:
    """Return the event that announces a change."""
    match change:
        case AssuranceChanged():
            return Announced.ASSURANCE_LEVEL_CHANGE
        case SessionOver():
            return Announced.SESSION_REVOKED
        case RiskChanged():
            return Announced.RISK_LEVEL_CHANGE
        case PresentedElsewhere():
            return Announced.SESSION_PRESENTED
        case _:
            assert_never(change)


class DefaultSubjects(enum.StrEnum):
    """The subjects of a new stream until its receiver says otherwise (SSF 1.0)."""

    ALL = "ALL"
    NONE = "NONE"


class FixedStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream that is there from the start, under its recipient's name."""

    # where events are posted; empty: the recipient polls
    push_to: Annotated[Url, instead("authorization_file")] = ""
    authorization_file: File = ""  # holds the `Authorization` header to post with


class Recipient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver of our events. Its credentials open the management API and its polling."""

    name: str  # in logs and metrics; also the `stream_id` of its `stream`
    # the `aud` of what it gets
    audience: Annotated[tuple[StringOrUri, ...], msgspec.Meta(min_length=1)]
    credentials_file: File = ""  # its bearer credentials, one a line; empty: it has no access
    events: tuple[Announced, ...] = tuple(Announced)  # what it may have
    push_prefixes: tuple[Url, ...] = ()  # a stream that it creates may push to URLs below these
    max_streams: Natural = 1  # that it may create
    stream: FixedStream | None = None  # one that it need not create


class Push(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The push delivery of events (RFC 8935)."""

    timeout: Restart[Duration] = 10.0  # for an answer
    retry_base: Restart[Duration] = 1.0  # the first pause, which then doubles
    retry_cap: Restart[Duration] = 300.0  # the longest pause
    give_up: Restart[Duration] = 86400.0  # then the stream is paused


class Transmitter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The transmitter of shared signals (SSF 1.0): what is found here, sent to others."""

    # the `iss` of what is sent, and where the listener is reached; empty: off
    issuer: Restart[Url] = ""
    bind: Restart[Binds] = ""  # `host:port` of the listener, or a list; empty: it does not listen
    deliver: Restart[bool] = True  # false: this sidecar records only, and others deliver
    # PEM or JWK: the first signs, and all are published
    key_files: Restart[tuple[File, ...]] = ()
    # a key that replaces another is published so long before it signs
    key_lead: Restart[Duration] = 300.0
    key_keep: Restart[Duration] = 86400.0  # and the replaced one stays published so long
    recipients: Restart[tuple[Recipient, ...]] = ()  # who may have them
    default_subjects: Restart[DefaultSubjects] = DefaultSubjects.ALL  # whom a new stream is about
    namespace: Restart[StringOrUri] = ""  # of our assurance levels; empty: the issuer
    # of `iss_sub`; empty: the only one of `tokens.issuers`, if it is
    subject_issuer: Restart[StringOrUri] = ""
    push: Push = Push()  # how events are pushed
    poll_events: Restart[PositiveInt] = 100  # in one answer at most
    poll_wait: Restart[Duration] = 30.0  # until a poll without events is answered
    min_verification_interval: Restart[WholeDuration] = 30  # between two verifications of a stream
    max_recorded: Restart[PositiveInt] = 100000  # not yet handed to streams; the oldest go
    max_backlog: Restart[PositiveInt] = 10000  # that wait in a stream; the oldest go
    max_subjects: Restart[PositiveInt] = 10000  # added to, or removed from, a stream
    max_body_bytes: Restart[Size] = 65536  # of one request
    # open at a time, of one address three quarters of these; past that, one that waits for its
    # client makes room. A poll that waits for events keeps its own
    max_connections: Restart[PositiveInt] = 256
