"""The webhook as a process, asked over TLS as the API server asks, and the manifests around it."""

import base64
import json
import subprocess
from collections.abc import Iterator

import httpx
import kubernetes_validate
import pytest
import yaml

from sidecar.wire.injection.additions import ENABLED, LABEL
from sidecar.wire.injection.reviews import LONGEST_REVIEW
from tests.deploy.completed_pods import BEFORE, by_component, response_of, review_of, template
from tests.deploy.json_patch import applied
from tests.deploy.manifests import Manifest, rendered
from tests.deploy.webhook_process import HOST, SIDECAR, Webhook
from tests.waiting import eventually

OVERLAY = "overlays/injector"


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    made = Webhook(tmp_path_factory.mktemp("injector"))
    try:
        eventually(made.is_ready, bool)
        yield made
    finally:
        made.client.close()
        made.process.kill()
        made.process.communicate()


def test_the_process_answers_the_api_server_with_what_the_component_makes(
    webhook: Webhook,
) -> None:
    answer = webhook.post(review_of(template(BEFORE["with-volumes"])))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    patch = json.loads(base64.b64decode(response_of(answer.content)["patch"]))
    made = applied(template(BEFORE["with-volumes"]), patch)
    assert made == template(by_component("with-volumes"))


def test_what_is_no_review_is_refused_and_counted(webhook: Webhook) -> None:
    assert webhook.post(b"{}").status_code == 400
    assert webhook.post(b"{}", "text/plain").status_code == 415
    assert webhook.post(b" " * (LONGEST_REVIEW + 1)).status_code == 413
    assert webhook.client.get("/inject", extensions={"sni_hostname": HOST}).status_code == 405
    metrics = httpx.get(f"{webhook.admin}/metrics").text
    assert 'sidecar_injections_total{outcome="invalid"} 1.0' in metrics


def test_its_own_certificate_is_for_the_services_name_alone(webhook: Webhook) -> None:
    with (
        httpx.Client(base_url=webhook.url, verify=webhook.trust, timeout=20) as other,
        pytest.raises(httpx.ConnectError, match="Hostname mismatch"),
    ):
        other.post("/inject", extensions={"sni_hostname": "other.example"})
    (patch,) = yaml.safe_load((webhook.made / "webhook-patch.yaml").read_text())
    assert base64.b64decode(patch["value"]) == (webhook.made / "ca.crt").read_bytes()
    assert patch["path"] == "/webhooks/0/clientConfig/caBundle"
    for file in webhook.made.iterdir():
        assert file.stat().st_mode & 0o077 == 0
        assert str(file) in webhook.said


def test_certificates_that_are_there_are_not_replaced(webhook: Webhook) -> None:
    before = (webhook.made / "tls.key").read_bytes()
    done = subprocess.run(
        [SIDECAR, "inject", "--make-certificates", webhook.made],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "exists" in done.stderr
    assert (webhook.made / "tls.key").read_bytes() == before


@pytest.fixture(params=["injector", OVERLAY])
def manifests(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    return rendered(request.param)


def one(manifests: tuple[Manifest, ...], kind: str) -> Manifest:
    (found,) = (each for each in manifests if each["kind"] == kind)
    return found


def test_every_object_is_valid_to_the_letter(manifests: tuple[Manifest, ...]) -> None:
    version = kubernetes_validate.latest_version()
    kinds = set()
    for manifest in manifests:
        kinds.add(manifest["kind"])
        if not manifest["apiVersion"].startswith("cert-manager.io/"):  # no schema is shipped
            kubernetes_validate.validate(manifest, version, strict=True)
    assert "MutatingWebhookConfiguration" in kinds


def test_the_api_server_asks_only_for_pods_with_the_label_and_fails_closed(
    manifests: tuple[Manifest, ...],
) -> None:
    (hook,) = one(manifests, "MutatingWebhookConfiguration")["webhooks"]
    assert hook["objectSelector"] == {"matchLabels": {LABEL: ENABLED}}
    assert hook["failurePolicy"] == "Fail"
    (expression,) = hook["namespaceSelector"]["matchExpressions"]
    own = one(manifests, "Namespace")["metadata"]["name"]
    assert {own, "kube-system"} <= set(expression["values"])
    service, port = one(manifests, "Service"), hook["clientConfig"]["service"]
    assert (port["name"], port["namespace"]) == (service["metadata"]["name"], own)
    assert port["path"] == "/inject"
    assert f"{port['name']}.{port['namespace']}.svc" == HOST


def test_it_adds_the_image_that_it_runs(manifests: tuple[Manifest, ...]) -> None:
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    (variable,) = container["env"]
    assert variable == {"name": "SIDECAR_INJECT_IMAGE", "value": container["image"]}


def test_it_may_do_no_more_than_it_needs(manifests: tuple[Manifest, ...]) -> None:
    spec = one(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not spec["automountServiceAccountToken"]
    assert "egress" not in one(manifests, "NetworkPolicy")["spec"]
    assert not [each for each in manifests if each["kind"] in {"Secret", "ClusterRole", "Role"}]


def test_cert_manager_makes_the_certificate_for_the_services_name() -> None:
    manifests = rendered(OVERLAY)
    certificate = one(manifests, "Certificate")
    assert HOST in certificate["spec"]["dnsNames"]
    named = f"{certificate['metadata']['namespace']}/{certificate['metadata']['name']}"
    annotations = one(manifests, "MutatingWebhookConfiguration")["metadata"]["annotations"]
    assert annotations == {"cert-manager.io/inject-ca-from": named}
    (volume,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
