"""The servers that are our own against hypercorn's trio worker, with a trivial handler.

HTTP/1.1: requests a second, by `wrk` if that is installed, else by a small loop of its own. gRPC:
calls a second of Google's client on one connection, one after the other and 32 at a time, and how
many of them fail. Of both, the processor time that the server takes for one, which other load on
the machine changes least. See docs/decisions/0028.

With `--bounds`, the tests of our gRPC server are run against one on hypercorn's HTTP/2, and those
are listed that it does not pass; a few minutes.

Usage: python -m benchmarks.servers [SECONDS] [--bounds]
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONNECTIONS = 32
CALLS = 1500
"""Calls of a round, all on one connection."""
UNDER_WAY = (1, 32)
METHOD = "/envoy.service.auth.v3.Authorization/Check"
QUESTION, ANSWER = 1200, 600
"""Bytes, as many as Envoy sends of a call with a token, and what it is answered."""
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
    from sidecar.domain.evaluation.decision import Verdict  # noqa: PLC0415
    from sidecar.domain.facts.signal import Signal  # noqa: PLC0415
    from sidecar.service.checks.kept_answers import RepeatedAnswer  # noqa: PLC0415
    from sidecar.service.intake.outcomes import accept_each  # noqa: PLC0415
    from sidecar.service.ports.calls import Accepted, Answer, Call  # noqa: PLC0415
    from sidecar.wire.settings.settings import Gateway, Http, Settings  # noqa: PLC0415

    allowed = Answer(Verdict.ALLOW, 200, "s1", "u1", "mfa")

    class Services:
        def check_at_once(self, _call: Call) -> RepeatedAnswer:
            return RepeatedAnswer(allowed, "")

        def judge_at_once(self, _call: Call) -> Answer:
            return allowed

        async def gather(
            self,
            _calls: Iterable[Call],
            *,
            task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            task_status.started()

        async def check(self, _call: Call) -> Answer:
            return allowed

        async def accept_all(self, signals: Sequence[Signal]) -> list[Accepted | Exception]:
            return await accept_each(self.accept, signals)

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


def serve_grpc() -> None:
    from sidecar.adapters.grpc.server import LeanGrpcServer  # noqa: PLC0415 - only in the child

    _serve_grpc(LeanGrpcServer)


def serve_grpc_on_hypercorn() -> None:
    from benchmarks.hypercorn_grpc import HypercornGrpcServer  # noqa: PLC0415 - only in the child

    _serve_grpc(HypercornGrpcServer)


def _serve_grpc(server: Any) -> None:
    import trio  # noqa: PLC0415 - only in the child

    from sidecar.wire.settings.settings import Grpc  # noqa: PLC0415

    async def answer(_message: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return bytes(ANSWER)

    def ignore(_incident: object, _error: Exception | None) -> None:
        pass

    methods = {METHOD.encode(): answer}
    trio.run(_announced, server(methods, Grpc(bind="127.0.0.1:0"), on_incident=ignore).run)


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
    config.keep_alive_max_requests = sys.maxsize
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


HTTP_SERVERS = {
    "lean server": serve_lean,
    "data listener, a check": serve_listener,
    "hypercorn, ASGI": serve_hypercorn,
}
GRPC_SERVERS = {"gRPC, our server": serve_grpc, "gRPC, hypercorn": serve_grpc_on_hypercorn}
SERVERS = {**HTTP_SERVERS, **GRPC_SERVERS}


def load(address: str, seconds: int) -> tuple[float, str]:
    """Requests in a second, and what else there is to say."""
    wrk = shutil.which("wrk")
    if not wrk:
        return own_loop(address, seconds), "(own loop)"
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers]
    printed = subprocess.run(
        [*command, f"http://{address}/v1/check"], check=True, capture_output=True, text=True
    ).stdout
    words = {line.split()[0]: line.split()[-1] for line in printed.splitlines() if line.strip()}
    failed = " FAILED" if "Non-2xx" in printed else ""
    return float(words["Requests/sec:"]), f"p50 {words['50%']}, p99 {words['99%']}{failed}"


def own_loop(address: str, seconds: int) -> float:
    """A few threads that ask and wait for the answer."""
    host, _, port = address.rpartition(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    request = f"GET /v1/check HTTP/1.1\r\n{lines}\r\n".encode()
    counts: list[int] = []
    begun = time.monotonic()
    end = begun + seconds

    def ask() -> None:
        count = 0
        with socket.create_connection((host, int(port))) as connection:
            while time.monotonic() < end:
                connection.sendall(request)
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += (data := connection.recv(65536))
                    assert data, "the server hung up"
                count += 1
        counts.append(count)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


def call(address: str, seconds: int, under_way: int) -> tuple[float, str]:
    """Calls in a second on one connection, in rounds of `CALLS`, and how many of them failed."""
    import grpc  # type: ignore[import-untyped] # noqa: PLC0415 - of the tests, not of the daemon

    done = failed = 0
    begun = time.monotonic()
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(METHOD)
        places = threading.Semaphore(under_way)
        while done < 2 * CALLS or time.monotonic() < begun + seconds:
            answers = []
            for _ in range(CALLS):
                places.acquire()
                answer = check.future(bytes(QUESTION), timeout=30)
                answer.add_done_callback(lambda _: places.release())
                answers.append(answer)
            done += CALLS
            failed += sum(answer.exception() is not None for answer in answers)
        return done / (time.monotonic() - begun), f"{failed} of {done:,} calls failed"


def cpu_time(process: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    name: str, label: str, ask: Callable[[str, int], tuple[float, str]], seconds: int
) -> tuple[float, float]:
    """Print a line about a server; its requests a second, and the seconds one takes of it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.servers", "--serve", name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            ask(address, 1)  # warm
            before, begun = cpu_time(server.pid), time.monotonic()
            rate, said = ask(address, seconds)
            spent = (cpu_time(server.pid) - before) / (rate * (time.monotonic() - begun))
        finally:
            server.kill()
    print(f"{label:32}{rate:8,.0f} a second{spent * 1e6:8,.0f} us of its processor, {said}")
    return rate, spent


def compare(ours: tuple[float, float], theirs: tuple[float, float]) -> None:
    """Print how the second does beside the first."""
    rate, spent = (one / other for one, other in zip(theirs, ours, strict=True))
    print(f"{'':32}{rate:8.2f} of our rate, {spent:.2f} of our processor time")


SHORTER: dict[float, float] = {10: 5, 60: 20}
"""Seconds that the tests wait at most, and that they wait here."""


class Hypercorn:
    """Has pytest run the tests of our gRPC server against one on hypercorn's HTTP/2.

    What they wait for comes within milliseconds or not at all: they need no minute to fail.
    """

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Put the other server into the tests' place for ours."""
        import trio  # noqa: PLC0415 - of the tests

        from benchmarks.hypercorn_grpc import HypercornGrpcServer  # noqa: PLC0415

        patient = trio.fail_after
        vars(trio)["fail_after"] = lambda seconds: patient(SHORTER.get(seconds) or seconds)
        for item in items:
            vars(item.module)["LeanGrpcServer"] = HypercornGrpcServer


def bounds() -> None:
    """Print which tests of our gRPC server one on hypercorn's HTTP/2 does not pass."""
    import pytest  # noqa: PLC0415 - of the tests

    tests = str(ROOT / "tests" / "adapters" / "grpc" / "test_server.py")
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "-rf", "--tb=no"]
    pytest.main([*options, tests], plugins=[Hypercorn()])


def main() -> None:
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    seconds = numbers[0] if numbers else 3
    lean, _, hypercorn = (measure(name, name, load, seconds) for name in HTTP_SERVERS)
    compare(lean, hypercorn)
    for under_way in UNDER_WAY:

        def ask(address: str, seconds: int, at_a_time: int = under_way) -> tuple[float, str]:
            return call(address, seconds, at_a_time)

        ours, theirs = (
            measure(name, f"{name}, {under_way} at a time", ask, seconds) for name in GRPC_SERVERS
        )
        compare(ours, theirs)
    if "--bounds" in sys.argv:
        bounds()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        SERVERS[sys.argv[2]]()
    else:
        main()
