"""Describes the additions to a pod: the sidecar, its volumes, and a mount for each app.

The kustomize component (`deploy/k8s/components/sidecar`) and the Helm chart are generated from
this, and the webhook adds it to pods. Nothing of the pod itself is changed: neither its security
context nor its group, so that the sidecar suits whatever the pod is.
"""

from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

LABEL = "stepup-sidecar.github.io/inject"
"""The label by which a pod asks for the sidecar."""
ENABLED = "enabled"
"""The label's value that asks for it; any other asks for nothing."""
APP_LABEL = "app.kubernetes.io/name"
"""The label of a pod that is its app's id in policies."""
CONTAINER = "stepup-sidecar"
ADMIN_PORT = 9090
DATA_PORT = 8181
"""The port on loopback at which a proxy in the pod asks."""
SOCKET_VOLUME = "stepup-sidecar-socket"
SOCKET_DIRECTORY = "/run/sidecar"
USER = 65532

_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_MIB = 1 << 20


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The image, and the objects of the pod's own namespace that the sidecar reads.

    `store` has the keys `url` and `password`, `admin` has `token`. `config` holds `sidecar.yaml`.
    """

    image: str
    config: str = "sidecar-config"
    policies: str = "sidecar-policies"
    store: str = "sidecar-store"
    admin: str = "sidecar-admin"


def container(names: Names) -> Json:
    """Return the sidecar: an init container that restarts always, so it starts before the app.

    The kubelet starts the next container when the startup probe has succeeded once, and ends this
    one after all ordinary containers (Kubernetes 1.29 or newer).
    """
    return {
        "name": CONTAINER,
        "image": names.image,
        "restartPolicy": "Always",
        "args": ["run", "--config", "/etc/sidecar/sidecar.yaml"],
        "env": _environment(names),
        "ports": [{"name": "sidecar-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/startupz", every=1, failures=60),
        "livenessProbe": _probe("/livez", every=10, failures=3),
        "readinessProbe": _probe("/readyz?tolerate=store&tolerate=view", every=5, failures=2),
        "resources": {
            "requests": {"cpu": "50m", "memory": "96Mi", "ephemeral-storage": "16Mi"},
            "limits": {"cpu": "1", "memory": "128Mi", "ephemeral-storage": "128Mi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": SOCKET_VOLUME, "mountPath": SOCKET_DIRECTORY},
            {"name": f"{CONTAINER}-spool", "mountPath": "/var/lib/sidecar"},
            *(
                {"name": f"{CONTAINER}-{volume}", "mountPath": path, "readOnly": True}
                for volume, path in (
                    ("config", "/etc/sidecar"),
                    ("policies", "/etc/sidecar-policies"),
                    ("store", "/etc/sidecar-store"),
                    ("admin", "/etc/sidecar-admin"),
                    # Where something is mounted, Kubernetes mounts no service account's token.
                    ("no-token", _TOKEN_DIRECTORY),
                )
            ),
        ],
    }


def volumes(names: Names) -> list[Json]:
    """Return the volumes, each with the sidecar's name before its own.

    Only the sidecar mounts the secrets, and its group is not the pod's: so they are readable for
    all within the volume.
    """
    return [
        {"name": SOCKET_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": f"{CONTAINER}-spool", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": f"{CONTAINER}-config", "configMap": {"name": names.config}},
        {"name": f"{CONTAINER}-policies", "configMap": {"name": names.policies}},
        {
            "name": f"{CONTAINER}-store",
            "secret": {"secretName": names.store, "defaultMode": 0o444},
        },
        {
            "name": f"{CONTAINER}-admin",
            "secret": {"secretName": names.admin, "defaultMode": 0o444},
        },
        {"name": f"{CONTAINER}-no-token", "emptyDir": {"sizeLimit": "1Mi"}},
    ]


def mount() -> Json:
    """Return the mount of an app's container: it may connect, and put no other socket there."""
    return {"name": SOCKET_VOLUME, "mountPath": SOCKET_DIRECTORY, "readOnly": True}


def _environment(names: Names) -> list[Json]:
    label = {"fieldRef": {"fieldPath": f"metadata.labels['{APP_LABEL}']"}}
    url = {"secretKeyRef": {"name": names.store, "key": "url"}}
    given = {
        "SIDECAR_CONFIG": "/etc/sidecar/sidecar.yaml",
        "SIDECAR_STORE__PASSWORD_FILE": "/etc/sidecar-store/password",
        "SIDECAR_ADMIN__TOKEN_FILE": "/etc/sidecar-admin/token",
        "SIDECAR_ADMIN__BIND": f"[::]:{ADMIN_PORT}",
        "SIDECAR_HTTP__BIND": f"127.0.0.1:{DATA_PORT}",
        "SIDECAR_SOCKET__PATH": f"{SOCKET_DIRECTORY}/sidecar.sock",
        # Whoever has the volume mounted is let in, whatever their uid: these are the pod's own.
        "SIDECAR_SOCKET__MODE": "0666",
        "SIDECAR_SPOOL__DIR": "/var/lib/sidecar/spool",
        "SIDECAR_SPOOL__MAX_BYTES": str(48 * _MIB),
        "SIDECAR_POLICIES__PATH": "/etc/sidecar-policies",
    }
    return [
        {"name": "SIDECAR_APP__ID", "valueFrom": label},
        {"name": "SIDECAR_STORE__URL", "valueFrom": url},
        *({"name": name, "value": value} for name, value in given.items()),
    ]


def _probe(path: str, *, every: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": ADMIN_PORT},
        "periodSeconds": every,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }
