"""`sidecar transmit` as processes: one is killed, keys are rotated, nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import redis

from sidecar.adapters.redis.links import call
from sidecar.adapters.redis_server.rights import least_rights, needs_of
from sidecar.wire.settings.settings import StoreSettings
from tests import plain_http
from tests.adapters.recipients import Recipient, key_file, pem, receiving, secret_file, verified
from tests.adapters.servers import Server, free_ports
from tests.system.processes import daemons
from tests.waiting import eventually

ISSUER = "https://t.example"
AUDIENCE = "https://r.example"
CREDENTIAL = "the-credential-of-iga"
LEADING = "sidecar_transmitter_delivering 1.0"


class Transmitter:
    """One `sidecar transmit`."""

    def __init__(self, directory: Path, name: str, store: str, settings: dict[str, Any]) -> None:
        bind, admin = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.url, self.admin = f"http://{bind}", f"http://{admin}"
        self.log = directory / f"{name}.log"
        config = directory / f"{name}.yaml"
        config.write_text(
            json.dumps(
                {
                    "store": {"url": store},
                    "admin": {"bind": admin},
                    "transmitter": {**settings, "bind": bind},
                }
            )
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidecar", "transmit", "--config", str(config)],
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return plain_http.get(f"{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def says(self) -> str:
        return plain_http.get(f"{self.admin}/readyz").text

    def leads(self) -> bool:
        return LEADING in plain_http.get(f"{self.admin}/metrics").text

    def key_set(self) -> dict[str, Any]:
        keys: dict[str, Any] = plain_http.get(f"{self.url}/jwks.json").json()
        return keys


def settings(directory: Path, push_to: str, **more: Any) -> dict[str, Any]:
    return {
        "issuer": ISSUER,
        "key_files": [key_file(directory)],
        "push": {"retry_base": 0.05, "retry_cap": 0.2},
        "recipients": [
            {
                "name": "iga",
                "audience": [AUDIENCE],
                "credentials_file": secret_file(directory, CREDENTIAL),
                "stream": {"push_to": push_to},
            }
        ],
        **more,
    }


@contextmanager
def transmitters(
    directory: Path, store: str, wanted: dict[str, Any], *names: str
) -> Iterator[list[Transmitter]]:
    with ExitStack() as stack:
        running = []
        for name in names:
            one = Transmitter(directory, name, store, wanted)
            stack.callback(one.process.wait)
            stack.callback(one.process.kill)
            running.append(one)
        for one in running:
            eventually(one.answers, bool, within=20)
        yield running


def sessions_of(recipient: Recipient) -> list[str]:
    """The sessions that are over, in the order of the first news of each."""
    seen = [
        one["sub_id"]["session"]["id"]
        for one in recipient.claims
        if any(uri.endswith("session-revoked") for uri in one["events"])
    ]
    return list(dict.fromkeys(seen))


def test_the_leader_is_killed_and_another_delivers_the_rest(
    valkey_url: str, valkey: redis.Redis, tmp_path: Path
) -> None:
    with receiving() as recipient, ExitStack() as stack:
        wanted = settings(tmp_path, recipient.url)
        both = stack.enter_context(transmitters(tmp_path, valkey_url, wanted, "one", "two"))
        recording = {"transmitter": {**wanted, "deliver": False}}
        (daemon,) = stack.enter_context(daemons(tmp_path, valkey_url, "pod", extra=recording))
        eventually(lambda: valkey.hlen("su:{transmitter}:streams"), bool)
        (leader,) = eventually(lambda: [one for one in both if one.leads()], lambda n: len(n) == 1)
        (heir,) = (one for one in both if one is not leader)
        heard: list[str] = []
        with httpx.Client(
            transport=httpx.HTTPTransport(
                uds=str(daemon.config.parent / "pod.http"), verify=plain_http.NO_CERTIFICATES
            )
        ) as pod:
            for number in range(60):
                heard.append(f"s{number}")
                events = [
                    {
                        "type": "session-established",
                        "subject": {"user": f"u{number}", "session": f"s{number}"},
                        "data": {"ip": "192.0.2.1"},
                    },
                    {"type": "session-revoked", "subject": {"session": f"s{number}"}},
                ]
                for event in events:
                    pod.post("http://pod/v1/events", json=event).raise_for_status()
                if number == 30:
                    eventually(lambda: sessions_of(recipient), bool)
                    leader.process.send_signal(signal.SIGKILL)
        eventually(lambda: set(sessions_of(recipient)), lambda s: s == set(heard), within=40)
        assert heir.leads()
        eventually(lambda: valkey.zcard("su:{transmitter}:order:iga"), lambda n: n == 0)
        by_id = {one["jti"]: one["sub_id"]["session"]["id"] for one in recipient.claims}
        assert len(by_id) == len(heard), "each under one jti, however often it came"
        for one in recipient.tokens:
            verified(one, heir.key_set(), AUDIENCE, ISSUER)


def test_a_key_is_rotated_under_load_and_every_token_can_be_verified(
    valkey_url: str, tmp_path: Path
) -> None:
    with receiving() as recipient, ExitStack() as stack:
        wanted = settings(tmp_path, recipient.url, key_lead=0.5, min_verification_interval=0)
        (one,) = stack.enter_context(transmitters(tmp_path, valkey_url, wanted, "one"))
        old = {key["kid"] for key in one.key_set()["keys"]}
        bearer = {"Authorization": f"Bearer {CREDENTIAL}"}
        eventually(
            lambda: (
                plain_http.get(f"{one.url}/ssf/status?stream_id=iga", headers=bearer).status_code
            ),
            lambda status: status == 200,
        )
        published: list[dict[str, Any]] = []
        asked_at: list[float] = []

        def ask() -> set[str]:
            asked_at.append(time.monotonic())
            published.append(one.key_set())
            asked = {"stream_id": "iga", "state": str(len(published))}
            plain_http.post(f"{one.url}/ssf/verify", headers=bearer, json=asked).raise_for_status()
            return {jwt.get_unverified_header(token)["kid"] for token in recipient.tokens}

        eventually(ask, bool)
        Path(wanted["key_files"][0]).write_bytes(pem("RS256", 0))
        signers = eventually(ask, lambda kids: len(kids) == 2, within=20)
        signed_by = time.monotonic()
        eventually(lambda: len(recipient.posts), lambda n: n == len(published))
        assert old < signers
        (new,) = signers - old
        names = [{key["kid"] for key in keys["keys"]} for keys in published]
        first = next(index for index, kids in enumerate(names) if new in kids)
        # It may have been published as soon as it was last seen to be missing.
        lead = signed_by - asked_at[first - 1]
        assert lead >= wanted["key_lead"], "it was published long enough before it signed"
        for token in recipient.tokens:
            (event,) = verified(token, published[-1], AUDIENCE, ISSUER)["events"].values()
            kid = jwt.get_unverified_header(token)["kid"]
            assert kid in names[int(event["state"]) - 1], "whoever asked just before knows its key"
        assert all(old <= kids for kids in names), "and the old one stays"


def test_a_daemon_takes_up_a_changed_key_and_refuses_a_broken_one(
    valkey_url: str, tmp_path: Path
) -> None:
    bind = f"127.0.0.1:{free_ports(1)[0]}"
    wanted = settings(tmp_path, "http://127.0.0.1:9/", bind=bind)
    key = Path(wanted["key_files"][0])
    with daemons(tmp_path, valkey_url, "pod", extra={"transmitter": wanted}) as (daemon,):

        def keys() -> int:
            return len(plain_http.get(f"http://{bind}/jwks.json").json()["keys"])

        assert keys() == 1
        key.write_bytes(pem("EdDSA", 0))
        eventually(keys, lambda count: count == 2)
        key.write_text("half a ke")
        eventually(lambda: daemon.lines("reload-refused"), bool)
        assert {line["what"] for line in daemon.lines("reload-refused")} <= {
            "transmitter",
            "config",
        }
        assert keys() == 2


def test_what_is_wrong_is_reported_and_ends_with_status_2(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.yaml"
    config.write_text("transmitter: {issuer: 'https://t.example', key_files: [absent.pem]}\n")
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "transmit", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "transmitter.key_files[0]: " in done.stderr
    assert "store.url: is required" in done.stderr


def test_a_store_that_refuses_it_is_down_by_name_until_it_takes_its_writes_again(
    valkey_server: Server, valkey: redis.Redis, tmp_path: Path
) -> None:
    rights = least_rights(needs_of(StoreSettings(), transmits=True, hears=False))
    call(valkey, "ACL", "SETUSER", "transmit", "on", ">s3cret", *rights)
    url = f"unix://transmit:s3cret@{valkey_server.path}"
    with transmitters(tmp_path, url, settings(tmp_path, "http://127.0.0.1:1"), "one") as (one,):
        for refuse, words, relent in (
            (("ACL", "SETUSER", "transmit", "-xadd"), "lacks the right +xadd", "+xadd"),
            (("CONFIG", "SET", "maxmemory", "1"), "used memory > 'maxmemory'", "0"),
        ):
            call(valkey, *refuse)
            eventually(lambda words=words: words in one.says(), bool)
            assert words in one.log.read_text()
            assert not one.answers()
            call(valkey, *refuse[:-1], relent)
            eventually(one.answers, bool)
