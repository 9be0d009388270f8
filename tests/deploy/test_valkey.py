"""The store's manifests as kubectl renders them, and the overlay of the example pod that uses it.

That the files in them work, `tests/system/test_shipped_store.py` shows.
"""

import re

import kubernetes_validate
import pytest

from sidecar.adapters.redis_server.rights import lacks_of, least_rights, needs_of
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.address import Sentinels, parse_store_address
from tests.adapters.servers import serving
from tests.deploy.manifests import DEPLOY, Manifest, rendered, sidecar, the

OVERLAY = "overlays/ha-store"
BUILT_IN = {"apps", "networking.k8s.io", "policy", "v1"}


@pytest.fixture
def manifests() -> tuple[Manifest, ...]:
    return rendered("valkey")


@pytest.fixture
def workload(manifests: tuple[Manifest, ...]) -> Manifest:
    spec: Manifest = the(manifests, "StatefulSet", "valkey")["spec"]
    return spec


def test_every_object_of_kubernetes_is_valid_to_the_letter(manifests: tuple[Manifest, ...]) -> None:
    ours = [one for one in manifests if one["apiVersion"].split("/")[0] in BUILT_IN]
    assert {one["apiVersion"] for one in manifests if one not in ours} == {"cert-manager.io/v1"}
    for one in ours:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_no_two_servers_share_a_node_and_two_stay_when_nodes_are_drained(
    manifests: tuple[Manifest, ...], workload: Manifest
) -> None:
    labels = workload["template"]["metadata"]["labels"]
    pod = workload["template"]["spec"]
    (apart,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"]["matchLabels"].items() <= labels.items()
    budget = the(manifests, "PodDisruptionBudget", "valkey")["spec"]
    assert (workload["replicas"], budget["maxUnavailable"]) == (3, 1)
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_the_pods_fit_the_restricted_standard(
    manifests: tuple[Manifest, ...], workload: Manifest
) -> None:
    labels = the(manifests, "Namespace", "valkey")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = workload["template"]["spec"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    assert not [one for one in manifests if one["kind"] == "Secret"]


def test_each_container_is_probed_and_life_is_asked_for_less_than_readiness(
    workload: Manifest,
) -> None:
    for container in workload["template"]["spec"]["containers"]:
        words = [
            container[probe]["exec"]["command"][2:]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        ]
        role = container["name"]
        assert words == [[role, "alive"], [role, "alive"], [role]]
        assert container["command"][2:] == [role]


def test_only_sidecars_namespaces_and_the_servers_themselves_are_let_in(
    manifests: tuple[Manifest, ...],
) -> None:
    policy = the(manifests, "NetworkPolicy", "valkey")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (rule,) = policy["ingress"]
    themselves, others = rule["from"]
    assert themselves == {"podSelector": policy["podSelector"]}
    labels = the(rendered(OVERLAY), "Namespace")["metadata"]["labels"]
    assert others["namespaceSelector"]["matchLabels"].items() <= labels.items()
    assert all(rule["to"] and rule["ports"] for rule in policy["egress"])


def test_names_in_certificate_and_address_are_those_of_the_pods(
    manifests: tuple[Manifest, ...], workload: Manifest
) -> None:
    service = the(manifests, "Service", "valkey")["metadata"]
    assert workload["serviceName"] == service["name"]
    names = [f"valkey-{one}.{service['name']}.{service['namespace']}.svc" for one in range(3)]
    env = {one["name"]: one for one in workload["template"]["spec"]["containers"][0]["env"]}
    assert env["PEERS"]["value"].split() == names
    assert env["FIRST"]["value"] == names[0]
    (shown,) = (
        one["spec"]
        for one in manifests
        if one["kind"] == "Certificate" and not one["spec"].get("isCA")
    )
    assert shown["dnsNames"] == names
    ours = {one["name"]: one.get("value") for one in sidecar(rendered(OVERLAY))["env"]}
    address = parse_store_address(str(ours["SIDECAR_STORE__URL"]))
    assert isinstance(address.target, Sentinels)
    assert address.tls
    assert [(one.name, one.port) for one in address.target.hosts] == [(n, 26379) for n in names]
    monitored = re.findall(r"sentinel monitor (\w+)", (DEPLOY / "valkey" / "start.sh").read_text())
    assert set(monitored) == {address.target.service}
    assert ours["SIDECAR_STORE__WAIT_REPLICAS"] == "1"


def test_the_overlay_lets_the_pod_reach_servers_and_sentinels() -> None:
    rules = the(rendered(OVERLAY), "NetworkPolicy")["spec"]["egress"]
    (ports,) = (
        {one["port"] for one in rule["ports"]}
        for rule in rules
        if rule["to"][0].get("namespaceSelector", {}).get("matchLabels")
        == {"kubernetes.io/metadata.name": "valkey"}
    )
    assert ports == {6379, 26379}


def users_of(file: str) -> dict[str, tuple[str, ...]]:
    """The rights of each user of a file, without its password."""
    lines = [line.split() for line in (DEPLOY / "valkey" / file).read_text().splitlines()]
    return {
        words[1]: tuple(word for word in words[3:] if not word.startswith("@")) for words in lines
    }


def test_the_sidecars_user_has_the_least_rights_and_a_server_finds_none_missing() -> None:
    needs = needs_of(StoreSettings(wait_replicas=1), transmits=True)
    rights = users_of("server.acl")["sidecar"]
    assert rights == least_rights(needs)
    config = f"user tried on >tried {' '.join(rights)}\n"
    with serving(config=config) as server, server.client() as client:
        client.execute_command("AUTH", "tried", "tried")
        assert not lacks_of(client, needs)


def test_nobody_has_all_commands_and_who_shows_no_password_has_none() -> None:
    text = (DEPLOY / "valkey" / "server.acl").read_text()
    assert text.startswith("user default off resetpass ")
    assert "nopass" not in text + (DEPLOY / "valkey" / "sentinel.acl").read_text()
    for file in ("server.acl", "sentinel.acl"):
        for name, rights in users_of(file).items():
            if (file, name) == ("server.acl", "default"):
                continue  # is off
            assert "-@all" in rights
            assert not [right for right in rights if right.startswith("+@")]


def placeholders() -> set[str]:
    text = "".join((DEPLOY / "valkey" / f"{one}.acl").read_text() for one in ("server", "sentinel"))
    return set(re.findall(r"@([a-z]+)@", text))


def test_each_user_has_the_hash_of_a_password_that_the_page_says_to_make() -> None:
    script = (DEPLOY / "valkey" / "start.sh").read_text()
    page = (DEPLOY / "README.md").read_text()
    for name in placeholders():
        assert f"s/@{name}@/#$(hash_of " in script
        assert f"--from-literal={name}=" in page
