"""The configuration of sources: who may say what, and with which weight. Part of `settings`."""

from typing import Annotated

import msgspec

from sidecar.wire.settings.reload import Live
from sidecar.wire.yaml.scalars import File, PositiveInt, Size, StringOrUri

EventType = str
_Uid = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)]


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source of events, and its powers.

    It is known by one of `uids` (of peers of the local socket, or of the data listener's unix
    socket), `token_file` (a credential) and `transmitter` (of `receiver.transmitters`).
    """

    name: str  # in logs, metrics, explanations, and in the `over` of others
    uids: tuple[_Uid, ...] = ()  # the peers that it is
    # the credential that it shows: over HTTP as `Authorization: Bearer`, on the socket as the
    # member `credential`; read anew when the file changes
    token_file: File = ""
    transmitter: str = ""  # the transmitter that it is, by its name
    # the event types that it may send; null: every one, or of a transmitter its `events`
    may: tuple[EventType, ...] | None = None
    may_loosen: tuple[EventType, ...] = ()  # those by which it may loosen what others said
    over: tuple[str, ...] = ()  # the sources whose older words its newer ones replace
    may_prove: bool = False  # its sign-ins and rises of assurance are proofs
    may_identify: bool = False  # it may say which user, groups and roles a session has
    # the issuers (or their namespaces) of whose users it speaks; empty: all, or of a transmitter
    # its own
    issuers: tuple[StringOrUri, ...] = ()
    may_watch: bool = False  # it may watch every session of the pod, not only those it names
    may_ask_sessions: bool = False  # it may ask about sessions without showing their token
    rate: Annotated[float, msgspec.Meta(gt=0)] | None = None  # events a second; null: `limits.rate`
    burst: PositiveInt | None = None  # events at once; null: `limits.burst`
    # part of the spool that it may fill; null: `limits.share`
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of this sidecar that one source may take up, unless `sources` says otherwise.

    Revocations are the last to be refused: they may go over by as much again.
    """

    rate: Live[Annotated[float, msgspec.Meta(gt=0)]] = 2000.0  # events a second
    burst: Live[PositiveInt] = 10000  # events at once
    share: Live[Annotated[float, msgspec.Meta(gt=0, le=1)]] = 0.5  # part of the spool
    ids: Live[Size] = 4096  # event ids of each source that are remembered with their content
