"""The chart, rendered by Helm itself: the same as the overlay, and valid to the letter."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import Manifest, rendered

helm = pytest.importorskip("helm_python", reason="Helm's library is there for Linux on x86_64")
CHART = Path(__file__).parents[2] / "deploy" / "helm" / "stepup-sidecar"
IMAGE = {"repository": "registry.example.com/security/stepup-sidecar", "tag": "0.1.0"}


def templated(namespace: str = "stepup-sidecar", **values: Any) -> dict[str, Manifest]:
    """Return what Helm makes of the chart, by kind."""
    chart = helm.Chart.load(CHART)
    files = chart.render({"image": IMAGE, **values}, name="injector", namespace=namespace)
    documents = [one for text in files.values() for one in yaml.safe_load_all(text) if one]
    found = {one["kind"]: one for one in documents}
    assert len(found) == len(documents)
    return found


def test_it_renders_what_the_overlay_does_but_for_the_namespace() -> None:
    overlay = {one["kind"]: one for one in rendered("overlays/injector")}
    del overlay["Namespace"]
    assert templated() == overlay


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"replicas": 5, "failurePolicy": "Ignore", "monitoringNamespace": "observability"},
        {"certManager": {"enabled": False}, "caBundle": "Y2VydGlmaWNhdGU="},
        {"resources": {"limits": {"memory": "1Gi"}}, "priorityClassName": ""},
    ],
)
def test_whatever_is_said_every_object_is_valid_to_the_letter(values: dict[str, Any]) -> None:
    version = kubernetes_validate.latest_version()
    for one in templated("another", **values).values():
        if not one["apiVersion"].startswith("cert-manager.io/"):
            kubernetes_validate.validate(one, version, strict=True)


def test_values_reach_what_they_are_for() -> None:
    made = templated(
        "another",
        replicas=5,
        failurePolicy="Ignore",
        certManager={"enabled": False},
        caBundle="Y2VydGlmaWNhdGU=",
        resources={"limits": {"memory": "1Gi"}},
    )
    assert {"Issuer", "Certificate"}.isdisjoint(made)
    webhook = made["MutatingWebhookConfiguration"]
    (hook,) = webhook["webhooks"]
    assert "annotations" not in webhook["metadata"]
    assert hook["clientConfig"]["caBundle"] == "Y2VydGlmaWNhdGU="
    assert hook["clientConfig"]["service"]["namespace"] == "another"
    assert "another" in hook["namespaceSelector"]["matchExpressions"][0]["values"]
    assert hook["failurePolicy"] == "Ignore"
    spec = made["Deployment"]["spec"]
    assert spec["replicas"] == 5
    (container,) = spec["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
    assert container["image"] == container["env"][0]["value"]


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 2},
        {"replicas": 0},
        {"image": {"repository": "x"}, "failurePolicy": "Maybe"},
        {"caBundle": "not base64\n"},
        {"monitoringNamespace": "a: b"},
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        helm.Chart.load(CHART).validate_schema({"image": IMAGE, **values})


def test_helm_has_nothing_to_say() -> None:
    said = helm.lint(CHART, namespace="stepup-sidecar", strict=True)
    found = [one for one in said.get("messages", ()) if "icon" not in str(one)]
    assert not found
