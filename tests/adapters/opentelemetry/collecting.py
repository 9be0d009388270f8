"""A collector of spans: a real HTTP server that reads what OTLP sends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.adapters.opentelemetry.otlp_messages import ExportTraceServiceRequest
from tests.adapters.recipients import Recipient, receiving
from tests.waiting import eventually


class Seen(NamedTuple):
    """A span as a collector has it: ids in hexadecimal digits."""

    name: str
    kind: int
    trace: str
    span: str
    parent: str
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    resource: Mapping[str, Any]
    start: int
    end: int
    status: int


class Collector:
    """The spans that a collector was sent."""

    def __init__(self, server: Recipient) -> None:
        self.server = server

    @property
    def url(self) -> str:
        """Where it takes spans."""
        return self.server.url

    def spans(self) -> list[Seen]:
        """Return all that it has."""
        return [span for _, body in tuple(self.server.posts) for span in read(body)]

    def wait(self, count: int = 1, **wanted: Any) -> list[Seen]:
        """Return the spans with these members, once there are so many."""

        def found() -> list[Seen]:
            return [one for one in self.spans() if fits(one, wanted)]

        spans: list[Seen] = eventually(found, lambda some: len(some) >= count)
        return spans

    def one(self, **wanted: Any) -> Seen:
        """Return the one span with these members, once it is there."""
        (found,) = self.wait(**wanted)
        return found


def fits(span: Seen, wanted: Mapping[str, Any]) -> bool:
    """Return whether a span has these members, or attributes."""
    return all(
        (getattr(span, name) if name in Seen._fields else span.attributes.get(name)) == value
        for name, value in wanted.items()
    )


def read(body: bytes) -> Iterator[Seen]:
    """Yield the spans of a request."""
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for scope in of_resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    _attributes(span.attributes),
                    tuple((one.trace_id.hex(), one.span_id.hex()) for one in span.links),
                    resource,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    with receiving() as server:
        server.always = (200, {}, b"")
        yield Collector(server)
