"""Targets of a policy: from Graph's `conditionalAccessApplications` to apps and contexts."""

import re

import msgspec

from sidecar.domain.policy.conditional_access import Selection
from sidecar.entra.conversion.users import named
from sidecar.entra.graph_objects import Applications, Texts
from sidecar.entra.ledger import Effect, Ledger
from sidecar.entra.names import DirectoryNames

SUITES = frozenset({"Office365", "MicrosoftAdminPortals", "AllAgentIdResources"})
_CONTEXT = re.compile(r"c[1-9][0-9]?")
_SUITE = (
    "these are Microsoft's own apps, beside which no sidecar stands; name one in the names file"
)
_ACTIONS = "registering methods and devices happens at Entra ID, and never reaches a sidecar"
_FILTER = "custom security attributes of apps are not known here"
_NOT_A_CONTEXT = "contexts are c1 to c99"
_SEVERAL = (
    "apps beside contexts: Graph has a policy target one kind, and does not say what both mean"
)


class ConvertedTargets(msgspec.Struct, frozen=True):
    """The apps and the contexts; `routine`: the policy is for calls without a context, too."""

    apps: Selection = Selection()
    contexts: Selection = Selection()
    routine: bool = True


def target(
    applications: Applications | None, at: str, ledger: Ledger, names: DirectoryNames
) -> ConvertedTargets:
    """Translate `applications`, which stand at `at`."""
    given = applications or Applications()
    excluded = _apps(given.exclude_applications, f"{at}.excludeApplications", ledger, names, "")
    if given.include_user_actions:
        ledger.lose_each(f"{at}.includeUserActions", _ACTIONS, Effect.NEVER)
    if given.application_filter is not None:
        ledger.lose(f"{at}.applicationFilter", _FILTER, _effect_of_filter(given))
    contexts = given.include_authentication_context_class_references
    included = _apps(given.include_applications, f"{at}.includeApplications", ledger, names, "All")
    everything = "All" in (given.include_applications or ())
    if contexts:
        found = _contexts(contexts, f"{at}.includeAuthenticationContextClassReferences", ledger)
        if not found:
            ledger.idle.append("it is for no context that can be named")
        for name, listed in (
            ("includeApplications", given.include_applications),
            ("excludeApplications", given.exclude_applications),
        ):
            if set(listed or ()) - {"None"}:
                ledger.lose(f"{at}.{name}", _SEVERAL, Effect.WEAKER)
        apps = Selection(included or None, excluded)
        return ConvertedTargets(apps, Selection(found or None), routine=not found)
    filtered = given.application_filter is not None
    if not included and not everything and not given.include_user_actions and not filtered:
        ledger.rest(
            f"{at}.includeApplications", "it is for no app that a sidecar could stand beside"
        )
    return ConvertedTargets(Selection(None if everything or not included else included, excluded))


def _effect_of_filter(given: Applications) -> Effect:
    filtering = given.application_filter
    includes = filtering is None or filtering.mode != "exclude"
    return Effect.WEAKER if includes and given.include_applications else Effect.WIDER


def _apps(
    values: Texts | None, at: str, ledger: Ledger, names: DirectoryNames, everything: str
) -> frozenset[str]:
    found = set()
    effect = Effect.WEAKER if everything else Effect.WIDER
    for item, value in zip(ledger.items(at), values or (), strict=True):
        if value == everything or (everything and value == "None"):
            ledger.carry(item)
        elif value in SUITES and names.of("apps", value) is None:
            ledger.lose(item, _SUITE, Effect.NONE)
        else:
            name = named(ledger, item, value, names.of("apps", value), effect)
            found |= {name} if name is not None else set()
    return frozenset(found)


def _contexts(values: Texts, at: str, ledger: Ledger) -> frozenset[str]:
    found = set()
    for item, value in zip(ledger.items(at), values, strict=True):
        if _CONTEXT.fullmatch(value):
            ledger.carry(item)
            found.add(value)
        else:
            ledger.lose(item, _NOT_A_CONTEXT, Effect.WEAKER)
    return frozenset(found)
