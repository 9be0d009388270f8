"""Calls a gateway from outside, as a client that tries things would: GETs that change nothing."""

from collections.abc import Mapping

import httpx
import trio

from sidecar.adapters.http.causes import call_failures, cause_of, tls_context
from sidecar.adapters.tokens.documents import beginning_of
from sidecar.wire.checks.reach import is_fetchable
from sidecar.wire.diagnosis.gateway import TRIALS, TRIALS_WITH_TOKEN, GatewayReply, Trial

_MOST = 65536
_ONE = 5.0
"""Seconds for one call."""


async def examine_gateway(url: str, token: str) -> Mapping[str, GatewayReply]:
    """Return what came back, by the names of the trials. Raises `Unavailable`.

    The token goes over HTTPS, or to this machine itself; else the trials with one are left out.
    """
    target = httpx.URL(url)
    trials = dict(TRIALS)
    if token and is_fetchable(url):
        trials |= TRIALS_WITH_TOKEN
    replies: dict[str, GatewayReply] = {}
    async with httpx.AsyncClient(verify=tls_context(), timeout=_ONE) as client:

        async def ask(name: str) -> None:
            replies[name] = await _asked(client, target, trials[name], token)

        async with trio.open_nursery() as nursery:
            for name in trials:
                nursery.start_soon(ask, name)
    return replies


async def _asked(
    client: httpx.AsyncClient, url: httpx.URL, trial: Trial, token: str
) -> GatewayReply:
    headers = [*trial.headers]
    if trial.with_token:
        headers.append(("Authorization", f"Bearer {token}"))
    path, _, query = url.raw_path.partition(b"?")
    target = path.rstrip(b"/") + trial.more.encode() if trial.more else path
    # As it is: httpx would take dot segments out of a URL.
    exact = {"target": target + (b"?" + query if query else b"")}
    try:
        async with client.stream("GET", url, headers=headers, extensions=exact) as response:
            body = await beginning_of(response, _MOST)
    except call_failures() as error:
        return GatewayReply(0, trouble=cause_of(error, url))
    lines = (f"{name}: {value}" for name, value in response.headers.items())
    return GatewayReply(response.status_code, "\n".join((*lines, body.decode("utf-8", "replace"))))
