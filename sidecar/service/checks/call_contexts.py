"""Resolves the authentication contexts of calls, and reads what the configuration says of them."""

import math
from typing import NamedTuple, TypeAlias

from sidecar.service.ports.calls import Call
from sidecar.wire.http.gateway_calls import SHORT
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import Resilience, Settings, UnknownContexts
from sidecar.wire.yaml.structs import suggestion

_STRICTEST_FIRST = (
    Resilience.DENY,
    Resilience.UNAVAILABLE,
    Resilience.STEP_UP,
    Resilience.ALLOW,
)


class UnknownContext(Exception):  # noqa: N818 - named by who must act: whoever named it
    """A call names a context that is not configured; the text says which, and what is like it."""


class JudgedContexts(NamedTuple):
    """The contexts that a call is judged in, the same as text, and how old a view may be for it."""

    contexts: frozenset[str]
    label: str
    max_staleness: float


_Place: TypeAlias = tuple[frozenset[str], str, str, str]

RESOLVED_BOUND = 4096
"""Places of calls whose contexts are remembered; where they are more, all begin anew.

Anybody can name them, and long paths are seldom the same: those are not remembered.
"""


class CallContexts:
    """The contexts of calls, as one configuration has them."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        self._settings = settings
        self._routes = routes
        self._resolved: dict[_Place, JudgedContexts] = {}

    def judged(self, call: Call) -> JudgedContexts:
        """Return the contexts that a call is judged in: those that it names and its route's.

        Raises `UnknownContext`.
        """
        place = (call.contexts, call.method, call.host, call.path)
        known = self._resolved.get(place)
        if known is None:
            known = self._judged(call)
            if len(call.path) <= SHORT:
                if len(self._resolved) >= RESOLVED_BOUND:
                    self._resolved.clear()
                self._resolved[place] = known
        return known

    def _judged(self, call: Call) -> JudgedContexts:
        contexts = call.contexts
        if contexts and (strangers := self._settings.strangers(contexts)):
            contexts = self._known(strangers, contexts)
        if call.path:
            contexts |= frozenset(self._routes.match(call.method, call.host, call.path))
        oldest = min(map(self._settings.max_staleness, contexts), default=math.inf)
        return JudgedContexts(contexts, ",".join(sorted(contexts)), oldest)

    def resolve(self, call: Call, now: float) -> Call:
        """Return the call as it is judged at `now`, in its contexts. Raises `UnknownContext`."""
        judged = self.judged(call)
        return Call(
            call.token,
            judged.contexts,
            call.method,
            call.host,
            call.path,
            call.ip,
            call.user_agent,
            call.shown,
            now,
            judged.label,
            call.via,
            call.trace,
        )

    def _known(self, strangers: frozenset[str], contexts: frozenset[str]) -> frozenset[str]:
        """Return the contexts by their ids; raise `UnknownContext` where one has none.

        Unless `unknown_contexts` says that such a call is judged in all contexts there are.
        """
        settings = self._settings
        aliases = settings.aliases
        strangers -= aliases.keys()
        if not strangers:
            return frozenset(aliases.get(name, name) for name in contexts)
        if settings.unknown_contexts is UnknownContexts.STRICTEST:
            return frozenset(settings.contexts)
        stranger = min(strangers)
        hint = suggestion(stranger, [*settings.contexts, *aliases])
        raise UnknownContext(f"{stranger!r} is not in `contexts`{hint}")

    def too_stale(self, contexts: frozenset[str], staleness: float) -> frozenset[str]:
        """Return those of the contexts whose calls a view of this age cannot decide."""
        return frozenset(c for c in contexts if staleness > self._settings.max_staleness(c))

    def resilience(self, contexts: frozenset[str]) -> Resilience:
        """Return what a call gets where its standing is not known: the strictest of its contexts.

        A routine call passes.
        """
        if not contexts:
            return Resilience.ALLOW
        known = self._settings.contexts
        chosen = {
            known[name].when_unknown if name in known else Resilience.UNAVAILABLE
            for name in contexts
        }
        return next(option for option in _STRICTEST_FIRST if option in chosen)
