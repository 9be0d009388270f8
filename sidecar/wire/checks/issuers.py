"""Checks of what must fit together of issuers: namespaces, and who is named of which issuer."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from sidecar.domain.policy.conditional_access import NOBODY
from sidecar.domain.values.namespaces import Namespaces
from sidecar.wire.checks.reach import is_fetchable
from sidecar.wire.settings.settings import Assurance, BreakGlass, Context
from sidecar.wire.settings.tokens import Tokens
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import Problems, Table, place_of, shown


def check_issuers(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add what does not fit together, of the sections that could be read."""
    tokens = values.get("tokens")
    if not isinstance(tokens, Tokens):
        return
    wrong = [*_joined(tokens), *_origins(tokens), *_plain(tokens)]
    assurance, glass = values.get("assurance"), values.get("break_glass")
    if isinstance(assurance, Assurance):
        wrong += _levels(tokens, assurance)
    if isinstance(glass, BreakGlass):
        wrong += _accounts(tokens, glass)
    wrong += _spared(tokens.namespaces, values.get("contexts", {}))
    for field, message in wrong:
        problems.add(place_of(root, field), field, message)


def _joined(tokens: Tokens) -> Iterator[tuple[str, str]]:
    """Yield a namespace that is called as an issuer is that issuer's, too."""
    own = {one.issuer: one.names for one in tokens.issuers}
    for index, one in enumerate(tokens.issuers):
        if own.get(one.names, one.names) != one.names:
            message = (
                f"is called as an issuer whose own namespace is {shown(own[one.names])!r}: give"
                " both the same, or this one another"
            )
            yield f"tokens.issuers[{index}].namespace", message


def _plain(tokens: Tokens) -> Iterator[tuple[str, str]]:
    """Keys are fetched over TLS, or from this machine: whoever is between would choose them."""
    message = "must be https, or http on a loopback host: keys are fetched from there"
    for index, one in enumerate(tokens.issuers):
        field, asked = f"tokens.issuers[{index}]", one.introspection
        is_fetched = asked.signed or not asked.only
        if not is_fetched or one.jwks_file:
            continue
        if one.jwks_uri:
            if not is_fetchable(one.jwks_uri):
                yield f"{field}.jwks_uri", message
        elif one.issuer.startswith("http://") and not is_fetchable(one.issuer):
            yield f"{field}.issuer", f"{message}; or give jwks_uri or jwks_file"


def _origins(tokens: Tokens) -> Iterator[tuple[str, str]]:
    """Proofs are compared with origins as they stand: scheme, host and port, and nothing else."""
    for index, origin in enumerate(tokens.binding.origins):
        field, parts = f"tokens.binding.origins[{index}]", urlsplit(origin)
        if "*" in parts.netloc:
            yield field, "has a `*`, which stands for nothing here: name each origin"
        if parts.path not in {"", "/"} or parts.query:
            yield field, f"has a path, which origins do not: say {parts.scheme}://{parts.netloc}"


def _levels(tokens: Tokens, assurance: Assurance) -> Iterator[tuple[str, str]]:
    known = {level.name for level in assurance.levels}
    for index, one in enumerate(tokens.issuers):
        if one.assurance_at_most and one.assurance_at_most not in known:
            hint = suggestion(one.assurance_at_most, known)
            message = f"{shown(one.assurance_at_most)!r} is no level of `assurance.levels`{hint}"
            yield f"tokens.issuers[{index}].assurance_at_most", message


def _accounts(tokens: Tokens, glass: BreakGlass) -> Iterator[tuple[str, str]]:
    """Emergency accounts are those of an issuer: a name elsewhere is another's."""
    namespaces = tokens.namespaces
    several = namespaces.sole() is None
    for key, names in (("users", glass.users), ("groups", glass.groups)):
        if names and several:
            message = (
                "must say whose these are, as there are several issuers: put them under"
                " `break_glass.accounts`, each with its `issuer`"
            )
            yield f"break_glass.{key}", message
    may = tokens.break_glass_namespaces
    for index, one in enumerate(glass.accounts):
        field, named = f"break_glass.accounts[{index}]", namespaces.named(one.issuer)
        if named is None:
            hint = suggestion(one.issuer, namespaces.words)
            yield f"{field}.issuer", f"{shown(one.issuer)!r} is in no `tokens.issuers`{hint}"
        elif named not in may:
            message = "is one whose tokens may not name emergency accounts: `may_identify`"
            yield f"{field}.issuer", f"{message}.break_glass is false"
        if not (one.users or one.groups):
            yield field, "must name users or groups"


def _spared(namespaces: Namespaces, contexts: Mapping[str, Context]) -> Iterator[tuple[str, str]]:
    if namespaces.sole() is not None:
        return
    for name, context in contexts.items():
        if context.requires is not None and context.requires.exclude != NOBODY:
            message = (
                "would spare users of these names at every issuer: write a policy with `issuers`"
                " in place of it, as there are several"
            )
            yield f"contexts.{name}.requires.exclude", message
