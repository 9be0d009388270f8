"""Says what has to be added to a pod, as a JSON patch (RFC 6902); a pure function of the pod.

Only `add` is used, and only what is missing is added: so a pod that has all of it gets an empty
patch, and one whose containers another webhook has completed meanwhile gets the rest.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.wire.injection.additions import (
    ADMIN_PORT,
    APP_LABEL,
    CONTAINER,
    DATA_PORT,
    ENABLED,
    LABEL,
    SOCKET_DIRECTORY,
    SOCKET_VOLUME,
    Json,
    Names,
    container,
    mount,
    volumes,
)

_TAKEN = (ADMIN_PORT, DATA_PORT)


class RefusedPod(Exception):  # noqa: N818 - named by who must act: the owner of the pod
    """A pod asks for the sidecar, and cannot have it; the message says what to change."""


class Named(msgspec.Struct, frozen=True):
    """Something that has a name."""

    name: str


class Port(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a container."""

    container_port: int


class VolumeMount(msgspec.Struct, frozen=True, rename="camel"):
    """A mount of a container."""

    name: str
    mount_path: str


class Container(msgspec.Struct, frozen=True, rename="camel"):
    """A container, as far as it matters to the sidecar."""

    name: str
    restart_policy: str | None = None
    ports: tuple[Port, ...] | None = None
    volume_mounts: tuple[VolumeMount, ...] | None = None


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """The containers of a pod, and where they run."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] | None = None
    volumes: tuple[Named, ...] | None = None
    host_network: bool | None = None
    os: Named | None = None


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The labels of a pod."""

    labels: dict[str, str] | None = None


class Pod(msgspec.Struct, frozen=True, rename="camel"):
    """A pod, as far as it matters to the sidecar."""

    spec: Spec
    metadata: Metadata = Metadata()


def patch_of(pod: Pod, names: Names) -> list[Json]:
    """Return what adds the sidecar to a pod; empty where it asks for none, or has all of it.

    Raises `RefusedPod`.
    """
    labels = pod.metadata.labels or {}
    if labels.get(LABEL) != ENABLED:
        return []
    spec = pod.spec
    has_it = any(one.name == CONTAINER for one in spec.init_containers or ())
    _refuse_unsuitable(spec, labels)
    if not has_it:
        _refuse_taken_volumes(spec)
    return [*_mounts(spec), *([] if has_it else _containers_and_volumes(spec, names))]


def _containers_and_volumes(spec: Spec, names: Names) -> Iterator[Json]:
    """Put the sidecar before the pod's own init containers: those may ask it, too."""
    sidecar, added = container(names), volumes(names)
    if spec.init_containers:
        yield _add("/spec/initContainers/0", sidecar)
    else:
        yield _add("/spec/initContainers", [sidecar])
    if spec.volumes:
        for index, volume in enumerate(added):
            yield _add(f"/spec/volumes/{index}", volume)
    else:
        yield _add("/spec/volumes", added)


def _mounts(spec: Spec) -> Iterator[Json]:
    for index, one in enumerate(spec.containers):
        path, own = f"/spec/containers/{index}/volumeMounts", one.volume_mounts
        if not own:
            yield _add(path, [mount()])
        elif all(mounted.name != SOCKET_VOLUME for mounted in own):
            yield _add(f"{path}/-", mount())


def _add(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}


def _refuse_unsuitable(spec: Spec, labels: dict[str, str]) -> None:
    if spec.host_network:
        raise RefusedPod(
            "hostNetwork: the sidecar trusts who asks it on loopback, which here is the node's; "
            f"take the label {LABEL} away, or hostNetwork"
        )
    if spec.os is not None and spec.os.name != "linux":
        raise RefusedPod(f"the sidecar runs on Linux, and this pod on {spec.os.name[:20]}")
    if not labels.get(APP_LABEL):
        raise RefusedPod(f"the label {APP_LABEL} is missing: it is the app's id in policies")
    for one in spec.init_containers or ():
        if one.name == CONTAINER:
            _refuse_foreign(one)
        else:
            _refuse_container(one)
    for one in spec.containers:
        if one.name == CONTAINER:
            raise RefusedPod(f"a container is named {CONTAINER}, and is not the sidecar")
        _refuse_container(one)


def _refuse_taken_volumes(spec: Spec) -> None:
    for volume in spec.volumes or ():
        if volume.name.startswith(f"{CONTAINER}-"):
            raise RefusedPod(f"the volume {volume.name[:63]} has a name that the sidecar needs")


def _refuse_foreign(one: Container) -> None:
    """Refuse an init container with the sidecar's name that does not run for as long as the app.

    Its image and environment may be others than ours: webhooks that pin images change them.
    """
    mounted = {(each.name, each.mount_path.rstrip("/")) for each in one.volume_mounts or ()}
    if one.restart_policy != "Always" or (SOCKET_VOLUME, SOCKET_DIRECTORY) not in mounted:
        raise RefusedPod(f"an init container is named {CONTAINER}, and is not the sidecar")


def _refuse_container(one: Container) -> None:
    name = one.name[:63]
    for port in one.ports or ():
        if port.container_port in _TAKEN:
            raise RefusedPod(f"container {name} has the sidecar's port {port.container_port}")
    for mounted in one.volume_mounts or ():
        if mounted.name != SOCKET_VOLUME and mounted.mount_path.rstrip("/") == SOCKET_DIRECTORY:
            raise RefusedPod(f"container {name} mounts {SOCKET_DIRECTORY}, the sidecar's own")
