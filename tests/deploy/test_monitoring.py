"""What watches sidecars on Kubernetes is what watches them elsewhere, and finds them all."""

import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from sidecar.wire.injection.additions import ADMIN_PORT, Names, container
from tests.deploy.manifests import DEPLOY, Manifest, rendered, the

OBSERVABILITY = DEPLOY.parent / "observability"


def objects(kind: str) -> list[Manifest]:
    return [one for one in rendered("monitoring") if one["kind"] == kind]


def test_the_rules_are_those_that_promtool_tests() -> None:
    (rule,) = objects("PrometheusRule")
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"] == yaml.safe_load((OBSERVABILITY / "prometheus/rules.yaml").read_text())


def test_the_dashboards_are_those_that_a_prometheus_evaluates() -> None:
    files = {file.name: json.loads(file.read_text()) for file in _dashboards()}
    found = {}
    for one in objects("ConfigMap"):
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
        assert one["metadata"]["labels"] == {"grafana_dashboard": "1"}
        ((name, text),) = one["data"].items()
        found[name.removeprefix("stepup-sidecar-")] = json.loads(text)
    assert found == files


def _dashboards() -> list[Path]:
    return sorted((OBSERVABILITY / "grafana").glob("*.json"))


@pytest.mark.parametrize("variant", ["base", "central", "transmitter", "injector"])
def test_the_monitor_finds_each_pod_by_its_port(variant: str) -> None:
    name = "stepup-sidecar-injector" if variant == "injector" else ""
    spec = the(rendered(variant), "Deployment", name)["spec"]["template"]["spec"]
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    assert _monitored(*containers) == {ADMIN_PORT}


def test_the_monitor_finds_an_injected_sidecar() -> None:
    assert _monitored(container(Names(image="any"))) == {ADMIN_PORT}


def _monitored(*containers: Manifest) -> set[int]:
    (monitor,) = objects("PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = [port for one in containers for port in one.get("ports", ())]
    return {port["containerPort"] for port in ports if port.get("name") == endpoint["port"]}
