"""What live sessions and verified tokens cost a sidecar in memory.

Usage: python -m benchmarks.memory [SESSIONS] [LIMIT]

One daemon, a process of its own, on a store beside it. Each of SESSIONS (20,000) users on a device
of their own makes one call; the table has the resident memory after each part of them. LIMIT (such
as 256MiB) is `memory.limit` of the daemon: how much of a container it may fill.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.scaling import ISSUER, POLICIES, ask, ready  # noqa: E402 - run as a file, too
from sidecar.adapters import clock  # noqa: E402
from sidecar.adapters.redis_server.embedded import EmbeddedStore  # noqa: E402

SESSIONS = 20_000
PARTS = 10
NOTHING: Mapping[str, Any] = {}


def resident(process: int) -> int:
    """Bytes of memory that a process holds (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024


def check(key: Any, n: int, groups: int = 0) -> dict[str, Any]:
    """A first check of the n-th session, whose token has so many groups."""
    issued = int(clock.now())
    ids = [f"00000000-0000-4000-8000-{n:08x}{group:04x}" for group in range(groups)]
    claims = {
        "iss": ISSUER, "aud": "payroll", "azp": "payroll", "sub": f"user-{n}",
        "sid": f"session-{n}", "deviceid": f"device-{n}", "iat": issued, "exp": issued + 3600,
        "auth_time": issued - 60, "acr": "single-factor", "groups": ids,
    }  # fmt: skip
    token = jwt.encode(claims, key, "ES256", {"kid": "k"})
    return {"op": "check", "token": token, "context": "c1", "ip": f"192.0.2.{n % 250}"}


def configure(directory: Path, key: Any, url: str, limit: str, more: Mapping[str, Any]) -> Path:
    """Write a daemon's files; gives its configuration."""
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    (directory / "jwks.json").write_text(json.dumps({"keys": [{**jwk, "kid": "k"}]}))
    (directory / "policies").mkdir()
    (directory / "policies" / "one.yaml").write_text(POLICIES)
    config = directory / "a.yaml"
    config.write_text(
        json.dumps(
            {
                "app": {"id": "payroll"},
                "socket": {"path": str(directory / "a.sock")},
                "http": {"enabled": False},
                "admin": {"bind": "127.0.0.1:0"},
                "store": {"url": url},
                "contexts": {"c1": {"name": "Payments"}},
                "networks": [{"name": "restricted", "cidrs": ["198.51.100.0/24"]}],
                "tokens": {
                    "issuers": [
                        {
                            "issuer": ISSUER,
                            "audiences": ["payroll"],
                            "jwks_file": str(directory / "jwks.json"),
                        }
                    ]
                },
                "policies": {"path": str(directory / "policies")},
                **({"memory": {"limit": limit}} if limit else {}),
                **more,
            }
        )
    )
    return config


async def weigh(
    sessions: int, limit: str, groups: int = 0, more: Mapping[str, Any] = NOTHING
) -> list[tuple[int, int]]:
    """Run a daemon, and give its resident bytes after each number of sessions."""
    key = ec.generate_private_key(ec.SECP256R1())
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as name:
        directory = Path(name)
        async with trio.open_nursery() as nursery:
            url = await nursery.start(EmbeddedStore().run)
            config = configure(directory, key, url, limit, more)
            with (directory / "log").open("wb") as log:
                daemon = await trio.lowlevel.open_process(
                    [sys.executable, "-m", "sidecar", "run", "--config", str(config)], stderr=log
                )
            try:
                await ready(config.with_suffix(".sock"))
                async with await trio.open_unix_socket(str(config.with_suffix(".sock"))) as link:
                    found = [(0, resident(daemon.pid))]
                    for part in range(PARTS):
                        numbers = range(part * sessions // PARTS, (part + 1) * sessions // PARTS)
                        await ask(link, [check(key, n, groups) for n in numbers])
                        found.append((numbers.stop, resident(daemon.pid)))
                return found
            finally:
                daemon.terminate()
                await daemon.wait()
                nursery.cancel_scope.cancel()


def main() -> None:
    """Measure, and print."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    limit = sys.argv[2] if len(sys.argv) > 2 else ""
    for title, groups in (("ordinary tokens", 0), ("tokens with 150 groups", 150)):
        found = trio.run(weigh, sessions, limit, groups)
        table = Table("sessions", "resident MiB", "bytes a session", title=title)
        for column in table.columns:
            column.justify = "right"
        _, empty = found[0]
        for count, held in found:
            each = f"{(held - empty) / count:,.0f}" if count else ""
            table.add_row(f"{count:,}", f"{held / 2**20:,.0f}", each)
        Console().print(table)


if __name__ == "__main__":
    main()
