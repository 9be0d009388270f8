"""Sources: who says something, and what their word may do (contract, "Sources").

A source is what a door has authenticated, never what a message claims. The daemon itself is a
source too: what a verified token or a call shows is its word. Every fact keeps its source's name,
and the fold weighs the words of several sources by what the configuration says of them here.
"""

from collections.abc import Iterable, Mapping

import msgspec

ITSELF = ""
"""The daemon: what a verified token shows, where a call comes from, what is derived from these."""

LOCAL_PREFIX = "local:"
"""Begins the names of peers of a local socket that no configured source stands for: the app's."""

OPERATOR_PREFIX = "operator:"
"""Begins the names of operators, whose acts stand over all other sources."""


ISSUER_PREFIX = "issuer:"
"""Begins the names of issuers that report logouts themselves (`intake.issuers`)."""


def issuer_source(issuer: str) -> str:
    """Return the source that an issuer is: it may end its own users' sessions, and no more."""
    return ISSUER_PREFIX + issuer


class Source(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One source and its powers. Without any it may say everything that loosens nothing.

    `may`: the event types that it may send (None: every one). `may_loosen`: those whose words of
    it may take away what makes a session's standing strict. `over`: the sources whose older words
    its newer ones replace. `may_prove`: its sign-ins and rises of assurance count as proofs.
    `may_identify`: it may say which user, groups and roles a session has. `namespaces`: for the
    names of which issuers it speaks (None: all). `may_watch`, `may_ask_sessions`: it may watch
    every session of the pod, and ask about sessions without showing their token.
    """

    name: str
    may: frozenset[str] | None = None
    may_loosen: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()
    may_prove: bool = False
    may_identify: bool = False
    namespaces: frozenset[str] | None = None
    may_watch: bool = False
    may_ask_sessions: bool = False

    def loosens(self, kind: str) -> bool:
        """Return whether its events of this type may loosen."""
        return self.name == ITSELF or kind in self.may_loosen or is_operator(self.name)


def is_operator(name: str) -> bool:
    """Return whether this names an operator."""
    return name.startswith(OPERATOR_PREFIX)


class Sources:
    """All configured sources. What is not configured has the powers of a local peer: none."""

    __slots__ = ("_known",)

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._known: Mapping[str, Source] = {source.name: source for source in sources}

    def of(self, name: str) -> Source:
        """Return the source of this name."""
        return self._known.get(name) or Source(name=name)

    def labelled(self, label: str) -> str:
        """Return whom a label names: a configured source, or a local peer; else the daemon itself.

        In files, which nobody sends and their author answers for: so what comes without a source
        is believed, and so is a recording from before there were any.
        """
        return label if label in self._known or label.startswith(LOCAL_PREFIX) else ITSELF

    def loosens(self, name: str, kind: str) -> bool:
        """Return whether the words of this source, in events of this type, may loosen."""
        return name == ITSELF or self.of(name).loosens(kind)

    def proves(self, name: str) -> bool:
        """Return whether this source's sign-ins, and its rises of assurance, count as proofs."""
        return name == ITSELF or is_operator(name) or self.of(name).may_prove

    def identifies(self, name: str) -> bool:
        """Return whether this source may say who a user is."""
        return name == ITSELF or is_operator(name) or self.of(name).may_identify

    def replaces(self, upper: str, lower: str, kind: str) -> bool:
        """Return whether a newer word of `upper`, in this event type, replaces one of `lower`.

        To replace may be to loosen, so that `over` alone is not enough.
        """
        return upper == lower or (self.is_over(upper, lower) and self.loosens(upper, kind))

    def is_over(self, upper: str, lower: str) -> bool:
        """Return whether a newer word of `upper` replaces an older one of `lower`."""
        if upper == lower:
            return True
        if is_operator(upper):
            return not is_operator(lower)
        return lower in self.of(upper).over
