"""The continuous build runs what anybody can run, and nothing else."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_the_suite_and_the_wheels_are_checked() -> None:
    commands = {step["run"] for one in WORKFLOWS for step in steps(one) if "run" in step}
    assert commands == {".ci/run", "make check-wheel"}


@pytest.mark.parametrize(
    ("project", "job", "key"),
    [(".", "suite", "python"), (".", "wheels", "python"), ("clients/python", "wheels", "client")],
)
def test_the_oldest_python_of_each_wheel_is_checked(project: str, job: str, key: str) -> None:
    wanted = tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"]
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())["jobs"]
    oldest = str(wanted["requires-python"]).removeprefix(">=")
    assert oldest in jobs[job]["strategy"]["matrix"][key]
    assert f"Programming Language :: Python :: {oldest}" in wanted["classifiers"]


def test_the_wheels_are_built_installed_and_used_apart() -> None:
    script = (ROOT / "tools" / "check-wheel").read_text()
    for part in ("./clients/python .", "stepup_client-*.whl", "tests/client/test_examples.py"):
        assert part in script
    assert script.count(" -m mypy --strict ") == 3, "an app that is right, a wrong one, examples"


@pytest.mark.parametrize("project", [".", "clients/python"])
def test_a_wheel_says_where_it_comes_from(project: str) -> None:
    heard = tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"]
    owners = (ROOT / ".github" / "CODEOWNERS").read_text()
    (organization,) = set(re.findall(r"@([a-z-]+)/", owners))
    assert {*heard["urls"]} == {"Homepage", "Documentation", "Changelog", "Issues"}
    for url in heard["urls"].values():
        assert url.startswith(f"https://github.com/{organization}/stepup-sidecar")
        _, _, path = url.partition("/main/")
        assert (ROOT / path).exists()
    assert (ROOT / project / heard["readme"]).exists()
    assert (ROOT / project / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_each_make_target_of_a_workflow_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for workflow in WORKFLOWS:
        for step in steps(workflow):
            command, _, target = step.get("run", "").partition(" ")
            assert command != "make" or target in targets


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_keeps_no_credential(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_a_form_has_a_field_that_must_be_filled_in(form: Path) -> None:
    body = yaml.safe_load(form.read_text()).get("body")
    if form.name != "config.yml":
        assert any(part.get("validations", {}).get("required") for part in body)
