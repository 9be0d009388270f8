"""Daemons whose events are confirmed by a replica, and what they have logged."""

import msgspec

from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.chaos.load import Loads
from tests.stories.running import Pods
from tests.waiting import eventually

STALENESS = 2.0
BOUND = STALENESS + 1.0
"""Seconds after which a mark must be in force everywhere.

While a failover cuts a sidecar off from news, it may be behind by `sessions.max_staleness`.
"""

LAST_MOMENTS = 1.0
"""Seconds about a master's death in which what it wrote may be on no replica."""


def confirmed(settings: Settings, _: int) -> Settings:
    """Settings with which an event is acknowledged once a replica has it."""
    store = msgspec.structs.replace(settings.store, wait_replicas=1, wait_timeout=0.3, timeout=0.5)
    sessions = msgspec.structs.replace(settings.sessions, max_staleness=STALENESS)
    return msgspec.structs.replace(settings, store=store, sessions=sessions)


def marks_heard(pods: Pods) -> int:
    """How many marks all have counted."""
    count = 0.0
    for address in pods.addresses:
        text = plain_http.get(address.admin[0] + "/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("sidecar_marks_total{")]
        count += sum(float(line.split()[-1]) for line in lines)
    return int(count)


def heard_once(pods: Pods, loads: Loads, died: float) -> None:
    """Each mark that was acknowledged is counted, and none twice but for the master's last moments.

    Events are confirmed by a replica; that they were logged is not. Where that was lost with the
    master (`died`: when, on the monotonic clock), another sidecar logs it again.
    """
    eventually(lambda: marks_heard(pods), lambda count: count >= len(loads.acknowledged), within=30)
    again = sum(LAST_MOMENTS > died - one.at > -LAST_MOMENTS for one in loads.acknowledged)
    assert marks_heard(pods) <= len(loads.tried) + again
