"""Controls of a policy, from Graph's grant and session controls."""

from sidecar.domain.policy.conditional_access import COMPLIANT_DEVICE, Grant, SessionControls
from sidecar.entra.conversion.strengths import Strengths
from sidecar.entra.graph_objects import GrantControls, GraphSessionControls, SignInFrequency, Switch
from sidecar.entra.ledger import Effect, Ledger
from sidecar.wire.yaml import scalars

EVERY_TIME = 300
"""Entra's "every time" asks at most once in five minutes (documentation of sign-in frequency)."""

_SECONDS = {"hours": 3600, "days": 86400}
_WHY = {
    "domainJoinedDevice": "no signal reports that a device is joined to a domain",
    "approvedApplication": "tokens do not say whether the client is an approved app",
    "compliantApplication": "tokens do not say whether an app protection policy holds",
    "passwordChange": "a sidecar asks for sign-ins, and cannot ask for a new password",
    "customAuthenticationFactors": "custom controls are Entra ID's own",
    "termsOfUse": "terms of use are shown and kept by Entra ID",
    "mfa": "there is no level `mfa` in assurance.levels",
}
_UNKNOWN = "this control is not known here"
_OPERATOR = "the operator is neither AND nor OR; AND is taken"
_BESIDE_BLOCK = "nothing helps beside block"
_NO_PERIOD = "is no period that can be read"
_COOKIES = "the browser's cookies at Entra ID are Entra ID's own"
_PROXY = "Defender for Cloud Apps stands elsewhere"
_RESTRICTED = "restrictions within an app are the app's own"
_BOUND = "tokens that are bound to a device cannot be distinguished from others"
_CONTINUOUS = "every check is evaluated, and signals at once"
_STRICT_LOCATION = "strictLocation"
_NOT_OFF = "continuous evaluation is what a sidecar does; it cannot be turned off for a policy"
_FAIL_CLOSED = "`when_unknown: unavailable`, the default of every context, does that"


def grant_of(
    given: GrantControls | None, at: str, ledger: Ledger, strengths: Strengths
) -> Grant | None:
    """Translate the grant; None where it asks for nothing that could be said."""
    if given is None:
        return None
    every = given.operator != "OR"
    if given.operator in {"AND", "OR"}:
        ledger.carry(f"{at}.operator")
    else:
        ledger.lose(f"{at}.operator", _OPERATOR, Effect.STRICTER)
    if "block" in (given.built_in_controls or ()):
        return _block(given, at, ledger)
    found: list[str] = []
    missing: list[tuple[str, str]] = []
    for item, value in zip(
        ledger.items(f"{at}.builtInControls"), given.built_in_controls or (), strict=True
    ):
        if value == "compliantDevice":
            found.append(COMPLIANT_DEVICE)
        elif value == "mfa" and strengths.has("mfa"):
            found.append("mfa")
        else:
            missing.append((item, _WHY.get(value, _UNKNOWN)))
            continue
        ledger.carry(item)
    for kind in ("customAuthenticationFactors", "termsOfUse"):
        missing += [(item, _WHY[kind]) for item in ledger.items(f"{at}.{kind}")]
    asked = _strength(given, at, ledger, strengths)
    found += [asked] if asked else []
    lost = Effect.STRICTER if found and not every else Effect.WEAKER
    for item, why in missing:
        ledger.lose(item, why, lost)
    return _joined(found, every=every)


def _block(given: GrantControls, at: str, ledger: Ledger) -> Grant:
    for item, value in zip(
        ledger.items(f"{at}.builtInControls"), given.built_in_controls or (), strict=True
    ):
        if value == "block":
            ledger.carry(item)
        else:
            ledger.lose(item, _BESIDE_BLOCK, Effect.NONE)
    for kind in ("customAuthenticationFactors", "termsOfUse", "authenticationStrength"):
        ledger.lose(f"{at}.{kind}", _BESIDE_BLOCK, Effect.NONE)
    return Grant(block=True)


def _strength(given: GrantControls, at: str, ledger: Ledger, strengths: Strengths) -> str:
    at = f"{at}.authenticationStrength"
    if given.authentication_strength is None:
        return ""
    control = strengths.control(given.authentication_strength, at, ledger)
    if control.why:
        ledger.note(f"{at}.id", control.why)
    return control.name


def _joined(found: list[str], *, every: bool) -> Grant | None:
    """Return the grant as the reader of policies would give it: see `wire.policies.grants`."""
    if not found:
        return None
    if every:
        return Grant((frozenset(found),))
    return Grant(tuple(frozenset({control}) for control in sorted(set(found))))


def session_of(given: GraphSessionControls | None, at: str, ledger: Ledger) -> SessionControls:
    """Translate the session controls."""
    if given is None:
        return SessionControls()
    frequency = _frequency(given.sign_in_frequency, f"{at}.signInFrequency", ledger)
    browser = given.persistent_browser
    if _is_on(browser, f"{at}.persistentBrowser", ledger):
        always = browser is not None and browser.mode == "always"
        effect = Effect.NONE if always else Effect.WEAKER
        ledger.lose(f"{at}.persistentBrowser", _COOKIES, effect)
    cloud = given.cloud_app_security
    if cloud is not None and cloud.is_enabled is False:
        ledger.carry_all(f"{at}.cloudAppSecurity")
    else:
        monitored = cloud is not None and cloud.cloud_app_security_type == "monitorOnly"
        effect = Effect.NONE if monitored else Effect.WEAKER
        ledger.lose(f"{at}.cloudAppSecurity", _PROXY, effect)
    for name, control, why in (
        ("applicationEnforcedRestrictions", given.application_enforced_restrictions, _RESTRICTED),
        ("secureSignInSession", given.secure_sign_in_session, _BOUND),
    ):
        if _is_on(control, f"{at}.{name}", ledger):
            ledger.lose(f"{at}.{name}", why, Effect.WEAKER)
    _continuous(given.continuous_access_evaluation, f"{at}.continuousAccessEvaluation", ledger)
    resilience = f"{at}.disableResilienceDefaults"
    if given.disable_resilience_defaults:
        ledger.note(resilience, _FAIL_CLOSED)
    ledger.carry(resilience)
    return SessionControls(frequency)


def _is_on(control: Switch | None, at: str, ledger: Ledger) -> bool:
    if control is not None and control.is_enabled is False:
        ledger.carry_all(at)
    return control is not None and control.is_enabled is not False


def _continuous(control: Switch | None, at: str, ledger: Ledger) -> None:
    mode = control.mode if control is not None and control.is_enabled is not False else None
    if mode == _STRICT_LOCATION:
        ledger.carry(f"{at}.mode")  # the policy's locations are strict
    elif mode == "strictEnforcement":
        ledger.note(f"{at}.mode", _CONTINUOUS)
    elif mode == "disabled":
        ledger.lose(f"{at}.mode", _NOT_OFF, Effect.STRICTER)
    elif mode is None:
        ledger.carry(f"{at}.mode")
    if control is not None:
        ledger.carry(f"{at}.isEnabled")


def is_strict(given: GraphSessionControls | None) -> bool:
    """Return whether locations are those of the very call, not where the session was last seen."""
    control = given.continuous_access_evaluation if given is not None else None
    on = control is not None and control.is_enabled is not False
    return on and control is not None and control.mode == _STRICT_LOCATION


def _frequency(given: SignInFrequency | None, at: str, ledger: Ledger) -> int | None:
    if given is None:
        return None
    if given.is_enabled is False:
        ledger.carry_all(at)
        return None
    ledger.carry(f"{at}.isEnabled")
    kind = given.authentication_type
    if kind == "secondaryAuthentication":
        why = "a sidecar asks for a fresh sign-in; which factors it takes is the provider's choice"
        ledger.note(f"{at}.authenticationType", why)
    elif kind == "primaryAndSecondaryAuthentication":
        ledger.carry(f"{at}.authenticationType")
    if given.frequency_interval == "everyTime":
        ledger.note(f"{at}.frequencyInterval", "every time is, as in Entra, once in 5 minutes")
        ledger.carry(f"{at}.type", f"{at}.value")
        return EVERY_TIME
    seconds = (given.value or 0) * _SECONDS.get(given.type or "", 0)
    if given.frequency_interval not in {None, "timeBased"} or not (1 <= seconds <= scalars.LONGEST):
        ledger.lose(at, _NO_PERIOD, Effect.WEAKER)
        return None
    ledger.carry(f"{at}.frequencyInterval", f"{at}.type", f"{at}.value")
    return seconds
