"""Objects of other projects are held to their schemas, as types of TypeScript, strictly.

The packages @kubernetes-models/... have the types, and TypeScript refuses a key that a type does
not name. Envoy Gateway has no such package: its objects are held to what envoy_gateway.py says.
"""

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
import yaml

from tests.deploy.envoy_gateway import SCHEMAS
from tests.deploy.manifests import DEPLOY, Manifest, rendered
from tests.system.peers.programs import PEERS, installed

TYPES = {
    "cert-manager.io/v1": "cert-manager/cert-manager.io/v1",
    "monitoring.coreos.com/v1": "prometheus-operator/monitoring.coreos.com/v1",
    "traefik.io/v1alpha1": "traefik/traefik.io/v1alpha1",
    "gateway.networking.k8s.io/v1": "gateway-api/gateway.networking.k8s.io/v1",
}
ENVOY_GATEWAY = "gateway.envoyproxy.io/v1alpha1"
KUBERNETES = {
    "v1",
    "apps/v1",
    "policy/v1",
    "networking.k8s.io/v1",
    "admissionregistration.k8s.io/v1",
}
RENDERED = ("central", "injector", "monitoring", "overlays/ha-store", "overlays/injector", "valkey")

typed = pytest.mark.skipif(
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


@typed
def test_every_object_of_other_projects_is_valid_to_the_letter(tmp_path: Path) -> None:
    found = [one for one in objects() if one["apiVersion"] in TYPES]
    assert {one["apiVersion"] for one in objects()} == {*TYPES, ENVOY_GATEWAY}
    kinds = {one["kind"] for one in found}
    assert kinds >= {"Issuer", "Certificate", "PodMonitor", "PrometheusRule", "Middleware"} | {
        "IngressRoute"
    }
    assert not faults(tmp_path, found)


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


@typed
def test_a_key_that_a_project_does_not_know_is_refused_in_each_kind(tmp_path: Path) -> None:
    first = {one["kind"]: one for one in objects() if one["apiVersion"] in TYPES}
    wrong = [{**one, "spec": spoilt(one["spec"])} for one in first.values()]
    found = faults(tmp_path, wrong)
    assert len(found) == len(wrong)
    assert all("'\"colour\"' does not exist" in line for line in found), found


def of_envoy_gateway() -> dict[str, Manifest]:
    """The example's objects that are Envoy Gateway's own, by kind."""
    return {one["kind"]: one for one in objects() if one["apiVersion"] == ENVOY_GATEWAY}


def test_the_objects_of_envoy_gateway_have_only_what_its_reference_names() -> None:
    assert of_envoy_gateway().keys() == SCHEMAS.keys()
    for kind, one in of_envoy_gateway().items():
        wrong = jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(one)
        assert not [f"{error.json_path}: {error.message}" for error in wrong]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_key_that_the_reference_does_not_name_is_refused_wherever_it_stands(kind: str) -> None:
    whole = of_envoy_gateway()[kind]
    check = jsonschema.Draft202012Validator(SCHEMAS[kind])
    spoilt_ones = list(with_a_key_more(whole))
    assert len(spoilt_ones) > 5
    for one in spoilt_ones:
        assert not check.is_valid(one), one


def with_a_key_more(value: Any) -> Iterator[Any]:
    """Each copy of a value in which one of the objects within has a key that nobody knows."""
    if isinstance(value, dict):
        yield {**value, "colour": "blue"}
        for key, inner in value.items():
            yield from ({**value, key: spoilt_one} for spoilt_one in with_a_key_more(inner))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from ([*value[:at], one, *value[at + 1 :]] for one in with_a_key_more(inner))
