"""One policy of Graph to ours: what its parts mean together, and whether it may be enforced.

A policy that could not be carried over whole is never enforced in silence:

    enabled --a loss that makes it weaker or wider--> report-only
    enabled --a loss that makes it stricter, and mfa alone no longer helps--> report-only
    any     --it holds for nothing that reaches a sidecar, or asks for nothing--> disabled

A policy that holds for nothing here gets a condition that never holds, so that nobody is locked
out who enables it.
"""

from collections.abc import Collection

import msgspec

from sidecar.domain.policy.conditional_access import (
    ROUTINE,
    All,
    Condition,
    Grant,
    Policy,
    PolicyState,
    Selection,
    SessionControls,
)
from sidecar.entra.conversion.conditions import conditions_of
from sidecar.entra.conversion.controls import grant_of, is_strict, session_of
from sidecar.entra.conversion.places import ConvertedPlaces, slug
from sidecar.entra.conversion.risks import NEVER
from sidecar.entra.conversion.strengths import Strengths
from sidecar.entra.conversion.targets import ConvertedTargets, target
from sidecar.entra.conversion.users import ConvertedUsers, whom
from sidecar.entra.forms import is_empty_object
from sidecar.entra.graph_objects import Conditions, Details, GraphPolicy, Template
from sidecar.entra.ledger import Effect, Ledger
from sidecar.entra.names import DirectoryNames
from sidecar.wire.yaml.nodes import MAX_TEXT

_STATES = {
    "enabled": PolicyState.ENABLED,
    "disabled": PolicyState.DISABLED,
    "enabledForReportingButNotEnforced": PolicyState.REPORT_ONLY,
}
_EASY = frozenset({"mfa", "single-factor"})
_MEMBERS = ("id", "displayName", "templateId", "createdDateTime", "modifiedDateTime")
_TEMPLATE = ("id", "name", "scenarios")
NOTHING_ASKED = "nothing that it asks for could be carried over"
_PARTS = ("platforms", "locations", "devices", "deviceStates")
_EMPTY = "it is there and says nothing: remove it, or write null, where it is not meant"
SUFFIX = f".{ROUTINE}"


class PolicyContext(msgspec.Struct, frozen=True):
    """The names, locations and strengths that a policy may refer to."""

    names: DirectoryNames
    places: ConvertedPlaces
    strengths: Strengths


class Imported(msgspec.Struct, frozen=True):
    """A policy, its twin for routine calls if it needs one, and the account of its import."""

    policy: Policy
    twin: Policy | None
    was: PolicyState
    why: tuple[str, ...]
    """The reasons for which the state is not what it was."""
    ledger: Ledger
    source: str
    """The id in Entra ID."""


def import_policy(
    given: GraphPolicy | Template, ledger: Ledger, around: PolicyContext, taken: Collection[str]
) -> Imported:
    """Translate one policy; its id will be none of those `taken`."""
    at, title = _account(given, ledger)
    parts = given if isinstance(given, GraphPolicy) else (given.details or Details())
    conditions = parts.conditions or Conditions()
    inside = f"{at}.conditions"
    users = whom(conditions.users, f"{inside}.users", ledger, around.names)
    guarded = target(conditions.applications, f"{inside}.applications", ledger, around.names)
    strict = is_strict(parts.session_controls)
    conditions_found = conditions_of(conditions, inside, ledger, around.places, strict=strict)
    grant = grant_of(parts.grant_controls, f"{at}.grantControls", ledger, around.strengths)
    session = session_of(parts.session_controls, f"{at}.sessionControls", ledger)
    if grant is not None and grant.block:
        _doubt(inside, ledger)
    if ledger.idle:
        conditions_found = (NEVER,)
        users = msgspec.structs.replace(users, conditions=())
    was = _was(given, ledger)
    ledger.audit()
    state, why = _state(was, grant, session, ledger)
    source = given.id or ""
    name = slug(title, taken, f"entra-{slug(source[:8], (), 'policy')}", source)
    policy = _policy(name, title, state, (users, guarded, conditions_found, grant, session))
    return Imported(policy, _twin(policy, guarded), was, why, ledger, given.id or "")


def _doubt(inside: str, ledger: Ledger) -> None:
    """Report conditions of a block that are there without a word: none of them may widen it."""
    for name in _PARTS:
        if is_empty_object(ledger.value(f"{inside}.{name}")):
            ledger.doubt(f"{inside}.{name}", _EMPTY, Effect.WIDER)


def _account(given: GraphPolicy | Template, ledger: Ledger) -> tuple[str, str]:
    """Return where the parts stand, and what the policy is called."""
    at = ledger.at
    if isinstance(given, Template):
        ledger.carry(*(f"{at}.{name}" for name in (*_TEMPLATE, "description")))
        return f"{at}.details", given.name or ""
    ledger.carry(*(f"{at}.{name}" for name in (*_MEMBERS, "description")))
    return at, given.display_name or ""


def _was(given: GraphPolicy | Template, ledger: Ledger) -> PolicyState:
    at = ledger.at
    if isinstance(given, Template):
        ledger.note(f"{at}.name", "a template has no state: report-only, until you decide")
        return PolicyState.REPORT_ONLY
    if given.deleted_date_time:
        ledger.rest(f"{at}.deletedDateTime", "it was deleted")
    state = _STATES.get(given.state or "")
    if state is None:
        why = "the state is not known: report-only, until you decide"
        ledger.note(f"{at}.state", why)
        return PolicyState.REPORT_ONLY
    ledger.carry(f"{at}.state")
    return state


def _state(
    was: PolicyState, grant: Grant | None, session: SessionControls, ledger: Ledger
) -> tuple[PolicyState, tuple[str, ...]]:
    if was is PolicyState.DISABLED:
        return was, ()
    if ledger.idle:
        return PolicyState.DISABLED, tuple(dict.fromkeys(ledger.idle))
    if grant is None and session.sign_in_frequency is None:
        return PolicyState.DISABLED, (NOTHING_ASKED,)
    if was is PolicyState.REPORT_ONLY:
        return was, ()
    effects = ledger.effects()
    found = []
    if Effect.WEAKER in effects:
        found.append("it asks for less than it did")
    if Effect.WIDER in effects:
        found.append("it holds for more than it did")
    if Effect.STRICTER in effects and not _is_easy(grant):
        found.append("it asks for more than it did")
    return (PolicyState.REPORT_ONLY, tuple(found)) if found else (was, ())


def _is_easy(grant: Grant | None) -> bool:
    """Return whether a sign-in with several factors of any kind satisfies it."""
    return grant is None or any(controls <= _EASY for controls in grant.alternatives)


def _policy(
    name: str,
    title: str,
    state: PolicyState,
    parts: tuple[
        ConvertedUsers, ConvertedTargets, tuple[Condition, ...], Grant | None, SessionControls
    ],
) -> Policy:
    users, guarded, found, grant, session = parts
    conditions = (*users.conditions, *found)
    if grant is None and session.sign_in_frequency is None:
        grant = Grant(block=True)  # disabled; who enables it unread locks out, and lets nobody in
    return Policy(
        name,
        grant or Grant(),
        description=_description(title),
        state=state,
        users=users.users,
        apps=guarded.apps,
        contexts=guarded.contexts,
        conditions=conditions[0]
        if len(conditions) == 1
        else All(conditions)
        if conditions
        else None,
        session=session,
    )


def _description(title: str) -> str:
    return "".join(c if c.isprintable() else " " for c in title).strip()[:MAX_TEXT].strip()


def _twin(policy: Policy, guarded: ConvertedTargets) -> Policy | None:
    """Return the same policy for calls without a context, which only `block` covers by itself."""
    if not guarded.routine or policy.grant.block or policy.state is PolicyState.DISABLED:
        return None
    routine = Selection(frozenset({ROUTINE}))
    return msgspec.structs.replace(policy, id=f"{policy.id}{SUFFIX}", contexts=routine)
