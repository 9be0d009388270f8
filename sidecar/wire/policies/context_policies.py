"""Contexts that always need something: each becomes a policy like any other.

So what a context requires is evaluated, explained, counted and replayed as policies are. Its
policy is named `context-c3`.
"""

from collections.abc import Mapping

from sidecar.domain.policy.conditional_access import (
    Assignment,
    Grant,
    Policy,
    Selection,
    SessionControls,
)
from sidecar.wire.settings.settings import Context, Requires, Settings

PREFIX = "context-"


def context_policies(settings: Settings) -> tuple[Policy, ...]:
    """Return the policies of contexts that require something, in the contexts' order."""
    return tuple(
        _policy(name, context, context.requires)
        for name, context in settings.contexts.items()
        if context.requires is not None
    )


def policy_ids(contexts: Mapping[str, Context]) -> dict[str, str]:
    """Return the ids of those policies, each with its context."""
    return {
        f"{PREFIX}{name}": name
        for name, context in contexts.items()
        if context.requires is not None
    }


def _policy(name: str, context: Context, requires: Requires) -> Policy:
    grant = Grant((frozenset((requires.assurance,)),)) if requires.assurance else Grant()
    return Policy(
        id=f"{PREFIX}{name}",
        grant=grant,
        description=f"What {context.name} ({name}) always requires",
        users=Assignment(exclude=requires.exclude),
        contexts=Selection(frozenset((name,))),
        session=SessionControls(requires.max_age or None),
    )
