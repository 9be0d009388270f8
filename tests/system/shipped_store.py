"""The store of deploy/k8s/valkey as processes of this machine, by the files and scripts shipped.

Each pod has an address of the loopback network. What is changed in the copies is said in `_copied`.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import redis
import trustme

from sidecar.adapters.redis_server.embedded import server_binary
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.servers import free_ports
from tests.deploy.manifests import DEPLOY, rendered, the
from tests.waiting import eventually

REDIS, CLI = shutil.which("redis-server"), shutil.which("redis-cli")
SHIPPED = DEPLOY / "valkey"
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
PASSWORDS = {
    name: f"{name}-pa55w0rd" for name in ("sidecar", "replication", "watcher", "sentinels")
}
TLS = "/etc/valkey/tls.conf"
PATIENCE = {"sidecars 3000": "sidecars 500", "sidecars 15000": "sidecars 3000"}
"""Milliseconds until a server counts as away and for a failover: shorter here than as shipped."""


class Kind(NamedTuple):
    """A program that understands the files: Debian's Redis, or our Valkey, which has no TLS."""

    server: str
    tls: bool


def kinds() -> dict[str, Kind]:
    return {"redis over tls": Kind(REDIS or "", True), "valkey": Kind(str(server_binary()), False)}


class Pod:
    """A pod of the StatefulSet: a server and a sentinel, with files of their own."""

    def __init__(self, at: Path, host: str, kind: Kind, environment: Mapping[str, str]) -> None:
        self.at, self.host, self.kind = at, host, kind
        for name in ("config", "data", "run"):
            (at / name).mkdir(parents=True)
        given = {
            "POD": "pod",
            "HOST": host,
            "LOCAL": host,
            "DATA": str(at / "data"),
            "CONFIG": str(at / "config"),
            "RUN": str(at / "run"),
            "CLI_OPTIONS": f"--tls --cacert {at.parent}/tls/ca.crt" if kind.tls else "",
            **environment,
        }
        for container in the(rendered("valkey"), "StatefulSet", "valkey")["spec"]["template"][
            "spec"
        ]["containers"]:
            assert {one["name"] for one in container["env"]} == given.keys()
        path = f"{at.parent}/programs:{os.environ['PATH']}"
        self.environment = {**os.environ, **given, "PATH": path}
        for file in SHIPPED.iterdir():
            if file.suffix in {".acl", ".conf", ".sh"}:
                (at / "config" / file.name).write_text(self._copied(file))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def _copied(self, file: Path) -> str:
        """The file with this pod's places, address and ports; with TLS only if there is."""
        given, text = self.environment, file.read_text()
        if file.suffix == ".acl":
            return text
        if file.suffix == ".conf" and not self.kind.tls:
            for old, new in {"port 0\n": "", f"include {TLS}\n": "", "tls-port": "port"}.items():
                text = text.replace(old, new)
        if file.name in {"valkey.conf", "sentinel.conf"}:
            text += f"bind {self.host}\n"
        changed = {
            "/etc/valkey-tls/": f"{self.at.parent}/tls/",
            TLS: f"{self.at}/config/tls.conf",
            "dir /data": f"dir {self.at}/data",
            "aclfile /data": f"aclfile {self.at}/data",
            "/run/valkey/": f"{self.at}/run/",
            "port 6379": f"port {given['PORT']}",
            "port 26379": f"port {given['SENTINEL_PORT']}",
            **PATIENCE,
        }
        for old, new in changed.items():
            text = text.replace(old, new)
        return text

    def start(self) -> None:
        for role in ("server", "sentinel"):
            self.run(role)

    def run(self, role: str) -> None:
        with (self.at / f"{role}.log").open("ab") as log:
            self.running[role] = subprocess.Popen(
                ["sh", str(self.at / "config" / "start.sh"), role],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def signal(self, how: signal.Signals) -> None:
        for process in self.running.values():
            process.send_signal(how)

    def kill(self) -> None:
        """End both, as a node that is lost does."""
        self.signal(signal.SIGKILL)
        for process in self.running.values():
            process.wait()
        self.running.clear()

    def probe(self, *words: str) -> bool:
        """Whether a probe of the pod succeeds."""
        command = ["sh", str(self.at / "config" / "probe.sh"), *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return done.returncode == 0

    def is_ready(self) -> bool:
        return bool(self.running) and all(self.probe(role) for role in self.running)

    def log(self, role: str) -> str:
        return (self.at / f"{role}.log").read_text()


class ShippedStore:
    """Three pods, and what answers for them."""

    def __init__(self, directory: Path, kind: Kind) -> None:
        self.kind = kind
        self.directory = directory
        assert CLI is not None
        for name in ("tls", "programs", "passwords"):
            (directory / name).mkdir()
        for name, program in {"valkey-server": kind.server, "valkey-cli": CLI}.items():
            (directory / "programs" / name).symlink_to(program)
        for name, password in PASSWORDS.items():
            (directory / "passwords" / name).write_text(f"{password}\n")
        authority = trustme.CA()
        certificate = authority.issue_cert(*ADDRESSES)
        authority.cert_pem.write_to_path(str(directory / "tls" / "ca.crt"))
        certificate.cert_chain_pems[0].write_to_path(str(directory / "tls" / "tls.crt"))
        certificate.private_key_pem.write_to_path(str(directory / "tls" / "tls.key"))
        self.port, self.sentinel_port = free_ports(2)
        environment = {
            "FIRST": ADDRESSES[0],
            "PEERS": " ".join(ADDRESSES),
            "PORT": str(self.port),
            "SENTINEL_PORT": str(self.sentinel_port),
            "SECRETS": str(directory / "passwords"),
        }
        self.pods = [
            Pod(directory / f"pod-{number}", host, kind, environment)
            for number, host in enumerate(ADDRESSES)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods:
            pod.kill()

    def start(self) -> None:
        """Start what does not run, and wait until all probes succeed."""
        for pod in self.pods:
            if not pod.running:
                pod.start()
        for pod in self.pods:
            eventually(pod.is_ready, bool, within=60, every=0.1)

    def settings(self) -> StoreSettings:
        """What the overlay of the example pod says, of these addresses."""
        hosts = ",".join(f"{host}:{self.sentinel_port}" for host in ADDRESSES)
        return StoreSettings(
            url=f"redis{'s' if self.kind.tls else ''}+sentinel://{hosts}/sidecars",
            username="sidecar",
            password=PASSWORDS["sidecar"],
            sentinel_password=PASSWORDS["sentinels"],
            tls_ca_file=str(self.directory / "tls" / "ca.crt") if self.kind.tls else "",
            wait_replicas=1,
        )

    def asked(self, pod: Pod, *, user: str, password: str, sentinel: bool = False) -> redis.Redis:
        """A client of a pod's server, or of its sentinel."""
        return redis.Redis(
            pod.host,
            self.sentinel_port if sentinel else self.port,
            username=user,
            password=PASSWORDS[password],
            ssl=self.kind.tls,
            ssl_ca_certs=str(self.directory / "tls" / "ca.crt") if self.kind.tls else None,
            protocol=2,
        )

    def role(self, pod: Pod) -> str:
        """Which role a server has by its own word; empty: it does not answer."""
        try:
            with self.asked(pod, user="watcher", password="watcher") as client:
                return str(client.info("replication")["role"])
        except redis.ConnectionError:
            return ""

    def master(self) -> Pod:
        """The one master, once there is one."""

        def masters() -> list[Pod]:
            return [pod for pod in self.pods if self.role(pod) == "master"]

        (pod,) = eventually(masters, lambda found: len(found) == 1, within=60, every=0.1)
        assert isinstance(pod, Pod)
        return pod
