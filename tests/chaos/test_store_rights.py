"""A store whose user lacks a right is down, and log, probe and metric name the right.

Redis 7 gives new users no channels: what such a user writes reaches nobody. That a user with just
the documented rights can do all is held by all stories: see `tests.stories.running`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.adapters.redis.links import call
from sidecar.adapters.redis_server.rights import least_rights, needs_of
from sidecar.service.view import store_epoch
from sidecar.wire.settings.settings import Settings, SpoolSettings, StoreSettings
from tests import plain_http
from tests.adapters.servers import Server, serving
from tests.chaos.policies import POLICIES
from tests.stories.running import Pods, running, token, unique
from tests.waiting import GIVE_UP, eventually

USER, PASSWORD = "app", "pa55w0rd"
NEEDS = needs_of(StoreSettings())
RIGHTS = least_rights(NEEDS)
NEEDED = [one.right for one in NEEDS if one.right.startswith("+") and not one.is_spared]
KEYS = ("su:{u*", "su:{d*", "su:{s*", "su:{a*", "su:{w*", "su:{l*", "su:{r*", "su:{[0-9t]*")
CHANNELS = ("su:{u*", "su:{d*", "su:{s*", "su:{[0-9r]*")
LACKING = {
    "no channels": (("resetchannels",), "&su:*"),
    "no channels of devices": (
        ("resetchannels", *(f"&{one}" for one in CHANNELS if "{d" not in one)),
        "&su:* (for the channel su:{drights})",
    ),
    "no keys": (("resetkeys",), "~su:*"),
    "other keys": (("resetkeys", "~other:*"), "~su:*"),
    "keys that may only be read": (("resetkeys", "%R~su:*"), "~su:*"),
    "no keys of devices": (
        ("resetkeys", *(f"~{one}" for one in KEYS if "{d" not in one)),
        "~su:* (for the key su:{drights}:f)",
    ),
    **{right: ((f"-{right[1:]}",), right) for right in ("+evalsha", "+spublish", "+ssubscribe")},
}
"""What is taken from the user who has the least rights, and how the right is named then."""
ALL = LACKING | {right: ((f"-{right[1:]}",), right) for right in NEEDED}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def pods(server: Server) -> Iterator[Pods]:
    """Two daemons that look at the store more often than they would."""
    grant(server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_epoch, "BEAT", 0.1)
        with running(server.url, POLICIES, change=as_user) as pods:
            yield pods


def grant(server: Server, *changed: str) -> None:
    """Give the user the least rights, but for what is changed of them."""
    with server.client() as client:
        call(client, "ACL", "SETUSER", USER, "on", f">{PASSWORD}", *RIGHTS, *changed)


def as_user(settings: Settings, _: int) -> Settings:
    store = msgspec.structs.replace(
        settings.store, username=USER, password=PASSWORD, retry_base=0.01, retry_cap=0.02
    )
    sessions = msgspec.structs.replace(settings.sessions, max_staleness=2.0)
    return msgspec.structs.replace(settings, store=store, sessions=sessions)


def asked(pods: Pods, pod: int, path: str) -> httpx.Response:
    """What the admin listener answers, on a busy machine after a while."""
    return plain_http.get(f"{pods.addresses[pod].admin[0]}{path}", timeout=GIVE_UP)


def heard(pods: Pods, pod: int = 0) -> str:
    """What the probe says of the store; empty: it is well."""
    report: dict[str, Any] = asked(pods, pod, "/readyz").json()
    (store,) = (check for check in report["checks"] if check["name"] == "store")
    assert (store["state"] == "good") is not bool(store["reason"])
    return str(store["reason"])


def level(pods: Pods, name: str) -> float:
    text = asked(pods, 0, "/metrics").text
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


def is_logged(capfd: pytest.CaptureFixture[str], log: list[str], named: str) -> bool:
    """Whether the log says that the store is down for this; a line may come a moment later."""
    log.append(capfd.readouterr().err)
    lines = "".join(log).splitlines()
    return any('"event":"store-down"' in line and named in line for line in lines)


@pytest.mark.parametrize("cases", [LACKING, pytest.param(ALL, marks=pytest.mark.long)], ids=len)
def test_each_right_that_is_missing_is_named_and_the_store_is_down_until_it_is_granted(
    server: Server,
    pods: Pods,
    capfd: pytest.CaptureFixture[str],
    cases: dict[str, tuple[tuple[str, ...], str]],
) -> None:
    assert not heard(pods)
    for what, (changed, named) in cases.items():
        grant(server, *changed)
        eventually(lambda named=named: named in heard(pods), bool)
        assert level(pods, "sidecar_store_up") == 0, what
        log: list[str] = []
        eventually(lambda named=named, log=log: is_logged(capfd, log, named), bool)
        grant(server)
        eventually(lambda: heard(pods), lambda heard: not heard)
        assert level(pods, "sidecar_store_up") == 1, what


@pytest.mark.parametrize("changed", [("resetchannels",), ("-ssubscribe",)], ids=str)
def test_whoever_may_not_hear_the_news_says_so_and_acknowledges_nothing(
    server: Server, pods: Pods, changed: tuple[str, ...]
) -> None:
    client, user = pods.clients[0], unique("ada")
    ada = token(user, unique("s"))
    assert client.check(ada)["decision"] == "allow"
    grant(server, *changed)
    eventually(lambda: level(pods, "sidecar_news_up"), lambda up: up == 0)
    eventually(lambda: heard(pods), bool)
    eventually(lambda: client.check(ada).get("status"), lambda status: status == 503)
    refused = client.event("session-revoked", {"user": user})
    assert refused["error"] == "unavailable"
    assert "the right" in refused["message"]
    grant(server)
    eventually(lambda: level(pods, "sidecar_news_up"), lambda up: up == 1)
    eventually(lambda: client.check(ada).get("decision"), lambda decision: decision == "allow")
    assert client.event("session-revoked", {"user": user}, wait="everywhere")["settled"]


def test_an_event_waits_in_the_spool_until_the_right_is_granted(
    server: Server, tmp_path: Path
) -> None:
    def spooling(settings: Settings, number: int) -> Settings:
        spool = SpoolSettings(dir=str(tmp_path / "spool"))
        return msgspec.structs.replace(as_user(settings, number), spool=spool)

    grant(server, "resetchannels")
    with running(server.url, POLICIES, 1, change=spooling) as pods:
        (client,), user = pods.clients, unique("ada")
        ada = token(user, unique("s"))
        eventually(lambda: heard(pods), bool)
        assert client.event("session-revoked", {"user": user})["spooled"]
        assert client.check(ada, context="")["status"] == 401
        grant(server)
        eventually(lambda: level(pods, "sidecar_spool_events"), lambda left: left == 0)
        assert client.check(ada, context="")["status"] == 401
