"""The configuration of the admin listener, and of who may ask it. Part of `settings`."""

from enum import StrEnum

import msgspec

from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.yaml.scalars import Binds, Duration, File, PositiveInt

ADMIN = "admin"
"""Whose `admin.token` is."""


class Role(StrEnum):
    """The rights of an operator: each role has those of the ones before it, too.

    `viewer` looks, `operator` acts on sessions, users and devices, `admin` puts back and drops
    dead letters.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def acts(self) -> bool:
        """Return whether the role may act on sessions, users and devices."""
        return self is not Role.VIEWER


class AdminTls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS of the admin listener, also for its probes; files that change are taken up at once."""

    certificate: Restart[File] = ""  # PEM, with what leads to its authority; empty: plain HTTP
    key: Restart[File] = ""  # the certificate's key, as PEM


class OperatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody with an admin credential of their own, by whose name acts are known."""

    name: str  # in logs and timelines, as `operator:NAME`
    token: str = ""  # the credential; better by `token_file`
    token_file: File = ""  # a file that holds `token`; looked at with each request
    # what it may do: `viewer`, `operator` or `admin`; null: as `acts` says
    role: Role | None = None
    acts: bool = True  # where there is no `role`: true is `admin`, false is `viewer`

    @property
    def rights(self) -> Role:
        """The role, given or implied."""
        if self.role is not None:
            return self.role
        return Role.ADMIN if self.acts else Role.VIEWER


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The console: pages for people, at `/console/` of the admin listener.

    They are for whoever has an admin credential; where there is none, there is no console.
    """

    enabled: Live[bool] = True  # whether the pages are there
    lifetime: Live[Duration] = 28800.0  # for so long a sign-in lasts at most
    idle: Live[Duration] = 1800.0  # a sign-in ends that is not used for so long


class Admin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The admin listener: metrics, health, and with a credential sessions, policies and acts."""

    enabled: Restart[bool] = True  # whether it listens at all
    # `host:port` or `[::1]:port`; one, or a list. `[::]:9090` is of IPv6 and IPv4 alike
    bind: Restart[Binds] = "0.0.0.0:9090"
    # the credential of the operator `admin`; empty, and no `operators`: metrics and health only
    token: Live[str] = ""
    token_file: Live[File] = ""  # a file that holds `token`; looked at with each request
    # others, each with a credential of their own
    operators: Live[tuple[OperatorSettings, ...]] = ()
    console: ConsoleSettings = ConsoleSettings()  # pages for people, at `/console/`
    tls: AdminTls = AdminTls()  # a certificate, where others than this machine ask
    # open at a time, of one address three quarters of these; past that, one that waits for its
    # client makes room
    max_connections: Restart[PositiveInt] = 64

    @property
    def has_credential(self) -> bool:
        """Return whether anybody may do more than read metrics and probes."""
        return bool(self.token or self.token_file or self.operators)
