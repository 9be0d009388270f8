"""The tracer: contexts of callers, of calls to others, and what spans may say."""

import httpx
import msgspec

from sidecar.adapters.opentelemetry.traced_calls import TracedClient
from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.ports.calls import Answer, Call
from sidecar.service.traces.current import CURRENT, SpanScope
from sidecar.wire.settings.privacy import Identifiers, Privacy
from sidecar.wire.traces.masking import masks_of, names_events
from sidecar.wire.traces.trace_context import SentContext
from tests.service.memory import SETTINGS
from tests.service.traces.tracing import tracer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{}"
ALLOWED = Answer(Verdict.ALLOW, 200)


def called(flags: str = "01", state: str = "") -> Call:
    return Call("token", trace=SentContext(PARENT.format(flags), state))


def traced(call: Call, share: float) -> tuple[str, int]:
    """Return the id of a check's trace, and how many spans wait."""
    made, queue, _ = tracer(share, 8)
    return made.check(call, ALLOWED, "d1", 1.0, 0.1, repeated=False), queue.waiting


def test_a_caller_decides_whether_its_trace_is_recorded() -> None:
    assert traced(called("01"), 0.0) == ("0af7651916cd43dd8448eb211c80319c", 1)
    assert traced(called("00"), 1.0) == ("0af7651916cd43dd8448eb211c80319c", 0)


def test_without_a_caller_the_share_decides() -> None:
    trace, waiting = traced(Call("token"), 1.0)
    assert (len(trace), waiting) == (32, 1)
    assert traced(Call("token"), 0.0) == ("", 0)


async def test_calls_to_others_bear_the_context_of_their_span() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200 if request.url.path == "/keys" else 503)

    made, queue, _ = tracer(0.0, 8)
    async with TracedClient(transport=httpx.MockTransport(answer)) as client:
        await client.get("https://id.example/keys")
        assert "traceparent" not in seen.pop().headers
        token = CURRENT.set(SpanScope(made))
        span = made.enter(called(state="congo=t61"))
        await client.get("https://id.example/keys")
        await client.get("https://id.example/other")
        made.leave(span)
        CURRENT.reset(token)
    for request in seen:
        version, trace, own, flags = request.headers["traceparent"].split("-")
        assert (version, trace, flags) == ("00", "0af7651916cd43dd8448eb211c80319c", "01")
        assert own != "b7ad6b7169203331"
        assert request.headers["tracestate"] == "congo=t61"
        assert "baggage" not in request.headers
    assert queue.waiting == 2


def test_where_identifiers_are_keyed_spans_have_pseudonyms_or_nothing() -> None:
    assert masks_of(SETTINGS).name("user", "i", "ada") == ""
    assert names_events(SETTINGS)
    keyed = Privacy(identifiers=Identifiers.KEYED, keys=("p" * 44,))
    traces = msgspec.convert(
        {"endpoint": "http://c", "masks": {"user": "keep"}}, type(SETTINGS.traces)
    )
    settings = msgspec.structs.replace(SETTINGS, privacy=keyed, traces=traces)
    assert masks_of(settings).name("user", "i", "ada") not in {"", "ada"}
    assert masks_of(settings).name("session", "i", "s1") == ""
    assert not names_events(settings)
