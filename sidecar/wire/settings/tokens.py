"""Settings of the issuers whose tokens are believed, and of their claims. Part of `settings`."""

import enum
from typing import Annotated

import msgspec

from sidecar.domain.values.namespaces import Namespaces
from sidecar.wire.settings.reload import Live
from sidecar.wire.yaml.scalars import (
    Algorithm,
    ClaimPath,
    Duration,
    DurationOrZero,
    File,
    HeaderName,
    PositiveInt,
    Size,
    StringOrUri,
    Url,
    instead,
)


class ContextProof(enum.StrEnum):
    """The proof that a token's `acrs` is for the contexts it lists, and as of when.

    `none`: it proves nothing. `auth_time`: as of the sign-in. `issued_at`: as of the token's issue.
    """

    NONE = "none"
    AUTH_TIME = "auth_time"
    ISSUED_AT = "issued_at"


class SessionNaming(enum.StrEnum):
    """The stand-in for the session where a token does not name it.

    `user-client`: issuer, user and client, and the key where the token is bound to one: the user's
    sign-ins at that client share their marks. `sign-in`: `auth_time` in place of the key, so that a
    new sign-in sheds the marks of the one before. `required`: nothing does, the token is refused.
    """

    USER_CLIENT = "user-client"
    SIGN_IN = "sign-in"
    REQUIRED = "required"


class Unknown(enum.StrEnum):
    """The effect of a policy that includes a group (or role) on a user whose groups are unknown.

    `included`: it is for them. `excluded`: it is not. `deny`: where it is, they are refused. A
    policy that excludes a group never takes them for members of it.
    """

    INCLUDED = "included"
    EXCLUDED = "excluded"
    DENY = "deny"


class Absent(enum.StrEnum):
    """The meaning of a token without a claim for groups (or roles).

    `unknown`: nobody has said. `empty`: the user has none; but what was known of a session is lost
    by a new sign-in only.
    """

    UNKNOWN = "unknown"
    EMPTY = "empty"


class Introspection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Introspection of an issuer's opaque tokens (RFC 7662), and the credential for it.

    With `client_secret` as the client (HTTP Basic), with `bearer_token`, or with an assertion that
    `private_key_file` signs (`private_key_jwt`, RFC 7523).
    """

    # its introspection endpoint; empty: its opaque tokens are not believed
    endpoint: Annotated[Url, instead("client_secret_file")] = ""
    only: bool = False  # true: its tokens are never JWTs, and no keys are fetched
    signed: bool = False  # true: its answers are signed with its keys (RFC 9701), and must be
    prefix: str = ""  # what its opaque tokens begin with, where several issuers have such
    client_id: str = ""  # this sidecar's, at the issuer
    client_secret: str = ""  # better by `client_secret_file`
    client_secret_file: File = ""  # a file that holds `client_secret`
    bearer_token: str = ""  # in place of a client's secret
    bearer_token_file: File = ""  # a file that holds `bearer_token`
    private_key_file: File = ""  # or a private key, as PEM; read at each question
    private_key_id: str = ""  # its `kid`
    private_key_algorithm: Algorithm = "ES256"  # it signs with
    timeout: Duration = 2.0  # for one answer
    cache_refusals_for: Duration = 10.0  # a token that is not active is asked about again after
    cache_for: Duration = 60.0  # and one that is active after
    max_staleness: DurationOrZero = 300.0  # but, with the issuer away, counts so much longer
    concurrent: PositiveInt = 16  # questions at a time


class Identifying(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of users that an issuer's tokens may use."""

    groups: bool = True  # false: its groups are not taken, and so not known
    roles: bool = True  # false: nor its roles
    break_glass: bool = True  # false: none of its users is an emergency account


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity provider whose tokens are believed, and how its claims are read.

    Keys come from `jwks_uri`, or `jwks_file`, or discovery at `issuer`.
    """

    issuer: StringOrUri  # the `iss` of its tokens, exactly
    # of its users, sessions, devices and groups; issuers of one namespace share all names; empty:
    # a namespace of its own, called as the issuer is
    namespace: StringOrUri = ""
    # one of them must be in `aud`
    audiences: Annotated[tuple[StringOrUri, ...], msgspec.Meta(min_length=1)]
    jwks_uri: Url = ""  # where its keys are
    jwks_file: File = ""  # or a file of them
    # asymmetric ones only
    algorithms: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    leeway: DurationOrZero = 30.0  # by which clocks may differ
    user_claim: ClaimPath = "sub"  # names the user
    session_claim: ClaimPath = "sid"  # names the session
    session: SessionNaming = SessionNaming.USER_CLIENT  # stands in where a token has none
    auth_time_claim: ClaimPath = "auth_time"  # says when the user signed in
    acr_claim: ClaimPath = "acr"  # says how strongly
    amr_claim: ClaimPath = "amr"  # lists by which methods
    device_claim: ClaimPath = "deviceid"  # names the device
    groups_claim: ClaimPath = "groups"  # lists the user's groups
    roles_claim: ClaimPath = "roles"  # lists the user's roles
    ip_claim: ClaimPath = ""  # says where the user signed in (`ipaddr`); empty: none does
    groups_unknown: Unknown = Unknown.INCLUDED  # whom policies for a group are for
    roles_unknown: Unknown = Unknown.INCLUDED  # whom policies for a role are for
    groups_absent: Absent = Absent.UNKNOWN  # what a token without `groups_claim` says
    roles_absent: Absent = Absent.UNKNOWN  # what a token without `roles_claim` says
    # names the app, in place of the audience; its client chooses what stands there
    app_claim: ClaimPath = ""
    # for Entra: whether `acrs` is proof (docs/decisions/0020)
    acrs_proof: ContextProof = ContextProof.NONE
    # the level that its sign-ins count for at most, whatever their `acr` and `amr` say; empty: any
    assurance_at_most: str = ""
    may_identify: Identifying = Identifying()  # what its tokens may say of who users are
    introspection: Introspection = Introspection()  # for opaque tokens
    # of the `typ` header; "": none
    types: tuple[str, ...] = ("at+jwt", "application/at+jwt", "JWT", "")

    @property
    def names(self) -> str:
        """The namespace of its names."""
        return self.namespace or self.issuer


class Possession(enum.StrEnum):
    """The proof of possession asked of a token that is bound to its client's key (`cnf`).

    `accept`: no more than any other; who stands before us sees to it. `verify`: its key or
    certificate. `require`: that, and no token passes that is not bound.
    """

    ACCEPT = "accept"
    VERIFY = "verify"
    REQUIRE = "require"


class CertificateForm(enum.StrEnum):
    """The form in which a gateway sends the client's certificate.

    `hex`, `base64`: its SHA-256 thumbprint. `pem`: itself or its chain, also percent-encoded or
    without armour. `xfcc`: Envoy's `X-Forwarded-Client-Cert`. `rfc9440`: `Client-Cert`.
    """

    HEX = "hex"
    BASE64 = "base64"
    PEM = "pem"
    XFCC = "xfcc"
    RFC9440 = "rfc9440"


class Binding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens that are bound to their client: DPoP (RFC 9449) and mutual TLS (RFC 8705)."""

    possession: Live[Possession] = Possession.ACCEPT  # whether the binding is verified here
    # of proofs
    dpop_algorithms: Live[tuple[Algorithm, ...]] = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
    dpop_window: Live[Duration] = 60.0  # a proof counts so long before and after its `iat`
    dpop_replays: Live[PositiveInt] = 100000  # proofs remembered, so that each counts once
    # what proofs may be for, as `https://app.example`; empty: any with the call's own host
    origins: Live[tuple[Url, ...]] = ()
    # in which the gateway sends the client's certificate
    certificate_header: Live[HeaderName] = ""
    certificate_form: Live[CertificateForm] = CertificateForm.BASE64  # how it does


class Tokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verification of JWTs."""

    issuers: Live[tuple[Issuer, ...]] = ()  # whose tokens are believed
    binding: Binding = Binding()  # to their client
    # verified tokens kept, and as many refused ones. The default gives way to `memory.limit`;
    # another number stands
    cache: Live[PositiveInt] = 20000
    max_bytes: Live[Size] = 16384  # longer tokens are refused
    jwks_refresh: Live[Duration] = 300.0  # keys are fetched again after
    jwks_min_interval: Live[Duration] = 5.0  # and for an unknown key no sooner than
    jwks_timeout: Live[Duration] = 3.0  # for one fetch
    jwks_max_staleness: Live[Duration] = 86400.0  # keys that cannot be renewed are dropped

    @property
    def break_glass_namespaces(self) -> frozenset[str]:
        """Those of whose users any may be an emergency account: all issuers of them say so."""
        refused = {one.names for one in self.issuers if not one.may_identify.break_glass}
        return frozenset(self.namespaces.all) - refused

    @property
    def namespaces(self) -> Namespaces:
        """Return whose names there are."""
        return Namespaces({one.issuer: one.names for one in self.issuers})
