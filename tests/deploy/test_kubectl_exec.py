"""The commands that deploy/k8s/README.md gives for a running pod, run as in that pod.

Without a cluster: the container's environment and files are those of the rendered manifest, below a
directory of the test's instead of the root, and the sidecar's port is a free one.
"""

import os
import re
import shlex
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from sidecar.adapters.redis.links import call
from tests import plain_http
from tests.adapters.servers import free_ports, serving
from tests.deploy.image import the as instruction
from tests.deploy.manifests import DEPLOY, Manifest, pod, rendered, sidecar, the
from tests.waiting import eventually

BASE = rendered("base")
PASSWORD = "the-password-of-the-store"


def readme_commands() -> list[list[str]]:
    """What comes after `--` in each `kubectl exec` of the README."""
    text = (DEPLOY / "README.md").read_text()
    found = re.findall(r"kubectl exec (\S+) --container (\S+) -- ([^\n`]+)", text)
    assert {(of, container) for of, container, _ in found} == {("deploy/payroll", "sidecar")}
    return [shlex.split(command) for _, _, command in found]


def readme_secrets(turn: int = 0) -> dict[str, set[str]]:
    """The Secrets that the README makes, and their keys; where it makes one again, by its turn."""
    text = (DEPLOY / "README.md").read_text().replace("\\\n", " ")
    made: dict[str, list[set[str]]] = {}
    for name, rest in re.findall(r"create secret generic (\S+)([^\n]*)", text):
        keys = set(re.findall(r"--from-(?:literal|file)=([\w.-]+)=", rest))
        made.setdefault(name, []).append(keys)
    return {name: turns[min(turn, len(turns) - 1)] for name, turns in made.items()}


class Container:
    """The sidecar's container of the rendered manifest, below a directory."""

    def __init__(self, root: Path, store: str) -> None:
        self.root = root
        (self.port,) = free_ports(1)
        secrets = {"url": store, "password": PASSWORD, "token": "a-long-admin-credential-of-a-test"}
        volumes = {volume["name"]: volume for volume in pod(BASE)["volumes"]}
        for mounted in sidecar(BASE)["volumeMounts"]:
            at = root / mounted["mountPath"].lstrip("/")
            at.mkdir(parents=True)
            for name, text in self._files(volumes[mounted["name"]], secrets).items():
                (at / name).write_text(text)
                (at / name).chmod(0o440)
        self.environment = {
            one["name"]: self.below(one["value"])
            if "value" in one
            else secrets[one["valueFrom"]["secretKeyRef"]["key"]]
            for one in sidecar(BASE)["env"]
        }
        scripts = sysconfig.get_path("scripts")
        self.environment |= {
            "PATH": f"{scripts}:/usr/bin:/bin",
            "SIDECAR_ADMIN_URL": f"http://127.0.0.1:{self.port}",
        }

    def _files(self, volume: Manifest, secrets: dict[str, str]) -> dict[str, str]:
        match volume:
            case {"configMap": {"name": name}}:
                data = the(BASE, "ConfigMap", name)["data"]
                return {key: self.below(text) for key, text in data.items()}
            case {"secret": {"secretName": name}}:
                return {key: secrets[key] for key in readme_secrets()[name] & secrets.keys()}
            case _:
                return {}

    def below(self, text: str) -> str:
        text = text.replace("[::]:9090", f"127.0.0.1:{self.port}")
        return re.sub(r"(?<![\w.])/(etc|run|var)/", rf"{self.root}/\1/", text)

    def start(self, words: list[str], **how: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            words, cwd=self.root, env=self.environment, stderr=subprocess.PIPE, text=True, **how
        )

    def run(self, words: list[str]) -> tuple[int, str, str]:
        with self.start(words, stdout=subprocess.PIPE) as process:
            said, complained = process.communicate(timeout=30)
        return process.returncode, said, complained


@pytest.fixture
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with serving() as store:
        with closing(redis.Redis.from_url(store.url)) as client:
            call(client, "CONFIG", "SET", "requirepass", PASSWORD)
        made = Container(tmp_path_factory.mktemp("k"), store.url)
        arguments = [made.below(word) for word in sidecar(BASE)["args"]]
        with made.start(["sidecar", *arguments]) as process:
            try:
                eventually(lambda: is_started(made, process), bool, within=30)
                yield made
            finally:
                process.kill()


def is_started(container: Container, process: "subprocess.Popen[str]") -> bool:
    assert process.poll() is None, process.communicate()[1]
    try:
        return plain_http.get(f"http://127.0.0.1:{container.port}/startupz").status_code == 200
    except httpx.TransportError:
        return False


def test_each_command_of_the_readme_works_in_the_pod(container: Container) -> None:
    commands = readme_commands()
    assert {command[1] for command in commands} >= {"sessions", "validate"}
    for command in commands:
        status, said, complained = container.run(command)
        assert status == 0, command
        assert complained in {"", "no live session matches\n"}, command
        assert said


@pytest.mark.parametrize(("name", "turn"), [("base", 0), ("overlays/ha-store", 1)])
def test_every_secret_that_a_container_needs_is_one_that_the_readme_makes(
    name: str, turn: int
) -> None:
    made, manifests = readme_secrets(turn), rendered(name)
    mounted = {one["mountPath"]: one["name"] for one in sidecar(manifests)["volumeMounts"]}
    for variable in sidecar(manifests)["env"]:
        if variable.get("valueFrom"):
            wanted = variable["valueFrom"]["secretKeyRef"]
            assert wanted["key"] in made[wanted["name"]]
        elif variable["name"].endswith("_FILE"):
            directory, key = os.path.split(variable["value"])
            volumes = pod(manifests)["volumes"]
            (volume,) = (one for one in volumes if one["name"] == mounted[directory])
            assert key in made[volume["secret"]["secretName"]]


def test_the_image_itself_names_the_configuration() -> None:
    assert "SIDECAR_CONFIG=/etc/sidecar/sidecar.yaml" in instruction("ENV").split()
