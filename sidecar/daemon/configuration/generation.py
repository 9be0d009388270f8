"""A short hash of policies, settings and geography: by which generation sessions are judged."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sidecar.daemon.configuration.loading import Configuration


def generation_of(configuration: Configuration, databases: Mapping[str, bytes]) -> str:
    """Return a digest of policies, rating, levels, named places and location data.

    `databases` are the digests of the geography databases in use. Reads files of prefixes once
    more, so it blocks: one that changed or cannot be read just now is reported by its next reload.
    """
    settings = configuration.settings
    judged = (
        configuration.policies,
        settings.assurance,
        settings.risk,
        settings.friction,
        settings.break_glass,
        settings.locations,
        settings.networks,
        settings.geography,
        {name: digest.hex() for name, digest in databases.items()},
        [_digest(one.cidr_file) for one in settings.locations],
        [_digest(one.cidr_file) for one in settings.networks],
    )
    text = msgspec.json.encode(judged, order="deterministic")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def policy_set_of(configuration: Configuration) -> str:
    """Return a digest of the policies alone: equal wherever the same ones are in force."""
    text = msgspec.json.encode(configuration.policies, order="deterministic")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _digest(file: str) -> str:
    if not file:
        return ""
    try:
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=12).hexdigest()
    except OSError:
        return ""
