"""Ten Deployments of different shapes, completed by the component and by the webhook."""

import base64
import json
from typing import Any

import yaml

from sidecar.wire.injection.additions import Names
from sidecar.wire.injection.reviews import admit
from tests.deploy.json_patch import applied
from tests.deploy.manifests import DEPLOY, Manifest, kustomized

HERE = DEPLOY.parents[1] / "tests" / "deploy" / "shapes"
NAMES = Names(image="stepup-sidecar:0.1.0")
BEFORE = {
    one["metadata"]["name"]: one
    for one in yaml.safe_load_all((HERE / "deployments.yaml").read_text())
}
SHAPES = sorted(BEFORE.keys() - {"unlabelled"})


def by_component(name: str) -> Manifest:
    (found,) = (one for one in kustomized(HERE) if one["metadata"]["name"] == name)
    return found


def review_of(pod: Any, **changed: Any) -> bytes:
    """Return what the API server sends for a pod that a Deployment makes."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind,
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "payroll",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": {"apiVersion": "v1", "kind": "Pod", **pod},
        "oldObject": None,
        "dryRun": False,
        **changed,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()


def response_of(answer: bytes) -> dict[str, Any]:
    review = json.loads(answer)
    assert review["apiVersion"] == "admission.k8s.io/v1"
    response: dict[str, Any] = review["response"]
    assert response["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
    return response


def by_webhook(pod: Any, image: str = NAMES.image) -> Any:
    """Return a pod as the API server has it after the webhook's answer."""
    response = response_of(admit(review_of(pod), Names(image=image)).body)
    assert response["allowed"]
    if "patch" not in response:
        return pod
    assert response["patchType"] == "JSONPatch"
    return applied(pod, json.loads(base64.b64decode(response["patch"])))


def template(deployment: Manifest) -> Any:
    return deployment["spec"]["template"]
