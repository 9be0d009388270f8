"""Settings of the form in which names of people and devices are written. Part of `settings`."""

import enum

import msgspec

from sidecar.wire.settings.reload import Restart
from sidecar.wire.yaml.scalars import File


class Identifiers(enum.StrEnum):
    """The form of names, and of what is known of people, in log, store and spool.

    `plain`: as they are. `keyed`: as pseudonyms, and sealed, under the first of `keys`.
    """

    PLAIN = "plain"
    KEYED = "keyed"


class Privacy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Personal data in log, store and spool: docs/privacy.md. All sidecars of a store agree on it.

    Keys are secrets of 32 characters at least, as `openssl rand -base64 32` prints. The first
    writes and all are read, so that one can follow another; in the file each has its line.
    """

    identifiers: Restart[Identifiers] = Identifiers.PLAIN  # `plain` or `keyed`
    keys: Restart[tuple[str, ...]] = ()  # better by `key_file`
    key_file: Restart[File] = ""  # a file that holds `keys`, one a line
    # while a store changes from `plain` to `keyed`: both are read
    read_plain: Restart[bool] = False
