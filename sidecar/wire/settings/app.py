"""How an app is asked for a step-up, as configured. Part of `settings`."""

import enum
from typing import Annotated

import msgspec

from sidecar.wire.settings.reload import Live
from sidecar.wire.yaml.scalars import File, Name, Url


class ChallengeStyle(enum.StrEnum):
    """How a step-up is asked for."""

    RFC9470 = "rfc9470"
    ENTRA = "entra"


class ClaimsChallenges(enum.StrEnum):
    """Which clients are sent Microsoft's claims challenge.

    `capable`: those whose token says in `xms_cc` that they can handle it (`cp1`); others get a 403.
    `always`: all, where tokens do not carry `xms_cc` and yet the clients are known to be able.
    """

    CAPABLE = "capable"
    ALWAYS = "always"


class ProofOf(enum.StrEnum):
    """Whose proof counts for a call: its own token's, or that of any token of its session.

    With `session`, one client's step-up counts for all tokens of the session, also for one that was
    stolen before. It never brings back a token from before a revocation.
    """

    TOKEN = "token"  # noqa: S105 - a word of the configuration
    SESSION = "session"


class Redirect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a browser that opens a page is sent for a step-up; all other calls get the 401."""

    # a page of the app that starts a step-up; empty: browsers get the 401, too
    start: Live[Url] = ""
    # the parameter with the way back, a path of the app's own origin
    return_parameter: Live[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]] = (
        "return_to"
    )
    # signs the way back, so that the app can tell it from one made up; empty: unsigned
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
    """How one app among several is asked, where it differs from `app`; by the token's own app."""

    # whose proof counts for its calls: null: as `assurance.proof_of`
    proof_of: ProofOf | None = None

    challenge: ChallengeStyle | None = None  # null: as `app.challenge`
    realm: str | None = None  # null: as `app.realm`
    authorization_uri: Url | None = None  # null: as `app.authorization_uri`
    claims_challenges: ClaimsChallenges | None = None  # null: as `app.claims_challenges`
    redirect: Redirect | None = None  # null: as `app.redirect`
