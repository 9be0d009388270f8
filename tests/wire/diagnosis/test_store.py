from typing import Any

import pytest

from sidecar.domain.explanation.diagnosis import Soundness
from sidecar.wire.diagnosis.store import ServerReport, diagnose_server
from sidecar.wire.settings.settings import Eviction, StoreSettings

R, D, W = Soundness.RIGHT, Soundness.DOUBTFUL, Soundness.WRONG
GOOD = {
    "redis_version": "7.4.1",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
}


def states(
    said: dict[str, object] = GOOD, settings: StoreSettings | None = None, **report: Any
) -> dict[str, Soundness]:
    found = diagnose_server(ServerReport("", said, **report), settings or StoreSettings(), 30.0)
    return {one.name: one.state for one in found}


def test_a_server_that_keeps_what_it_gets_is_right_in_all() -> None:
    assert states(ahead=0.1) == {
        "rights": R,
        "version": R,
        "eviction": R,
        "persistence": R,
        "clock": R,
    }


def test_a_server_is_named_where_there_are_several() -> None:
    found = diagnose_server(ServerReport("b:6379", GOOD), StoreSettings(), 30.0)
    assert {one.name.partition(" of ")[2] for one in found} == {"b:6379"}


def test_rights_that_are_missing_are_reported_by_kind_with_the_command_that_grants_them() -> None:
    report = ServerReport("", {}, lacks=("~sidecar:*", "+info"), words="NOPERM")
    rights, server = diagnose_server(report, StoreSettings(username="app"), 30.0)
    assert rights.state is W
    assert "keys and commands: ~sidecar:* +info (NOPERM)" in rights.what
    assert "`ACL SETUSER app ~sidecar:* +info`" in rights.cure
    assert (server.name, server.state) == ("server", D)


@pytest.mark.parametrize(
    ("change", "settings", "name", "state"),
    [
        ({"redis_version": "6.2.1"}, StoreSettings(), "version", W),
        ({"redis_version": ""}, StoreSettings(), "version", W),
        ({"redis_version": "7.0.1"}, StoreSettings(wait_aof=True), "version", W),
        ({"valkey_version": "9.1.0"}, StoreSettings(), "version", R),
        ({"role": "slave"}, StoreSettings(), "role", W),
        ({"maxmemory_policy": "allkeys-lru"}, StoreSettings(), "eviction", W),
        (
            {"maxmemory_policy": "allkeys-lru"},
            StoreSettings(eviction=Eviction.ACCEPT),
            "eviction",
            D,
        ),
        ({"aof_last_write_status": "err"}, StoreSettings(), "persistence", W),
        ({"aof_enabled": 0}, StoreSettings(wait_aof=True), "persistence", W),
        ({"aof_enabled": 0, "rdb_last_bgsave_status": "err"}, StoreSettings(), "persistence", W),
        ({"aof_enabled": 0}, StoreSettings(), "persistence", D),
    ],
)
def test_what_a_server_says_of_itself_is_judged(
    change: dict[str, object], settings: StoreSettings, name: str, state: Soundness
) -> None:
    assert states(GOOD | change, settings)[name] is state


@pytest.mark.parametrize(
    ("save", "words"),
    [(None, "may not ask"), ("3600 1", "snapshots alone"), ("", "it keeps nothing")],
)
def test_what_snapshots_lose_is_reported(save: str | None, words: str) -> None:
    report = ServerReport("", GOOD | {"aof_enabled": 0}, save=save)
    (found,) = [
        x for x in diagnose_server(report, StoreSettings(), 30.0) if x.name == "persistence"
    ]
    assert words in found.what


@pytest.mark.parametrize(("ahead", "state"), [(-31.0, W), (31.0, W), (5.0, D), (-1.0, R)])
def test_a_clock_is_wrong_beyond_the_skew_that_is_allowed(ahead: float, state: Soundness) -> None:
    assert states(ahead=ahead)["clock"] is state
