"""Which events a running daemon sheds first, at its real socket.

The load is virtual: a source whose rate does not refill, and a fake of how much waits. So what is
shed is counted, and depends on no clock.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.domain.facts.fact_kinds import SIGNALS
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.service.intake.admission import Crowding
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.sources import SourceSettings
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Client, Pods, running, token, unique

POLICIES = (policy(UserRisk(RiskLevel.HIGH), name="risk"),)
BURST = 16
SOURCES = ("one", "two")
NEEDS = ("sighting", "loosening", "tightening", "revocation")
_ids = itertools.count()


def change(settings: Settings, _pod: int) -> Settings:
    """Two sources that may say anything, so many times."""
    directory = Path(settings.socket.path).parent
    limited = []
    for name in SOURCES:
        (directory / name).write_text(f"the-credential-of-{name}")
        limited.append(
            SourceSettings(
                name=name,
                token_file=str(directory / name),
                may_loosen=SIGNALS,
                rate=0.001,
                burst=BURST,
            )
        )
    return msgspec.structs.replace(settings, sources=(*settings.sources, *limited))


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, 1, change) as one:
        yield one


@pytest.fixture
def crowded(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have so much wait in the daemon, as far as its admission of events knows."""
    services = pods.daemons[0]._services  # noqa: SLF001 - there is no door to a fault
    assert services is not None
    events = services.wired.intake.events

    def crowd(**parts: float) -> None:
        monkeypatch.setattr(events, "_crowding", lambda: Crowding(**parts))

    return crowd


def event(need: str, user: str, credential: str) -> dict[str, Any]:
    """An event that is needed so much."""
    kind, subject, data = {
        "sighting": ("session-presented", {"session": user}, {"ip": "192.0.2.1"}),
        "loosening": ("risk-level-change", {"user": user}, {"current_level": "LOW"}),
        "tightening": ("risk-level-change", {"user": user}, {"current_level": "HIGH"}),
        "revocation": ("session-revoked", {"user": user}, {}),
    }[need]
    named = {"op": "event", "id": f"shed-{next(_ids)}", "credential": credential}
    return {**named, "type": kind, "subject": subject, "data": data}


def taken(client: Client, events: list[dict[str, Any]]) -> int:
    """How many of them are taken; each other one is answered `overloaded`."""
    client.send(*events)
    answers = [client.read() for _ in events]
    for answer in answers:
        assert answer["ok"] or answer["error"] == "overloaded"
    return sum(answer["ok"] for answer in answers)


def shed(pods: Pods) -> Counter[tuple[str, str, str]]:
    """What the metric says was shed: type, need, what was too full."""
    text = httpx.get(pods.addresses[0].admin[0] + "/metrics").text
    return Counter(
        {
            (one.labels["type"], one.labels["need"], one.labels["bottleneck"]): int(one.value)
            for family in text_string_to_metric_families(text)
            for one in family.samples
            if one.name == "sidecar_events_shed_total"
        }
    )


def test_a_source_that_says_too_much_sheds_what_is_needed_least(pods: Pods) -> None:
    client, user, before = pods.clients[0], unique("user"), shed(pods)
    found = {
        need: taken(client, [event(need, user, "the-credential-of-one") for _ in range(3 * BURST)])
        for need in NEEDS
    }
    # Each takes its part of what is left, and leaves the rest to those that are needed more.
    assert found == {
        "sighting": BURST * 5 // 8,
        "loosening": BURST // 8,
        "tightening": BURST * 2 // 8,
        "revocation": BURST,
    }
    counted = shed(pods) - before
    assert counted == {
        ("session-presented", "sighting", "rate"): 3 * BURST - 10,
        ("risk-level-change", "loosening", "rate"): 3 * BURST - 2,
        ("risk-level-change", "tightening", "rate"): 3 * BURST - 4,
        ("session-revoked", "revocation", "rate"): 2 * BURST,
    }


def test_an_event_that_was_taken_before_is_shed_before_any_other(pods: Pods) -> None:
    client, user = pods.clients[0], unique("user")
    known = event("tightening", user, "the-credential-of-two")
    assert taken(client, [known]) == 1
    assert taken(client, [known] * BURST) == BURST // 2 - 1, "half of it is kept for others"
    assert client.ask(**known)["message"].startswith("events that were taken before are refused")
    sighting = event("sighting", user, "the-credential-of-two")
    assert taken(client, [sighting]) == 1


@pytest.mark.parametrize(
    ("parts", "shed_are"),
    [
        ({"store": 0.5}, ()),
        ({"store": 0.7}, ("sighting",)),
        ({"store": 0.8}, ("sighting", "loosening")),
        ({"store": 0.9}, ("sighting", "loosening", "tightening")),
        ({"logging": 0.7}, ("sighting",)),
        ({"logging": 1.0}, ("sighting", "loosening")),
    ],
)
def test_where_much_waits_what_is_needed_least_is_shed_for_every_source(
    pods: Pods, crowded: Any, parts: dict[str, float], shed_are: tuple[str, ...]
) -> None:
    crowded(**parts)
    client, user, before = pods.clients[0], unique("user"), shed(pods)
    credential = "the-credential-of-the-identity-provider"
    answers = {need: client.ask(**event(need, user, credential)) for need in NEEDS}
    assert tuple(need for need, one in answers.items() if not one["ok"]) == shed_are
    why = {"store": "too much waits for the store", "logging": "too much waits to be logged"}
    for need in shed_are:
        assert answers[need]["error"] == "overloaded"
        assert why[next(iter(parts))] in answers[need]["message"]
    counted = shed(pods) - before
    assert {need for _, need, _ in counted} == set(shed_are)
    assert counted.total() == len(shed_are)


def test_what_was_shed_takes_effect_once_it_is_sent_again(pods: Pods, crowded: Any) -> None:
    client, user, session = pods.clients[0], unique("user"), unique("session")
    assert client.check(token(user, session))["decision"] == "allow"
    risk = event("tightening", user, "the-credential-of-the-identity-provider")
    crowded(store=1.0)
    assert client.ask(**risk)["error"] == "overloaded"
    crowded(store=0.0)
    answer = client.ask(**risk)
    assert answer["ok"]
    assert not answer.get("duplicate")
    assert client.check(token(user, session))["decision"] == "step_up"
