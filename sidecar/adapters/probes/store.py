"""Looks at the store as a daemon would use it: reaches it, and asks each server about itself."""

import time
from collections.abc import Iterator

import redis

from sidecar.adapters.clock import now
from sidecar.adapters.redis.links import Links, call, links_of
from sidecar.adapters.redis_server.causes import cause_of
from sidecar.adapters.redis_server.rights import NeededRight, lacks_of, needs_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.diagnosis.store import ServerReport
from sidecar.wire.settings.settings import StoreSettings


def examine_store(settings: StoreSettings, *, transmits: bool) -> tuple[ServerReport, ...]:
    """Return what each server of the store says. Raises `Unavailable`, with the cause.

    Blocks, for the settings' time-outs at most. Nothing is written.
    """
    links = links_of(settings)
    try:
        links.refresh()
        return tuple(_reports(links, needs_of(settings, transmits=transmits)))
    except (redis.RedisError, OSError) as error:
        raise Unavailable(cause_of(error, links.where)) from error
    finally:
        links.close()


def _reports(links: Links, needs: tuple[NeededRight, ...]) -> Iterator[ServerReport]:
    nodes = links.nodes()
    for node in nodes:
        client = links.client(node)
        call(client, "PING")
        lacks = lacks_of(client, needs)
        info, ahead = _info(client)
        words = next((one.words for one in lacks if one.words), "")
        yield ServerReport(
            node if len(nodes) > 1 else "",
            info,
            tuple(dict.fromkeys(one.right for one in lacks)),
            words,
            _save(client),
            ahead,
        )


def _info(client: redis.Redis) -> tuple[dict[str, object], float | None]:
    """Return what a server says of itself, and how far its clock is ahead of ours."""
    begun, at = time.monotonic(), now()
    try:
        info = call(client, "INFO")
    except redis.ResponseError:  # the user may not ask: among the rights that it lacks
        return {}, None
    middle = at + (time.monotonic() - begun) / 2
    clock = info.get("server_time_usec")
    return info, clock / 1e6 - middle if isinstance(clock, int) else None


def _save(client: redis.Redis) -> str | None:
    """Return when a server makes snapshots, empty for never; None where it does not say."""
    try:
        found = call(client, "CONFIG", "GET", "save")
    except redis.ResponseError:
        return None
    saves = found.get("save", "") if isinstance(found, dict) else ""
    return saves.decode() if isinstance(saves, bytes) else str(saves)
