"""The actions of `sidecar ssf` at a transmitter, each with its output."""

import argparse
import json
import secrets
from collections.abc import Iterable

import msgspec

from sidecar.adapters import clock
from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.cli.exit_status import Stop
from sidecar.shared_signals.adapters.transmitter_client import TransmitterApi
from sidecar.shared_signals.wire.security_events import URIS, StreamUpdated, Verification, name_of
from sidecar.shared_signals.wire.stream_api import (
    POLL,
    PUSH,
    Delivery,
    StreamConfiguration,
    TransmitterMetadata,
)
from sidecar.shared_signals.wire.verification_state import make_state
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.subjects.subject_ids import InvalidSubjectId, decode_subject, encode_subject

_EVENTS = {name_of(kind): uri for kind, uri in URIS.items()}
_OF_STREAMS = {URIS[Verification], URIS[StreamUpdated]}
_HIDDEN = "(as configured)"

Outcome = tuple[str, str]
"""What to print, and what is wrong with it, if anything is."""


class Session:
    """One action at one transmitter."""

    def __init__(self, known: KnownTransmitter, arguments: argparse.Namespace) -> None:
        self._known = known
        self._given = arguments
        token_file = arguments.token_file or known.token_file
        self._token = SecretFile(token_file).text if token_file else _nothing
        self._api = TransmitterApi(
            known.issuer,
            token=self._token,
            timeout=arguments.timeout,
            metadata_url=known.metadata_url,
        )

    async def act(self) -> Outcome:
        """Do it. Raises `Unavailable`, `Overloaded`, `Refused`, `Stop`."""
        metadata = await self._api.metadata()
        given = self._given
        match given.action:
            case "discover":
                return _printed(metadata), ""
            case "create":
                return await self._create(metadata)
            case "show":
                found = await self._api.streams(self._endpoint(metadata), given.stream)
                return _printed([_hidden(one) for one in found]), ""
        stream = await self._stream(metadata)
        match given.action:
            case "update":
                return await self._update(metadata, stream)
            case "delete":
                await self._api.delete(self._endpoint(metadata), stream)
            case "verify":
                await self._verify(metadata, stream)
            case "status":
                url = _offered(metadata.status_endpoint, "status_endpoint")
                return _printed(await self._api.status(url, stream)), ""
            case "add-subject" | "remove-subject":
                await self._subject(metadata, stream)
            case "enable" | "pause" | "disable":
                return await self._set_status(metadata, stream)
        return f"done: {given.action} {stream}", ""

    async def _create(self, metadata: TransmitterMetadata) -> Outcome:
        events = self._wanted(self._given.event or self._known.events or _all_events())
        stream = await self._api.create(
            self._endpoint(metadata), await self._delivery(), events, self._given.description
        )
        return _printed(_hidden(stream)), self._doubt(stream)

    async def _update(self, metadata: TransmitterMetadata, stream: str) -> Outcome:
        changes: dict[str, object] = {}
        if self._given.event:
            changes["events_requested"] = self._wanted(self._given.event)
        if self._given.endpoint:
            changes["delivery"] = await self._delivery()
        if self._given.description:
            changes["description"] = self._given.description
        if not changes:
            raise Stop("sidecar ssf update: nothing to change: give an event, endpoint or text")
        changed = await self._api.update(self._endpoint(metadata), stream, **changes)
        return _printed(_hidden(changed)), self._doubt(changed)

    async def _verify(self, metadata: TransmitterMetadata, stream: str) -> None:
        url = _offered(metadata.verification_endpoint, "verification_endpoint")
        file = self._known.authorization_file
        secret = await (SecretFile(file).text() if file else self._token())
        state = make_state(secret, clock.now(), secrets.token_bytes(8)) if secret else ""
        await self._api.verify(url, stream, state)

    async def _set_status(self, metadata: TransmitterMetadata, stream: str) -> Outcome:
        url = _offered(metadata.status_endpoint, "status_endpoint")
        status = {"enable": "enabled", "pause": "paused", "disable": "disabled"}
        wanted = status[self._given.action]
        return _printed(await self._api.set_status(url, stream, wanted, self._given.reason)), ""

    async def _subject(self, metadata: TransmitterMetadata, stream: str) -> None:
        name = self._given.action.replace("-", "_") + "_endpoint"
        url = _offered(getattr(metadata, name), name)
        try:
            subject = encode_subject(decode_subject(json.loads(self._given.subject), "--subject"))
        except (ValueError, RecursionError):
            raise Stop("sidecar ssf: --subject: must be a JSON object") from None
        except InvalidSubjectId as error:
            raise Stop(f"sidecar ssf: {error}") from None
        await self._api.subject(url, stream, subject)

    async def _stream(self, metadata: TransmitterMetadata) -> str:
        """Return the stream that is meant: the one that is named, else the only one."""
        if self._given.stream:
            return str(self._given.stream)
        found = await self._api.streams(self._endpoint(metadata))
        if len(found) != 1:
            ids = ", ".join(one.stream_id for one in found) or "none"
            raise Stop(f"sidecar ssf: --stream: which one? There are: {ids}")
        return found[0].stream_id

    async def _delivery(self) -> Delivery:
        if not self._given.endpoint:
            return Delivery(method=POLL)
        file = self._known.authorization_file
        header = await SecretFile(file).text() if file else ""
        return Delivery(method=PUSH, endpoint_url=self._given.endpoint, authorization_header=header)

    def _wanted(self, names: Iterable[str]) -> tuple[str, ...]:
        for name in names:
            if name not in _EVENTS:
                raise Stop(f"sidecar ssf: --event: {name!r} is none of {', '.join(_EVENTS)}")
        return tuple(_EVENTS[name] for name in names)

    def _endpoint(self, metadata: TransmitterMetadata) -> str:
        return _offered(metadata.configuration_endpoint, "configuration_endpoint")

    def _doubt(self, stream: StreamConfiguration) -> str:
        """Say if the audience is unexpected (SSF 1.0, "Validating a Create Stream Response")."""
        audiences = {stream.aud} if isinstance(stream.aud, str) else set(stream.aud)
        if audiences & set(self._known.audiences):
            return ""
        return (
            "the stream's aud is none of the configured audiences: its events would be refused; "
            f"it is {', '.join(sorted(audiences))}"
        )


async def _nothing() -> str:
    return ""


def _all_events() -> list[str]:
    return [name for name, uri in _EVENTS.items() if uri not in _OF_STREAMS]


def _offered(endpoint: str, name: str) -> str:
    if not endpoint:
        raise Stop(f"sidecar ssf: the transmitter offers no {name}")
    return endpoint


def _hidden(stream: StreamConfiguration) -> StreamConfiguration:
    """Return the stream without the secret that it is to push with."""
    if not stream.delivery.authorization_header:
        return stream
    delivery = msgspec.structs.replace(stream.delivery, authorization_header=_HIDDEN)
    return msgspec.structs.replace(stream, delivery=delivery)


def _printed(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value), indent=2)
