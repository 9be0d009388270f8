"""The traces of whole daemons, at a real collector: from an event over its mark to a check."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from sidecar.adapters.grpc.listener import CHECK
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.decision_log.settings import (
    DecisionFile,
    DecisionLogSettings,
    DecisionOutput,
    Mask,
)
from sidecar.wire.grpc.protobuf import Message
from sidecar.wire.settings.settings import Grpc, Log, Settings
from sidecar.wire.traces.settings import TracesSettings
from tests import plain_http
from tests.adapters.grpc.door import check_request
from tests.adapters.opentelemetry.collecting import Collector, Seen, collecting
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories import logging_out
from tests.stories.running import CREDENTIAL, Pods, running, token, unique
from tests.stories.transmission import EXAMPLES, fresh, push, receiving, signed
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
CHANGES = ("session-marked", "mark-cleared", "session-revoked")
"""Log lines of what became of a session."""


class Traced(NamedTuple):
    """Daemons, the collector of their spans, and the log of the first one's decisions."""

    pods: Pods
    collector: Collector
    log: Path

    def check(self, decision: str) -> Seen:
        """Return the span of a check, by its decision."""
        return self.collector.one(**{"sidecar.decision.id": decision})

    def metrics(self, accept: str = "text/plain") -> str:
        """Return a scrape of the first daemon."""
        url = f"{self.pods.addresses[0].admin[0]}/metrics"
        return httpx.get(url, headers={"Accept": accept}).text


@pytest.fixture(scope="module")
def traced(valkey_server: Server) -> Iterator[Traced]:
    with collecting() as collector, tempfile.TemporaryDirectory(prefix="traces-") as directory:

        def change(settings: Settings, number: int) -> Settings:
            traces = TracesSettings(
                endpoint=collector.url,
                headers="Authorization: Bearer c",
                masks={"session": Mask.HASH},
            )
            decisions = DecisionLogSettings(
                output=DecisionOutput.FILE,
                file=DecisionFile(path=f"{directory}/decisions-{number}"),
                mask_key="k" * 44,
                masks={"session": Mask.HASH},
            )
            settings = logging_out.configured(receiving(settings), number)
            return msgspec.structs.replace(
                settings, traces=traces, decision_log=decisions, grpc=Grpc(bind="127.0.0.1:0")
            )

        with running(valkey_server.url, POLICIES, 2, change) as pods:
            yield Traced(pods, collector, Path(directory, "decisions-0"))


def test_a_challenged_check_is_linked_to_the_event_that_brought_it(traced: Traced) -> None:
    user, session, event = unique("user"), unique("session"), unique("event")
    shown = token(user, session)
    here, there = traced.pods.clients
    for client in (here, there):
        assert client.check(shown)["decision"] == "allow"
    of_session = {"session": session, "issuer": "https://id.example"}
    done = here.event(
        "network-change",
        of_session,
        id=event,
        data={"segment": "restricted"},
        wait="everywhere",
        traceparent=PARENT,
    )
    assert done["settled"]
    answer = there.check(shown)
    assert answer["decision"] == "step_up"
    check = traced.collector.one(**{"sidecar.decision.id": answer["id"]})
    first = traced.collector.one(name="event network-change", **{"sidecar.door": "socket"})
    assert check.links == ((first.trace, first.span),)
    assert first.links == ((TRACE, SPAN),)
    received = traced.collector.one(name="receive event", trace=TRACE)
    assert (received.parent, received.links) == (SPAN, ((first.trace, first.span),))
    way = traced.collector.wait(6, trace=first.trace)
    assert {one.parent for one in way if one is not first} == {"", first.span}
    names = {one.name for one in way}
    assert {"join", "news", "re-score", "mark"} <= names
    sidecars = {one.resource["service.instance.id"] for one in way if one.name == "news"}
    assert len(sidecars) == 2


def below(span: Seen) -> bool:
    return (span.trace, span.parent) == (TRACE, SPAN)


def over_http(traced: Traced, shown: str, **headers: str) -> str:
    url = f"{traced.pods.addresses[0].http[0]}/v1/check"
    given = {"Authorization": f"Bearer {shown}", "X-Auth-Context": "c1", **headers}
    return httpx.get(url, headers=given).headers["X-Sidecar-Decision-Id"]


def over_grpc(traced: Traced, shown: str, *metadata: tuple[str, str]) -> str:
    grpc: Any = pytest.importorskip("grpc")
    (address,) = traced.pods.addresses[0].grpc
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(CHECK.decode())
        asked = check_request({"authorization": f"Bearer {shown}"})
        answer = Message(call(asked, metadata=metadata))
    headers = [one.message(1) for one in answer.message(3).messages(2)]
    (found,) = (h.text(2) for h in headers if h.text(1).lower() == b"x-sidecar-decision-id")
    return bytes(found).decode()


def test_a_check_is_in_the_trace_of_its_caller_at_each_door(traced: Traced) -> None:
    shown, client = token(unique("user"), unique("session")), traced.pods.clients[0]
    state = {"traceparent": PARENT, "tracestate": "congo=t61"}
    decisions = [
        client.ask(op="check", token=shown, traceparent=PARENT)["id"],
        client.ask(op="check", token=shown, traceparent=PARENT)["id"],
        client.ask(op="check", token=shown, **state)["id"],
        over_http(traced, shown, **state),
        over_http(traced, shown, **state),
        over_grpc(traced, shown, ("traceparent", PARENT)),
    ]
    spans = [traced.check(one) for one in decisions]
    assert all(below(span) for span in spans)
    listeners = [span.attributes["sidecar.listener"] for span in spans]
    assert listeners == ["socket"] * 3 + ["http"] * 2 + ["grpc"]
    assert len({span.span for span in spans}) == len(spans)


def over_authzen(traced: Traced, path: str, **asked: Any) -> list[str]:
    """Ask about calls of c1; return the ids of the decisions."""
    url = f"{traced.pods.addresses[0].http[0]}/access/v1/{path}"
    headers = {"Authorization": f"Bearer {CREDENTIAL}", "traceparent": PARENT}
    body = {"action": {"name": "POST"}, "resource": {"type": "context", "id": "c1"}, **asked}
    found = plain_http.post(url, json=body, headers=headers).json()
    return [one["context"]["id"] for one in found.get("evaluations", [found])]


def test_a_question_over_authzen_is_in_the_trace_of_its_caller(traced: Traced) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session)
    assert traced.pods.clients[0].check(shown)["decision"] == "allow"
    holder = {"type": "user", "id": user, "properties": {"token": shown}}
    decisions = [
        *over_authzen(traced, "evaluation", subject=holder),
        *over_authzen(traced, "evaluation", subject=holder),
        *over_authzen(traced, "evaluations", evaluations=[{"subject": holder}] * 2),
        *over_authzen(traced, "evaluation", subject={"type": "session", "id": session}),
    ]
    spans = [traced.check(one) for one in decisions]
    assert len({one.span for one in spans}) == 5
    assert all(below(one) for one in spans)
    assert {one.attributes["sidecar.listener"] for one in spans} == {"authzen"}


def test_what_is_no_context_is_counted_and_the_check_is_as_good(traced: Traced) -> None:
    shown, client = token(unique("user"), unique("session")), traced.pods.clients[0]
    counted = 'sidecar_trace_contexts_refused_total{member="traceparent"}'
    before = number(traced.metrics(), counted)
    answers = [
        client.ask(op="check", token=shown, context="c1", traceparent=bad)
        for bad in ("00-nothing", "x" * 5000, 7, None, "")
    ]
    assert {one["decision"] for one in answers} == {"allow"}
    decisions = [one["id"] for one in answers]
    decisions.append(over_http(traced, shown, traceparent=f"00-{TRACE}-{'0' * 16}-01"))
    for decision in decisions:
        assert traced.check(decision).parent == ""
    assert number(traced.metrics(), counted) == before + len(decisions)


def number(exposition: str, series: str) -> float:
    (line,) = (line for line in exposition.splitlines() if line.startswith(series))
    return float(line.split()[-1])


def test_nothing_of_a_person_is_in_a_span_but_what_is_masked(traced: Traced) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session)
    decision = over_http(traced, shown, **{"X-Forwarded-For": "192.0.2.7", "traceparent": PARENT})
    span = traced.check(decision)
    body = b"".join(body for _, body in traced.collector.server.posts)
    for word in (user, session, "192.0.2.7", shown, "id.example", "Bearer"):
        assert word.encode() not in body
    (record,) = eventually(
        lambda: [
            one
            for one in map(json.loads, traced.log.read_text().splitlines())
            if one.get("id") == decision
        ],
        bool,
    )
    assert record["trace"] == span.trace == TRACE
    assert span.attributes["session.id"] == record["session"] != session


def test_openmetrics_alone_shows_exemplars(traced: Traced) -> None:
    shown = token(unique("user"), unique("session"))
    decision = over_http(traced, shown)
    trace = traced.check(decision).trace
    found = traced.metrics("application/openmetrics-text; version=1.0.0")
    lines = [one for one in found.splitlines() if one.startswith("sidecar_check_seconds_bucket")]
    assert any(f'# {{trace_id="{trace}"}}' in one for one in lines)
    assert "trace_id" not in traced.metrics()


def test_an_event_over_http_is_linked_to_its_sender(traced: Traced) -> None:
    session, event = unique("session"), unique("event")
    about = {"session": session, "issuer": "https://id.example"}
    said = {"type": "network-change", "id": event, "subject": about, "data": {"segment": "lab"}}
    headers = {"Authorization": f"Bearer {CREDENTIAL}", "traceparent": PARENT}
    url = f"{traced.pods.addresses[0].http[0]}/v1/events"
    for status in ("accepted", "duplicate"):
        assert httpx.post(url, json=said, headers=headers).status_code == 202
        wanted = {"sidecar.event.outcome": status, "sidecar.event.id": f"idp/{event}"}
        span = traced.collector.one(name="event network-change", **wanted)
        assert span.links == ((TRACE, SPAN),)
        assert span.attributes["sidecar.door"] == "http"
    first = traced.collector.one(**{"sidecar.event.id": f"idp/{event}", "parent": ""}, kind=5)
    assert span.parent == first.span


def test_an_event_by_a_pushed_set_is_linked_to_its_sender(traced: Traced) -> None:
    claims = fresh(EXAMPLES[0])
    pushed = push(traced.pods.addresses[0].receiver[0], signed(claims), traceparent=PARENT)
    assert pushed.status_code == 202, pushed.text
    linked_to_its_sender(traced, "receiver")


def test_a_logout_is_linked_to_its_sender(traced: Traced) -> None:
    user, session = unique("user"), unique("session")
    traced.pods.clients[0].check(token(user, session))
    text = logging_out.signed(sub=user, sid=session)
    done = logging_out.logout(traced.pods, text, traceparent=PARENT)
    assert done.status_code == 200, done.text
    linked_to_its_sender(traced, "intake")


def test_an_operators_act_is_linked_to_its_sender(traced: Traced) -> None:
    session = unique("session")
    traced.pods.clients[0].check(token(unique("user"), session))
    url = f"{traced.pods.addresses[0].admin[0]}/v1/sessions/{session}/revoke"
    headers = {"Authorization": "Bearer operator", "traceparent": PARENT}
    done = plain_http.post(url, json={"reason": "ticket 4711"}, headers=headers)
    assert done.status_code == 200, done.text
    linked_to_its_sender(traced, "admin")


def linked_to_its_sender(traced: Traced, door: str) -> None:
    """Hold an event of this door to the span that was sent, and that to the event."""
    first = traced.collector.one(**{"sidecar.door": door, "parent": ""}, kind=5)
    assert first.links == ((TRACE, SPAN),)
    (received,) = (
        one
        for one in traced.collector.wait(name="receive event", trace=TRACE)
        if one.attributes["sidecar.door"] == door
    )
    assert (received.parent, received.links) == (SPAN, ((first.trace, first.span),))


def test_log_lines_name_the_trace_that_they_belong_to(
    valkey_server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    user, session, event = unique("user"), unique("session"), unique("event")
    about = {"session": session, "issuer": "https://id.example"}
    with collecting() as collector:

        def change(settings: Settings, _: int) -> Settings:
            traces = TracesSettings(endpoint=collector.url)
            log = Log(level="info", checks=True)
            return msgspec.structs.replace(settings, traces=traces, log=log)

        with running(valkey_server.url, POLICIES, 1, change) as pods:
            (client,) = pods.clients
            shown = token(user, session)
            mine = client.ask(op="check", token=shown, context="c1", traceparent=PARENT)["id"]
            unasked = client.check(shown)["id"]
            said = [("network-change", {"segment": one}) for one in ("restricted", "open")]
            for number, (kind, data) in enumerate([*said, ("session-revoked", {})]):
                named = {"id": f"{event}-{number}", "data": data, "wait": "everywhere"}
                assert client.trusted(kind, about, **named)["settled"]
                pods.sweep()
        own = collector.one(**{"sidecar.decision.id": unasked}).trace
        events = [
            collector.one(parent="", kind=5, **{"sidecar.event.id": f"idp/{event}-{number}"}).trace
            for number in range(3)
        ]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    of_session = [one for one in lines if one.get("session") == session]
    checks = {one["id"]: one["trace"] for one in of_session if one["event"] == "checked"}
    assert checks == {mine: TRACE, unasked: own}
    changes = [(one["event"], one["trace"]) for one in of_session if one["event"] in CHANGES]
    assert sorted(changes) == sorted(zip(CHANGES, events, strict=True))
