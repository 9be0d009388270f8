"""Checks of the settings of signed bundles."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from sidecar.wire.bundles.settings import PolicyBundles
from sidecar.wire.checks.reach import is_loopback
from sidecar.wire.settings.settings import Policies
from sidecar.wire.yaml.tree import Problems, Table, is_named, place_of

SHORTEST_POLL = 1.0
"""Seconds between two looks at what is published, at least."""

_SOURCES = ("directory", "url", "oci")


def check_bundles(root: Table, policies: Policies, problems: Problems) -> None:
    """Add what does not fit together."""
    found = (*_sources(root, policies), *_credentials(policies.bundle), *_keys(policies))
    for key, message in found:
        field = f"policies.{key}"
        problems.add(place_of(root, field), field, message)


def _sources(root: Table, policies: Policies) -> Iterator[tuple[str, str]]:
    bundle = policies.bundle
    named = [name for name in _SOURCES if getattr(bundle, name)]
    if len(named) > 1:
        yield f"bundle.{named[1]}", f"there is bundle.{named[0]} already: bundles have one source"
    if named and is_named(root, "policies.path"):
        yield "path", f"is not read where policies come from bundle.{named[0]}: name one of them"
    if 0 < bundle.poll < SHORTEST_POLL:
        yield "bundle.poll", f"is at least {SHORTEST_POLL:g}s, or 0: never"
    if named and not bundle.public_keys:
        yield "bundle.public_keys", "is required: whose signatures count"


def _credentials(bundle: PolicyBundles) -> Iterator[tuple[str, str]]:
    address = bundle.url or bundle.oci
    if bundle.token and address.lower().startswith("http:") and not _is_near(address):
        yield "bundle.token", "would go over the network in clear: name an https:// address"
    if bundle.password and address.lower().startswith("http:") and not _is_near(address):
        yield "bundle.password", "would go over the network in clear: name an https:// address"
    if bundle.username and address and not bundle.oci:
        yield "bundle.username", "is a registry's, and there is no bundle.oci"
    if bundle.username and bundle.oci and bundle.token:
        yield "bundle.username", "is not shown where there is a bundle.token: name one of them"
    if bool(bundle.username) is not bool(bundle.password):
        yield "bundle.username", "goes with a bundle.password"
    if ":" in bundle.username:
        yield "bundle.username", "has a colon, which no user of HTTP has (RFC 7617)"


def _is_near(address: str) -> bool:
    return is_loopback(urlsplit(address).hostname or "")


def _keys(policies: Policies) -> Iterator[tuple[str, str]]:
    if not policies.bundle.public_keys:
        return
    from sidecar.wire.bundles.minisign import (  # noqa: PLC0415 - only where there are any
        InvalidKey,
        read_public_key,
    )

    for index, text in enumerate(policies.bundle.public_keys):
        try:
            read_public_key(text)
        except InvalidKey as error:
            yield f"bundle.public_keys[{index}]", str(error)
