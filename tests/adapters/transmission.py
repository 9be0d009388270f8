"""The transmitter's parts on a real store, with a listener of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.services import new_id
from sidecar.domain.evaluation.announcement import (
    Announcement,
    AssuranceChanged,
    Change,
    SessionOver,
    TopicAnnouncement,
)
from sidecar.shared_signals.adapters.stream_store import RedisStreams
from sidecar.shared_signals.transmitter_wiring import Transmission
from sidecar.wire.settings.settings import Log, Settings, StoreSettings
from sidecar.wire.settings.transmitter import FixedStream, Push, Recipient, Transmitter
from sidecar.wire.store.keys import StoreKeys
from tests import plain_http
from tests.adapters.recipients import key_file, secret_file

ISSUER = "https://t.example"
AUDIENCE = "https://r.example"
MINE, OTHERS = "the-credential-of-mine", "the-credential-of-others"
BEARER = {"Authorization": f"Bearer {MINE}"}
STRANGER = {"Authorization": f"Bearer {OTHERS}"}
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"


def settings_of(
    directory: Path, url: str, push_to: str = "", prefixes: tuple[str, ...] = (), **more: Any
) -> Settings:
    """A transmitter with two recipients; with `push_to` the first has a fixed stream.

    `prefixes`: where else a stream that it creates may push to.
    """
    fixed = FixedStream(push_to=push_to) if push_to else None
    recipients = (
        Recipient(
            name="mine",
            audience=(AUDIENCE,),
            credentials_file=secret_file(directory, MINE),
            push_prefixes=("https://r.example/ssf", *prefixes),
            max_streams=2,
            stream=fixed,
        ),
        Recipient(
            name="others",
            audience=("https://o.example", "https://o2.example"),
            credentials_file=secret_file(directory, OTHERS),
        ),
    )
    usual = Transmitter(
        issuer=ISSUER,
        bind="127.0.0.1:0",
        key_files=(key_file(directory),),
        recipients=recipients,
        push=Push(timeout=5, retry_base=0.01, retry_cap=0.02),
        poll_wait=10.0,
    )
    return Settings(
        store=StoreSettings(url=url),
        transmitter=msgspec.structs.replace(usual, **more),
        log=Log(level="error"),
    )


class Running:
    """A running transmitter: a client of its listener, and its store."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        store: RedisStore,
        streams: RedisStreams,
        telemetry: PrometheusTelemetry,
        transmission: Transmission,
    ) -> None:
        self.client = client
        self.transmission = transmission
        self.store = store
        self.streams = streams
        self.telemetry = telemetry
        self._moment = 0

    async def announce(self, session: str, change: Change | None = None, user: str = "u") -> str:
        """Record an announcement, as a sidecar does; gives its id."""
        self._moment += 1
        announcement = Announcement(
            id=new_id(),
            cause="c",
            at=1_800_000_000,
            session=session,
            user=user,
            change=change or SessionOver(),
        )
        value = f"{self._moment:016d}x.".encode()
        await self.streams.record([TopicAnnouncement(f"!{new_id()}", b"", value, announcement)])
        return announcement.id

    def counted(self, event: str, outcome: str) -> float:
        """The metric of what was announced to others."""
        labels = {"event": event, "outcome": outcome}
        registry = self.telemetry.metrics.registry
        return registry.get_sample_value("sidecar_transmitted_events_total", labels) or 0.0

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask as the first recipient."""
        more.setdefault("headers", BEARER)
        return await self.client.request(method, path, **more)

    async def is_up(self) -> bool:
        """Whether the store answered when last asked."""
        return self.store.up

    async def create(self, **more: Any) -> dict[str, Any]:
        """A stream of the first recipient."""
        answer = await self.ask("POST", "/ssf/stream", json=more)
        assert answer.status_code == 201, answer.text
        stream: dict[str, Any] = answer.json()
        return stream

    async def poll(self, stream: str, **more: Any) -> dict[str, Any]:
        """What waits in a stream, at once."""
        request = {"returnImmediately": True, **more}
        answer = await self.ask("POST", f"/ssf/poll/{stream}", json=request)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


LOWERED = AssuranceChanged(previous="mfa", current="none", rose=False)


@asynccontextmanager
async def transmission(settings: Settings) -> AsyncIterator[Running]:
    """Run the transmitter of one process."""
    telemetry = PrometheusTelemetry(settings)
    store = RedisStore(links_of(settings.store), settings.store)
    transmission = Transmission(settings, store, telemetry, new_id)
    bounds = settings.transmitter
    streams = RedisStreams(
        store,
        StoreKeys(settings.store.prefix),
        max_recorded=bounds.max_recorded,
        max_backlog=bounds.max_backlog,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(telemetry.run)
        await nursery.start(store.run)
        await transmission.load()
        await transmission.start(nursery)
        (url,) = await transmission.open(nursery)
        async with httpx.AsyncClient(
            base_url=url, timeout=20, verify=plain_http.NO_CERTIFICATES
        ) as client:
            yield Running(client, store, streams, telemetry, transmission)
        nursery.cancel_scope.cancel()
