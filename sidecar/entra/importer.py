"""Exports of Microsoft Entra ID's Conditional Access to policies and settings of ours.

What is imported means the same, or it is said what does not and the policy is not enforced
(`conversion`). Every part of the input is carried over or reported (`ledger`), and what is
written is read back with the readers that the daemon uses.
"""

import posixpath
from collections.abc import Iterable, Sequence

import msgspec

from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.values.assurance import Level
from sidecar.domain.values.plural import counted
from sidecar.entra.conversion.places import ConvertedPlaces
from sidecar.entra.conversion.policy import SUFFIX, Imported, PolicyContext, import_policy
from sidecar.entra.conversion.strengths import BUILT_IN, Strengths, account
from sidecar.entra.conversion.users import KEPT, ROLES
from sidecar.entra.export import Exported, InvalidExport, read_export
from sidecar.entra.files import TooLong, policies_text, settings_text
from sidecar.entra.graph_objects import (
    ContextReference,
    GraphNamedLocation,
    GraphPolicy,
    GraphStrength,
    Template,
)
from sidecar.entra.ledger import Ledger, Loss, Note
from sidecar.entra.names import DirectoryNames, read_names
from sidecar.entra.versions import current
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.policies.context_policies import context_policies
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import CONTEXT, Assurance, Context, NamedLocation, Settings
from sidecar.wire.yaml.tree import MAX_CHARACTERS, ConfigError, ConfigProblem

__all__ = [
    "Exported",
    "Import",
    "Imported",
    "InvalidExport",
    "import_entra",
    "read_export",
    "read_names",
]

_COMMENTS = 100
"""So many losses, and notes, of one policy stand in its comments."""
_SETTINGS_HEAD = (
    "Add these to your configuration: `sidecar import-entra` wrote policies that refer to them.",
    "Where a list is there already, append; `assurance.levels` is given whole, weakest first.",
)


class Import(msgspec.Struct, frozen=True):
    """The result of an import.

    `settings` is the configuration with what was added; `policies_text` and `settings_text` are
    the files' texts, the latter empty where nothing is needed.
    """

    imported: tuple[Imported, ...]
    losses: tuple[Loss, ...]
    notes: tuple[Note, ...]
    settings: Settings
    policies_text: str
    settings_text: str
    locations: int
    strengths: tuple[str, ...]

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies in the order of their file: each with its twin for routine calls."""
        return tuple(policy for one in self.imported for policy in _both(one))


def import_entra(
    exported: Sequence[Exported],
    names: DirectoryNames,
    settings: Settings,
    *,
    routine: bool = True,
    configured: bool = True,
) -> Import:
    """Translate the objects of any number of exports.

    `settings` is the configuration that the policies shall live in; `configured`: it is
    somebody's, not the default. `routine`: a policy for whole apps gets a twin for the calls that
    map to no context. Raises ConfigError where the result does not fit the configuration.
    """
    exported = current(exported)
    places = ConvertedPlaces(names, settings.locations)
    strengths = Strengths(names, settings.assurance.levels, settings.assurance.strengths)
    contexts: dict[str, str] = {}
    for each in exported:
        match each.shape:
            case GraphNamedLocation():
                places.add(each.shape, each.ledger)
            case GraphStrength() if each.shape.id.lower() in BUILT_IN:
                account(each.shape, each.ledger.at, each.ledger)
                each.ledger.audit()
            case GraphStrength():
                strengths.add(each.shape, each.ledger)
            case ContextReference():
                _context(each.shape, each.ledger, contexts)
            case _:
                pass
    around = PolicyContext(names, places, strengths)
    imported = tuple(_policies(exported, around, routine=routine))
    used = _contexts_used(imported)
    for name in used:
        contexts.setdefault(name, names.of("contexts", name) or name)
    added = {
        name: Context(name=contexts[name])
        for name in sorted(contexts, key=lambda name: int(name[1:]))
        if name not in settings.contexts and (settings.contexts or not configured)
    }
    levels = strengths.levels if strengths.levels != settings.assurance.levels else ()
    text = settings_text(
        _SETTINGS_HEAD, added, places.found, Assurance(levels=levels, strengths=strengths.proposed)
    )
    ledgers = [each.ledger for each in exported]
    result = Import(
        imported,
        tuple(loss for ledger in ledgers for loss in ledger.losses),
        tuple(note for ledger in ledgers for note in ledger.notes),
        _with(settings, text, names, strengths.levels),
        _policies_text(exported, imported),
        text,
        len(places.found),
        tuple(strengths.proposed),
    )
    _check(result)
    return result


def _policies(
    exported: Iterable[Exported], around: PolicyContext, *, routine: bool
) -> Iterable[Imported]:
    taken: set[str] = set()
    for each in exported:
        if isinstance(each.shape, GraphPolicy | Template):
            one = import_policy(each.shape, each.ledger, around, taken)
            taken |= {one.policy.id, f"{one.policy.id}{SUFFIX}"}
            yield one if routine else msgspec.structs.replace(one, twin=None)


def _both(one: Imported) -> tuple[Policy, ...]:
    return (one.policy,) if one.twin is None else (one.policy, one.twin)


def _context(reference: ContextReference, ledger: Ledger, contexts: dict[str, str]) -> None:
    at = ledger.at
    ledger.carry(*(f"{at}.{name}" for name in ("id", "displayName", "description", "isAvailable")))
    ledger.audit()
    name = reference.id
    if CONTEXT.fullmatch(name):
        title = "".join(c if c.isprintable() else " " for c in reference.display_name or "")
        contexts[name] = title.strip() or name
    else:
        ledger.note(f"{at}.id", "contexts are c1 to c99 here")


def _contexts_used(imported: Iterable[Imported]) -> set[str]:
    return {name for one in imported for name in one.policy.contexts.include or ()}


def _with(
    settings: Settings, text: str, names: DirectoryNames, levels: tuple[Level, ...]
) -> Settings:
    """Return the configuration with the fragment, as the daemon would read it."""
    read = read_settings(text, "settings.yaml", {}, _no_file)
    known = {location.name for location in (*settings.locations, *read.locations)}
    elsewhere = (NamedLocation(name=name) for name in sorted(names.locations - known))
    return msgspec.structs.replace(
        settings,
        contexts={**settings.contexts, **read.contexts},
        locations=(*settings.locations, *read.locations, *elsewhere),
        assurance=msgspec.structs.replace(
            settings.assurance,
            levels=levels,
            strengths={**settings.assurance.strengths, **read.assurance.strengths},
        ),
    )


def _no_file(path: str) -> str:
    raise FileNotFoundError(path)


def _policies_text(exported: Iterable[Exported], imported: Iterable[Imported]) -> str:
    """Return the policy file. Raises ConfigError where it would be longer than its reader takes."""
    written = ((_comments(one, policy), policy) for one in imported for policy in _both(one))
    try:
        return policies_text(_head(exported), written, ROLES, MAX_CHARACTERS)
    except TooLong:
        files = list(dict.fromkeys(one.ledger.file for one in imported))
        why = f"the policies of {counted(len(files), 'file')} come to more characters than the"
        limit = f"{MAX_CHARACTERS} that a policy file may have: import fewer of them at a time"
        raise ConfigError((ConfigProblem(files[0], 1, "", f"{why} {limit}"),)) from None


def _check(result: Import) -> None:
    """Check that what was written is what was meant. Raises ConfigError where it is refused."""
    read = read_policies([("policies.yaml", result.policies_text)], result.settings)
    if read != (*result.policies, *context_policies(result.settings)):
        raise AssertionError("the policy file does not read back as it was meant")


def _head(exported: Iterable[Exported]) -> list[str]:
    names = dict.fromkeys(posixpath.basename(each.ledger.file) for each in exported)
    return [f"Imported from Microsoft Entra ID by `sidecar import-entra`: {', '.join(names)}"]


def _comments(one: Imported, policy: Policy) -> list[str]:
    if policy is one.twin:
        return ["The same for calls that map to no context."]
    lines = [f"Entra ID's {one.source or 'policy'}, {one.was.value} there."]
    if one.why:
        lines.append(f"Not {one.was.value} here: {'; '.join(one.why)}.")
    if one.ledger.losses:
        lines.append("Not carried over:")
    lines += _some(
        [
            f"- {loss.path}: {loss.value}: {loss.reason} ({loss.effect.value})"
            for loss in one.ledger.losses
        ]
    )
    return lines + _some(
        [f"To know: {note.path}: {note.text}" for note in one.ledger.notes if note.text != KEPT]
    )


def _some(lines: list[str]) -> list[str]:
    """Return the first lines, and how many more the report has: policy files are limited."""
    more = len(lines) - _COMMENTS
    rest = f"- and {more} more, which the report of the import names"
    return [*lines[:_COMMENTS], rest] if more > 0 else lines
