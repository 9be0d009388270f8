"""A daemon imports what its listeners need, and no library that serves others or commands."""

import json
import subprocess
import sys

import pytest

NEVER = frozenset({"click", "jinja2", "pygments", "rich"})
"""What only commands and reports use."""

OWN = frozenset(
    {"cli", "demo", "entra", "tuning", "adapters.grpc", "adapters.probes", "wire.diagnosis"}
    | {"adapters.console", "service.console", "wire.console"}
)
"""Our own rooms that a daemon without a gRPC listener has no use for, until somebody asks."""

LATER = frozenset(
    {
        "asyncio.base_events",
        "email",
        "http.server",
        "httpcore",
        "httpx._client",
        "jwt.jwks_client",
        "maxminddb.reader",
        "multiprocessing.context",
        "redis.cluster",
        "redis.multidb",
        "structlog.dev",
        "watchfiles.main",
        "zoneinfo._tzpath",
    }
)
"""What libraries would bring with them, and only some configurations need."""

SERVERS = frozenset({"anyio", "h11", "h2", "hpack", "hypercorn", "starlette", "wsproto"})
"""What serves the admin listener alone, once gRPC is not asked for."""


def imported(code: str) -> frozenset[str]:
    """The modules and packages that a fresh interpreter has after some code."""
    listing = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", f"{code}; {listing}"]
    return frozenset(json.loads(subprocess.check_output(command)))


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import sidecar.daemon.process", NEVER | SERVERS | LATER),
        (
            "import sidecar.daemon.process, sidecar.adapters.admin.listener",
            NEVER | {"asyncio.base_events"},
        ),
    ],
    ids=["with a socket alone", "with metrics, too"],
)
def test_a_daemon_imports_nothing_that_its_listeners_do_not_need(
    code: str, unwanted: frozenset[str]
) -> None:
    modules = imported(code)
    assert not modules & {*unwanted, *(f"sidecar.{room}" for room in OWN)}


def test_what_was_left_out_can_be_imported_later() -> None:
    modules = imported("import sidecar.daemon.process, rich.console, click")
    assert {"rich.console", "click"} <= modules
