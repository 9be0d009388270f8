"""The policies of the fleet at the admin listener: which bundle is in force, and another one.

GET     /v1/policies/bundles
POST    /v1/policies/activate               likewise `rollback`

The body is a JSON object: `reason` (required), `sequence`, `partial` and `timeout`. Answered are
200 once it is in force, 400 for what cannot be read, 409 where nothing was changed, and why, and
503 where the store does not answer: look then what is in force.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec
from starlette.requests import Request

from sidecar.adapters.listening.application import JSON, RequestRefused, body_of
from sidecar.service.bundles.orders import (
    ActivationRefused,
    GenerationPage,
    PolicyActDone,
    PolicyOrder,
)
from sidecar.wire.bundles.generations import PolicyAct

PAGE = "/v1/policies/bundles"
ACTS: Mapping[str, PolicyAct] = {f"/v1/policies/{act}": act for act in PolicyAct}
MAX_BODY = 4096
MAX_REASON = 500
LONGEST = 120.0
_NONE = "policies come from files here (policies.bundle)"


class FleetPolicies(Protocol):
    """Shows and orders which bundle is in force. Both raise `Unavailable`, `Overloaded`."""

    async def page(self) -> GenerationPage:
        """Return what is in force, and what was."""

    async def act(self, act: PolicyAct, order: PolicyOrder, operator: str) -> PolicyActDone:
        """Have a bundle in force on all sidecars. Raises `ActivationRefused`."""


async def page(policies: FleetPolicies | None) -> GenerationPage:
    """Return what is in force, and what was. Raises `RequestRefused`."""
    if policies is None:
        raise RequestRefused(404, _NONE)
    return await policies.page()


async def order(
    policies: FleetPolicies | None, act: PolicyAct, operator: str, request: Request
) -> PolicyActDone:
    """Have a bundle in force, as the request's body says. Raises `RequestRefused`."""
    if policies is None:
        raise RequestRefused(404, _NONE)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise RequestRefused(415, f"the content type must be {JSON}")
    wanted = _order(act, await body_of(request, MAX_BODY))
    try:
        return await policies.act(act, wanted, operator)
    except ActivationRefused as error:
        raise RequestRefused(409, str(error)) from None


def _order(act: PolicyAct, body: bytes) -> PolicyOrder:
    try:
        wanted = msgspec.json.decode(body, type=PolicyOrder)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(400, str(error)) from None
    if not wanted.reason.strip() or len(wanted.reason) > MAX_REASON:
        raise RequestRefused(400, f"reason: 1 to {MAX_REASON} characters are asked for")
    if wanted.sequence < 0 or (act is PolicyAct.ACTIVATE and not wanted.sequence):
        raise RequestRefused(400, "sequence: the number of a bundle is asked for")
    if not 0 <= wanted.timeout <= LONGEST:
        raise RequestRefused(400, f"timeout: at most {LONGEST:g} seconds")
    return wanted
