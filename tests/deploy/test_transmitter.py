"""The transmitter's manifests as kubectl renders them, and the configuration within."""

from typing import Any

import kubernetes_validate
import pytest

from sidecar.wire.config.settings_reader import read_settings
from tests.deploy.manifests import Manifest, rendered, the


@pytest.fixture
def manifests() -> tuple[Manifest, ...]:
    return rendered("transmitter")


def container(manifests: tuple[Manifest, ...]) -> dict[str, Any]:
    (one,) = the(manifests, "Deployment", "signals")["spec"]["template"]["spec"]["containers"]
    return dict(one)


def test_every_object_is_valid_to_the_letter(manifests: tuple[Manifest, ...]) -> None:
    version = kubernetes_validate.latest_version()
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_configuration_is_one_that_transmit_takes_and_names_mounted_files(
    manifests: tuple[Manifest, ...],
) -> None:
    text = the(manifests, "ConfigMap", "signals-config")["data"]["sidecar.yaml"]
    settings = read_settings(text, "/etc/sidecar/sidecar.yaml", {}, lambda _: "")
    transmitter = settings.transmitter
    named = [*transmitter.key_files, *(one.credentials_file for one in transmitter.recipients)]
    mounts = [mount["mountPath"] for mount in container(manifests)["volumeMounts"]]
    assert all(any(file.startswith(f"{mount}/") for mount in mounts) for file in named)
    ports = {port["name"]: port["containerPort"] for port in container(manifests)["ports"]}
    assert str(transmitter.bind).endswith(f":{ports['signals']}")
    assert str(settings.admin.bind).endswith(f":{ports['sidecar-admin']}")


def test_it_has_no_rights_and_writes_nowhere(manifests: tuple[Manifest, ...]) -> None:
    context = container(manifests)["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsUser"] != 0
    assert all(mount["readOnly"] for mount in container(manifests)["volumeMounts"])
    spec = the(manifests, "Deployment", "signals")["spec"]["template"]["spec"]
    assert not spec["automountServiceAccountToken"]


def test_recipients_reach_the_port_that_the_policy_lets_in(
    manifests: tuple[Manifest, ...],
) -> None:
    policy = the(manifests, "NetworkPolicy", "signals")["spec"]
    let_in = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert let_in == {8090, 9090}
    (port,) = the(manifests, "Service", "signals")["spec"]["ports"]
    assert port["targetPort"] == "signals"
