"""Generates what is shipped for Kubernetes twice, or from code: `python deploy/generate.py`.

`tests/deploy/test_generated.py` fails where what is committed is another.
"""

import copy
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import yaml

from sidecar import __version__
from sidecar.adapters.redis_server.rights import least_rights, needs_of
from sidecar.wire.injection.additions import (
    CONTAINER,
    Names,
    container,
    mount,
    volumes,
)
from sidecar.wire.settings.settings import StoreSettings

DEPLOY = Path(__file__).parent
COMPONENT = "k8s/components/sidecar"
IMAGE = f"stepup-sidecar:{__version__}"
_MADE = "# Made by deploy/generate.py from sidecar/wire/injection/additions.py; changed there.\n"


class _Dumper(yaml.SafeDumper):
    """Indents lists, as the other manifests do, and repeats nothing by reference."""

    def increase_indent(self, *_: object, **__: object) -> None:
        """Indent a list below its key."""
        super().increase_indent(False, False)

    def ignore_aliases(self, _: Any) -> bool:
        """Write all out."""
        return True


def dumped(*documents: Any) -> str:
    """Return YAML of these documents."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100)


def component() -> dict[str, str]:
    """Return the files of the component that adds the sidecar."""
    names = Names(image=IMAGE)
    spec = {"initContainers": [container(names)], "volumes": volumes(names)}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "any"},
        "spec": {"template": {"spec": spec}},
    }
    mounted = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{CONTAINER}-mount",
            "annotations": {"config.kubernetes.io/local-config": "true"},
        },
        "mount": mount(),
    }
    return {
        f"{COMPONENT}/sidecar.yaml": _MADE + dumped(workload),
        f"{COMPONENT}/mount.yaml": _MADE + dumped(mounted),
    }


CHART = "helm/stepup-sidecar"
_CHART_MADE = "# Made by deploy/generate.py from deploy/k8s/overlays/injector; changed there.\n"
_VALUES = {
    "NAMESPACE": "{{ .Release.Namespace }}",
    "IMAGE": "{{ .Values.image.repository }}:{{ .Values.image.tag }}",
    "REPLICAS": "{{ .Values.replicas }}",
    "RESOURCES": "{{ toJson .Values.resources }}",
    "PRIORITY": "{{ .Values.priorityClassName }}",
    "MONITORING": "{{ .Values.monitoringNamespace }}",
    "FAILURE": "{{ .Values.failurePolicy }}",
    "AUTHORITY": "{{ .Values.caBundle }}",
}
"""What users change, by the marks that stand for it until the YAML is written."""


def rendered(variant: str) -> list[Any]:
    """Return what kustomize makes of a directory."""
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    words = [kubectl, "kustomize", DEPLOY / "k8s" / variant]
    done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603 - our words
    return list(yaml.safe_load_all(done.stdout))


def chart() -> dict[str, str]:
    """Return the chart's templates: one for each object of the overlay but the namespace."""
    templates = {}
    for one in rendered("overlays/injector"):
        if one["kind"] != "Namespace":
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", one["kind"]).lower()
            templates[f"{CHART}/templates/{name}.yaml"] = _CHART_MADE + template(one)
    return templates


def template(manifest: Any) -> str:
    """Return the template that an object of the overlay is rendered from."""
    one = copy.deepcopy(manifest)
    text = _marked(one)
    for name, value in _VALUES.items():
        text = text.replace(f"zz{name}zz", value)
    match one["kind"]:
        case "Issuer" | "Certificate":
            text = f"{{{{- if .Values.certManager.enabled }}}}\n{text}{{{{- end }}}}\n"
        case "MutatingWebhookConfiguration":
            text = re.sub(
                r"(  annotations:\n    cert-manager\.io/[^\n]*\n)",
                r"{{- if .Values.certManager.enabled }}\n\1{{- end }}\n",
                text,
            )
            text = re.sub(
                r"( *caBundle: [^\n]*\n)", r"{{- if .Values.caBundle }}\n\1{{- end }}\n", text
            )
        case _:
            pass
    return text


def _marked(one: Any) -> str:
    """Put marks where users change something, and return the YAML."""
    spec = one.get("spec", {})
    match one["kind"]:
        case "Deployment":
            pod = spec["template"]["spec"]
            (container,) = pod["containers"]
            spec["replicas"] = "zzREPLICASzz"
            pod["priorityClassName"] = "zzPRIORITYzz"
            container["image"] = container["env"][0]["value"] = "zzIMAGEzz"
            container["resources"] = "zzRESOURCESzz"
        case "NetworkPolicy":
            (peer,) = spec["ingress"][1]["from"]
            peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = (
                "zzMONITORINGzz"
            )
        case "MutatingWebhookConfiguration":
            (hook,) = one["webhooks"]
            hook["failurePolicy"] = "zzFAILUREzz"
            hook["clientConfig"]["caBundle"] = "zzAUTHORITYzz"
            hook["clientConfig"]["service"]["namespace"] = "zzNAMESPACEzz"
            (expression,) = hook["namespaceSelector"]["matchExpressions"]
            expression["values"] = [
                "zzNAMESPACEzz" if name == "stepup-sidecar" else name
                for name in expression["values"]
            ]
            one["metadata"]["annotations"] = {
                "cert-manager.io/inject-ca-from": "zzNAMESPACEzz/stepup-sidecar-injector"
            }
        case "Certificate":
            spec["dnsNames"] = [
                name.replace(".stepup-sidecar.", ".zzNAMESPACEzz.") for name in spec["dnsNames"]
            ]
        case _:
            pass
    if "namespace" in one["metadata"]:
        one["metadata"]["namespace"] = "zzNAMESPACEzz"
    return dumped(one)


MONITORING = "k8s/monitoring"
_MONITORING_MADE = "# Made by deploy/generate.py from deploy/observability; changed there.\n"
DASHBOARD_LABEL = {"grafana_dashboard": "1"}
"""What the sidecar of Grafana's chart looks for."""


def monitoring() -> dict[str, str]:
    """Return alert rules and dashboards as objects of Kubernetes."""
    observability = DEPLOY / "observability"
    rules = yaml.safe_load((observability / "prometheus" / "rules.yaml").read_text())
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": CONTAINER},
        "spec": rules,
    }
    dashboards = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{CONTAINER}-{file.stem}", "labels": DASHBOARD_LABEL},
            # Closely written, as `kubectl apply` keeps a second copy, of at most 256 KiB.
            "data": {f"{CONTAINER}-{file.name}": json.dumps(json.loads(file.read_text()))},
        }
        for file in sorted((observability / "grafana").glob("*.json"))
    ]
    return {
        f"{MONITORING}/prometheus-rule.yaml": _MONITORING_MADE + dumped(rule),
        f"{MONITORING}/dashboards.yaml": _MONITORING_MADE + dumped(*dashboards),
    }


VALKEY = "k8s/valkey"
_HELLO = "__sentinel__:hello"
_NOTHING = ("resetkeys", "resetchannels", "-@all")
_OF_NOBODY = ("resetpass", "~*", "&*", "+@all")
"""Of the default user, whom nobody can become, as it is off and has no password.

Redis 7.0 reads its own append-only file as that user, and leaves out the transactions for whose
commands it has no rights.
"""
_OF_REPLICATION = (*_NOTHING, "+psync", "+replconf", "+ping")
"""What a replica says to its master (Valkey, "ACL rules for Sentinel and replicas")."""
_OF_WATCHER = (
    *(*_NOTHING, f"&{_HELLO}", "+multi", "+exec", "+slaveof", "+replicaof", "+ping", "+info"),
    *("+role", "+publish", "+subscribe", "+config|rewrite", "+client|setname", "+client|kill"),
    "+script|kill",
)
"""What a sentinel says to servers (ibidem), and the probes of the pod: `info` and `ping`."""
_OF_PEER = (
    *(*_NOTHING, f"&{_HELLO}", "+ping", "+publish", "+client|setname"),
    *("+sentinel|is-master-down-by-addr", "+sentinel|get-master-addr-by-name"),
    *("+sentinel|replicas", "+sentinel|ckquorum"),
)
"""What sentinels say to one another; and what a pod asks them at its start, and in its probes."""
_OF_ASKER = (*_NOTHING, "+ping", "+sentinel|masters", "+sentinel|get-master-addr-by-name")
"""What sidecars ask sentinels, as the default user, whose password is all that they show."""


def valkey() -> dict[str, str]:
    """Return the users of the store's servers, and of its sentinels.

    `@NAME@` stands for a password's hash, which `start.sh` puts there. Sidecars and the transmitter
    share a user.
    """
    sidecar = least_rights(needs_of(StoreSettings(wait_replicas=1), transmits=True))
    users = {
        "server.acl": {
            "default off": _OF_NOBODY,
            "sidecar on @sidecar@": sidecar,
            "replication on @replication@": _OF_REPLICATION,
            "watcher on @watcher@": _OF_WATCHER,
        },
        "sentinel.acl": {
            "default on @sentinels@": _OF_ASKER,
            "watcher on @watcher@": _OF_PEER,
        },
    }
    return {
        f"{VALKEY}/{file}": "".join(
            f"user {name} {' '.join(rights)}\n" for name, rights in of_file.items()
        )
        for file, of_file in users.items()
    }


def generated() -> dict[str, str]:
    """Return every generated file's text, by its path below `deploy`."""
    return {**component(), **chart(), **monitoring(), **valkey()}


def main() -> int:
    """Write them all."""
    for path, text in generated().items():
        file = DEPLOY / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
