"""The vitals of a server by INFO (redis.io): its process, and what it does when full."""

from typing import Any

from redis.client import Redis
from redis.exceptions import ResponseError

from sidecar.adapters.redis.links import call
from sidecar.service.ports.store import Vitals

_SECTIONS = ("server", "memory", "stats")


def vitals_of(client: Redis) -> Vitals | None:
    """Ask a server about itself; None where the user may not, or the command is another there.

    Blocks; raises redis-py's errors where the link breaks.
    """
    try:
        info = call(client, "INFO", *_SECTIONS)
    except ResponseError:
        return None
    return _read(info)


def _read(info: dict[str, Any]) -> Vitals | None:
    """Return what the answer says; None where it lacks what is asked for."""
    policy, evicted = info.get("maxmemory_policy"), info.get("evicted_keys")
    if not isinstance(policy, str) or not isinstance(evicted, int):
        return None
    return Vitals(str(info.get("run_id", "")), policy, evicted)
