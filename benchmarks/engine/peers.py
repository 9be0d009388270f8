"""Servers that stand beside ours: as little as can answer, and decision points of others.

Each is a process of its own. Where a program is not there, its column is left out.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.engine.stage import ROOT, free_port

PEERS = Path(os.environ.get("SIDECAR_BENCH_PEERS", ROOT / ".venv" / "bench-peers"))
CERBOS = PEERS / "node_modules" / "@cerbos" / "cerbos-linux-x64" / "cerbos-linux-x64"
ACCESS = json.dumps(
    {
        "subject": {"type": "user", "id": "user-1"},
        "action": {"name": "pay"},
        "resource": {"type": "account", "id": "7"},
    },
    separators=(",", ":"),
).encode()
POLICY = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: account
  version: default
  rules:
    - actions: ["*"]
      effect: EFFECT_ALLOW
      roles: ["*"]
"""


def serve_httptools(bind: str) -> None:
    """Answer each request with an empty 200, parsed by httptools, on trio's own sockets."""
    import httptools  # noqa: PLC0415 - only in the child
    import trio  # noqa: PLC0415

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    class Request:
        """Counts requests that have ended."""

        def __init__(self) -> None:
            self.ended = 0

        def on_message_complete(self) -> None:
            """Note one more."""
            self.ended += 1

    async def serve(stream: trio.SocketStream) -> None:
        request = Request()
        parser = httptools.HttpRequestParser(request)
        with suppress(trio.BrokenResourceError):  # the generator ends with requests under way
            async for data in stream:
                parser.feed_data(data)
                if request.ended:
                    await stream.send_all(answer * request.ended)
                    request.ended = 0

    async def main() -> None:
        if "/" in bind:
            listener = trio.socket.socket(trio.socket.AF_UNIX)
            await listener.bind(bind)
        else:
            listener = trio.socket.socket()
            listener.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            host, _, port = bind.rpartition(":")
            await listener.bind((host, int(port)))
        listener.listen(64)
        await trio.serve_listeners(serve, [trio.SocketListener(listener)])

    trio.run(main)


@contextmanager
def bare(bind: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the bare server at a path or `host:port`."""
    program = f"from benchmarks.engine.peers import serve_httptools; serve_httptools({bind!r})"
    with _running([sys.executable, "-c", program], bind) as process:
        yield process


@contextmanager
def echo(path: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the bare echo of lines, of trio and msgspec, at a path."""
    program = f"from benchmarks.sockets import serve_echo; serve_echo({path!r})"
    with _running([sys.executable, "-c", program], path) as process:
        yield process


@contextmanager
def nginx(directory: Path, bind: str) -> Iterator["subprocess.Popen[bytes] | None"]:
    """Run nginx that answers 204 at a path or `host:port`; None where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        yield None
        return
    home = directory / f"nginx-{len(bind)}"
    home.mkdir(exist_ok=True)
    listen = f"unix:{bind}" if "/" in bind else bind
    (home / "nginx.conf").write_text(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;"
        " events { worker_connections 512; }"
        " http { access_log off; keepalive_requests 1000000000; client_body_temp_path body;"
        " proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;"
        f" scgi_temp_path scgi; server {{ listen {listen}; location / {{ return 204; }} }} }}"
    )
    command = [program, "-p", str(home), "-c", "nginx.conf"]
    with _running(command, bind, cwd=home) as process:
        yield process


@contextmanager
def cerbos(directory: Path, bind: str) -> Iterator["subprocess.Popen[bytes] | None"]:
    """Run Cerbos, which speaks AuthZEN, at a path or `host:port`; None where it is not there."""
    if not CERBOS.exists():
        yield None
        return
    home = directory / f"cerbos-{len(bind)}"
    (home / "policies").mkdir(parents=True, exist_ok=True)
    (home / "policies" / "account.yaml").write_text(POLICY)
    listen = f"unix:{bind}" if "/" in bind else bind
    (home / "cerbos.yaml").write_text(
        json.dumps(
            {
                "server": {
                    "httpListenAddr": listen,
                    "grpcListenAddr": f"127.0.0.1:{free_port()}",
                },
                "storage": {"driver": "disk", "disk": {"directory": str(home / "policies")}},
                "telemetry": {"disabled": True},
                "audit": {"enabled": False},
            }
        )
    )
    CERBOS.chmod(0o755)
    command = [str(CERBOS), "server", "--log-level=error", f"--config={home / 'cerbos.yaml'}"]
    # What the generator leaves unanswered at its end is logged as an error.
    with _running(command, bind, cwd=home, errors=subprocess.DEVNULL) as process:
        yield process


@contextmanager
def _running(
    command: list[str], bind: str, cwd: Path = ROOT, errors: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, cwd=cwd, stderr=errors)
    try:
        until = time.monotonic() + 30
        while not _is_there(bind):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{command[0]} does not start")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _is_there(bind: str) -> bool:
    if "/" in bind:
        return Path(bind).exists()
    with suppress(OSError):
        urllib.request.urlopen(f"http://{bind}/", timeout=1).close()
        return True
    return False


def versions() -> dict[str, Any]:
    """Return which peers there are, and of what release."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - seldom asked

    found: dict[str, Any] = {}
    for name in ("cedarpy", "casbin", "regopy"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    manifest = CERBOS.with_name("package.json")
    if manifest.exists():
        found["cerbos"] = json.loads(manifest.read_text())["version"]
    return found
