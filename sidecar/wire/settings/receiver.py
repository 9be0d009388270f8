"""The configuration of Shared Signals in: whose Security Event Tokens are believed, and of whom."""

from typing import Annotated

import msgspec

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
    instead,
)

_PositiveInt = Annotated[int, msgspec.Meta(gt=0)]


class SubjectMatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule by which a subject identifier of one format names a user, device or session of ours.

    `value` is a text with the format's members in braces, such as `{sub}` or `auth0|{id}`.
    """

    format: str  # of RFC 9493 or SSF, such as `iss_sub` or `email`, or one of your own
    value: str = ""  # see above; empty: the member that names it, such as `{sub}`
    # whose identifiers count, where the format names an issuer; empty: the transmitter's own and
    # the `issuers` of its `sources` entry
    issuers: tuple[StringOrUri, ...] = ()
    strip: str = ""  # a beginning that is taken away before, such as `acct:`
    lower: bool = False  # in lower case, as e-mail addresses often are


class SubjectSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules that map the subjects of a transmitter's events to those of tokens."""

    # as the tokens' `user_claim` has it
    user: tuple[SubjectMatch, ...] = (SubjectMatch(format="iss_sub"),)
    # as the tokens' `device_claim` has it
    device: tuple[SubjectMatch, ...] = (
        SubjectMatch(format="iss_sub"),
        SubjectMatch(format="opaque"),
    )
    # as the `session_claim` has it
    session: tuple[SubjectMatch, ...] = (SubjectMatch(format="opaque"),)
    # tenants that concern us, as `{id}` or `{sub}` names them; empty: a tenant is not looked at
    tenants: tuple[str, ...] = ()
    # members of a complex subject without whose meaning an event must be left alone; added to the
    # `critical_subject_members` of the transmitter's metadata
    critical: tuple[str, ...] = ()


class KnownTransmitter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transmitter whose Security Event Tokens are believed.

    Keys come from `jwks_uri`, or `jwks_file`, or the metadata. Events come by push, or are fetched
    from `poll_url` by one of the sidecars.
    """

    name: str  # in logs, metrics, and as the `source` of events
    issuer: StringOrUri  # the `iss` of its tokens, exactly
    # one of them must be in `aud`
    audiences: Annotated[tuple[StringOrUri, ...], msgspec.Meta(min_length=1)]
    # its metadata; empty: `/.well-known/ssf-configuration` of the issuer
    metadata_url: Annotated[Url, instead("token_file")] = ""
    jwks_uri: Url = ""  # where its keys are
    jwks_file: File = ""  # or a file of them
    # asymmetric ones only
    algorithms: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    # of the `typ` header
    types: tuple[str, ...] = ("secevent+jwt", "application/secevent+jwt")
    skew: DurationOrZero = 60.0  # by which clocks may differ
    max_age: DurationOrZero = 604800.0  # since it was issued; older ones are refused; 0: any
    # required: the types of events that it may send, such as `session-revoked`
    events: tuple[str, ...] = ()
    subjects: SubjectSettings = SubjectSettings()  # how its subjects line up with ours
    # an assurance that rose for a user, not for one session, proves it for every live session of
    # the user, also for one that somebody else holds; takes `may_prove` of its `sources` entry, too
    user_wide_proofs: bool = False
    authorization_file: File = ""  # a file with what `Authorization` must say when it pushes
    token_file: File = ""  # a file with the token that we show at its endpoints
    # where events are fetched; empty: it pushes them
    poll_url: Annotated[Url, instead("token_file")] = ""
    poll_batch: _PositiveInt = 100  # events that are fetched at a time
    # for the answer to a poll: it comes when there is an event, or after the transmitter's patience
    poll_timeout: Duration = 90.0
    poll_interval: Duration = 1.0  # between polls that brought nothing


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shared Signals in: Security Event Tokens by push (RFC 8935) and by poll (RFC 8936)."""

    # `host:port`, such as `[::]:8443`, or a list; empty: nothing is pushed here
    bind: Restart[Binds] = ""
    # its certificate; empty: plain HTTP, behind something that has TLS
    tls_cert_file: Restart[File] = ""
    tls_key_file: Restart[File] = ""  # the certificate's key
    max_body_bytes: Restart[Size] = 65536  # of one token
    request_timeout: Restart[Duration] = 10.0  # for all of a request to arrive
    max_requests: Restart[_PositiveInt] = 256  # answered at a time
    # open at a time, of one address three quarters of these; past that, one that waits for its
    # client makes room
    max_connections: Restart[_PositiveInt] = 256
    transmitters: Live[tuple[KnownTransmitter, ...]] = ()  # who is believed
