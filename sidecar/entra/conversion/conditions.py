"""Conditions of a policy, from Graph's `conditionalAccessConditionSet` but for users and apps.

A condition that cannot be said here is left out, which makes the policy wider.
"""

from sidecar.domain.policy.conditional_access import Condition, Device, Not
from sidecar.entra.conversion.device_filter import NotCarried, device_condition
from sidecar.entra.conversion.places import ConvertedPlaces
from sidecar.entra.conversion.risks import session_risk, user_risk
from sidecar.entra.graph_objects import Conditions, Devices, DeviceStates, Platforms, Texts
from sidecar.entra.ledger import Effect, Ledger

_MODERN = frozenset({"browser", "mobileAppsAndDesktopClients", "modern"})
_BOTH = (frozenset({"browser", "mobileAppsAndDesktopClients"}), frozenset({"browser", "modern"}))
_LEGACY = frozenset({"exchangeActiveSync", "easSupported", "easUnsupported", "other"})
_LEGACY_WHY = "clients of legacy protocols show no token, and never reach a sidecar"
_CLAIM = "where the provider writes it into a claim of the token, say `claims: {{NAME: [{}]}}`"
_NO_CLIENT = (
    "tokens do not distinguish a browser from another client; clients can be named by their ids: "
    "`claims: {azp: [CLIENT_ID, ...]}`"
)
_NO_PLATFORM = "no signal reports the platform of a device; " + _CLAIM
_ANY_PLATFORM = (
    "platforms are not distinguished here, so that the policy holds on this one, too; " + (_CLAIM)
)
_NO_CLIENTS = "it is for no client: `clientAppTypes` is there and empty, and that is not `all`"
_NO_PLATFORMS = "it is for no platform: nothing is included, and that is not `all`"
_NOT_TYPE = "this type of client is not known here"
_NO_FLOW = "tokens do not say by which flow they were issued"
_NO_INSIDER = "no signal reports insider risk"
_WORKLOAD = "it is for workloads, which sign in without a user"
_HYBRID = "no signal reports that a device is joined to a domain"
_MODE = "the mode of this filter is not known here"


def conditions_of(
    given: Conditions, at: str, ledger: Ledger, places: ConvertedPlaces, *, strict: bool = False
) -> tuple[Condition, ...]:
    """Translate the conditions, which stand at `at`; all of them must hold.

    `strict`: locations are those of the very call.
    """
    _clients(given.client_app_types, f"{at}.clientAppTypes", ledger)
    _platforms(given.platforms, f"{at}.platforms", ledger)
    ledger.lose(f"{at}.authenticationFlows", _NO_FLOW, Effect.WIDER)
    ledger.lose(f"{at}.insiderRiskLevels", _NO_INSIDER, Effect.WIDER)
    ledger.lose(f"{at}.servicePrincipalRiskLevels", _WORKLOAD, Effect.NEVER)
    ledger.lose(f"{at}.clientApplications", _WORKLOAD, Effect.NEVER)
    found = [
        user_risk(given.user_risk_levels, f"{at}.userRiskLevels", ledger),
        session_risk(given.sign_in_risk_levels, f"{at}.signInRiskLevels", ledger),
        places.condition(given.locations, f"{at}.locations", ledger, strict=strict),
        *_devices(given.devices, f"{at}.devices", ledger),
        *_device_states(given.device_states, f"{at}.deviceStates", ledger),
    ]
    return tuple(condition for condition in found if condition is not None)


def _clients(types: Texts | None, at: str, ledger: Ledger) -> None:
    given = set(types or ())
    if types is not None and not given:
        ledger.rest(at, _NO_CLIENTS)
    everything = "all" in given
    legacy_only = bool(given) and given <= _LEGACY
    both = any(pair <= given for pair in _BOTH)
    for item, value in zip(ledger.items(at), types or (), strict=True):
        if everything or (both and value in _MODERN):
            ledger.carry(item)
        elif value in _LEGACY:
            ledger.lose(item, _LEGACY_WHY, Effect.NEVER if legacy_only else Effect.NONE)
        elif value in _MODERN:
            ledger.lose(item, _NO_CLIENT, Effect.WIDER)
        else:
            ledger.lose(item, _NOT_TYPE, Effect.WEAKER)


def _platforms(platforms: Platforms | None, at: str, ledger: Ledger) -> None:
    if platforms is None or not ledger.value(at):
        return
    if not platforms.include_platforms:
        ledger.rest(f"{at}.includePlatforms", _NO_PLATFORMS)
    for item, value in zip(
        ledger.items(f"{at}.includePlatforms"), platforms.include_platforms or (), strict=True
    ):
        if value == "all":
            ledger.carry(item)
        else:
            ledger.lose(item, _NO_PLATFORM.format(value), Effect.WIDER)
    for item, value in zip(
        ledger.items(f"{at}.excludePlatforms"), platforms.exclude_platforms or (), strict=True
    ):
        ledger.lose(item, _ANY_PLATFORM.format(value), Effect.WIDER)


def _devices(devices: Devices | None, at: str, ledger: Ledger) -> list[Condition]:
    if devices is None:
        return []
    found: list[Condition] = []
    filtering = devices.device_filter
    if filtering is not None and filtering.rule:
        rule = f"{at}.deviceFilter.rule"
        try:
            condition = device_condition(filtering.rule)
        except NotCarried as found_not:
            for why in found_not.reasons:
                ledger.lose(f"{at}.deviceFilter", why, Effect.WIDER)
        else:
            if filtering.mode in {"include", "exclude"}:
                ledger.carry(rule, f"{at}.deviceFilter.mode")
                found.append(condition if filtering.mode == "include" else Not(condition))
            else:
                ledger.lose(f"{at}.deviceFilter", _MODE, Effect.WIDER)
    elif filtering is not None:
        ledger.carry(f"{at}.deviceFilter.rule", f"{at}.deviceFilter.mode")
    for name, included, excluded in (
        ("Devices", devices.include_devices, devices.exclude_devices),
        ("DeviceStates", devices.include_device_states, devices.exclude_device_states),
    ):
        found += _states(included, excluded, f"{at}.include{name}", f"{at}.exclude{name}", ledger)
    return found


def _device_states(states: DeviceStates | None, at: str, ledger: Ledger) -> list[Condition]:
    if states is None:
        return []
    included, excluded = states.include_states, states.exclude_states
    return _states(included, excluded, f"{at}.includeStates", f"{at}.excludeStates", ledger)


def _states(
    included: Texts | None, excluded: Texts | None, including: str, excluding: str, ledger: Ledger
) -> list[Condition]:
    """Return the condition of the filter's forerunners: all devices but the compliant ones."""
    for item, value in zip(ledger.items(including), included or (), strict=True):
        if value == "All":
            ledger.carry(item)
        else:
            ledger.lose(item, _HYBRID, Effect.WIDER)
    compliant = False
    for item, value in zip(ledger.items(excluding), excluded or (), strict=True):
        if value == "Compliant":
            compliant = True
            ledger.carry(item)
        else:
            ledger.lose(item, _HYBRID, Effect.WIDER)
    return [Not(Device(compliant=True))] if compliant else []
