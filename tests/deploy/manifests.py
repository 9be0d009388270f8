"""Renders what we ship for Kubernetes, and finds its parts."""

import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy" / "k8s"
VARIANTS = ("base", "overlays/example", "overlays/ha-store")
Manifest = dict[str, Any]


def rendered(variant: str) -> tuple[Manifest, ...]:
    return kustomized(DEPLOY / variant)


@cache
def kustomized(directory: Path) -> tuple[Manifest, ...]:
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns"
    return tuple(yaml.safe_load_all(done.stdout))


def the(manifests: tuple[Manifest, ...], kind: str, name: str = "payroll") -> Manifest:
    found = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and manifest["metadata"]["name"].startswith(name)
    ]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of them"
    return found[0]


def pod(manifests: tuple[Manifest, ...]) -> Manifest:
    spec: Manifest = the(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def sidecar(manifests: tuple[Manifest, ...]) -> Manifest:
    (container,) = pod(manifests)["initContainers"]
    return dict(container)
