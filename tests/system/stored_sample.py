"""A store as this release writes it, kept in a file: `python -m tests.system.stored_sample`.

A daemon writes it through its own doors, by a clock in 2040: what it keeps then has not expired,
whenever it is read again. Only what outlives a release is kept: records of users, sessions and
devices, indexes and histories.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sidecar
from tests.adapters.servers import Server, free_ports, serving
from tests.stories.running import CREDENTIAL, ISSUER, SIGNER, Client
from tests.system.processes import Process, daemons
from tests.system.releases import running_at
from tests.waiting import eventually

WRITTEN_AT = 2_208_988_800.0
"""1 January 2040, in seconds since the epoch."""
READ_AT = WRITTEN_AT + 600
SAMPLES = Path(__file__).with_name("stored")
POLICIES = """\
policies:
  - id: risky
    state: enabled
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: medium}}
    grant: mfa
  - id: managed
    state: enabled
    contexts: {include: [c1]}
    conditions: {device: {compliant: false}}
    grant: mfa
"""


def shown(user: str, *, session: str = "", acr: str = "single-factor", device: str = "") -> str:
    """A token of a sign-in a minute before the sample was written."""
    signed_in = int(WRITTEN_AT) - 60
    named: dict[str, Any] = {"deviceid": device} if device else {}
    return SIGNER.token(
        iss=ISSUER,
        aud="payroll",
        sub=user,
        sid=session or f"{user}-1",
        iat=signed_in,
        exp=signed_in + 7200,
        auth_time=signed_in,
        acr=acr,
        **named,
    )


@contextmanager
def daemon_at(moment: float, store: Server) -> Iterator[tuple[Process, Client]]:
    """A daemon whose clock begins at that moment, and a client of it."""
    with tempfile.TemporaryDirectory(prefix="stored-") as name:
        directory = Path(name)
        (directory / "credential").write_text(CREDENTIAL)
        source: dict[str, Any] = {
            "name": "idp",
            "token_file": str(directory / "credential"),
            "may": [
                *("risk-level-change", "session-revoked", "risk-signal"),
                "device-compliance-change",
            ],
            "may_identify": True,
        }
        admin: dict[str, Any] = {"bind": f"127.0.0.1:{free_ports(1)[0]}", "token": "operator"}
        extra: dict[str, Any] = {"sources": [source], "admin": admin}
        with (
            daemons(
                directory,
                store.url,
                "one",
                extra=extra,
                policies=POLICIES,
                within=running_at(moment),
            ) as (process,),
            Client(str(process.socket)) as client,
        ):
            yield process, client


def _write(client: Client, process: Process) -> None:
    """What the sample says: who is marked, ended, allowed, and of whom nothing was known yet."""

    def says(type: str, subject: Mapping[str, str], **data: Any) -> None:  # noqa: A002
        reply = client.trusted(type, {**subject, "issuer": ISSUER}, data=data)
        assert reply["ok"], reply

    for user in ("ada", "bob", "kim"):
        assert client.check(shown(user))["decision"] == "allow"
    assert client.check(shown("dan", device="laptop"))["decision"] == "allow"
    assert client.check(shown("ann", acr="mfa"), ip="203.0.113.9")["decision"] == "allow"
    says("risk-level-change", {"user": "ada"}, current_level="HIGH")
    says("session-revoked", {"session": "bob-1"})
    says("session-revoked", {"session": "early-1"})
    says("risk-signal", {"user": "kim"}, name="odd-hours")
    says("device-compliance-change", {"device": "laptop"}, current_status="not-compliant")
    eventually(lambda: client.check(shown("ada"))["decision"], lambda said: said == "step_up")
    eventually(lambda: len(process.lines("session-marked")), lambda count: count >= 2)


def dump(store: Any) -> dict[str, Any]:
    """All that outlives a release, by key: a hash's fields, or an index's members.

    `store` is a client of redis-py, whose types do not say what a server answers.
    """
    kept: dict[str, Any] = {}
    for key in sorted(store.scan_iter(match="su:{[uds]*")):
        if key.startswith(b"su:{sidecars}"):
            continue
        text = key.decode()
        if store.type(key) == b"hash":
            fields = sorted(store.hgetall(key).items())
            kept[text] = {"fields": {name.hex(): value.hex() for name, value in fields}}
        else:
            members = store.zrange(key, 0, -1, withscores=True)
            kept[text] = {"members": {member.hex(): score for member, score in members}}
    return kept


def restore(store: Any, kept: Mapping[str, Any]) -> None:
    """Put into a store what was kept of another."""
    for key, value in kept.items():
        if "fields" in value:
            fields = {bytes.fromhex(f): bytes.fromhex(v) for f, v in value["fields"].items()}
            store.hset(key, mapping=fields)
        else:
            store.zadd(key, {bytes.fromhex(m): score for m, score in value["members"].items()})
        store.expireat(key, int(WRITTEN_AT) + 30 * 86400)


def main() -> None:
    """Write the sample of this release, beside those of others."""
    with serving() as store, daemon_at(WRITTEN_AT, store) as (process, client):
        _write(client, process)
        assert process.end() == 0
        kept = dump(store.client())
    SAMPLES.mkdir(exist_ok=True)
    file = SAMPLES / f"{sidecar.__version__}.json"
    file.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
