"""Resolves the authentication contexts of calls, and reads what the configuration says of them."""

from sidecar.service.ports.calls import Call
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


class CallContexts:
    """The contexts of calls, as one configuration has them."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        self._settings = settings
        self._routes = routes

    def resolve(self, call: Call, now: float) -> Call:
        """Return the call as it is judged at `now`: in the contexts it names and its route's.

        Raises `UnknownContext`.
        """
        contexts = call.contexts
        if contexts and (strangers := self._settings.strangers(contexts)):
            contexts = self._known(strangers, contexts)
        if call.path:
            contexts |= frozenset(self._routes.match(call.method, call.host, call.path))
        return Call(
            call.token,
            contexts,
            call.method,
            call.host,
            call.path,
            call.ip,
            call.user_agent,
            call.shown,
            now,
            ",".join(sorted(contexts)),
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
