"""Users of a policy: from Graph's `conditionalAccessUsers` to an assignment.

Guests are the odd ones: Graph names them by kind, tokens by the optional claim `acct` (1: a guest
of the tenant), which knows nothing of members and customers of other tenants. A names file can
say which group holds them.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from sidecar.domain.policy.conditional_access import Assignment, Claims, Condition, Not, Principals
from sidecar.entra.graph_objects import GraphUsers, Guests, Texts
from sidecar.entra.ledger import Effect, Ledger
from sidecar.entra.names import DirectoryNames
from sidecar.wire.grammar.selections import EVERYTHING
from sidecar.wire.yaml.nodes import MAX_TEXT
from sidecar.wire.yaml.tree import has_control

GUESTS = "GuestsOrExternalUsers"
IS_GUEST = Claims((("acct", frozenset({"1"})),))
_KINDS = frozenset(
    {
        "internalGuest",
        "b2bCollaborationGuest",
        "b2bCollaborationMember",
        "b2bDirectConnectUser",
        "otherExternalUser",
        "serviceProvider",
    }
)
_CLAIMED = frozenset({"internalGuest", "b2bCollaborationGuest"})
_BY_CLAIM = (
    "tokens show guests of the tenant only (claim `acct`), not members of other tenants, direct "
    "connections and service providers; name a group for GuestsOrExternalUsers in the names file"
)
_NO_TENANTS = "tokens do not say which tenant a guest comes from"
KEPT = "kept: right where tokens carry ids; else name it in the names file"
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NO_ID = (
    "is neither an id nor a word of Graph: put the id in its place, or name it in the names file"
)
_AGENTS = "agents sign in without a user; none reaches a sidecar as one"

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "62e90394-69f5-4237-9190-012177145e10": "Global Administrator",
        "194ae4cb-b126-40b2-bd5b-6091b380977d": "Security Administrator",
        "f28a1f50-f6e7-4571-818b-6a12f2af6b6c": "SharePoint Administrator",
        "29232cdf-9323-42fd-ade2-1d097af3e4de": "Exchange Administrator",
        "b1be1c3e-b65d-4f19-8427-f6fa0d97feb9": "Conditional Access Administrator",
        "729827e3-9c14-49f7-bb1b-9608f156bbb8": "Helpdesk Administrator",
        "b0f54661-2d74-4c50-afa3-1ec803f12efe": "Billing Administrator",
        "fe930be7-5e62-47db-91af-98c3a49a38b1": "User Administrator",
        "c4e39bd9-1100-46d3-8c65-fb160da0071f": "Authentication Administrator",
        "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3": "Application Administrator",
        "158c047a-c907-4556-b7ef-446551a6b5f7": "Cloud Application Administrator",
        "966707d0-3269-4727-9be2-8c3a10f19b9d": "Password Administrator",
        "7be44c8a-adaf-4e2a-84d6-ab2649e08a13": "Privileged Authentication Administrator",
        "e8611ab8-c189-46e8-94e1-60213ab1f814": "Privileged Role Administrator",
    }
)
"""Built-in roles by template id, as comments name them."""


class ConvertedUsers(msgspec.Struct, frozen=True):
    """The assignment, and what has to be said as a condition instead."""

    users: Assignment = Assignment()
    conditions: tuple[Condition, ...] = ()


def whom(
    users: GraphUsers | None, at: str, ledger: Ledger, names: DirectoryNames
) -> ConvertedUsers:
    """Translate `users`, which stands at `at`."""
    users = users or GraphUsers()
    reader = _Side(ledger, names, at)
    included, everybody, guests_only = reader.included(users)
    excluded, kept_out = reader.excluded(users)
    if not everybody and included == Principals() and not guests_only:
        ledger.rest(f"{at}.includeUsers", "it is for no user who could be named here")
    conditions: list[Condition] = []
    if guests_only:
        conditions.append(IS_GUEST)
    if kept_out:
        conditions.append(Not(IS_GUEST))
    nobody = included == Principals()
    return ConvertedUsers(
        Assignment(None if everybody or nobody else included, excluded), tuple(conditions)
    )


class _Side:
    def __init__(self, ledger: Ledger, names: DirectoryNames, at: str) -> None:
        self._ledger = ledger
        self._names = names
        self._at = at

    def included(self, users: GraphUsers) -> tuple[Principals, bool, bool]:
        """Return who is included, whether it is everybody, and whether only unnamed guests."""
        at = f"{self._at}.includeUsers"
        specials = set(users.include_users or ()) & {"All", "None"}
        for item, value in zip(self._ledger.items(at), users.include_users or (), strict=False):
            if value in specials:
                self._ledger.carry(item)
            elif value == "AllAgentIdUsers":
                self._ledger.lose(item, _AGENTS, Effect.NONE)
        special = (*specials, GUESTS, "AllAgentIdUsers")
        found = self._principals(
            "include",
            (users.include_users, users.include_groups, users.include_roles),
            special,
            Effect.WEAKER,
        )
        if "All" in specials:
            self._already(users)
            return Principals(), True, False
        kinds, places = self._kinds(
            "include", users.include_users, users.include_guests_or_external_users
        )
        if not kinds:
            return found, False, False
        groups = self._groups(kinds)
        if groups:
            self._carry(places)
            found = msgspec.structs.replace(found, groups=found.groups | groups)
            self._tenants("include", users.include_guests_or_external_users, Effect.WIDER)
            return found, False, False
        alone = found == Principals()
        partial = alone and not kinds.isdisjoint(_CLAIMED)
        exact = partial and kinds == _CLAIMED
        if exact:
            self._carry(places)
        else:
            self._lose(places, _BY_CLAIM, Effect.WEAKER)
        self._tenants("include", users.include_guests_or_external_users, Effect.WIDER)
        return found, False, partial

    def _already(self, users: GraphUsers) -> None:
        """Guests beside `All` are in it."""
        kinds, places = self._kinds(
            "include", users.include_users, users.include_guests_or_external_users
        )
        if kinds:
            self._carry(places)
            at = f"{self._at}.includeGuestsOrExternalUsers.externalTenants"
            self._ledger.carry_all(at)

    def excluded(self, users: GraphUsers) -> tuple[Principals, bool]:
        """Return who is excluded, and whether guests are, by their claim."""
        found = self._principals(
            "exclude",
            (users.exclude_users, users.exclude_groups, users.exclude_roles),
            (GUESTS,),
            Effect.WIDER,
        )
        kinds, places = self._kinds(
            "exclude", users.exclude_users, users.exclude_guests_or_external_users
        )
        if not kinds:
            return found, False
        tenants = self._tenants("exclude", users.exclude_guests_or_external_users, Effect.WIDER)
        groups = self._groups(kinds)
        if tenants:
            self._lose(places, _NO_TENANTS, Effect.WIDER)
            return found, False
        if groups:
            self._carry(places)
            return msgspec.structs.replace(found, groups=found.groups | groups), False
        if kinds == _CLAIMED:
            self._carry(places)
        else:
            self._lose(places, _BY_CLAIM, Effect.WIDER)
        return found, kinds >= _CLAIMED

    def _principals(
        self,
        side: str,
        lists: tuple[Texts | None, Texts | None, Texts | None],
        special: tuple[str, ...],
        effect: Effect,
    ) -> Principals:
        found: dict[str, frozenset[str]] = {}
        for kind, values in zip(("users", "groups", "roles"), lists, strict=True):
            at = f"{self._at}.{side}{kind.capitalize()}"
            taken = set()
            for item, value in zip(self._ledger.items(at), values or (), strict=True):
                if kind == "users" and value in special:
                    continue
                name = named(self._ledger, item, value, self._names.of(kind, value), effect)
                if name is not None:
                    taken.add(name)
            found[kind] = frozenset(taken)
        return Principals(**found)

    def _kinds(
        self, side: str, values: Texts | None, guests: Guests | None
    ) -> tuple[frozenset[str], tuple[str, ...]]:
        """Return the kinds of guests that one side speaks of, and where."""
        kinds: set[str] = set()
        at = f"{self._at}.{side}Users"
        items = zip(self._ledger.items(at), values or (), strict=True)
        places = [item for item, value in items if value == GUESTS]
        if places:
            kinds |= _KINDS
        kinds_named = guests.guest_or_external_user_types if guests else None
        if kinds_named:
            known = {kind.lower(): kind for kind in _KINDS}
            words = [word.strip() for word in kinds_named.split(",")]
            kinds |= {known.get(word.lower(), word) for word in words} - {"none", ""}
            types = f"{self._at}.{side}{GUESTS}.guestOrExternalUserTypes"
            if kinds:
                places.append(types)
            else:
                self._ledger.carry(types)
        return frozenset(kinds), tuple(places)

    def _groups(self, kinds: frozenset[str]) -> frozenset[str]:
        """Return the groups that hold these guests; empty where one is not named."""
        whole = self._names.of("groups", GUESTS)
        if whole and kinds == _KINDS:
            return frozenset({whole})
        groups = [self._names.of("groups", kind) for kind in kinds]
        return frozenset(group for group in groups if group) if all(groups) else frozenset()

    def _tenants(self, side: str, guests: Guests | None, effect: Effect) -> bool:
        """Return whether the guests of some tenants only are meant."""
        tenants = guests.external_tenants if guests else None
        at = f"{self._at}.{side}{GUESTS}.externalTenants"
        if tenants is None or tenants.membership_kind == "all":
            self._ledger.carry(f"{at}.membershipKind")
            return False
        self._ledger.lose(at, _NO_TENANTS, effect)
        return True

    def _carry(self, places: tuple[str, ...]) -> None:
        self._ledger.carry(*places)

    def _lose(self, places: tuple[str, ...], reason: str, effect: Effect) -> None:
        for place in places:
            self._ledger.lose(place, reason, effect)


def named(ledger: Ledger, item: str, value: str, known: str | None, effect: Effect) -> str | None:
    """Return the `known` name of an id, else the id itself; None if it cannot be a name.

    Ids are kept in lower case, as tokens carry them: Graph takes a GUID in any case.
    """
    name = known or value.lower()
    if not 0 < len(name) <= MAX_TEXT or has_control(name) or name == EVERYTHING:
        ledger.lose(item, "cannot be a name in a policy file", effect)
        return None
    if known is None and not _GUID.fullmatch(value):
        ledger.lose(item, _NO_ID, effect)
        return None
    if known is None:
        ledger.note(item, KEPT)
    ledger.carry(item)
    return name
