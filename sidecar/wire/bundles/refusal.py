"""The reasons for which a bundle is refused: `reason` of the metric and the log line."""

from enum import StrEnum


class BundleFlaw(StrEnum):
    """A fault of a bundle, or of its place."""

    UNSIGNED = "unsigned"  # there is no signature
    FOREIGN_KEY = "foreign-key"  # signed, but by none of the configured keys
    WRONG_SIGNATURE = "wrong-signature"  # by a configured key's name; the bytes are others
    MALFORMED = "malformed"  # the archive, its manifest or its signature cannot be read
    TAMPERED = "tampered"  # not the bytes that were named: another digest, another sequence
    OLDER = "older"  # a lower sequence than what is in force, and no rollback
    UNUSABLE = "unusable"  # its policies do not fit this sidecar's configuration
    UNAVAILABLE = "unavailable"  # it cannot be fetched


FORGED = frozenset(
    {
        BundleFlaw.UNSIGNED,
        BundleFlaw.FOREIGN_KEY,
        BundleFlaw.WRONG_SIGNATURE,
        BundleFlaw.MALFORMED,
        BundleFlaw.OLDER,
    }
)
"""Flaws for which nobody who may sign can have wanted the bundle: what is in force stays."""


class InvalidBundle(Exception):  # noqa: N818 - named by who must act
    """A bundle is refused for this `flaw`."""

    def __init__(self, flaw: BundleFlaw, message: str) -> None:
        super().__init__(message)
        self.flaw = flaw
