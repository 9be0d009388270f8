"""Why a live session is challenged, asked of whole daemons; what a policy on trial would change."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import Networks, PolicyState, Selection
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

RESTRICTED = Networks(Selection(frozenset({"restricted"})))
POLICIES = (
    policy(RESTRICTED, name="segment"),
    msgspec.structs.replace(
        policy(RESTRICTED, name="on-trial", block=True), state=PolicyState.REPORT_ONLY
    ),
)
HEADERS = {"Authorization": "Bearer operator"}


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES) as both:
        yield both


def explained(pods: Pods, session: str, contexts: str) -> Any:
    url = f"{pods.addresses[1].admin[0]}/v1/sessions/{session}"
    return plain_http.get(url, params={"explain": contexts}, headers=HEADERS).json()


def restricted(pods: Pods) -> str:
    """A session that moved into the restricted segment, as both pods know."""
    user, session = unique("user"), unique("session")
    pods.clients[0].check(token(user, session))
    pods.clients[0].event("network-change", {"session": session}, data={"segment": "restricted"})
    eventually(lambda: pods.clients[0].check(token(user, session)), lambda a: a["status"] == 401)
    return session


def test_any_pod_explains_what_another_one_answers(pods: Pods) -> None:
    session = restricted(pods)
    heard = eventually(
        lambda: explained(pods, session, "c1"), lambda heard: heard.get("verdict") == "step_up"
    )
    assert heard["reasons"] == ["segment"]
    outcomes = {each["policy"]: each["outcome"] for each in heard["policies"]}
    assert outcomes["segment"] == "step-up"
    assert outcomes["on-trial"] == "deny"
    assert heard["session"]["network"] == "restricted (said by local:payroll)"
    routine = explained(pods, session, "")
    assert (routine["verdict"], routine["pending"]) == ("allow", True)


def test_the_command_reports_the_same(pods: Pods) -> None:
    session = restricted(pods)
    eventually(
        lambda: explained(pods, session, "c1"), lambda heard: heard.get("verdict") == "step_up"
    )
    words = ("what-if", "--session", session, "--context", "c1")
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *words, "--url", pods.addresses[1].admin[0]],
        env={"SIDECAR_ADMIN__TOKEN": "operator", "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "segment: step-up" in done.stdout
    assert "on-trial [report-only]: deny" in done.stdout


def test_what_a_policy_on_trial_would_have_changed_is_counted(pods: Pods) -> None:
    restricted(pods)
    wanted = 'sidecar_report_only_total{answered="step_up",decision="deny",policy="on-trial"}'
    counts = [line for line in exposed(pods).splitlines() if line.startswith(wanted)]
    assert len(counts) == 1  # in the pod that was asked
    assert float(counts[0].rpartition(" ")[2]) >= 1
    marks = 'sidecar_marks_total{policy="on-trial",signal="network-change",state="report-only"}'
    eventually(lambda: exposed(pods), lambda text: marks in text)


def exposed(pods: Pods) -> str:
    """The metrics of all pods: whichever reports a mark counts it."""
    return "".join(plain_http.get(f"{each.admin[0]}/metrics").text for each in pods.addresses)
