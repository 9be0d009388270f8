"""Sends spans to a collector by OTLP over HTTP.

No SDK of OpenTelemetry's: its exporter sends from a thread of its own, with a queue that drops
without a count, and says why it failed in texts of a log alone. What it takes is one POST.
"""

from collections.abc import Callable, Mapping, Sequence

from sidecar import __version__
from sidecar.adapters.opentelemetry.collector_client import (
    CollectorClient,
    CollectorGone,
    CollectorRefused,
)
from sidecar.service.observations.traces import SpanDropCause
from sidecar.service.traces.span_queue import SendingFailed
from sidecar.wire.traces.headers import headers_of
from sidecar.wire.traces.otlp import SpanEncoder, rejected
from sidecar.wire.traces.settings import TracesSettings
from sidecar.wire.traces.spans import Span


class OtlpSpanOutput:
    """The port `service.traces.span_queue.SpanOutput`, at the collector that `settings` name."""

    def __init__(self, settings: Callable[[], TracesSettings], resource: Mapping[str, str]) -> None:
        """Read the authorities to trust. Raises OSError."""
        self._settings = settings
        self._encoder = SpanEncoder(resource, __version__)
        self._client = CollectorClient(settings().endpoint, settings().ca_file)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def encode(self, spans: Sequence[Span]) -> bytes:
        """Return some spans as bytes, which may stand one after the other."""
        return self._encoder.encode(spans)

    async def send(self, encoded: bytes, spans: int) -> None:
        """Send so many spans. Raises `SendingFailed`."""
        settings = self._settings()
        headers = {**dict(headers_of(settings.headers)), "Content-Type": "application/x-protobuf"}
        try:
            answer = await self._client.post(encoded, headers, settings.timeout)
        except CollectorGone as error:
            raise SendingFailed(str(error), spans) from error
        except CollectorRefused as error:
            raise SendingFailed(str(error), spans, SpanDropCause.REFUSED) from error
        missing = min(rejected(answer), spans)
        if missing:
            words = f"{self._client.url}: it took all but {missing} of {spans} spans"
            raise SendingFailed(words, missing, SpanDropCause.REFUSED)
