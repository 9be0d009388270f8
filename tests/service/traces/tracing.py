"""A tracer whose spans go nowhere."""

import random
from collections.abc import Sequence

from sidecar.service.traces.check_spans import CheckSpans
from sidecar.service.traces.span_queue import SpanQueue
from sidecar.service.traces.tracer import Tracer, TraceSampling
from sidecar.wire.traces.event_contexts import EventContexts
from sidecar.wire.traces.masking import masks_of
from sidecar.wire.traces.otlp import SpanEncoder
from sidecar.wire.traces.spans import Span
from tests.service.memory import SETTINGS, Records


class Counted:
    """An output that encodes spans, and counts them."""

    def __init__(self) -> None:
        self.spans = 0
        self._encoder = SpanEncoder({"service.name": "s"}, "1")

    def encode(self, spans: Sequence[Span]) -> bytes:
        return self._encoder.encode(spans)

    async def send(self, encoded: bytes, spans: int) -> None:
        assert encoded
        self.spans += spans


def tracer(
    share: float, bound: int, queue: SpanQueue | None = None
) -> tuple[Tracer, SpanQueue, Counted]:
    """Return a tracer that records this share, with what its spans go through."""
    output, events, telemetry = Counted(), EventContexts("su"), Records()
    queue = queue or SpanQueue(output, bound, telemetry)
    checks = CheckSpans(
        masks=masks_of(SETTINGS),
        policy_set="digest",
        template_of=lambda method, host, path: "/pay/**",
        events=events,
        share=share,
    )
    made = Tracer(
        queue=queue,
        events=events,
        checks=checks,
        sampling=TraceSampling(share, follow=True),
        telemetry=telemetry,
        clock=lambda: 1000.0,
        random_bits=random.getrandbits,
    )
    return made, queue, output
