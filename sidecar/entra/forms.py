"""The forms in which exports come, brought to the one that Graph documents.

PowerShell writes `[]` or `{}` for an object that is not there, one item for a list of one, null
for each member of an object that was not set, member names with a capital, and what its classes do
not know below `AdditionalProperties`. Values of enumerations are taken in any case: Graph's ids are
GUIDs, so that a word can mean nothing but itself. A list that is there and empty stays so.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import inspect

from sidecar.entra.ledger import is_transport, member

_ADDITIONAL = "additionalproperties"
_CUT = re.compile(r"@\{|System\.|Microsoft\.Graph\.")
_CUT_WHY = "was cut by ConvertTo-Json: export again with `-Depth 20`"
_VALUES = {
    "state": "enabled disabled enabledForReportingButNotEnforced",
    "operator": "AND OR",
    "builtInControls": "block mfa compliantDevice domainJoinedDevice approvedApplication "
    "compliantApplication passwordChange",
    "userRiskLevels": "none low medium high hidden",
    "signInRiskLevels": "none low medium high hidden",
    "clientAppTypes": "all browser mobileAppsAndDesktopClients modern exchangeActiveSync "
    "easSupported easUnsupported other",
    "includePlatforms": "all android iOS windows windowsPhone macOS linux",
    "excludePlatforms": "all android iOS windows windowsPhone macOS linux",
    "includeUsers": "All None GuestsOrExternalUsers AllAgentIdUsers",
    "excludeUsers": "GuestsOrExternalUsers AllAgentIdUsers",
    "includeApplications": "All None Office365 MicrosoftAdminPortals AllAgentIdResources",
    "excludeApplications": "Office365 MicrosoftAdminPortals AllAgentIdResources",
    "includeUserActions": "urn:user:registersecurityinfo urn:user:registerdevice",
    "includeLocations": "All AllTrusted",
    "excludeLocations": "AllTrusted",
    "includeDevices": "All",
    "includeDeviceStates": "All",
    "includeStates": "All",
    "excludeDevices": "Compliant DomainJoined",
    "excludeDeviceStates": "Compliant DomainJoined",
    "excludeStates": "Compliant DomainJoined",
    "mode": "include exclude always never strictEnforcement disabled strictLocation",
    "frequencyInterval": "timeBased everyTime",
    "authenticationType": "primaryAndSecondaryAuthentication secondaryAuthentication",
    "type": "hours days",
    "cloudAppSecurityType": "mcasConfigured monitorOnly blockDownloads",
    "membershipKind": "all enumerated",
    "countryLookupMethod": "clientIpAddress authenticatorAppGps",
}
_CANONICAL = {
    name: {word.lower(): word for word in words.split()} for name, words in _VALUES.items()
}
_KINDS: Mapping[type, str] = {
    inspect.StrType: "a text",
    inspect.IntType: "a whole number",
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list",
    inspect.StructType: "an object",
    inspect.DictType: "an object",
}


class Mistake(NamedTuple):
    """A mistake in a value, and where it stands."""

    path: str
    message: str


class ObjectForms:
    """Brings one object to the documented form; what cannot be goes to `mistakes`."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def object(self, raw: dict[str, Any], shape: type, at: str) -> dict[str, Any]:
        """Return the members by their documented names, those that are not known as they are."""
        known = {field.encode_name.lower(): field for field in _fields(shape)}
        found: dict[str, Any] = {}
        for key, value in _members(raw):
            field = known.get(key.lower())
            if field is None or field.encode_name in found:
                found[key] = value
                continue
            path = member(at, key)
            found[field.encode_name] = self._value(value, field.type, path, field.encode_name)
        return found

    def _value(self, raw: Any, kind: inspect.Type, at: str, name: str) -> Any:
        kinds = _kinds(kind)
        if raw is None or _is_unset(raw):
            return None
        for each in kinds:
            match each:
                case inspect.StructType() if isinstance(raw, dict):
                    return self.object(raw, each.cls, at) if raw else raw
                case inspect.VarTupleType() if _is_list(raw, each):
                    return self._list(raw, each.item_type, at, name)
                case inspect.StrType() if isinstance(raw, str):
                    return _canonical(raw, name)
                case inspect.BoolType() if isinstance(raw, bool):
                    return raw
                case inspect.IntType() if isinstance(raw, int) and not isinstance(raw, bool):
                    return raw
                case inspect.DictType() if isinstance(raw, dict):
                    return raw
                case _:
                    pass
        if raw in ([], {}):
            return raw if _is_object(kinds) else None
        self._wrong(raw, kinds, at)
        return None

    def _list(self, raw: Any, item: inspect.Type, at: str, name: str) -> list[Any]:
        if not isinstance(raw, list):  # PowerShell unrolls a list of one
            return [] if raw in ("", {}) else [self._value(raw, item, at, name)]
        found = []
        for index, each in enumerate(raw):
            if isinstance(item, inspect.AnyType):
                found.append(each)
            elif each == [] and not isinstance(item, inspect.VarTupleType):
                # An object that is not there stands so, but is no item of a list.
                self._wrong(each, _kinds(item), f"{at}[{index}]")
            else:
                found.append(self._value(each, item, f"{at}[{index}]", name))
        return [each for each in found if each is not None]

    def _wrong(self, raw: Any, kinds: Iterable[inspect.Type], at: str) -> None:
        if isinstance(raw, str) and _CUT.match(raw):
            self.mistakes.append(Mistake(at, _CUT_WHY))
            return
        wanted = " or ".join(dict.fromkeys(_KINDS[type(k)] for k in kinds if type(k) in _KINDS))
        self.mistakes.append(Mistake(at, f"must be {wanted}, not {_what(raw)}"))


def without_empty(raw: Any, shape: type) -> Any:
    """Return the object with null for each member that should be an object and is `[]` or `{}`."""
    found = dict(raw)
    for field in _fields(shape):
        value = found.get(field.encode_name)
        kinds = _kinds(field.type)
        inner = next((kind for kind in kinds if isinstance(kind, inspect.StructType)), None)
        if value is None or (value in ([], {}) and _is_object(kinds)):
            found.pop(field.encode_name, None)
        elif inner is not None:
            found[field.encode_name] = without_empty(value, inner.cls)
    return found


def _kinds(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


@functools.cache
def _fields(shape: type) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(shape)
    return info.fields if isinstance(info, inspect.StructType) else ()


def is_empty_object(raw: Any) -> bool:
    """Return whether PowerShell may have written this for an object that is not there."""
    return raw in ([], {})


def _members(raw: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    names = {key.lower() for key in raw}
    for key, value in raw.items():
        if key.lower() != _ADDITIONAL or not isinstance(value, dict):
            yield key, value
            continue
        for below, inner in value.items():
            yield (f"{key}.{below}" if below.lower() in names else below), inner


def _is_unset(raw: Any) -> bool:
    """Return whether an object has members, and all of them are null."""
    members = [v for k, v in raw.items() if not is_transport(k)] if isinstance(raw, dict) else []
    return bool(members) and all(value is None or _is_unset(value) for value in members)


def _is_list(raw: Any, kind: inspect.VarTupleType) -> bool:
    if isinstance(raw, list):
        return True
    if isinstance(kind.item_type, inspect.StrType):
        return raw == {} or (isinstance(raw, str) and not _CUT.match(raw))
    return isinstance(kind.item_type, inspect.StructType) and isinstance(raw, dict)


def _is_object(kinds: Iterable[inspect.Type]) -> bool:
    return any(isinstance(kind, inspect.StructType | inspect.DictType) for kind in kinds)


def _canonical(text: str, name: str) -> str:
    return _CANONICAL.get(name, {}).get(text.lower(), text)


def _what(raw: Any) -> str:
    match raw:
        case bool():
            return str(raw).lower()
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object" if isinstance(raw, dict) else "null"
