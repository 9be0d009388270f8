"""The configuration of the admin listener, and of who may ask it. Part of `settings`."""

from enum import StrEnum

import msgspec

from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.yaml.scalars import (
    Algorithm,
    Binds,
    ClaimPath,
    Duration,
    DurationOrZero,
    File,
    Name,
    PositiveInt,
    StringOrUri,
    Url,
)

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


class OpenIdSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign-in at the console by an OpenID provider (OpenID Connect Core 1.0, section 3.1).

    Credentials hold besides. Who has values of several roles has the one that may do the most.
    """

    issuer: Live[StringOrUri] = ""  # the provider's, exactly; empty: credentials alone sign in
    client_id: Live[str] = ""  # the console's, at the provider
    client_secret: Live[str] = ""  # better by `client_secret_file`; none: a public client
    client_secret_file: Live[File] = ""  # a file that holds `client_secret`
    # where browsers come back to, as registered there: `https://HOST/console/sign-in/return`
    redirect_uri: Live[Url] = ""
    scopes: Live[tuple[str, ...]] = ()  # asked for besides `openid`
    name_claim: Live[ClaimPath] = "sub"  # the person's name, in logs and timelines NAME@ISSUER
    roles_claim: Live[ClaimPath] = "groups"  # has the values that stand for roles
    viewers: Live[tuple[Name, ...]] = ()  # values of the role `viewer`
    operators: Live[tuple[Name, ...]] = ()  # values of the role `operator`
    admins: Live[tuple[Name, ...]] = ()  # values of the role `admin`
    # of ID tokens; asymmetric ones only
    algorithms: Live[tuple[Algorithm, ...]] = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    leeway: Live[DurationOrZero] = 30.0  # by which clocks may differ
    timeout: Live[Duration] = 5.0  # for all that the provider is asked in one request

    @property
    def values(self) -> tuple[tuple[Role, tuple[str, ...]], ...]:
        """The values that stand for each role, the role that may do the most first."""
        return (
            (Role.ADMIN, self.admins),
            (Role.OPERATOR, self.operators),
            (Role.VIEWER, self.viewers),
        )


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The console: pages for people, at `/console/` of the admin listener.

    They are for whoever has an admin credential, or a role by `openid`; where there is neither,
    there is no console.
    """

    enabled: Live[bool] = True  # whether the pages are there
    lifetime: Live[Duration] = 28800.0  # for so long a sign-in lasts at most
    idle: Live[Duration] = 1800.0  # a sign-in ends that is not used for so long
    # a directory of reports of `sidecar replay --json`, which it shows; empty: none
    replays: Live[File] = ""
    openid: OpenIdSettings = OpenIdSettings()  # sign-in by an OpenID provider


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
        """Return whether anybody has a credential, and may do more than read metrics and probes."""
        return bool(self.token or self.token_file or self.operators)

    @property
    def has_console(self) -> bool:
        """Return whether there are pages, and somebody who may see them."""
        return self.console.enabled and (self.has_credential or bool(self.console.openid.issuer))
