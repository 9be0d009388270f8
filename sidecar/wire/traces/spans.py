"""Spans as they are taken: values, of which the output makes what it sends."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeAlias

Attribute: TypeAlias = str | int | float | bool | tuple[str, ...]


class SpanKind(StrEnum):
    """The relation of a span to its parent and children, as OpenTelemetry has it."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"


class SpanLink(NamedTuple):
    """A span of another trace that has to do with this one."""

    trace: int
    span: int
    state: str = ""


class Span(NamedTuple):
    """A span: ids, the parent's id (0: none), its moments in seconds since the epoch.

    `failure` says what went wrong, empty: nothing. `state` is the trace's `tracestate`.
    """

    name: str
    kind: SpanKind
    trace: int
    span: int
    parent: int
    start: float
    end: float
    attributes: Mapping[str, Attribute]
    links: tuple[SpanLink, ...] = ()
    failure: str = ""
    state: str = ""
