"""Keeps what the records of sessions came to that made room, for when they come back.

A session that comes back is read, and most often its facts are those that it had when it left. Then
to fold them again would come to the state that it had. So that is kept, packed, beside a digest of
the facts; where they are others now, or the policies are, it is folded.

Of a session that never came back nothing is kept: many never do, and it would cost each of them.
"""

from collections import OrderedDict
from typing import NamedTuple

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.service.view.live_session import Identity, Live
from sidecar.wire.facts.facts_digest import digest_of_facts

KEPT_FOLDS = 4096
"""States that are kept, packed; beyond them the one that left first is let go."""


class _Fold(NamedTuple):
    """The digest of a session's facts, and what they came to, packed."""

    digest: bytes
    packed: bytes


class KeptFolds:
    """The states of sessions that made room, as long as the view judges by the same evaluator.

    `resumed` counts the sessions that came back as they had left. A state holds all groups and
    causes of its session: so whoever is short of memory lowers `limit`.
    """

    def __init__(self, bound: int = KEPT_FOLDS) -> None:
        self._limit = bound
        self.resumed = 0
        self._evaluator: Evaluator | None = None
        self._folds: OrderedDict[Identity, _Fold] = OrderedDict()

    def __len__(self) -> int:
        return len(self._folds)

    @property
    def limit(self) -> int:
        """Return how many are kept at most."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        while len(self._folds) > limit:
            self._folds.popitem(last=False)

    def fold(self, live: Live, evaluator: Evaluator) -> None:
        """Fold a session that was read, or take up what was kept of it if that is the same."""
        if all(tracked.is_empty for tracked in live.tracked):
            live.refold(evaluator)
            return
        kept = self._folds.pop(live.identity, None)
        digest = _digest_of(live)
        if kept is not None and kept.digest == digest and evaluator is self._evaluator:
            live.resume(evaluator, kept.packed)
            self.resumed += 1
        else:
            live.refold(evaluator)
        live.folded_as = live.version, digest

    def note(self, live: Live, evaluator: Evaluator) -> None:
        """Keep the state of a session that makes room, if it came back once before."""
        if live.folded_as is None:
            return
        packed = live.to_resume(evaluator)
        if packed is None:
            return
        if evaluator is not self._evaluator:
            self._evaluator = evaluator
            self._folds.clear()
        version, digest = live.folded_as
        if version != live.version:
            digest = _digest_of(live)
        self._folds[live.identity] = _Fold(digest, packed)
        if len(self._folds) > self._limit:
            self._folds.popitem(last=False)


def _digest_of(live: Live) -> bytes:
    return digest_of_facts((tracked.key, tracked.record) for tracked in live.tracked)
