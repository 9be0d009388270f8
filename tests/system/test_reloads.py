"""Databases, prefixes and keys are taken up while the daemon serves; broken ones are refused."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.clock import now
from sidecar.demo.geography import build
from tests.adapters.identity import Signer, key_set
from tests.adapters.servers import Server
from tests.stories.running import ISSUER, Client, token, unique
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("r")


def build_of(process: Process) -> float:
    """When the database of cities was built that is in use; 0: there is none."""
    return level(process, 'sidecar_geo_database_build_timestamp_seconds{database="city"}')


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
        # Named otherwise, they are taken up likewise: also none, also from none.
        name_databases(a, city=str(first.city))
        eventually(lambda: build_of(a), lambda built: built == 1_700_000_000)
        eventually(
            lambda: a.lines("reload-applied"),
            lambda lines: lines and lines[-1]["keys"] == ["geography.city"],
        )
        refused = len(a.lines("reload-refused"))
        name_databases(a, city=str(short / "nowhere.mmdb"))
        eventually(lambda: a.lines("reload-refused"), lambda lines: len(lines) > refused)
        assert "geography.city" in a.lines("reload-refused")[-1]["detail"]
        assert build_of(a) == 1_700_000_000
        name_databases(a)
        eventually(
            lambda: level(a, "sidecar_geo_database_build_timestamp_seconds{"), lambda n: not n
        )
        name_databases(a, city=str(city.with_name("newer") / "city.mmdb"))
        eventually(lambda: build_of(a), lambda built: built == 1_800_000_000)
        assert level(a, "sidecar_restart_required ") == 0


def name_databases(process: Process, **named: str) -> None:
    heard = json.loads(process.config.read_text())
    heard["geography"] = named
    process.config.write_text(json.dumps(heard))


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


def test_policies_that_vanish_are_refused_and_those_before_stay(
    short: Path, valkey_server: Server
) -> None:
    extra = {"networks": [{"name": "restricted", "cidrs": ["192.0.2.0/24"]}]}
    file = short / "policies" / "one.yaml"
    aside = short / "one.aside"

    def dangle() -> None:
        file.unlink()
        file.symlink_to("..data/one.yaml")

    def shadow() -> None:
        file.unlink()
        file.mkdir()

    def restore() -> None:
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        shutil.copy(aside, aside.with_suffix(".new"))
        aside.with_suffix(".new").rename(file)

    with (
        daemons(short, valkey_server.url, "a", extra=extra) as (a,),
        Client(str(a.socket)) as client,
    ):
        shutil.copy(file, aside)
        session = unique("session")
        weak = token(unique("user"), session)
        assert client.check(weak, ip="192.0.2.1")["decision"] == "step_up"
        for vanish, heard in (
            (dangle, f"{file}:0: (file): cannot be read: No such file or directory"),
            (shadow, f"{file}:0: (file): cannot be read: Is a directory"),
            (file.unlink, "has no *.yaml file; where no policies are wanted, put `policies: []`"),
        ):
            vanish()
            eventually(
                lambda: "".join(line["detail"] for line in a.lines("reload-refused")),
                lambda found, heard=heard: heard in found,
            )
            assert level(a, "sidecar_config_last_reload_successful ") == 0
            assert level(a, 'sidecar_reloads_total{outcome="refused",what="config"}') > 0
            assert client.check(weak, ip="192.0.2.1")["decision"] == "step_up"
            restore()
            eventually(lambda: level(a, "sidecar_config_last_reload_successful "), bool)
        # Sessions that earlier tests left in the store may lose marks of their own policies.
        assert session not in [line["session"] for line in a.lines("mark-cleared")]
        # One of several files that goes takes its policies with it: the log names them.
        other = short / "policies" / "two.yaml"
        other.write_text(file.read_text().replace("restricted-segment", "another"))
        eventually(lambda: _applied(a), lambda heard: heard[-1:] == ["new: another"])
        other.unlink()
        eventually(lambda: _applied(a), lambda heard: heard[-1:] == ["gone: another"])
        file.write_text("policies: []\n")
        eventually(lambda: client.check(weak, ip="192.0.2.1")["decision"], lambda d: d == "allow")
        eventually(lambda: _applied(a), lambda heard: heard[-1:] == ["gone: restricted-segment"])


def test_a_pipe_in_the_place_of_the_configuration_is_refused_and_holds_up_nothing(
    short: Path, valkey_server: Server
) -> None:
    with daemons(short, valkey_server.url, "a") as (a,):
        heard = json.loads(a.config.read_text())
        a.config.unlink()
        os.mkfifo(a.config)
        eventually(lambda: a.lines("reload-refused"), bool)
        assert a.lines("reload-refused")[-1]["detail"].endswith("it is not a regular file")
        a.config.unlink()
        a.config.write_text(json.dumps({**heard, "contexts": {"c1": {"name": "Pay"}}}))
        eventually(lambda: a.lines("reload-applied"), lambda found: len(found) > 0)
        assert a.lines("reload-applied")[-1]["keys"] == ["contexts"]
        a.config.unlink()
        os.mkfifo(a.config)
        eventually(lambda: a.lines("reload-refused"), lambda found: len(found) > 1)
        assert a.end() == 0


def _applied(process: Process) -> list[str]:
    lines = process.lines("reload-applied")
    return [line["detail"] for line in lines if line["what"] == "policies"]


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
