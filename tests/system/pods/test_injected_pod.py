"""The pod that the label's patch makes, run under podman from the image that we ship.

Two pods behind nginx: each sample app asks its sidecar about every call. What a kubelet does and
podman does not is in `kubelet`.
"""

import json
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.redis_server.embedded import server_binary
from sidecar.wire.injection.additions import CONTAINER, ENABLED, LABEL
from tests.adapters.identity import key_set
from tests.adapters.servers import free_ports
from tests.deploy.completed_pods import by_webhook
from tests.deploy.manifests import DEPLOY
from tests.stories.running import ISSUER, SIGNER, token
from tests.system.pods.kubelet import DIRECT, PODMAN, Kubelet, podman
from tests.waiting import eventually

IMAGE = os.environ.get("SIDECAR_IMAGE", "localhost/stepup-sidecar:0.1.0")
APP_IMAGE = os.environ.get("SIDECAR_APP_IMAGE", "localhost/python:base")
PASSWORD = "the-password-of-the-store"
MEMORY = 128 << 20

pytestmark = [pytest.mark.long]


def missing() -> str:
    """Return what is not there to run it with; empty: all is."""
    programs = [name for name in ("podman", "runc", "nginx", "ip", "nsenter") if not _which(name)]
    if programs:
        return f"no {', '.join(programs)}"
    for image in (IMAGE, APP_IMAGE):
        words = [*PODMAN, "image", "exists", image]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            return f"podman has no image {image}: tools/make-image makes it"
    return "" if os.geteuid() == 0 else "needs root, for interfaces of pods"


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


CONFIG = {
    "app": {"id": "overridden"},
    "http": {"gateway": "none"},
    "tokens": {
        "issuers": [
            {"issuer": ISSUER, "audiences": ["payroll"], "jwks_file": "/etc/sidecar/jwks.json"}
        ]
    },
    "contexts": {"c1": {"name": "Change of pay"}, "c2": {"name": "Administration"}},
    "routes": [
        {"path": "/pay/**", "contexts": ["c1"]},
        {"path": "/admin/**", "contexts": ["c2"]},
    ],
    "networks": [{"name": "restricted", "cidrs": ["198.51.100.0/24"]}],
    "policies": {"path": "/elsewhere"},
    "warnings": {"accept": ["socket-open-to-all", "admin-credential-plain", "store-plain"]},
}


def objects(store: str) -> list[dict[str, Any]]:
    """Return what docs/kubernetes.md has made in the pod's namespace, and the app's code."""

    def one(kind: str, name: str, data: dict[str, str]) -> dict[str, Any]:
        if kind == "Secret":
            data = {key: b64encode(text.encode()).decode() for key, text in data.items()}
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data}

    keys = key_set(SIGNER).decode()
    policies = (DEPLOY / "base" / "policies" / "payroll.yaml").read_text()
    return [
        one("ConfigMap", "sidecar-config", {"sidecar.yaml": json.dumps(CONFIG), "jwks.json": keys}),
        one("ConfigMap", "sidecar-policies", {"payroll.yaml": policies}),
        one("Secret", "sidecar-store", {"url": store, "password": PASSWORD}),
        one("Secret", "sidecar-admin", {"token": "a-long-admin-credential-of-a-test"}),
        one("ConfigMap", "app", {"app.py": (DEPLOY / "base" / "app.py").read_text()}),
    ]


def pod(name: str) -> dict[str, Any]:
    """Return a pod of the sample app, as the webhook completes it."""
    nobody = {
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    app = {
        "name": "app",
        "image": APP_IMAGE,
        "command": ["python3", "-B", "/app/app.py"],
        "env": [{"name": "PATH", "value": "/usr/local/bin:/usr/bin:/bin"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
        "securityContext": nobody,
        "volumeMounts": [{"name": "app", "mountPath": "/app", "readOnly": True}],
    }
    labels = {"app.kubernetes.io/name": "payroll", LABEL: ENABLED}
    spec = {"containers": [app], "volumes": [{"name": "app", "configMap": {"name": "app"}}]}
    made = by_webhook({"metadata": {"name": name, "labels": labels}, "spec": spec}, IMAGE)
    return {"apiVersion": "v1", "kind": "Pod", **made}


class Gateway:
    """nginx before the pods: a call that one cannot take goes to the other."""

    def __init__(self, at: Path, addresses: list[str]) -> None:
        (self.port,) = free_ports(1)
        servers = "".join(f"server {one}:8080 max_fails=0;" for one in addresses)
        file = at / "nginx.conf"
        file.write_text(
            f"""daemon off; worker_processes 1; pid {at}/nginx.pid; error_log {at}/error.log;
            events {{}}
            http {{
              access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;
              fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
              upstream app {{ {servers} }}
              server {{
                listen 127.0.0.1:{self.port};
                location / {{
                  proxy_pass http://app; proxy_connect_timeout 2s;
                  proxy_set_header X-Forwarded-For $remote_addr;
                }}
              }}
            }}"""
        )
        nginx = _which("nginx") or "nginx"
        self.process = subprocess.Popen([nginx, "-p", at, "-c", file, "-e", at / "error.log"])

    def call(self, token: str) -> int:
        url = f"http://127.0.0.1:{self.port}/pay/7"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        try:
            with DIRECT.open(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


class Caller(threading.Thread):
    """Calls again and again, and keeps what it was answered."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        super().__init__()
        self.answers: list[int] = []
        self.over = threading.Event()
        self._gateway, self._token = gateway, token

    def run(self) -> None:
        while not self.over.is_set():
            self.answers.append(self._gateway.call(self._token))


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Kubelet]]:
    if why := missing():
        pytest.skip(why)
    at = tmp_path_factory.mktemp("pods")
    (port,) = free_ports(1)
    with ExitStack() as ends:
        store = subprocess.Popen(
            [
                *(str(server_binary()), "--port", str(port), "--bind", "0.0.0.0", "--dir", at),
                *("--requirepass", PASSWORD, "--save", "", "--maxmemory-policy", "noeviction"),
            ],
            stdout=subprocess.DEVNULL,
        )
        ends.callback(store.wait)
        ends.callback(store.kill)
        made = []
        for number in (1, 2):
            name = f"payroll-{number}"
            podman("pod", "rm", "--force", "--time", "0", name, check=False)
            url = f"redis://10.99.{number}.1:{port}/0"
            made.append(Kubelet(pod(name), objects(url), at, number))
            ends.callback(made[-1].remove)
        for one in made:
            assert one.start() == [CONTAINER, "app"], "the app starts after the sidecar"
        yield made


@pytest.fixture(scope="module")
def gateway(pods: list[Kubelet], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = Gateway(tmp_path_factory.mktemp("nginx"), [one.address for one in pods])
    try:
        eventually(lambda: made.call(""), lambda status: status == 401)
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def inspected(pods: list[Kubelet]) -> dict[str, Any]:
    (found,) = json.loads(podman("inspect", pods[0].container(CONTAINER)))
    return dict(found)


def test_the_sidecar_runs_read_only_without_capabilities_in_128_mib(pods: list[Kubelet]) -> None:
    found = inspected(pods)
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["Memory"] == MEMORY
    assert not found["HostConfig"]["Privileged"]
    assert not found["EffectiveCaps"]
    status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert set(fields["Uid"].split()) == {"65532"}
    for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Seccomp"].strip() == "2"


def test_a_call_is_answered_by_what_the_sidecar_says(gateway: Gateway) -> None:
    assert gateway.call(token("alice", "s-1")) == 200
    assert gateway.call("no.token.atall") == 401


def test_the_pods_label_is_the_apps_id(pods: list[Kubelet]) -> None:
    (found,) = json.loads(podman("inspect", pods[0].container(CONTAINER)))
    assert "SIDECAR_APP__ID=payroll" in found["Config"]["Env"]
    assert podman("exec", pods[0].container(CONTAINER), "sidecar", "--version")


def test_a_pod_that_ends_fails_no_call_at_the_gateway(
    pods: list[Kubelet], gateway: Gateway
) -> None:
    shown = token("alice", "s-1")
    callers = [Caller(gateway, shown) for _ in range(4)]
    for one in callers:
        one.start()
    try:
        eventually(lambda: min(len(one.answers) for one in callers), lambda least: least > 20)
        ended = pods[0].end()
        after = [len(one.answers) for one in callers]
        eventually(
            lambda: all(len(one.answers) > n + 20 for one, n in zip(callers, after, strict=True)),
            bool,
        )
    finally:
        for one in callers:
            one.over.set()
        for one in callers:
            one.join()
    answers = [status for one in callers for status in one.answers]
    assert set(answers) == {200}
    assert ended == [("app", 0), (CONTAINER, 0)], "the app ends before the sidecar, both as asked"
