"""What is trusted is live in both directions: at a running daemon's socket, by its file."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidecar.adapters.clock import now
from tests import plain_http
from tests.adapters.identity import Signer, key_set
from tests.adapters.servers import Server
from tests.stories.running import ISSUER, SIGNER, Client, token, unique
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually

PARTNER = "https://partner.example"
OTHER = Signer("RS256", kid="partner")


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory, valkey_server: Server) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("t")
    (directory / "partner.json").write_bytes(key_set(OTHER))
    with daemons(directory, valkey_server.url, "a") as (a,):
        yield a


def change(daemon: Process, edit: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the configuration's file."""
    heard = json.loads(daemon.config.read_text())
    edit(heard)
    aside = daemon.config.with_suffix(".new")
    aside.write_text(json.dumps(heard))
    aside.rename(daemon.config)


def of_issuer(daemon: Process, **fields: Any) -> None:
    def edit(heard: dict[str, Any]) -> None:
        heard["tokens"]["issuers"][0].update(fields)

    change(daemon, edit)


def partner(daemon: Process) -> dict[str, Any]:
    file = str(daemon.config.parent / "partner.json")
    return {"issuer": PARTNER, "audiences": ["payroll"], "jwks_file": file}


def of_partner() -> str:
    return signed(OTHER, PARTNER, 600)


def signed(signer: Signer, issuer: str, life: int) -> str:
    issued = int(now())
    return signer.token(
        iss=issuer,
        aud="payroll",
        sub=unique("user"),
        sid=unique("session"),
        iat=issued,
        exp=issued + life,
        auth_time=issued - 5,
        acr="single-factor",
        amr=None,
    )


def answer(client: Client, weak: str) -> str:
    heard = client.check(weak)
    return str(heard.get("error") or heard["decision"])


def until_answer(client: Client, weak: str, wanted: str) -> None:
    eventually(lambda: answer(client, weak), lambda one: one == wanted)


@pytest.mark.parametrize(
    ("field", "without"),
    [
        ("audiences", ["other"]),
        ("algorithms", ["RS256"]),
        ("types", ["at+jwt"]),
        ("issuer", "https://another.example"),
        ("user_claim", "upn"),
    ],
)
def test_what_is_taken_out_of_an_issuer_is_believed_no_longer_and_what_comes_back_is(
    daemon: Process, field: str, without: Any
) -> None:
    with Client(str(daemon.socket)) as client:
        weak = token(unique("user"), unique("session"))
        assert answer(client, weak) == "allow"
        before = copy.deepcopy(json.loads(daemon.config.read_text()))
        of_issuer(daemon, **{field: without})
        until_answer(client, weak, "invalid_token")
        change(daemon, lambda heard: heard.update(before))
        until_answer(client, weak, "allow")
    assert level(daemon, "sidecar_restart_required ") == 0


def test_an_issuer_that_is_added_is_believed_and_one_that_is_taken_out_is_not(
    daemon: Process,
) -> None:
    with Client(str(daemon.socket)) as client:
        ours, theirs = token(unique("user"), unique("session")), of_partner()
        assert answer(client, theirs) == "invalid_token"
        change(daemon, lambda heard: heard["tokens"]["issuers"].append(partner(daemon)))
        until_answer(client, theirs, "allow")
        assert answer(client, ours) == "allow"
        change(daemon, lambda heard: heard["tokens"].update(issuers=[partner(daemon)]))
        until_answer(client, ours, "invalid_token")
        assert answer(client, theirs) == "allow"


def test_less_leeway_counts_for_tokens_that_were_verified_with_more(daemon: Process) -> None:
    with Client(str(daemon.socket)) as client:
        over = signed(SIGNER, ISSUER, -20)
        assert answer(client, over) == "allow"
        of_issuer(daemon, leeway="1s")
        until_answer(client, over, "invalid_token")


def test_another_place_of_keys_is_taken_up_and_the_keys_of_the_old_one_are_dropped(
    daemon: Process,
) -> None:
    with Client(str(daemon.socket)) as client:
        ours = token(unique("user"), unique("session"))
        assert answer(client, ours) == "allow"
        of_issuer(daemon, jwks_file=str(daemon.config.parent / "partner.json"))
        until_answer(client, ours, "invalid_token")


def test_an_added_issuer_whose_keys_cannot_be_had_takes_nobody_out_of_service(
    daemon: Process,
) -> None:
    missing = {**partner(daemon), "jwks_file": str(daemon.config.parent / "none.json")}
    change(daemon, lambda heard: heard["tokens"]["issuers"].append(missing))
    eventually(lambda: condition(daemon, "keys")["state"], lambda one: one == "limping")
    assert PARTNER in condition(daemon, "keys")["reason"]
    assert daemon.is_ready()
    with Client(str(daemon.socket)) as client:
        assert answer(client, token(unique("user"), unique("session"))) == "allow"


def condition(daemon: Process, name: str) -> dict[str, str]:
    report = plain_http.get(f"{daemon.admin}/readyz").json()
    (found,) = (check for check in report["checks"] if check["name"] == name)
    return dict(found)


def test_what_waits_for_a_restart_says_so_by_its_keys_until_it_is_as_before(
    daemon: Process,
) -> None:
    assert level(daemon, "sidecar_restart_required ") == 0
    assert condition(daemon, "restart")["state"] == "good"
    before = json.loads(daemon.config.read_text())

    def edit(heard: dict[str, Any]) -> None:
        heard["http"]["max_connections"] = 100
        heard["work"] = {"workers": 2, "tries": 3}

    change(daemon, edit)
    eventually(lambda: level(daemon, "sidecar_restart_required "), lambda one: one == 1)
    (line,) = eventually(lambda: daemon.lines("restart-required"), bool)
    assert line["keys"] == ["http.max_connections", "work.workers"]
    assert line["level"] == "warning"
    heard = condition(daemon, "restart")
    assert heard["state"] == "limping"
    assert "http.max_connections, work.workers" in heard["reason"]
    assert daemon.is_ready()
    change(daemon, lambda heard: heard.update({**before, "work": {}}))
    eventually(lambda: level(daemon, "sidecar_restart_required "), lambda one: one == 0)
    assert condition(daemon, "restart")["state"] == "good"


def test_metrics_report_when_the_configuration_was_taken_up_and_which_policies_are_in_force(
    daemon: Process,
) -> None:
    name = "sidecar_config_last_reload_success"
    assert level(daemon, f"{name}ful ") == 1
    first = level(daemon, f"{name}_timestamp_seconds ")
    assert first > 0
    (policies,) = hashes(daemon)
    daemon.config.write_text(daemon.config.read_text() + "}")
    eventually(lambda: level(daemon, f"{name}ful "), lambda one: one == 0)
    assert level(daemon, f"{name}_timestamp_seconds ") == first
    assert hashes(daemon) == [policies]
    daemon.config.write_text(daemon.config.read_text()[:-1])
    eventually(lambda: level(daemon, f"{name}ful "), lambda one: one == 1)
    file = daemon.config.parent / "policies" / "one.yaml"
    file.write_text(file.read_text().replace("grant: mfa", "grant: block"))
    eventually(lambda: hashes(daemon), lambda found: found != [policies])
    assert len(hashes(daemon)) == 1
    assert level(daemon, f"{name}_timestamp_seconds ") > first


def hashes(daemon: Process) -> list[str]:
    text = plain_http.get(f"{daemon.admin}/metrics").text
    return [line for line in text.splitlines() if line.startswith("sidecar_policy_set_info{")]


def test_what_a_source_may_say_no_longer_is_refused_without_a_restart(daemon: Process) -> None:
    with Client(str(daemon.socket)) as client:
        session = unique("session")
        assert answer(client, token(unique("user"), session)) == "allow"

        def revoke() -> str:
            heard = client.event("session-revoked", {"session": session}, id=unique("id"))
            return str(heard.get("error") or heard["ok"])

        assert revoke() == "True"
        uid = os.getuid()
        app = {"name": "app", "uids": [uid], "may": ["risk-signal"]}
        change(daemon, lambda heard: heard.update(sources=[app]))
        eventually(revoke, lambda one: one == "not_allowed")
        change(daemon, lambda heard: heard.update(sources=[]))
        eventually(revoke, lambda one: one == "True")
    assert level(daemon, "sidecar_restart_required ") == 0
