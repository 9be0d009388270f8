"""Databases, prefixes and keys are taken up while the daemon serves; broken ones are refused."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.adapters.clock import now
from sidecar.demo.geography import build
from tests.adapters.identity import Signer, key_set
from tests.adapters.servers import Server
from tests.stories.running import ISSUER, Client, eventually, token, unique
from tests.system.processes import Process, daemons


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("r")


def build_of(process: Process) -> float:
    text = httpx.get(f"{process.admin}/metrics").text
    wanted = 'sidecar_geo_database_build_timestamp_seconds{database="city"}'
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(wanted))


def put(source: Path, target: Path) -> None:
    """Replace a file as a careful updater does: written aside, then renamed."""
    aside = target.with_suffix(".new")
    shutil.copy(source, aside)
    aside.rename(target)


def test_a_newer_geography_database_is_taken_up_and_a_broken_one_refused(
    short: Path, valkey_server: Server
) -> None:
    first = build(short, built=1_700_000_000)
    newer = short / "newer"
    newer.mkdir()
    second = build(newer, built=1_800_000_000)
    city = short / "city-in-use.mmdb"
    shutil.copy(first.city, city)
    extra: dict[str, Any] = {"geography": {"city": str(city)}}
    with daemons(short, valkey_server.url, "a", extra=extra) as (a,):
        assert build_of(a) == 1_700_000_000
        put(Path(second.city), city)
        eventually(lambda: build_of(a), lambda built: built == 1_800_000_000)
        city.write_bytes(city.read_bytes()[:200])
        eventually(lambda: a.lines("reload-refused"), bool)
        assert build_of(a) == 1_800_000_000
        assert a.is_ready()


def test_a_network_segment_of_a_changed_file_marks_sessions_that_are_in_it(
    short: Path, valkey_server: Server
) -> None:
    cidrs = short / "restricted.txt"
    cidrs.write_text("10.9.0.0/16\n")
    extra = {"networks": [{"name": "restricted", "cidr_file": str(cidrs)}]}
    with (
        daemons(short, valkey_server.url, "a", extra=extra) as (a,),
        Client(str(a.socket)) as client,
    ):
        weak = token(unique("user"), unique("session"))
        assert client.check(weak, ip="192.0.2.1")["decision"] == "allow"
        cidrs.write_text("10.9.0.0/16\n192.0.2.0/24\n")
        eventually(
            lambda: client.check(weak, ip="192.0.2.1")["decision"],
            lambda found: found == "step_up",
        )


def test_a_key_set_file_that_changed_brings_new_keys_and_takes_the_old_away(
    short: Path, valkey_server: Server
) -> None:
    with (
        daemons(short, valkey_server.url, "a") as (a,),
        Client(str(a.socket)) as client,
    ):
        old = token(unique("user"), unique("session"))
        assert client.check(old)["decision"] == "allow"
        other = Signer("RS256", kid="next")
        (short / "jwks.json").write_bytes(key_set(other))
        eventually(lambda: client.check(old).get("error"), lambda one: one == "invalid_token")
        again = _signed_by(other)
        assert client.check(again)["decision"] == "allow"


def _signed_by(signer: Signer) -> str:
    issued = int(now())
    return signer.token(
        iss=ISSUER,
        aud="payroll",
        sub=unique("user"),
        sid=unique("session"),
        iat=issued,
        exp=issued + 600,
        auth_time=issued - 5,
        acr="single-factor",
        amr=None,
    )
