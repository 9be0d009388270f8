"""The manifests as kubectl renders them: valid to the letter, and as locked down as we say."""

from pathlib import Path

import kubernetes_validate
import msgspec
import pytest
import yaml

from sidecar.service.admin.health import CONDITIONS, Health
from sidecar.wire.config.memory_shares import shares_of
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.address import parse_store_address
from tests.deploy.manifests import VARIANTS, Manifest, pod, rendered, sidecar, the

SOCKET = "/run/sidecar"


@pytest.fixture(params=VARIANTS)
def manifests(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    return rendered(request.param)


def containers(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    spec = pod(manifests)
    return [*spec["initContainers"], *spec["containers"]]


def app(manifests: tuple[Manifest, ...]) -> Manifest:
    (container,) = pod(manifests)["containers"]
    return dict(container)


def mount(container: Manifest, path: str) -> Manifest:
    (found,) = (each for each in container["volumeMounts"] if each["mountPath"] == path)
    return dict(found)


def test_every_object_is_valid_to_the_letter(manifests: tuple[Manifest, ...]) -> None:
    version = kubernetes_validate.latest_version()
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_strict_validation_refuses_a_key_that_kubernetes_does_not_know() -> None:
    service = {**the(rendered("base"), "Service"), "colour": "blue"}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, kubernetes_validate.latest_version(), strict=True)


def test_the_daemon_is_a_native_sidecar(manifests: tuple[Manifest, ...]) -> None:
    assert sidecar(manifests)["name"] == "sidecar"
    assert sidecar(manifests)["restartPolicy"] == "Always"
    assert [container["name"] for container in pod(manifests)["containers"]] == ["app"]


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")],
)
def test_the_sidecar_is_probed_on_its_admin_listener(
    manifests: tuple[Manifest, ...], probe: str, path: str
) -> None:
    container = sidecar(manifests)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    http = container[probe]["httpGet"]
    assert (http["path"].partition("?")[0], ports[http["port"]]) == (path, 9090)


def test_a_store_that_goes_away_later_takes_no_pod_out_of_service(
    manifests: tuple[Manifest, ...],
) -> None:
    query = sidecar(manifests)["readinessProbe"]["httpGet"]["path"].partition("?")[2]
    assert query == "tolerate=store&tolerate=view"
    health = Health()
    for name in CONDITIONS:
        health.good(name)
    health.bad("store", "away")
    health.bad("view", "no news")
    assert health.ready(query.replace("tolerate=", "").split("&")).ok


def test_the_app_is_probed(manifests: tuple[Manifest, ...]) -> None:
    assert {"livenessProbe", "readinessProbe"} <= app(manifests).keys()


def test_no_container_may_do_more_than_it_needs(manifests: tuple[Manifest, ...]) -> None:
    for container in containers(manifests):
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["runAsGroup"] > 0
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context


def test_the_pod_runs_as_nobody_in_particular(manifests: tuple[Manifest, ...]) -> None:
    spec = pod(manifests)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert sidecar(manifests)["securityContext"]["runAsUser"] == 65532
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not any("hostPath" in volume for volume in spec["volumes"])


def test_no_kubernetes_credential_is_mounted(manifests: tuple[Manifest, ...]) -> None:
    assert pod(manifests)["automountServiceAccountToken"] is False
    assert the(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    assert (
        pod(manifests)["serviceAccountName"] == the(manifests, "ServiceAccount")["metadata"]["name"]
    )


def test_every_container_has_requests_and_limits(manifests: tuple[Manifest, ...]) -> None:
    for container in containers(manifests):
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][bound].keys()


def test_the_socket_lies_in_bounded_memory(manifests: tuple[Manifest, ...]) -> None:
    name = mount(sidecar(manifests), SOCKET)["name"]
    (volume,) = (volume for volume in pod(manifests)["volumes"] if volume["name"] == name)
    assert volume["emptyDir"]["medium"] == "Memory"
    assert volume["emptyDir"]["sizeLimit"]


def test_the_app_can_reach_the_socket_but_not_replace_it(manifests: tuple[Manifest, ...]) -> None:
    theirs = mount(app(manifests), SOCKET)
    assert theirs["name"] == mount(sidecar(manifests), SOCKET)["name"]
    assert theirs["readOnly"] is True
    group = pod(manifests)["securityContext"]["fsGroup"]
    assert group == sidecar(manifests)["securityContext"]["runAsGroup"]


def test_only_the_uids_of_this_pod_are_let_in_at_the_socket(
    manifests: tuple[Manifest, ...],
) -> None:
    uids = {container["securityContext"]["runAsUser"] for container in containers(manifests)}
    allowed = settings(manifests).socket.allowed_uids
    assert allowed is not None
    assert set(allowed) == uids


def test_no_secret_is_written_down(manifests: tuple[Manifest, ...]) -> None:
    assert not [manifest for manifest in manifests if manifest["kind"] == "Secret"]
    for container in containers(manifests):
        for variable in container["env"]:
            name = variable["name"]
            if name.endswith("_FILE"):
                assert variable["value"].startswith("/")
            elif name == "SIDECAR_STORE__URL" and "value" in variable:
                address = parse_store_address(variable["value"])
                assert not address.username + address.password
            elif any(word in name for word in ("PASSWORD", "TOKEN", "SECRET", "URL", "KEY")):
                assert "secretKeyRef" in variable["valueFrom"], name
                assert "value" not in variable, name


def test_the_stores_address_and_password_come_from_a_secret(
    manifests: tuple[Manifest, ...],
) -> None:
    env = {variable["name"]: variable for variable in sidecar(manifests)["env"]}
    url = env["SIDECAR_STORE__URL"]
    secret = url["valueFrom"]["secretKeyRef"]["name"] if "valueFrom" in url else "sidecar-store"
    directory = Path(env["SIDECAR_STORE__PASSWORD_FILE"]["value"]).parent
    name = mount(sidecar(manifests), str(directory))["name"]
    (volume,) = (volume for volume in pod(manifests)["volumes"] if volume["name"] == name)
    assert volume["secret"]["secretName"] == secret


def test_every_selector_finds_this_app_and_only_this_app(manifests: tuple[Manifest, ...]) -> None:
    labels = the(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        the(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        the(manifests, "Service")["spec"]["selector"],
        the(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


def test_the_network_is_closed_but_for_named_peers(manifests: tuple[Manifest, ...]) -> None:
    policy = the(manifests, "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])
    assert all(rule["to"] and rule["ports"] for rule in policy["egress"])


def test_metrics_are_for_the_monitoring_namespace_alone(manifests: tuple[Manifest, ...]) -> None:
    rules = the(manifests, "NetworkPolicy")["spec"]["ingress"]
    (rule,) = (rule for rule in rules if {"protocol": "TCP", "port": 9090} in rule["ports"])
    namespace = {"kubernetes.io/metadata.name": "monitoring"}
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": namespace}}]
    annotations = the(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "9090"


def test_names_can_be_resolved_by_the_clusters_own_servers(manifests: tuple[Manifest, ...]) -> None:
    rules = the(manifests, "NetworkPolicy")["spec"]["egress"]
    (rule,) = (rule for rule in rules if {"protocol": "UDP", "port": 53} in rule["ports"])
    assert rule["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}


def test_the_pod_outlives_the_daemons_drain(manifests: tuple[Manifest, ...]) -> None:
    grace = pod(manifests)["terminationGracePeriodSeconds"]
    assert grace > settings(manifests).work.drain_timeout


def test_a_change_of_policies_reaches_the_pods_that_run() -> None:
    for variant in VARIANTS:
        assert the(rendered(variant), "ConfigMap", "sidecar-policies")["metadata"]["name"] == (
            "sidecar-policies"
        )


def test_the_overlay_adds_its_policy_to_the_sample_ones() -> None:
    data = the(rendered("overlays/example"), "ConfigMap", "sidecar-policies")["data"]
    assert set(data) == {"payroll.yaml", "night.yaml"}


def test_the_overlays_namespace_demands_the_restricted_standard() -> None:
    labels = the(rendered("overlays/example"), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def settings(manifests: tuple[Manifest, ...]) -> Settings:
    text = the(manifests, "ConfigMap", "sidecar-config")["data"]["sidecar.yaml"]
    return msgspec.convert(yaml.safe_load(text), Settings)


def test_the_configuration_fits_the_pod(manifests: tuple[Manifest, ...]) -> None:
    ours = settings(manifests)
    assert Path(ours.socket.path).parent == Path(SOCKET)
    assert str(ours.admin.bind).endswith(":9090")
    assert mount(sidecar(manifests), ours.policies.path)["readOnly"] is True


def test_the_sessions_that_the_daemon_keeps_fit_the_pods_memory(
    manifests: tuple[Manifest, ...],
) -> None:
    limit = sidecar(manifests)["resources"]["limits"]["memory"]
    shares = shares_of(settings(manifests), int(limit.removesuffix("Mi")) << 20)
    assert not shares.trouble
    assert shares.sessions > 5000


def test_the_spool_has_a_volume_that_is_larger_than_it(manifests: tuple[Manifest, ...]) -> None:
    spool = settings(manifests).spool
    at = mount(sidecar(manifests), str(Path(spool.dir).parent))
    assert not at.get("readOnly")
    (volume,) = (each for each in pod(manifests)["volumes"] if each["name"] == at["name"])
    assert volume["emptyDir"]["sizeLimit"] == "64Mi"
    assert spool.max_bytes < 64 * 1024 * 1024


def test_every_context_of_the_policies_is_one_that_routes_ask_for(
    manifests: tuple[Manifest, ...],
) -> None:
    ours = settings(manifests)
    asked = {context for route in ours.routes for context in route.contexts}
    assert asked == set(ours.contexts)
    for text in the(manifests, "ConfigMap", "sidecar-policies")["data"].values():
        for policy in yaml.safe_load(text)["policies"]:
            assert set(policy.get("contexts", {}).get("include", ())) <= asked
