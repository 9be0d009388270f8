"""What a server tells of itself with INFO (redis.io): its process, and what it does when full."""

from typing import Any

import redis

from sidecar.adapters.redis.links import call
from sidecar.service.ports.store import Vitals

_SECTIONS = ("server", "memory", "stats")


def vitals_of(client: redis.Redis) -> Vitals | None:
    """Ask a server about itself; None where the user may not, or the command is another there.

    Blocks; raises redis-py's errors where the link breaks.
    """
    try:
        told = call(client, "INFO", *_SECTIONS)
    except redis.ResponseError:
        return None
    return _read(told)


def _read(told: dict[str, Any]) -> Vitals | None:
    """Return what the answer says; None where it lacks what is asked for."""
    policy, evicted = told.get("maxmemory_policy"), told.get("evicted_keys")
    if not isinstance(policy, str) or not isinstance(evicted, int):
        return None
    return Vitals(str(told.get("run_id", "")), policy, evicted)
