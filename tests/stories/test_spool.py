"""The store goes away and comes back: events that were acknowledged meanwhile are in force."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.cli.main import main
from sidecar.domain.policy.conditional_access import Networks, RiskLevel, Selection, UserRisk
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.sources import Limits
from tests import plain_http
from tests.adapters.servers import Server, impatient, serving
from tests.domain.scenes import policy
from tests.stories.running import Client, Pods, running, token, unique
from tests.stories.spooling import RESTRICTED, metric, with_spool
from tests.system.processes import daemons
from tests.waiting import eventually

POLICIES = (
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
    policy(UserRisk(RiskLevel.MEDIUM), name="risk"),
)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def conditions(pods: Pods) -> dict[str, str]:
    report = plain_http.get(pods.addresses[0].admin[0] + "/readyz").json()
    return {check["name"]: check["state"] for check in report["checks"]}


def until_spooled(client: Client, session: str, attempts: int = 5) -> dict[str, Any]:
    """Send one event again until it is acknowledged as spooled."""
    for _ in range(attempts):
        reply: dict[str, Any] = client.event(
            "network-change", {"session": session}, id=f"of-{session}", data=RESTRICTED
        )
        if reply["ok"]:
            return reply
    raise AssertionError(f"not acknowledged: {reply}")


def decision(client: Client, of: str) -> Any:
    return client.check(of).get("decision")


def is_challenged(found: Any) -> bool:
    return bool(found == "step_up")


def test_an_operators_acts_while_the_store_hangs_are_in_force_here_and_later_everywhere(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SIDECAR_ADMIN__TOKEN", "operator")
    with running(server.url, POLICIES, 2, with_spool(tmp_path, server.url)) as pods:
        a, b = pods.clients
        users = {verb: unique(verb) for verb in ("revoke", "mark", "clear")}
        tokens = {verb: token(user, f"of-{user}") for verb, user in users.items()}
        for weak in tokens.values():
            assert decision(a, weak) == decision(b, weak) == "allow"
        a.event("network-change", {"session": f"of-{users['clear']}"}, data=RESTRICTED)
        for client in (a, b):
            eventually(lambda client=client: decision(client, tokens["clear"]), is_challenged)
        ended = {"revoke": "deny", "mark": "step_up", "clear": "allow"}
        with server.paused():
            for verb, user in users.items():
                words = [verb, "--user", user, "--reason", "the store is away", "--id", verb]
                words += ["--url", pods.addresses[0].admin[0], "--timeout", "20"]
                assert eventually(lambda words=words: main(words), lambda status: status == 0) == 0
                assert "the others have it once the store is back" in capsys.readouterr().out
                assert decision(a, tokens[verb]) == ended[verb]
                assert main([*words, "--wait", "1"]) == 1, "nobody knows that all have it"
                assert "once the store is back" in capsys.readouterr().out
        for verb, weak in tokens.items():
            expected = ended[verb]
            eventually(
                lambda weak=weak: decision(b, weak),
                lambda found, expected=expected: found == expected,
                within=20,
            )


def test_events_while_the_store_hangs_bind_here_at_once_and_everywhere_afterwards(
    server: Server, tmp_path: Path
) -> None:
    with running(server.url, POLICIES, 2, with_spool(tmp_path, server.url)) as pods:
        a, b = pods.clients
        sessions = [unique("session") for _ in range(20)]
        tokens = {session: token(unique("user"), session) for session in sessions}
        for weak in tokens.values():
            assert decision(a, weak) == decision(b, weak) == "allow"
        with server.paused():
            for session in sessions:
                reply = until_spooled(a, session)
                assert (reply["id"], reply["spooled"]) == (f"of-{session}", True)
                assert is_challenged(decision(a, tokens[session]))
            assert metric(pods, "sidecar_spool_events") == 20
            assert conditions(pods)["spool"] == "good"
            assert conditions(pods)["store"] == "bad"
            again = a.event(
                "network-change", {"session": sessions[0]}, id=f"of-{sessions[0]}", data=RESTRICTED
            )
            assert (again["spooled"], again["duplicate"]) == (True, True)
            everywhere = a.event(
                "risk-level-change",
                {"user": unique("user")},
                data={"current_level": "HIGH"},
                wait="everywhere",
                timeout=1,
            )
            assert (everywhere["spooled"], everywhere["settled"]) == (True, False)
        for session in sessions:
            eventually(lambda of=tokens[session]: decision(b, of), is_challenged, within=20)
            assert is_challenged(decision(a, tokens[session]))
        eventually(lambda: metric(pods, "sidecar_spool_events"), lambda left: left == 0)
        # The last event is struck off before its file is, and the pass is counted after both.
        eventually(lambda: metric(pods, "sidecar_spool_replayed_total"), lambda n: n == 21)
        assert not list((tmp_path / "spool0").glob("*.spool"))
        direct = a.event("network-change", {"session": sessions[0]}, data=RESTRICTED)
        assert direct["ok"] is True
        assert "spooled" not in direct


def test_a_full_spool_says_overloaded_and_loses_nothing_that_it_acknowledged(
    server: Server, tmp_path: Path
) -> None:
    spooled = with_spool(tmp_path, server.url, max_events=5)

    def change(settings: Settings, number: int) -> Settings:
        changed: Settings = spooled(settings, number)
        return msgspec.structs.replace(changed, limits=Limits(share=1.0))

    with running(server.url, POLICIES, 2, change) as pods:
        a, b = pods.clients
        sessions = [unique("session") for _ in range(8)]
        tokens = {session: token(unique("user"), session) for session in sessions}
        for weak in tokens.values():
            assert decision(a, weak) == decision(b, weak) == "allow"
        with server.paused():
            for session in sessions[:5]:
                assert until_spooled(a, session)["spooled"] is True
            for session in sessions[5:]:
                reply = a.event("network-change", {"session": session}, data=RESTRICTED)
                assert (reply["ok"], reply["error"]) == (False, "overloaded")
                assert reply["retry_after"] > 0
                assert decision(a, tokens[session]) == "allow"
            assert conditions(pods)["spool"] == "limping"
        for session in sessions[:5]:
            eventually(lambda of=tokens[session]: decision(b, of), is_challenged, within=20)
        eventually(lambda: conditions(pods)["spool"], lambda state: state == "good")
        for session in sessions[5:]:
            assert decision(b, tokens[session]) == "allow"


def test_a_daemon_that_ends_while_the_store_is_away_leaves_its_events_to_the_next(
    server: Server, tmp_path: Path
) -> None:
    session = unique("session")
    weak = token(unique("user"), session)
    change = with_spool(tmp_path, server.url)
    with running(server.url, POLICIES, 1, change) as pods:
        assert decision(pods.clients[0], weak) == "allow"
        server.process.send_signal(signal.SIGSTOP)
        assert until_spooled(pods.clients[0], session)["spooled"] is True
    assert list((tmp_path / "spool0").glob("*.spool"))
    server.process.send_signal(signal.SIGCONT)
    with running(server.url, POLICIES, 2, change) as pods:
        for client in pods.clients:
            eventually(lambda client=client: decision(client, weak), is_challenged)
        eventually(lambda: metric(pods, "sidecar_spool_events"), lambda left: left == 0)
    assert not list((tmp_path / "spool0").glob("*.spool"))


def test_without_a_spool_an_event_is_unavailable_while_the_store_is_away(
    server: Server,
) -> None:
    def change(settings: Settings, _: int) -> Settings:
        return msgspec.structs.replace(settings, store=impatient(server.url, retries=0))

    with running(server.url, POLICIES, 1, change) as pods:
        assert "spool" not in conditions(pods)
        with server.paused():
            reply = pods.clients[0].event("session-revoked", {"user": unique("user")})
            assert (reply["ok"], reply["error"]) == (False, "unavailable")


def test_a_spool_that_cannot_be_used_is_reported_and_the_daemon_runs_all_the_same(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "spool0").write_text("in the way")
    with running(server.url, POLICIES, 1, with_spool(tmp_path, server.url)) as pods:
        (client,) = pods.clients
        weak = token(unique("user"), unique("session"))
        assert decision(client, weak) == "allow"
        assert conditions(pods)["spool"] == "limping"
        assert metric(pods, "sidecar_spool_troubles_total") == 1
        with server.paused():
            reply = client.event("session-revoked", {"user": unique("user")})
            assert (reply["ok"], reply["error"]) == (False, "unavailable")
            assert "spool" in reply["message"]
            assert decision(client, weak) == "allow"


def test_a_killed_daemon_has_lost_no_event_that_it_had_spooled(
    server: Server, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path_factory.mktemp("p")
    monkeypatch.setenv("SIDECAR_SPOOL__DIR", str(short / "spool"))
    monkeypatch.setenv("SIDECAR_STORE__TIMEOUT", "0.3")
    with daemons(short, server.url, "a") as (a,):
        sessions = [unique("session") for _ in range(10)]
        tokens = {session: token(unique("user"), session) for session in sessions}
        with Client(str(a.socket)) as client:
            for weak in tokens.values():
                assert decision(client, weak) == "allow"
            with server.paused():
                for session in sessions:
                    assert until_spooled(client, session)["spooled"] is True
                a.process.kill()
                a.process.wait()
        a.start()
        with Client(str(a.socket)) as client:
            for session in sessions:
                assert is_challenged(decision(client, tokens[session]))
        eventually(lambda: a.lines("spool-replayed"), bool)
        assert sum(line["events"] for line in a.lines("spool-replayed")) == 10


def test_two_daemons_on_one_spool_are_an_error_of_the_second(
    server: Server, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path_factory.mktemp("p")
    monkeypatch.setenv("SIDECAR_SPOOL__DIR", str(short / "spool"))
    with daemons(short, server.url, "a") as (a,):
        with pytest.raises(AssertionError, match="is locked by a running process"):
            type(a)(short, "b", server.url)
        assert a.is_ready()
        assert os.path.lexists(a.socket)
