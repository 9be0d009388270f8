"""What the page of troubleshooting says of refusals is what a running daemon answers."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest

from sidecar.wire.http.problems import Problem
from sidecar.wire.settings.app import ChallengeStyle
from sidecar.wire.settings.settings import Gateway, Settings
from tests import plain_http
from tests.adapters.servers import Server
from tests.docs.listening import BLOCKED, RISKY
from tests.stories.running import Pods, running, token

DOCUMENTS = Path(__file__).parents[2] / "docs"
PAGE = (DOCUMENTS / "troubleshooting.md").read_text()
NGINX, NONE = 0, 1
Fields = Sequence[tuple[str, str]]


def gateways(settings: Settings, number: int) -> Settings:
    """The first daemon is asked by nginx, and challenges as Entra does; the other by nobody."""
    replace = msgspec.structs.replace
    if number == NONE:
        return settings
    http = replace(settings.http, gateway=Gateway.NGINX)
    return replace(settings, http=http, app=replace(settings.app, challenge=ChallengeStyle.ENTRA))


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, (RISKY, BLOCKED), 2, gateways) as pods:
        client = pods.clients[NGINX]
        assert client.check(token("ada", "s-ada"))["decision"] == "allow"
        subject = {"user": "ada"}
        client.trusted(
            "risk-level-change", subject, data={"current_level": "HIGH"}, wait="everywhere"
        )
        yield pods


def asked(pods: Pods, index: int, *fields: tuple[str, str], user: str = "bob") -> httpx.Response:
    shown = ("Authorization", f"Bearer {token(user, f's-{user}')}")
    url = f"{pods.addresses[index].http[0].rstrip('/')}/v1/check"
    return plain_http.get(url, headers=[shown, *fields])


def kind_of(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


PATH = ("X-Original-URI", "/public")


@pytest.mark.parametrize(
    ("index", "fields", "detail"),
    [
        (NGINX, (), "must send"),
        (NONE, (PATH,), "path"),
        (NGINX, (PATH, PATH), "more than once"),
        (NGINX, (PATH, ("X-Original-URL", "/another")), "differ"),
        (NGINX, (("X-Original-URI", "/a//b"),), ""),
        (NGINX, (("X-Original-URI", "/a%2fb"),), ""),
    ],
)
def test_a_call_that_cannot_be_judged_is_answered_so(
    pods: Pods, index: int, fields: Fields, detail: str
) -> None:
    answer = asked(pods, index, *fields)
    assert (answer.status_code, kind_of(answer)) == (400, "invalid-request")
    assert detail in answer.json()["detail"]
    assert "`invalid-request`" in section("400 for every call")


def test_a_context_that_is_not_configured_is_answered_so(pods: Pods) -> None:
    answer = asked(pods, NGINX, PATH, ("X-Auth-Context", "c11"))
    assert (answer.status_code, kind_of(answer)) == (400, "unknown-context")
    assert "`unknown-context`" in section("400 for every call")


def test_two_tokens_are_answered_so(pods: Pods) -> None:
    answer = asked(pods, NGINX, PATH, ("Authorization", f"Bearer {token('eve', 's-eve')}"))
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]


def test_what_no_sign_in_mends_is_answered_so(pods: Pods) -> None:
    blocked = asked(pods, NGINX, PATH, ("X-Auth-Context", "c2"), user="ada")
    assert (blocked.status_code, kind_of(blocked)) == (403, "denied")
    assert [one["policy"] for one in blocked.json()["reasons"]] == ["blocked"]
    assert "`reasons` in the body names the policy" in section("403")


def test_a_client_that_takes_no_claims_challenge_is_answered_so(pods: Pods) -> None:
    refused = asked(pods, NGINX, PATH, ("X-Auth-Context", "c1"), user="ada")
    assert (refused.status_code, kind_of(refused)) == (403, "denied")
    challenged = asked(pods, NONE, ("X-Auth-Context", "c1"), user="ada")
    assert (challenged.status_code, kind_of(challenged)) == (401, "step-up-required")


def test_every_type_and_metric_that_the_page_names_is_one() -> None:
    types = {kind.value.name for kind in Problem}
    named = re.findall(r"the `type` `([^`]+)`|type is `([^`]+)`", PAGE)
    assert len(named) > 8
    assert {one or other for one, other in named} <= types
    metrics = (DOCUMENTS / "reference" / "metrics.md").read_text()
    for name in set(re.findall(r"`(sidecar_\w+)", PAGE)):
        assert f"`{name}" in metrics, name


def test_every_log_event_that_the_page_names_is_one() -> None:
    events = (DOCUMENTS / "reference" / "log-events.md").read_text()
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)` in the log", PAGE))
    assert len(named) > 5
    for name in named:
        assert f"| `{name}` |" in events, name
