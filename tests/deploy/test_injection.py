"""The webhook's patch and the component add the same to pods of ten shapes."""

import json

import kubernetes_validate
import pytest

from sidecar.wire.injection.additions import CONTAINER, LABEL, SOCKET_VOLUME
from tests.deploy.completed_pods import BEFORE, SHAPES, by_component, by_webhook, template


def test_there_are_ten_shapes() -> None:
    assert len(SHAPES) == 10


@pytest.mark.parametrize("name", SHAPES)
def test_webhook_and_component_make_the_same_pod(name: str) -> None:
    made = by_webhook(template(BEFORE[name]))
    assert made == template(by_component(name))
    sidecar, *others = made["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == (CONTAINER, "Always")
    assert others == template(BEFORE[name])["spec"].get("initContainers", [])
    for one in made["spec"]["containers"]:
        (mounted,) = (each for each in one["volumeMounts"] if each["name"] == SOCKET_VOLUME)
        assert mounted["readOnly"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_pod_that_was_completed_gets_nothing_more(name: str) -> None:
    done = template(by_component(name))
    assert by_webhook(done) == done


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_added_is_valid_to_the_letter(name: str) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(by_component(name), version, strict=True)


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_of_the_pod_itself_is_changed(name: str) -> None:
    before, after = template(BEFORE[name]), template(by_component(name))
    assert after["metadata"] == before["metadata"]
    spec, own = after["spec"], before["spec"]
    for key in own.keys() - {"containers", "initContainers", "volumes"}:
        assert spec[key] == own[key]
    assert spec.keys() - own.keys() <= {"initContainers", "volumes"}


def test_a_workload_without_the_label_is_left_alone() -> None:
    assert by_component("unlabelled") == BEFORE["unlabelled"]
    assert by_webhook(template(BEFORE["unlabelled"])) == template(BEFORE["unlabelled"])


def test_a_container_that_another_webhook_adds_later_gets_its_mount() -> None:
    pod = by_webhook(template(BEFORE["bare"]))
    pod["spec"]["containers"].append({"name": "later", "image": "later:1"})
    again = by_webhook(pod)
    assert again["spec"]["containers"][-1]["volumeMounts"][0]["name"] == SOCKET_VOLUME
    assert len(again["spec"]["initContainers"]) == 1


def test_the_label_must_say_enabled() -> None:
    pod = json.loads(json.dumps(template(BEFORE["bare"])))
    for value in ("disabled", "true", "Enabled", ""):
        pod["metadata"]["labels"][LABEL] = value
        assert by_webhook(pod) == pod
