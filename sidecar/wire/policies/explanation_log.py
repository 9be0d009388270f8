"""An explanation as a log line may hold it: what concerns the call, and bounded in size.

In full it has every policy of the configuration and each one's conditions; a line for every check
cannot. Policies for other users, apps and contexts go first, then the conditions of those that ask
for nothing, then those policies altogether; what asks for something goes last.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from sidecar.domain.explanation.explanation import Explanation, PolicyExplanation

MOST_BYTES = 8192
"""Of an explanation's policies in a log line, as JSON."""

MOST_NAMES = 50
"""Of reasons, groups and roles."""


def shortened(explanation: Explanation, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the explanation as plain values, its policies of at most so many bytes of JSON.

    `left_out` counts the policies that are not there.
    """
    here = [policy for policy in explanation.policies if not policy.outcome.is_elsewhere]
    firing = [policy for policy in here if policy.outcome.fires]
    bare = [msgspec.structs.replace(policy, conditions=None) for policy in firing]
    quiet = [p if p.outcome.fires else msgspec.structs.replace(p, conditions=None) for p in here]
    for policies in (here, quiet, firing, bare):
        if _size(policies) <= most_bytes:
            return _plain(explanation, policies)
    while bare and _size(bare) > most_bytes:
        bare.pop()
    return _plain(explanation, bare)


def _size(policies: Sequence[PolicyExplanation]) -> int:
    return len(msgspec.json.encode(policies))


def _plain(explanation: Explanation, policies: Sequence[PolicyExplanation]) -> dict[str, Any]:
    session = msgspec.structs.replace(
        explanation.session,
        groups=explanation.session.groups[:MOST_NAMES],
        roles=explanation.session.roles[:MOST_NAMES],
    )
    short = msgspec.structs.replace(
        explanation,
        policies=tuple(policies),
        reasons=explanation.reasons[:MOST_NAMES],
        session=session,
    )
    plain: dict[str, Any] = msgspec.to_builtins(short)
    return {**plain, "left_out": len(explanation.policies) - len(policies)}
