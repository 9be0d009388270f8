"""The real gateways, each run as deploy/gateways configures it, but for addresses and paths."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from sidecar.wire import starter
from tests.adapters.servers import free_ports

CONFIGURATIONS = Path(__file__).parents[3] / "deploy" / "gateways"
START = 20.0


class Ports(NamedTuple):
    """Where everything is."""

    gateway: int
    app: int
    http: int
    grpc: int

    def fit(self, text: str) -> str:
        """A shipped configuration with these addresses in it."""
        return starter.StarterAddresses(self.gateway, self.app, self.http, self.grpc).fit(text)


def shipped(name: str, ports: Ports, directory: Path, paths: Mapping[str, str]) -> None:
    """Write a gateway's configuration files into a directory."""
    for file in (CONFIGURATIONS / name).iterdir():
        if file.suffix == ".md":
            continue
        text = ports.fit(file.read_text())
        for path, here in paths.items():
            text = text.replace(path, here)
        (directory / file.name).write_text(text)


def program(name: str) -> str | None:
    """Where a program is: beside this Python (PyPI), or of the system (Debian)."""
    here = Path(sys.executable).parent / name
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return str(here) if here.exists() else shutil.which(name, path=places)


def nginx(directory: Path, ports: Ports, user: str = "") -> list[str]:
    shipped("nginx", ports, directory, {})
    user = user or ("root" if os.geteuid() == 0 else "")
    (directory / "nginx.conf").write_text(
        f"{f'user {user};' if user else ''} daemon off; pid nginx.pid; error_log error.log;"
        "worker_processes 1; events {} http { access_log off;"
        + "".join(
            f"{kind}_temp_path {kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + "include sidecar.conf; }\n"
    )
    return ["-p", str(directory), "-e", "error.log", "-c", "nginx.conf"]


def caddy(directory: Path, ports: Ports) -> list[str]:
    shipped("caddy", ports, directory, {})
    return ["run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]


def haproxy(directory: Path, ports: Ports) -> list[str]:
    # An abstract socket's name is the machine's: one for each gateway that runs at a time.
    paths = {
        "/etc/haproxy/": f"{directory}/",
        "abns@stepup-sidecar": f"abns@stepup-sidecar-{ports.gateway}",
    }
    shipped("haproxy", ports, directory, paths)
    return ["-db", "-f", str(directory / "haproxy.cfg")]


def apache(directory: Path, ports: Ports) -> list[str]:
    shipped("apache", ports, directory, {"/etc/apache2/": f"{directory}/"})
    modules = Path("/usr/lib/apache2/modules")
    wanted = ("mpm_event", "authz_core", "headers", "lua", "proxy", "proxy_http", "setenvif")
    (directory / "apache2.conf").write_text(
        f"ServerRoot {directory}\nServerName localhost\nPidFile apache2.pid\nErrorLog error.log\n"
        + "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in wanted)
        + ("User www-data\nGroup www-data\n" if os.geteuid() == 0 else "")
        + "StartServers 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nInclude sidecar.conf\n"
    )
    return ["-f", str(directory / "apache2.conf"), "-DFOREGROUND"]


def envoy(directory: Path, ports: Ports, name: str = "envoy") -> list[str]:
    shipped(name, ports, directory, {})
    limits = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    return ["-c", str(directory / "envoy.yaml"), *limits]


def envoy_grpc(directory: Path, ports: Ports) -> list[str]:
    return envoy(directory, ports, "envoy-grpc")


def traefik(directory: Path, ports: Ports) -> list[str]:
    (between,) = free_ports(1)
    paths = {"/etc/traefik/": f"{directory}/", ":8183": f":{between}"}
    shipped("traefik", ports, directory, paths)
    return [f"--configFile={directory / 'traefik.yml'}"]


class Gateway(NamedTuple):
    """How a gateway is run, and with which `http.gateway` its sidecar."""

    program: str
    arguments: Callable[[Path, Ports], list[str]]
    setting: str
    needs: str = ""
    opens_early: bool = False
    """Whether it answers 404 until it has read its routes."""

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return program(self.program) is not None and (not self.needs or Path(self.needs).exists())


GATEWAYS: dict[str, Gateway] = {
    "nginx": Gateway("nginx", nginx, "nginx"),
    "caddy": Gateway("caddy", caddy, "caddy"),
    "haproxy": Gateway("haproxy", haproxy, "haproxy"),
    "apache": Gateway("apache2", apache, "apache", "/usr/share/lua/5.3/socket.lua"),
    "envoy": Gateway("envoy", envoy, "envoy"),
    "envoy-grpc": Gateway("envoy", envoy_grpc, "none"),
    "traefik": Gateway("traefik", traefik, "traefik", opens_early=True),
}


@contextmanager
def running(
    name: str, directory: Path, ports: Ports, arguments: list[str] | None = None
) -> Iterator[None]:
    """A gateway that listens on its port; killed at the end, with its workers."""
    gateway = GATEWAYS[name]
    command = [
        program(gateway.program) or "",
        *(arguments or gateway.arguments(directory, ports)),
    ]
    log = directory / "output.log"
    home = {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "TMPDIR": str(directory)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env={**os.environ, **home},
            start_new_session=True,
        )
    try:
        _await(ports.gateway, process, directory, opens_early=gateway.opens_early)
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _await(
    port: int, process: subprocess.Popen[bytes], directory: Path, *, opens_early: bool
) -> None:
    end = monotonic() + START
    while True:
        logs = "\n".join(log.read_text(errors="replace") for log in directory.glob("*.log"))
        assert process.poll() is None, logs
        assert monotonic() < end, logs
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                if not opens_early:
                    return
                probe.sendall(b"GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n")
                if b" 404 " not in probe.recv(64):
                    return
        sleep(0.02)  # the pace of trying
