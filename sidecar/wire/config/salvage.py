"""Salvage of a configuration in which something is wrong.

Policies name contexts, locations, networks, levels and issuers. So that their mistakes are shown
together with those of the configuration, sections that could not be read are stood in for by the
names in them.
"""

from collections.abc import Mapping
from typing import Any

from sidecar.domain.values.assurance import DEFAULT_LEVELS, Level, Strength
from sidecar.wire.settings.settings import (
    CONTEXT,
    App,
    Assurance,
    Context,
    Issuer,
    NamedLocation,
    Network,
    Settings,
    Tokens,
)
from sidecar.wire.yaml.tree import Listing, Node, Scalar, Table

_UNKNOWN = "?"
"""Stands for what could not be read, where anything else would be compared with names."""


def stand_in(root: Table, values: Mapping[str, Any]) -> Settings:
    """Return settings with what could be read, and names for what policies may name.

    They serve to read policies by, and no daemon: no context requires anything. What could be read
    of a list or mapping may lack the entry that is wrong, so that names are those of the tree.
    """
    named = _named(root)
    tokens = values.get("tokens")
    if isinstance(tokens, Tokens) and len(tokens.issuers) == len(named["tokens"].issuers):
        named["tokens"] = tokens
    if "app" in values:
        named["app"] = values["app"]
    return Settings(**{**values, **named})


def _named(root: Table) -> dict[str, Any]:
    levels = tuple(Level(name) for name in _names(root, "name", "assurance", "levels"))
    strengths = {name: Strength() for name in _keys(root, "assurance", "strengths")}
    # An app that tokens may name, so that none of those in policies counts as unknown.
    issuers = (
        Issuer(issuer=name, namespace=space, audiences=(_UNKNOWN,), app_claim=_UNKNOWN)
        for name, space in zip(
            _names(root, "issuer", "tokens", "issuers"),
            _names(root, "namespace", "tokens", "issuers"),
            strict=True,
        )
    )
    return {
        "app": App(id=_UNKNOWN),
        "contexts": {
            name: Context(name=_UNKNOWN)
            for name in _keys(root, "contexts")
            if CONTEXT.fullmatch(name)
        },
        "locations": tuple(NamedLocation(name=name) for name in _names(root, "name", "locations")),
        "networks": tuple(Network(name=name) for name in _names(root, "name", "networks")),
        "assurance": Assurance(levels=levels or DEFAULT_LEVELS, strengths=strengths),
        "tokens": Tokens(issuers=tuple(issuers)),
    }


def _node(root: Node, *steps: str) -> Node | None:
    node: Node | None = root
    for step in steps:
        entry = node.entries.get(step) if isinstance(node, Table) else None
        node = None if entry is None else entry.node
    return node


def _keys(root: Table, *steps: str) -> tuple[str, ...]:
    node = _node(root, *steps)
    return tuple(node.entries) if isinstance(node, Table) else ()


def _names(root: Table, key: str, *steps: str) -> tuple[str, ...]:
    """Return what each item of a list has under this key; empty where it has none that is text."""
    node = _node(root, *steps)
    return tuple(_text(item, key) for item in (node.items if isinstance(node, Listing) else ()))


def _text(item: Node, key: str) -> str:
    found = _node(item, key)
    return found.value if isinstance(found, Scalar) and isinstance(found.value, str) else ""
