"""Objects of other projects are held to their schemas, as types of TypeScript, strictly.

The packages @kubernetes-models/... have the types, and TypeScript refuses a key that a type does
not name. Envoy Gateway has no such package: its objects are not held to anything.
"""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, Manifest, rendered
from tests.system.peers.programs import PEERS, installed

TYPES = {
    "cert-manager.io/v1": "cert-manager/cert-manager.io/v1",
    "monitoring.coreos.com/v1": "prometheus-operator/monitoring.coreos.com/v1",
    "traefik.io/v1alpha1": "traefik/traefik.io/v1alpha1",
    "gateway.networking.k8s.io/v1": "gateway-api/gateway.networking.k8s.io/v1",
}
UNTYPED = {"gateway.envoyproxy.io/v1alpha1"}
KUBERNETES = {
    "v1",
    "apps/v1",
    "policy/v1",
    "networking.k8s.io/v1",
    "admissionregistration.k8s.io/v1",
}
RENDERED = ("central", "injector", "monitoring", "overlays/ha-store", "overlays/injector", "valkey")

pytestmark = pytest.mark.skipif(
    not (installed("typescript") and installed("@kubernetes-models/traefik")),
    reason="tools/set-up-peers has not installed TypeScript with the types of other projects",
)


@cache
def objects() -> tuple[Manifest, ...]:
    """Every object that is not Kubernetes' own, of what is rendered and of the examples."""
    texts = sorted((DEPLOY / "central" / "gateways").glob("*.yaml"))
    examples = [one for text in texts for one in yaml.safe_load_all(text.read_text())]
    ours = [one for variant in RENDERED for one in rendered(variant)]
    return tuple(one for one in (*ours, *examples) if one["apiVersion"] not in KUBERNETES)


def faults(directory: Path, found: list[Manifest]) -> list[str]:
    """What TypeScript finds wrong, each line with the number of its object."""
    (directory / "node_modules").symlink_to(PEERS / "node_modules")
    lines = [
        f'const o{number}: import("@kubernetes-models/{TYPES[one["apiVersion"]]}").I{one["kind"]}'
        f" = {json.dumps(one)};"
        for number, one in enumerate(found)
    ]
    (directory / "objects.ts").write_text("\n".join([*lines, "export {};"]))
    program = PEERS / "node_modules" / ".bin" / "tsc"
    options = "--noEmit --strict --skipLibCheck --pretty false --module nodenext --target es2022"
    done = subprocess.run(
        [str(program), *options.split(), "objects.ts"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("objects.ts")] or (
        [done.stdout + done.stderr] if done.returncode else []
    )


def test_every_object_of_other_projects_is_valid_to_the_letter(tmp_path: Path) -> None:
    typed = [one for one in objects() if one["apiVersion"] in TYPES]
    assert {one["apiVersion"] for one in objects()} == TYPES.keys() | UNTYPED
    kinds = {one["kind"] for one in typed}
    assert kinds >= {"Issuer", "Certificate", "PodMonitor", "PrometheusRule", "Middleware"}
    assert not faults(tmp_path, typed)


FREE = {"labels", "annotations"}
"""Where any key may stand."""


def spoilt(one: Any) -> Any:
    """The same with a key that nobody knows in its innermost first object."""
    if isinstance(one, list):
        return [spoilt(one[0]), *one[1:]]
    inner = [
        key
        for key, value in one.items()
        if key not in FREE
        and value
        and isinstance(value[0] if isinstance(value, list) else value, dict)
    ]
    if not inner:
        return {**one, "colour": "blue"}
    return {**one, inner[0]: spoilt(one[inner[0]])}


def test_a_key_that_a_project_does_not_know_is_refused_in_each_kind(tmp_path: Path) -> None:
    first = {one["kind"]: one for one in objects() if one["apiVersion"] in TYPES}
    wrong = [{**one, "spec": spoilt(one["spec"])} for one in first.values()]
    found = faults(tmp_path, wrong)
    assert len(found) == len(wrong)
    assert all("'\"colour\"' does not exist" in line for line in found), found
