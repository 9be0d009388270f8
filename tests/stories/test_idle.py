"""What a daemon that nobody asks asks of the store: few commands, and no queue by itself."""

from collections import Counter
from time import monotonic

import redis
from redis.client import Monitor

from tests.adapters.servers import Server
from tests.stories.running import running

STARTING, SECONDS = 2, 4
MOST = 12
"""Commands in a second of one idle daemon, slack among them; scripts count as one each."""


def commands_of(monitor: Monitor, seconds: float) -> Counter[str]:
    """What clients send the server meanwhile, without what scripts do."""
    seen: Counter[str] = Counter()
    ends = monotonic() + seconds
    # There is one at least each second.
    for command in monitor.listen():  # type: ignore[no-untyped-call]
        if monotonic() >= ends:
            break
        if command["client_type"] != "lua":
            seen[command["command"].split()[0]] += 1
    return seen


def test_an_idle_daemon_asks_little_of_the_store(valkey_server: Server) -> None:
    url = valkey_server.url
    with (
        running(url, [], count=1),
        redis.Redis.from_url(url) as client,
        client.monitor() as monitor,
    ):
        commands_of(monitor, STARTING)
        seen = commands_of(monitor, SECONDS)
    assert seen.total() <= MOST * SECONDS, seen
    assert not seen["XLEN"]
