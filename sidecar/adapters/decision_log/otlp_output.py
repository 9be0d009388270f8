"""Sends records to a collector: OTLP logs over HTTP, in JSON.

No exporter of OpenTelemetry's: it sends from threads of its own, with a queue that drops without a
word, and brings protobuf and requests. What it takes to send logs in JSON is one POST.
"""

from collections.abc import Callable, Mapping, Sequence

from sidecar import __version__
from sidecar.adapters.opentelemetry.collector_client import (
    CollectorClient,
    CollectorGone,
    CollectorRefused,
)
from sidecar.service.decisions.decision_log import OutputFailed
from sidecar.service.observations.decision_log import DropCause
from sidecar.wire.decision_log.chain import Chain
from sidecar.wire.decision_log.otlp import encode_logs, rejected
from sidecar.wire.decision_log.settings import DecisionOtlp


class OtlpOutput:
    """The port `service.decisions.RecordOutput`, at the collector that `settings` name.

    `resource` is what the records are of. A collector that does not answer, or is overloaded, is
    asked again for as long as `timeout` says; meanwhile the queue fills.
    """

    def __init__(
        self,
        settings: Callable[[], DecisionOtlp],
        chain: Chain | None,
        resource: Mapping[str, str],
    ) -> None:
        """Read the authorities to trust. Raises OSError."""
        self._settings = settings
        self._chain = chain
        self._resource = resource
        self._client = CollectorClient(settings().url, settings().ca_file)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def write(self, records: Sequence[bytes]) -> None:
        """Send records. Raises `OutputFailed`."""
        lines = records if self._chain is None else [*map(self._chain.link, records)]
        size, refused = self._settings().batch, 0
        words = ""
        for start in range(0, len(lines), size):
            try:
                await self._send(lines[start : start + size])
            except OutputFailed as error:
                if error.cause is DropCause.OUTPUT:
                    raise OutputFailed(str(error), refused + len(lines) - start) from None
                refused, words = refused + error.lost, str(error)
        if refused:
            raise OutputFailed(words, refused, DropCause.REFUSED)

    async def _send(self, lines: Sequence[bytes]) -> None:
        settings = self._settings()
        headers = {"Content-Type": "application/json"}
        if settings.authorization:
            headers["Authorization"] = settings.authorization
        body = encode_logs(lines, self._resource, __version__)
        try:
            answer = await self._client.post(body, headers, settings.timeout)
        except CollectorGone as error:
            raise OutputFailed(str(error), len(lines)) from error
        except CollectorRefused as error:
            raise OutputFailed(str(error), len(lines), DropCause.REFUSED) from error
        missing = min(rejected(answer), len(lines))
        if missing:
            words = f"{self._client.url}: it took all but {missing} of {len(lines)} records"
            raise OutputFailed(words, missing, DropCause.REFUSED)
