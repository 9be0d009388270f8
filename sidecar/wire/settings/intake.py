"""The configuration of logouts and revocations that others send. Part of `settings`."""

from typing import Annotated

import msgspec

from sidecar.wire.settings.receiver import SubjectMatch
from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.yaml.scalars import (
    Algorithm,
    Binds,
    Duration,
    DurationOrZero,
    File,
    Size,
    StringOrUri,
    Url,
)

_PositiveInt = Annotated[int, msgspec.Meta(gt=0)]


class IntakeIssuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity provider whose logouts and revocations are taken.

    Its keys are those of the issuer of the same name in `tokens.issuers`; of another one they come
    from `jwks_uri`, or `jwks_file`, or discovery.
    """

    issuer: StringOrUri  # the `iss` of what it signs, exactly
    # the issuer in `tokens.issuers` whose users and sessions it ends; empty: itself
    users_of: StringOrUri = ""
    # the client ids that its logout tokens (OpenID Connect Back-Channel Logout) are for: one of
    # them must be in `aud`; empty: it sends none
    clients: tuple[str, ...] = ()
    # the addresses that its requests for global token revocation (Okta's Universal Logout) are for,
    # as it calls them: one of them must be in `aud`; empty: it sends none
    endpoints: tuple[Url, ...] = ()
    # how `sub_id` of such a request names a user, as the tokens' `user_claim` has it
    users: tuple[SubjectMatch, ...] = (SubjectMatch(format="iss_sub"),)
    jwks_uri: Url = ""  # where its keys are, if `tokens.issuers` does not have it
    jwks_file: File = ""  # or a file of them
    # asymmetric ones only
    algorithms: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    skew: DurationOrZero = 60.0  # by which clocks may differ
    max_age: Duration = 600.0  # since it was issued; what is older is refused


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The intake listener: events of sources with a credential, and logouts of providers."""

    # `host:port`, such as `[::]:8443`, or a list; empty: it does not listen
    bind: Restart[Binds] = ""
    # its certificate; only on a loopback address it may be left out
    tls_cert_file: Restart[File] = ""
    tls_key_file: Restart[File] = ""  # the certificate's key
    # a logout is answered as done once every live sidecar has it, and as failed where that takes
    # longer than this; 0: once it is durable. Providers wait for some seconds only
    wait: Live[DurationOrZero] = 0.0
    max_body_bytes: Restart[Size] = 1048576  # of one request
    request_timeout: Restart[Duration] = 10.0  # for all of a request to arrive
    max_requests: Restart[_PositiveInt] = 256  # answered at a time
    # open at a time, of one address three quarters of these; past that, one that waits for its
    # client makes room
    max_connections: Restart[_PositiveInt] = 256
    issuers: Live[tuple[IntakeIssuer, ...]] = ()  # whose logouts are taken
