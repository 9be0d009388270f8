"""Answers that count for as long as nothing has changed that they were made of.

Most calls are like the one before: the same token, in the same contexts, from the same address, of
a session of which nothing new is known. Then the answer is the same, and is looked up. What an
answer depends on is compared each time: the token, the version of the session's state (another one
as soon as a fact has come, or a policy), its standing, and the moments between which the decision
holds; of another configuration none is kept. Calls that have to do something besides being
answered - to spend a proof, to show a key, to be recorded for a report-only policy or a break-glass
account - are never answered so.
"""

import copy
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.evaluation.decision import Prepared
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.standing import Standing
from sidecar.service.ports.calls import Answer, Call
from sidecar.wire.tokens.claims import Token

KEPT_BOUND = 8192
"""Answers that are kept; where they are more, the oldest goes."""


class KeptAnswer(NamedTuple):
    """An answer, with all that it was made of. `ip` and `user_agent` are the call's.

    `version` is the session's (`Live.version`): what is kept here keeps no session in memory.
    """

    token: Token
    version: int
    standing: Standing
    presented: Presented
    prepared: Prepared
    ip: str
    user_agent: str
    answer: Answer


class RepeatedAnswer(NamedTuple):
    """An answer without the id of its decision, and that.

    While nothing changes, it is the very same object: what is made of it can be kept with it.
    """

    answer: Answer
    id: str

    @property
    def whole(self) -> Answer:
        """The answer with its id."""
        twin = copy.copy(self.answer)  # cheaper than `replace`, which each check would pay for
        msgspec.structs.force_setattr(twin, "id", self.id)
        return twin


_Key: TypeAlias = tuple[int, str, str]


class KeptAnswers:
    """The answers to the latest calls, by token, contexts and scheme.

    Each holds its token, though that be forgotten elsewhere, with all the groups that it shows: so
    whoever is short of memory lowers `limit`.
    """

    def __init__(self) -> None:
        self._kept: dict[_Key, KeptAnswer] = {}
        self._limit = KEPT_BOUND

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def limit(self) -> int:
        """Return how many are kept at most."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        while len(self._kept) > limit:
            del self._kept[next(iter(self._kept))]

    def clear(self) -> None:
        """Let all go: they were given by another configuration."""
        self._kept.clear()

    def find(self, token: Token, label: str, call: Call) -> KeptAnswer | None:
        """Return what is kept of calls with this token in these contexts."""
        kept = self._kept.get((id(token), label, call.scheme))
        # Where a token lay that is gone, another may have come to lie.
        return kept if kept is not None and kept.token is token else None

    def keep(self, kept: KeptAnswer, call: Call) -> None:
        """Keep an answer to a call, whose contexts are resolved."""
        key = (id(kept.token), call.label, call.scheme)
        # One that is no longer the same goes behind all others.
        if self._kept.pop(key, None) is None and len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = kept
