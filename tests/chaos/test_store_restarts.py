"""The store stops, dies and comes back in the middle of load: nothing acknowledged is lost."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import Context, Resilience, Settings
from tests import plain_http
from tests.adapters.servers import Server, serving
from tests.domain.scenes import policy
from tests.stories.running import Client, Pods, running, token, unique
from tests.stories.spooling import RESTRICTED, metric, with_spool
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)
CONTEXTS = {
    "c1": Context(name="Payments", max_staleness=2.0),
    "c2": Context(name="Reports", when_unknown=Resilience.ALLOW),
}
ENOUGH = 15
"""Events that are acknowledged in each phase, at least."""


@pytest.fixture
def server() -> Iterator[Server]:
    """What it has acknowledged it has given to the operating system: a kill loses none of it."""
    with serving("--appendonly", "yes") as one:
        yield one


class Load:
    """Sessions that are checked, marked and checked again through one pod, without a pause.

    Each request has the client's time-out to be answered in; one that is not ends the load.
    """

    def __init__(self, pods: Pods, pod: int) -> None:
        self.client = Client(pods.addresses[pod].socket)
        self.acknowledged: dict[str, str] = {}
        self.spooled = 0
        self.known = token(unique("user"), unique("session"))
        self.calm: list[tuple[Any, Any]] = []
        self.loosened: list[str] = []
        self.ending = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self.ending.is_set():
                self._turn()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self.client.close()

    def _turn(self) -> None:
        session = unique("session")
        weak = token(unique("user"), session)
        self.client.check(weak)
        reply = self.client.event(
            "network-change", {"session": session}, id=f"of-{session}", data=RESTRICTED
        )
        if reply["ok"]:
            self.acknowledged[session] = weak
            self.spooled += reply.get("spooled", False)
            if self.client.check(weak).get("decision") == "allow":
                self.loosened.append(session)
        routine = self.client.check(self.known, context="")
        reports = self.client.check(self.known, context="c2")
        self.calm.append((routine.get("decision"), reports.get("decision")))


def change_of(directory: Path, url: str) -> Any:
    spooling = with_spool(directory, url)

    def change(settings: Settings, index: int) -> Settings:
        spooled: Settings = spooling(settings, index)
        return msgspec.structs.replace(spooled, contexts=CONTEXTS)

    return change


def view_reason(pods: Pods) -> str:
    """Why the view may be behind, which keeps the pod from being ready; empty: it is not."""
    readyz = pods.addresses[0].admin[0] + "/readyz"
    ready = plain_http.get(readyz).status_code == 200
    report = plain_http.get(readyz, params={"tolerate": ["store", "view"]})
    assert report.status_code == 200  # so a store that is away takes no pod out of service
    (view,) = (check for check in report.json()["checks"] if check["name"] == "view")
    assert ready is not bool(view["reason"])
    return str(view["reason"])


def stale(pods: Pods, context: str) -> float:
    text = plain_http.get(pods.addresses[0].admin[0] + "/metrics").text
    wanted = f'sidecar_context_stale{{context="{context}"}} '
    return next(
        float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted)
    )


def more_acknowledged(loads: list[Load]) -> None:
    """Wait until each load has got on by so many events."""
    before = [len(load.acknowledged) for load in loads]
    for load, had in zip(loads, before, strict=True):
        eventually(
            lambda load=load: (load.failure, len(load.acknowledged)),
            lambda seen, had=had: seen[0] is not None or seen[1] >= had + ENOUGH,
            within=60,
        )
        assert load.failure is None


def test_acknowledged_events_survive_a_store_that_hangs_dies_and_is_started_again(
    server: Server, tmp_path: Path
) -> None:
    with running(server.url, POLICIES, 2, change_of(tmp_path, server.url)) as pods:
        loads = [Load(pods, pod) for pod in (0, 1)]
        for load in loads:
            load.thread.start()
        try:
            more_acknowledged(loads)
            server.process.send_signal(signal.SIGSTOP)
            more_acknowledged(loads)
            assert all(load.spooled for load in loads)
            assert metric(pods, "sidecar_store_up") == 0
            assert metric(pods, "sidecar_spool_events") > 0
            eventually(lambda: stale(pods, "c1"), lambda one: one == 1)
            assert "calls in c1 are answered as when_unknown says" in view_reason(pods)
            server.process.kill()
            server.process.wait()
            more_acknowledged(loads)
            server.path.unlink(missing_ok=True)
            server.start()
            eventually(lambda: metric(pods, "sidecar_store_up"), lambda up: up == 1, within=30)
            eventually(lambda: stale(pods, "c1"), lambda one: one == 0, within=30)
            more_acknowledged(loads)
        finally:
            for load in loads:
                load.ending.set()
                load.thread.join()
        eventually(
            lambda: [metric(pods, "sidecar_spool_events", pod) for pod in (0, 1)],
            lambda left: left == [0, 0],
            within=30,
        )
        assert view_reason(pods) == ""
        assert [load.loosened for load in loads] == [[], []]
        # What is in the view was answered all the while, where nobody asked for freshness.
        assert {one for load in loads for one in load.calm} == {("allow", "allow")}
        for client in pods.clients:
            for weak in (weak for load in loads for weak in load.acknowledged.values()):
                eventually(
                    lambda weak=weak, client=client: client.check(weak).get("decision"),
                    lambda found: found == "step_up",
                    within=20,
                )
