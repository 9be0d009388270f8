"""The lean server against hypercorn's trio worker, both with a trivial handler, on one core.

Loads each with `wrk` if that is installed, else with a small loop of its own.

Usage: python -m benchmarks.lean_http [SECONDS]
"""

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONNECTIONS = 32
HEADERS = {
    "Host": "app.example",
    "User-Agent": "bench",
    "Accept": "*/*",
    "Authorization": "Bearer " + "x" * 800,
    "X-Forwarded-Method": "GET",
    "X-Forwarded-Host": "app.example",
    "X-Forwarded-Uri": "/pay/7?x=1",
    "X-Forwarded-For": "203.0.113.9",
}


def serve_lean() -> None:
    import trio  # noqa: PLC0415 - only in the child

    from sidecar.adapters.http.server import LeanServer  # noqa: PLC0415
    from sidecar.wire.http.messages import Request, Response  # noqa: PLC0415
    from sidecar.wire.settings.settings import Http  # noqa: PLC0415

    async def handle(_request: Request) -> Response:
        return Response(200, (("X-Sidecar-Decision", "allow"),))

    trio.run(_announced, LeanServer(handle, Http(bind="127.0.0.1:0"), clock=time.time).run)  # noqa: TID251


def serve_listener() -> None:
    import trio  # noqa: PLC0415 - only in the child

    from sidecar.adapters.events.speakers import Speakers  # noqa: PLC0415
    from sidecar.adapters.http.data_listener import DataListener  # noqa: PLC0415
    from sidecar.domain.facts.signal import Signal  # noqa: PLC0415
    from sidecar.service.ports.calls import Accepted, Answer, Call, Verdict  # noqa: PLC0415
    from sidecar.wire.settings.settings import Gateway, Http, Settings  # noqa: PLC0415

    allowed = Answer(Verdict.ALLOW, 200, "s1", "u1", "mfa")

    class Services:
        async def check(self, _call: Call) -> Answer:
            return allowed

        async def accept(self, _signal: Signal) -> Accepted:
            return Accepted("e1")

    listener = DataListener(
        Http(bind="127.0.0.1:0", gateway=Gateway.TRAEFIK),
        checks=Services(),
        events=Services(),
        speakers=Speakers(Settings),
        clock=time.time,  # noqa: TID251 - what is measured is the server
        skew=lambda: 60.0,
        new_id=lambda: "e1",
    )
    trio.run(_announced, listener.run)


def serve_hypercorn() -> None:
    import trio  # noqa: PLC0415 - only in the child
    from hypercorn.config import Config  # noqa: PLC0415
    from hypercorn.trio import serve  # noqa: PLC0415

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"x-sidecar-decision", b"allow"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None

    async def run(*, task_status: Any) -> None:
        async def forever() -> None:
            await trio.sleep_forever()

        await serve(app, config, shutdown_trigger=forever, task_status=task_status)

    trio.run(_announced, run)


async def _announced(run: Callable[..., Awaitable[None]]) -> None:
    import trio  # noqa: PLC0415 - only in the child

    async with trio.open_nursery() as nursery:
        bound = await nursery.start(run)
        print(bound[0].removeprefix("http://"), flush=True)


SERVERS = {
    "lean server": serve_lean,
    "data listener, a check": serve_listener,
    "hypercorn, ASGI": serve_hypercorn,
}


def load(address: str, seconds: int) -> str:
    """Requests in a second, as text."""
    wrk = shutil.which("wrk")
    if not wrk:
        return f"{own_loop(address, seconds):8.0f} requests/s (own loop)"
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers]
    told = subprocess.run(
        [*command, f"http://{address}/v1/check"], check=True, capture_output=True, text=True
    ).stdout
    words = {line.split()[0]: line.split()[-1] for line in told.splitlines() if line.strip()}
    failed = "Non-2xx" in told
    return f"{words['Requests/sec:']:>10} requests/s, p50 {words['50%']}, p99 {words['99%']}" + (
        " FAILED" if failed else ""
    )


def own_loop(address: str, seconds: int) -> float:
    """A few threads that ask and wait for the answer."""
    host, _, port = address.rpartition(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    request = f"GET /v1/check HTTP/1.1\r\n{lines}\r\n".encode()
    counts: list[int] = []
    end = time.monotonic() + seconds

    def ask() -> None:
        count = 0
        with socket.create_connection((host, int(port))) as connection:
            while time.monotonic() < end:
                connection.sendall(request)
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += connection.recv(65536)
                count += 1
        counts.append(count)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for name in SERVERS:
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.lean_http", "--serve", name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().strip()
                print(f"{name:24} {load(address, seconds)}")
            finally:
                server.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        SERVERS[sys.argv[2]]()
    else:
        main()
