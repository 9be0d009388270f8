"""Runs pods under podman as a kubelet does: in order, with probes, and to their end in order.

podman (4.3) knows no native sidecars. So it makes all containers of the pod, by `play kube`, and
starts none; then each is started when a kubelet would, and ended when a kubelet would.
"""

import copy
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64decode
from pathlib import Path
from typing import Any

import yaml

from tests.waiting import eventually

PODMAN = [
    *("podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"),
    *("--events-backend", "file"),
]
ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(Path(__file__).parent / "containers.conf")}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def podman(*words: str | Path, check: bool = True) -> str:
    done = subprocess.run(
        [*PODMAN, *words], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert not check or done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


class Kubelet:
    """One pod, at an address of its own that this machine reaches."""

    def __init__(
        self, pod: dict[str, Any], others: list[dict[str, Any]], at: Path, number: int
    ) -> None:
        self.name: str = pod["metadata"]["name"]
        self.host, self.address = f"10.99.{number}.1", f"10.99.{number}.2"
        self._number, self._link = number, f"stepup{number}"
        self._probes = {
            one["name"]: {probe: one[probe]["httpGet"] for probe in _PROBES if probe in one}
            for one in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
        }
        self.sidecars = [one["name"] for one in pod["spec"].get("initContainers", ())]
        self.apps = [one["name"] for one in pod["spec"]["containers"]]
        file = at / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump_all([*map(_plain, others), _for_podman(pod, others, at)]))
        podman("play", "kube", "--network", "none", "--start=false", file)

    def start(self) -> list[str]:
        """Start the pod's containers, each once the one before has started; return the order."""
        infra = podman("pod", "inspect", "--format", "{{.InfraContainerID}}", self.name)
        podman("start", infra)
        pid = podman("inspect", "--format", "{{.State.Pid}}", infra)
        self._connect(pid)
        order = []
        for name in self.sidecars:
            podman("start", self.container(name))
            self._wait(name, "startupProbe")
            order.append(name)
        for name in self.apps:
            podman("start", self.container(name))
            order.append(name)
        for name in (*self.sidecars, *self.apps):
            self._wait(name, "readinessProbe")
        return order

    def _wait(self, name: str, probe: str) -> None:
        try:
            eventually(lambda: self.passes(name, probe), bool, within=60)
        except AssertionError as error:
            error.add_note(self.log(name))
            raise

    def end(self) -> list[tuple[str, int]]:
        """End the apps, and then the sidecars; return each container's status, in order."""
        ended = []
        for name in (*self.apps, *reversed(self.sidecars)):
            container = self.container(name)
            podman("kill", "--signal", "TERM", container)
            ended.append((name, int(podman("wait", container))))
        return ended

    def remove(self) -> None:
        podman("pod", "rm", "--force", "--time", "0", self.name, check=False)
        left = podman("volume", "ls", "--format", "{{.Name}}", check=False).split()
        if own := [one for one in left if one.startswith(f"{self.name}-")]:
            podman("volume", "rm", "--force", *own, check=False)
        for words in (
            f"ip link delete {self._link}",
            f"ip route delete unreachable 10.99.{self._number}.0/30 metric 4000",
        ):
            subprocess.run(words.split(), capture_output=True, check=False)

    def container(self, name: str) -> str:
        return f"{self.name}-{name}"

    def log(self, name: str) -> str:
        done = subprocess.run(
            [*PODMAN, "logs", self.container(name)], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def passes(self, name: str, probe: str) -> bool:
        """Ask a container's probe over the network, as a kubelet does; true where it has none."""
        get = self._probes[name].get(probe)
        if get is None:
            return True
        try:
            url = f"http://{self.address}:{get['port']}{get['path']}"
            with DIRECT.open(url, timeout=3) as answer:
                return int(answer.status) < 400
        except (OSError, urllib.error.URLError):
            running = podman("inspect", "--format", "{{.State.Running}}", self.container(name))
            assert running == "true", self.log(name)
            return False

    def _connect(self, pid: str) -> None:
        """Give the pod an interface; `play kube --network none` leaves it with loopback alone."""
        for words in (
            # Where the pod is gone its address is nobody's, and no default route leads elsewhere.
            f"ip route replace unreachable 10.99.{self._number}.0/30 metric 4000",
            f"ip link add {self._link} type veth peer name eth0 netns {pid}",
            f"ip address add {self.host}/30 dev {self._link}",
            f"ip link set {self._link} up",
            f"nsenter -t {pid} -n ip address add {self.address}/30 dev eth0",
            f"nsenter -t {pid} -n ip link set eth0 up",
        ):
            subprocess.run(words.split(), check=True, capture_output=True)


def _for_podman(pod: dict[str, Any], others: list[dict[str, Any]], at: Path) -> dict[str, Any]:
    """Return the pod with its sidecars among its containers, and without probes: see above.

    Secrets are filled in: podman would mount them as they are encoded, and reads those of the
    environment in another form.
    """
    secrets = {one["metadata"]["name"]: one["data"] for one in others if one["kind"] == "Secret"}
    made = copy.deepcopy(pod)
    spec = made["spec"]
    sidecars = spec.pop("initContainers", [])
    assert all(one.pop("restartPolicy") == "Always" for one in sidecars)
    spec["containers"] = [*sidecars, *spec["containers"]]
    spec["restartPolicy"] = "Never"
    for one in (*spec["volumes"], *(x for c in spec["containers"] for x in c["volumeMounts"])):
        one["name"] = (
            f"{made['metadata']['name']}-{one['name']}"  # volumes of all pods are together
        )
    for volume in spec["volumes"]:
        if "secret" in volume:
            volume["configMap"] = {"name": volume.pop("secret")["secretName"]}
        elif "emptyDir" in volume:  # a kubelet's is everybody's; podman's is as in the image
            del volume["emptyDir"]
            path = at / volume["name"]
            path.mkdir()
            path.chmod(0o777)
            volume["hostPath"] = {"path": str(path), "type": "Directory"}
    for one in spec["containers"]:
        for key in ("ports", *_PROBES):  # a port would be one of this machine
            one.pop(key, None)
        for variable in one.get("env", ()):
            if wanted := variable.get("valueFrom", {}).get("secretKeyRef"):
                variable["value"] = b64decode(secrets[wanted["name"]][wanted["key"]]).decode()
                del variable["valueFrom"]
    return made


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """Return a Secret as a ConfigMap; anything else as it is."""
    if one["kind"] != "Secret":
        return one
    data = {key: b64decode(text).decode() for key, text in one["data"].items()}
    return {**one, "kind": "ConfigMap", "data": data}
