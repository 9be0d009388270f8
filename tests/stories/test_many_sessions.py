"""A signal touches all the sessions that it is about, among some thousand, and no other."""

import json
from collections.abc import Iterator

import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import Device, RiskLevel, UserRisk
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import CREDENTIAL, Pods, running, token
from tests.waiting import eventually

SESSIONS, DEVICES, USERS = 4_000, 160, 1_000
POLICIES = (
    policy(Device(compliant=False), name="device"),
    policy(UserRisk(RiskLevel.HIGH), name="risk"),
)
OPERATOR = {"Authorization": "Bearer operator"}


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, POLICIES) as both:
        establish(both)
        yield both


def establish(pods: Pods) -> None:
    """Report four thousand live sessions, to both daemons in turn."""
    start = int(now()) - 60
    events = [
        {
            "type": "session-established",
            "id": f"e{number}",
            "time": start,
            "subject": {
                "user": f"u{number % USERS}",
                "device": f"d{number % DEVICES}",
                "session": f"many-{number}",
            },
            "data": {"ip": "192.0.2.1", "acr": "single-factor", "auth_time": start},
        }
        for number in range(SESSIONS)
    ]
    for begin in range(0, SESSIONS, 500):
        url = pods.addresses[(begin // 500) % 2].http[0] + "/v1/events"
        lines = "\n".join(json.dumps(event) for event in events[begin : begin + 500])
        headers = {
            "Content-Type": "application/x-ndjson",
            "Authorization": f"Bearer {CREDENTIAL}",
        }
        answer = plain_http.post(url, content=lines, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        assert all(json.loads(line)["ok"] for line in answer.text.splitlines())


def in_step_up(pods: Pods) -> set[str]:
    """All sessions that wait for a step-up, read page by page."""
    found: set[str] = set()
    cursor = ""
    while True:
        query = {"standing": "step_up", "limit": "1000", "cursor": cursor}
        url = pods.addresses[1].admin[0] + "/v1/sessions"
        page = plain_http.get(url, params=query, headers=OPERATOR, timeout=60).json()
        found |= {one["session"] for one in page["sessions"]}
        cursor = page["cursor"]
        if not cursor:
            return found


def test_a_device_event_marks_all_and_only_its_sessions_and_a_user_event_its_own(
    pods: Pods,
) -> None:
    a, b = pods.clients
    assert in_step_up(pods) == set()
    a.event("device-compliance-change", {"device": "d7"}, data={"current_status": "not-compliant"})
    on_device = {f"many-{number}" for number in range(7, SESSIONS, DEVICES)}
    assert in_step_up(pods) == on_device
    a.event("risk-level-change", {"user": "u11"}, data={"current_level": "HIGH"})
    of_user = {f"many-{number}" for number in range(11, SESSIONS, USERS)}
    assert in_step_up(pods) == on_device | of_user
    for number in (7, 407, 11, 2511, 12, 408):
        user, device = f"u{number % USERS}", f"d{number % DEVICES}"
        weak = token(user, f"many-{number}", age=60, deviceid=device)
        marked = f"many-{number}" in on_device | of_user
        eventually(
            lambda weak=weak: b.check(weak)["decision"],
            lambda found, marked=marked: found == ("step_up" if marked else "allow"),
        )
