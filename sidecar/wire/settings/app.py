"""Settings of the challenges that ask an app for a step-up. Part of `settings`."""

import enum
from typing import Annotated

import msgspec

from sidecar.wire.settings.reload import Live
from sidecar.wire.yaml.scalars import File, Name, Url


class ChallengeStyle(enum.StrEnum):
    """The form of a challenge."""

    RFC9470 = "rfc9470"
    ENTRA = "entra"


class ClaimsChallenges(enum.StrEnum):
    """The clients that are sent Microsoft's claims challenge.

    `capable`: those whose token says in `xms_cc` that they can handle it (`cp1`); others get a 403.
    `always`: all, where tokens do not carry `xms_cc` and yet the clients are known to be able.
    """

    CAPABLE = "capable"
    ALWAYS = "always"


class ProofOf(enum.StrEnum):
    """The proof that counts for a call: its own token's, or that of any token of its session.

    With `session`, one client's step-up counts for all tokens of the session, also for one that was
    stolen before. It never brings back a token from before a revocation.
    """

    TOKEN = "token"  # noqa: S105 - a word of the configuration
    SESSION = "session"


class Redirect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page that a browser is sent to for a step-up; all calls that open no page get the 401."""

    # a page of the app that starts a step-up; empty: browsers get the 401, too
    start: Live[Url] = ""
    # the parameter with the way back, a path of the app's own origin
    return_parameter: Live[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]] = (
        "return_to"
    )
    # signs the way back, so that the app can distinguish it from one made up; empty: unsigned
    key: Live[str] = ""
    key_file: Live[File] = ""  # a file that holds `key`


class App(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The app this sidecar stands beside."""

    id: Live[Name] = ""  # its name in policies and metrics; empty: the audience of the token
    # `rfc9470` or `entra` (Microsoft's claims challenge)
    challenge: Live[ChallengeStyle] = ChallengeStyle.RFC9470
    realm: Live[str] = ""  # the realm that challenges name
    authorization_uri: Live[Url] = ""  # for `entra`: where to sign in
    # for `entra`: to those whose token's `xms_cc` has `cp1`, or `always`
    claims_challenges: Live[ClaimsChallenges] = ClaimsChallenges.CAPABLE
    redirect: Redirect = Redirect()  # where browsers are sent for a step-up


class AppChallenges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Challenges of one app among several, where they differ from `app`; by the token's own app."""

    # whose proof counts for its calls: null: as `assurance.proof_of`
    proof_of: ProofOf | None = None

    challenge: ChallengeStyle | None = None  # null: as `app.challenge`
    realm: str | None = None  # null: as `app.realm`
    authorization_uri: Url | None = None  # null: as `app.authorization_uri`
    claims_challenges: ClaimsChallenges | None = None  # null: as `app.claims_challenges`
    redirect: Redirect | None = None  # null: as `app.redirect`
