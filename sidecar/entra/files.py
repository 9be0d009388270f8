"""Files of an import: its policies, and what the configuration needs besides."""

import textwrap
from collections.abc import Iterable, Mapping

from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Assignment,
    Claims,
    Condition,
    Device,
    Grant,
    Locations,
    Not,
    Policy,
    Principals,
    Selection,
    SessionRisk,
    UserRisk,
)
from sidecar.domain.values import durations
from sidecar.domain.values.assurance import Level, Strength
from sidecar.wire.settings.settings import Assurance, Context, NamedLocation
from sidecar.wire.yaml.writer import Tree, block, comment

_COMMENT = 96


class TooLong(Exception):  # noqa: N818 - named by what is wrong with the file
    """A file would have more characters than its reader takes."""


def policies_text(
    head: Iterable[str],
    policies: Iterable[tuple[Iterable[str], Policy]],
    labels: Mapping[str, str],
    most: int,
) -> str:
    """Return a policy file.

    Each policy under its comments. Raises `TooLong` past `most` characters.
    """
    lines = [f"# {comment(line)}" for line in head]
    written: list[str] = []
    length = sum(map(len, lines)) + len(lines) + len("policies:")
    for comments, policy in policies:
        more = ["", *(f"  # {line}" for text in comments for line in _wrapped(text))]
        more += block([policy_tree(policy)], 2, labels)
        written += more
        length += sum(map(len, more)) + len(more)
        if length > most:
            raise TooLong
    lines += ["policies:", *written[1:]] if written else ["policies: []"]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(comment(text), _COMMENT, subsequent_indent="  ", break_on_hyphens=False)


def settings_text(
    head: Iterable[str],
    contexts: Mapping[str, Context],
    locations: Iterable[NamedLocation],
    assurance: Assurance,
) -> str:
    """Return what is to be added to the configuration file; no section that would be empty."""
    tree: dict[str, Tree] = {}
    if contexts:
        tree["contexts"] = {name: {"name": context.name} for name, context in contexts.items()}
    if places := [_location_tree(location) for location in locations]:
        tree["locations"] = places
    if added := _assurance_tree(assurance):
        tree["assurance"] = added
    lines = [f"# {comment(line)}" for line in head]
    return "\n".join([*lines, *block(tree)]) + "\n" if tree else ""


def _location_tree(location: NamedLocation) -> Tree:
    tree: dict[str, Tree] = {"name": location.name}
    if location.cidrs:
        tree["cidrs"] = location.cidrs
    if location.countries:
        tree["countries"] = location.countries
    if location.trusted:
        tree["trusted"] = True
    return tree


def _assurance_tree(assurance: Assurance) -> dict[str, Tree]:
    tree: dict[str, Tree] = {}
    if assurance.levels:
        tree["levels"] = [{"name": level.name, **_shown_tree(level)} for level in assurance.levels]
    if assurance.strengths:
        tree["strengths"] = {name: _shown_tree(one) for name, one in assurance.strengths.items()}
    return tree


def _shown_tree(shown: Level | Strength) -> dict[str, Tree]:
    tree: dict[str, Tree] = {}
    if shown.acr:
        tree["acr"] = shown.acr
    if shown.amr:
        tree["amr"] = [sorted(combination) for combination in shown.amr]
    return tree


def policy_tree(policy: Policy) -> dict[str, Tree]:
    """Return a policy as its file says it."""
    tree: dict[str, Tree] = {"id": policy.id}
    if policy.description:
        tree["description"] = policy.description
    tree["state"] = policy.state.value
    if policy.users != Assignment():
        tree["users"] = _users_tree(policy.users)
    for key, selection in (("apps", policy.apps), ("contexts", policy.contexts)):
        if selection != Selection():
            tree[key] = _selection_tree(selection)
    if policy.conditions is not None:
        tree["conditions"] = condition_tree(policy.conditions)
    if policy.grant != Grant():
        tree["grant"] = _grant_tree(policy.grant)
    if policy.session.sign_in_frequency is not None:
        tree["session"] = {"sign_in_frequency": durations.spelled(policy.session.sign_in_frequency)}
    return tree


def _users_tree(users: Assignment) -> Tree:
    tree: dict[str, Tree] = {}
    if users.include is not None:
        tree["include"] = _principals_tree(users.include)
    if users.exclude != Principals():
        tree["exclude"] = _principals_tree(users.exclude)
    return tree


def _principals_tree(principals: Principals) -> Tree:
    kinds = (
        ("users", principals.users),
        ("groups", principals.groups),
        ("roles", principals.roles),
    )
    return {kind: sorted(names) for kind, names in kinds if names}


def _locations_tree(condition: Locations) -> Tree:
    selection = condition.selection
    if not condition.strict:
        return _selection_tree(selection)
    sides = {"include": selection.include, "exclude": selection.exclude}
    return {**{side: sorted(names) for side, names in sides.items() if names}, "strict": True}


def _selection_tree(selection: Selection) -> Tree:
    tree: dict[str, Tree] = {}
    if selection.include is not None:
        tree["include"] = sorted(selection.include)
    if selection.exclude:
        tree["exclude"] = sorted(selection.exclude)
    return tree


def condition_tree(condition: Condition) -> Tree:
    """Return a condition of the kinds that an import makes."""
    match condition:
        case All():
            return {"all": [condition_tree(each) for each in condition.conditions]}
        case AnyOf():
            return {"any": [condition_tree(each) for each in condition.conditions]}
        case Not():
            return {"not": condition_tree(condition.condition)}
        case Locations():
            return {"locations": _locations_tree(condition)}
        case UserRisk():
            return {"user_risk": {"at_least": condition.at_least.value}}
        case SessionRisk():
            only = {"reported": True} if condition.reported else {}
            return {"session_risk": {"at_least": condition.at_least.value, **only}}
        case Device(compliant=bool() as compliant, known=None):
            return {"device": {"compliant": compliant}}
        case Claims():
            return {"claims": {name: sorted(values) for name, values in condition.required}}
        case _:
            raise TypeError(f"no import makes {condition!r}")


def _grant_tree(grant: Grant) -> Tree:
    if grant.block:
        return "block"
    if len(grant.alternatives) == 1:
        (controls,) = grant.alternatives
        if len(controls) == 1:
            return next(iter(controls))
        return {"operator": "AND", "controls": sorted(controls)}
    alternatives: list[Tree] = [
        next(iter(each)) if len(each) == 1 else {"all": sorted(each)} for each in grant.alternatives
    ]
    return {"operator": "OR", "controls": alternatives}
