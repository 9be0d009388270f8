"""A short hash of policies, settings and geography: by which generation sessions are judged."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sidecar.daemon.configuration.files import Configuration
from sidecar.service.audit.rescore_all import JudgedBy


def generation_of(configuration: Configuration, databases: Mapping[str, bytes]) -> str:
    """Return a digest of policies, rating, levels, named places and location data.

    `databases` are the digests of the geography databases in use. Reads files of prefixes once
    more, so it blocks: one that changed or cannot be read just now is reported by its next reload.
    """
    return _digest_of((configuration.policies, *_world(configuration, databases)))


def judged_by(configuration: Configuration, databases: Mapping[str, bytes]) -> JudgedBy:
    """Return what a generation is the digest of, so that two can be compared.

    All settings count as what sessions are judged by beside policies, since some are that a
    generation does not name; as a digest, so that nobody has them but the snapshot in force. It
    blocks likewise.
    """
    settings = hashlib.blake2b(repr(configuration.settings).encode(), digest_size=12).hexdigest()
    return JudgedBy(configuration.policies, settings + _digest_of(_world(configuration, databases)))


def _world(configuration: Configuration, databases: Mapping[str, bytes]) -> tuple[object, ...]:
    """Return what sessions are judged by beside policies."""
    settings = configuration.settings
    return (
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


def _digest_of(judged: object) -> str:
    text = msgspec.json.encode(judged, order="deterministic")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def policy_set_of(configuration: Configuration) -> str:
    """Return a digest of the policies alone: equal wherever the same ones are in force."""
    return _digest_of(configuration.policies)


def _digest(file: str) -> str:
    if not file:
        return ""
    try:
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=12).hexdigest()
    except OSError:
        return ""
