"""The central sidecars' manifests as kubectl renders them, and the configuration within."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from sidecar.wire.config.settings_reader import read_settings
from tests.deploy.manifests import DEPLOY, Manifest, rendered, the
from tests.system.gateways.central_gateways import ASKING

NAME = "stepup-sidecar-central"
GATEWAYS = sorted((DEPLOY / "central" / "gateways").glob("*.yaml"))


@pytest.fixture
def manifests() -> tuple[Manifest, ...]:
    return rendered("central")


def pod(manifests: tuple[Manifest, ...]) -> Manifest:
    spec: Manifest = the(manifests, "Deployment", NAME)["spec"]["template"]["spec"]
    return spec


def test_every_object_is_valid_to_the_letter(manifests: tuple[Manifest, ...]) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_configuration_asks_who_asks_and_names_mounted_files(
    manifests: tuple[Manifest, ...],
) -> None:
    text = the(manifests, "ConfigMap", "central-config")["data"]["sidecar.yaml"]
    settings = read_settings(text, "/etc/sidecar/sidecar.yaml", {}, lambda _: "a-credential")
    central = settings.central
    files = [central.tls_cert_file, central.tls_key_file, central.client_ca_file]
    files += [one.token_file for one in central.askers if one.token_file]
    (container,) = pod(manifests)["containers"]
    mounted = [one["mountPath"] for one in container["volumeMounts"] if one.get("readOnly")]
    assert all(any(file.startswith(f"{path}/") for path in mounted) for file in files)
    assert not settings.http.enabled
    assert settings.shutdown.lame_duck > 0
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(central.bind).endswith(f":{ports['central']}")
    (service,) = the(manifests, "Service", NAME)["spec"]["ports"]
    assert service["targetPort"] == "central"
    grace = pod(manifests)["terminationGracePeriodSeconds"]
    assert grace > settings.work.drain_timeout + settings.shutdown.lame_duck


def test_it_has_no_rights_and_holds_no_secret(manifests: tuple[Manifest, ...]) -> None:
    (container,) = pod(manifests)["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not pod(manifests)["automountServiceAccountToken"]
    assert not [one for one in manifests if one["kind"] == "Secret"]


@pytest.mark.parametrize("file", GATEWAYS, ids=lambda file: file.stem)
def test_a_gateways_example_asks_the_service_over_tls_and_says_what_was_run_of_it(
    file: Path,
) -> None:
    text = file.read_text()
    words = " ".join(text.replace("#", "").split())
    assert "was run with" in words
    assert "has not been run here" in words
    assert file.stem in ASKING
    documents = list(yaml.safe_load_all(text))
    assert NAME in str(documents)
    assert "8443" in str(documents)
    assert "http://" not in text
    assert "x-sidecar-subject" in text.lower()


def test_the_objects_for_ingress_nginx_are_valid_to_the_letter() -> None:
    (file,) = (one for one in GATEWAYS if one.stem == "ingress-nginx")
    objects = list(yaml.safe_load_all(file.read_text()))
    assert [one["kind"] for one in objects] == ["Ingress", "ConfigMap"]
    for one in objects:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
