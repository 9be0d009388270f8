"""Real servers for tests, each a child process that ends with the tests."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

import redis

from sidecar.adapters.redis_server.embedded import server_arguments, server_binary
from sidecar.adapters.redis_server.rights import least_rights, needs_of
from sidecar.wire.settings.settings import StoreSettings

USER, PASSWORD = "sidecar", "s3cret"
RIGHTS = least_rights(
    [
        *needs_of(StoreSettings(wait_replicas=1), transmits=True),
        *needs_of(StoreSettings(wait_aof=True)),
    ]
)
"""What the documents say that a daemon needs at most on one server."""


class Server:
    """A Valkey server on a unix socket, and on a TCP port if one is given.

    Besides the default user it has one with just the documented rights: `USER`.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        config: str = "",
    ) -> None:
        self.path = directory / "valkey.sock"
        self.port = port
        self.url = f"unix://{self.path}"
        file = directory / "server.conf"
        # A sentinel knows few commands, and none of those that such a user may run.
        user = "" if "--sentinel" in options else f"user {USER} on >{PASSWORD} {' '.join(RIGHTS)}\n"
        file.write_text(user + config)
        self._command = [str(server_binary()), str(file), *server_arguments(directory, self.path)]
        self._command += ["--port", str(port), "--bind", "127.0.0.1", *options]
        self._env = {**os.environ, **(env or {})}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(500):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self.process.returncode}")
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.path)) == 0:
                    return
            time.sleep(0.02)  # the pace of trying
        raise RuntimeError("the server does not start")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stopped in its tracks, connections open: what a dead node looks like."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), protocol=2)


@contextmanager
def serving(
    *options: str, port: int = 0, env: Mapping[str, str] | None = None, config: str = ""
) -> Iterator[Server]:
    """A server with a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="sidecar-test-") as directory:
        server = Server(Path(directory), *options, port=port, env=env, config=config)
        try:
            yield server
        finally:
            server.stop()


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_PORTS = cycle(range(16_000 + 2_000 * _WORKER, 18_000 + 2_000 * _WORKER))
"""Of each process that runs tests its own, and none that the kernel gives to outgoing connections:
what is free here stays so until the server is there that it is for."""
for _ in range(os.getpid() % 2_000):
    next(_PORTS)


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on just now."""
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
    return found


def impatient(url: str, **other: object) -> StoreSettings:
    """Settings for tests in which something fails: short time-outs, quick retries."""
    defaults = {"timeout": 0.3, "connect_timeout": 0.3, "retry_base": 0.01, "retry_cap": 0.05}
    return StoreSettings(url=url, **{**defaults, **other})  # type: ignore[arg-type] # by name
