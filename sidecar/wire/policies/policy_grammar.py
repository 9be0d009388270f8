"""Describes a policy and a file of policies: the contract, section 8.

`policy_files` reads them; the schema and the reference page come from here, too.
"""

from collections.abc import Iterable, Mapping

import msgspec

from sidecar.domain.policy.conditional_access import Grant, Policy, PolicyState
from sidecar.wire.grammar.records import Given, Record, RecordKey
from sidecar.wire.grammar.rules import (
    Boolean,
    Choice,
    FileReading,
    Name,
    Reference,
    Rule,
    Schema,
    Seconds,
    Text,
)
from sidecar.wire.grammar.selections import selection
from sidecar.wire.policies.assignments import USERS
from sidecar.wire.policies.conditions import CONDITION
from sidecar.wire.policies.grants import ALTERNATIVES, GRANT
from sidecar.wire.policies.session_controls import SESSION
from sidecar.wire.yaml.structs import Missing, refuse
from sidecar.wire.yaml.tree import Listing, Node

ID = "policy"
"""What `FileReading.lookups` calls the names of policies; likewise the following."""
ISSUER = "issuer"
APP = "app"
CONTEXT = "context"


class ListOfPolicies(msgspec.Struct, frozen=True):
    """Accepts a list of policies, which may be empty."""

    policy: Rule[Policy]

    def read(self, node: Node, field: str, reading: FileReading) -> tuple[Policy, ...] | Missing:
        """Return the policies that could be read."""
        if not isinstance(node, Listing):
            return refuse(reading.problems, node, field, "a list of policies")
        read = [
            self.policy.read(item, f"{field}[{at}]", reading) for at, item in enumerate(node.items)
        ]
        return tuple(policy for policy in read if not isinstance(policy, Missing))

    def schema(self) -> Schema:
        """Return the schema of the list."""
        return {"type": "array", "items": self.policy.schema()}

    def words(self) -> str:
        """Return what it is a list of."""
        return "list of policies"


class Defined(msgspec.Struct, frozen=True):
    """Accepts definitions by kind and name; `FileReading.definitions` has them then."""

    kinds: Mapping[str, Rule[object]]

    def read(self, node: Node, field: str, reading: FileReading) -> None:
        """Take up the definitions; they are read where they are used, or checked."""
        reading.definitions.take(node, field)

    def schema(self) -> Schema:
        """Return the schema of each kind."""
        kinds = {
            kind: {"type": "object", "additionalProperties": rule.schema()}
            for kind, rule in self.kinds.items()
        }
        return {"type": "object", "properties": kinds, "additionalProperties": False}

    def words(self) -> str:
        """Return the kinds."""
        return f"mapping of {', '.join(self.kinds)}"


def check_policy(given: Given) -> Iterable[tuple[str, str]]:
    """Find what does not go together in a policy."""
    if given.nodes.keys().isdisjoint(_ASKS):
        yield "grant", "is required, unless `session` asks for fresh sign-ins"
    grant = given.values.get("grant")
    if "grace" in given.nodes and isinstance(grant, Grant) and grant.block:
        yield "grace", "is not for `block`, which binds at once"


def _policy(grant: Grant = Grant(), **values: object) -> Policy:  # noqa: B008 - immutable
    return msgspec.structs.replace(Policy("", grant), **values)


_ASKS = ("grant", "session")
_USERS = Reference("users", lambda: USERS)
_CONDITION = Reference("condition", lambda: CONDITION)
POLICY: Record[Policy] = Record(
    {
        "id": RecordKey(
            Name(
                ID,
                "[a-z0-9][a-z0-9._-]{0,63}",
                "must be 1 to 64 small letters, digits, dots, dashes or underscores",
            ),
            "its name, unique over all files: small letters, digits, dots, dashes, underscores;"
            " at most 64",
            required="is required",
        ),
        "description": RecordKey(Text(), "for people"),
        "state": RecordKey(
            Choice(PolicyState),
            "`enabled`; `report-only`: evaluated, logged and counted, but it changes no answer;"
            " `disabled`",
            default="`enabled`",
        ),
        "users": RecordKey(_USERS, "whom it is for", default="everybody"),
        "issuers": RecordKey(
            selection(Name(ISSUER)),
            "at whose users: issuers of `tokens.issuers`, or their namespaces",
            default="all",
        ),
        "apps": RecordKey(
            selection(Name(APP)),
            "in which apps: `app.id`, else the audience of the token",
            default="all",
        ),
        "contexts": RecordKey(
            selection(Name(CONTEXT)),
            "for which authentication contexts; `routine` is a call that maps to none",
            default="all",
        ),
        "conditions": RecordKey(_CONDITION, "when", default="always"),
        "grant": RecordKey(
            GRANT,
            "what lets a session pass",
            default="*required*, unless `session` is given",
        ),
        "session": RecordKey(
            SESSION,
            "how fresh sign-ins must be while the policy holds: see [below](#how-fresh)",
        ),
        "sticky": RecordKey(
            Boolean(),
            "`true`: the mark stays until it is proven, even if the condition goes away by itself",
            default="`false`",
        ),
        "grace": RecordKey(
            Seconds(),
            "a mark binds only so long after its cause; see [friction](../friction.md). Not for"
            " `block`",
            default="none",
        ),
        "min_interval": RecordKey(
            Seconds(0),
            "for so long after a proof, the same cause does not ask again; `0s`: it does",
            default="`friction.min_interval`",
        ),
    },
    _policy,
    needs=_ASKS,
    check=check_policy,
)
DEFINED: Mapping[str, Rule[object]] = {
    "conditions": _CONDITION,
    "grants": Reference("grant", lambda: ALTERNATIVES),
    "users": _USERS,
}
"""What can be defined by a name, by its kind."""

FILE: Record[object] = Record(
    {
        "policies": RecordKey(ListOfPolicies(Reference("policy", lambda: POLICY))),
        "definitions": RecordKey(Defined(DEFINED)),
    },
    dict,
    needs=("policies", "definitions"),
)


def policy_schema() -> Schema:
    """Return the JSON Schema of one policy file."""
    rules: Mapping[str, Rule[object]] = {
        "policy": POLICY,
        "users": USERS,
        "grant": ALTERNATIVES,
        "condition": CONDITION,
    }
    return {
        "title": "Policies of stepup-sidecar",
        **FILE.schema(),
        "$defs": {name: rule.schema() for name, rule in rules.items()},
    }
