"""Pods that cannot have the sidecar are refused in words that say what to change."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.injection.additions import CONTAINER, ENABLED, LABEL, Names, container
from sidecar.wire.injection.pod_patch import Pod, RefusedPod, patch_of
from sidecar.wire.injection.reviews import LONGEST_REASON, InvalidReview, admit

NAMES = Names(image="stepup-sidecar:1")
LABELS = {LABEL: ENABLED, "app.kubernetes.io/name": "payroll"}
OURS = {name: container(NAMES)[name] for name in ("name", "restartPolicy", "volumeMounts")}


def pod(spec: dict[str, Any], labels: dict[str, str] | None = None) -> Pod:
    whole = {"containers": [{"name": "app"}], **spec}
    return msgspec.convert(
        {"metadata": {"labels": LABELS if labels is None else labels}, "spec": whole}, Pod
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"os": {"name": "windows"}}, "windows"),
        ({"containers": [{"name": "app", "ports": [{"containerPort": 9090}]}]}, "port 9090"),
        ({"containers": [{"name": "app", "ports": [{"containerPort": 8181}]}]}, "port 8181"),
        ({"containers": [{"name": CONTAINER}]}, CONTAINER),
        ({"initContainers": [{"name": CONTAINER}]}, "not the sidecar"),
        ({"initContainers": [{**OURS, "restartPolicy": "OnFailure"}]}, "not the sidecar"),
        ({"initContainers": [{**OURS, "volumeMounts": []}]}, "not the sidecar"),
        ({"initContainers": [OURS], "hostNetwork": True}, "hostNetwork"),
        ({"initContainers": [OURS], "containers": [{"name": CONTAINER}]}, CONTAINER),
        (
            {
                "initContainers": [OURS],
                "containers": [{"name": "late", "ports": [{"containerPort": 9090}]}],
            },
            "port 9090",
        ),
        ({"volumes": [{"name": "stepup-sidecar-config"}]}, "stepup-sidecar-config"),
        (
            {
                "containers": [
                    {"name": "a", "volumeMounts": [{"name": "x", "mountPath": "/run/sidecar/"}]}
                ]
            },
            "/run/sidecar",
        ),
    ],
)
def test_a_pod_that_cannot_have_it_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedPod, match=words):
        patch_of(pod(spec), NAMES)


def test_a_pod_whose_app_has_no_name_is_refused() -> None:
    with pytest.raises(RefusedPod, match=r"app\.kubernetes\.io/name"):
        patch_of(pod({}, {LABEL: ENABLED}), NAMES)


def test_whoever_asks_for_nothing_is_never_refused() -> None:
    assert patch_of(pod({"hostNetwork": True}, {}), NAMES) == []


def test_a_refusal_reaches_whoever_creates_the_pod() -> None:
    spec = {"hostNetwork": True, "containers": [{"name": "app"}]}
    admission = admit(review(object={"metadata": {"labels": LABELS}, "spec": spec}), NAMES)
    assert admission.outcome == "refused"
    response = json.loads(admission.body)["response"]
    assert response["allowed"] is False
    assert "hostNetwork" in response["status"]["message"]
    assert "patch" not in response


def review(**request: Any) -> bytes:
    whole = {
        "uid": "u",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "object": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "app"}]}},
        **request,
    }
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": whole}
    ).encode()


@pytest.mark.parametrize(
    "changed",
    [
        {"operation": "UPDATE"},
        {"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}},
        {"operation": "CONNECT", "object": None},
        {"subResource": "binding"},
    ],
)
def test_what_is_no_new_pod_is_left_alone(changed: dict[str, Any]) -> None:
    assert admit(review(**changed), NAMES).outcome == "left"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"pod"',
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        review().replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"),
        review(uid=5),
        review(uid=""),
        review(uid="u" * 129),
        review(operation="create"),
        review(kind={"group": "", "version": "v2", "kind": "Pod"}),
        review(kind={"group": "other.example", "version": "v1", "kind": "Pod"}),
        review(object={"spec": {"containers": [{"name": 5}]}}),
        review(object={"spec": {}}),
        review(object=None),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_review_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidReview):
        admit(body, NAMES)


def test_what_is_said_of_no_review_is_short_whatever_came() -> None:
    with pytest.raises(InvalidReview) as refused:
        admit(review().replace(b"admission.k8s.io/v1", b"v" * 1_000_000), NAMES)
    assert len(str(refused.value)) <= LONGEST_REASON


NAMED = st.text("abc-", min_size=1, max_size=4)
MOUNTS = st.lists(
    st.fixed_dictionaries({"name": NAMED, "mountPath": st.sampled_from(["/a", "/b"])}), max_size=3
)
CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": NAMED}, optional={"volumeMounts": MOUNTS | st.none()}),
    max_size=3,
)
SPECS = st.fixed_dictionaries(
    {"containers": CONTAINERS},
    optional={
        "initContainers": CONTAINERS | st.none(),
        "volumes": st.lists(st.fixed_dictionaries({"name": NAMED}), max_size=3) | st.none(),
    },
)


@given(SPECS)
def test_every_operation_adds_the_sidecars_own(spec: dict[str, Any]) -> None:
    patch = patch_of(pod(spec), NAMES)
    assert len(patch) >= len(spec["containers"]) + 2
    for one in patch:
        assert one["op"] == "add"
        assert "stepup-sidecar" in json.dumps(one["value"])
