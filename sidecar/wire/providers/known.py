"""The identity providers that are known by their metadata, and where they set what tokens say.

It says in a line what stands on each one's page (docs/providers), which says where that is from.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

AS_OF = "2026-11-30"

Metadata = Mapping[str, object]


class KnownProvider(NamedTuple):
    """An identity provider: its name, its page, and by claim where its setting is.

    `has_id_tokens`: what apps are shown is its ID tokens, as its access tokens do not serve.
    """

    name: str
    page: str
    settings: Mapping[str, str]
    has_id_tokens: bool = False

    def cure(self, claim: str) -> str:
        """Return where a claim is switched on, and where that is from."""
        setting = self.settings.get(claim) or self.settings["claims"]
        page = f"docs/providers/{self.page}.md"
        if self.page in ("README", "oidc-provider"):
            return f"{self.name}: {setting} ({page})"
        return f"{self.name}: {setting} ({page}, from its documentation as of {AS_OF})"


KEYCLOAK = KnownProvider(
    "Keycloak",
    "keycloak",
    {
        "sid": "Clients > (client) > Advanced > switch off 'Always use lightweight access token'",
        "auth_time": "Clients > (client) > Client scopes: `basic` among the default ones",
        "acr": "Clients > (client) > Client scopes: `acr` among the default ones; Realm settings >"
        " General > 'ACR to LoA Mapping' names the values; in the browser flow a 'Condition - Level"
        " of Authentication' for each",
        "amr": "a mapper 'Authentication Method Reference (AMR)' in the client's dedicated scope,"
        " and an 'Authenticator Reference' (`pwd`, `otp`) at each execution of the flow",
        "groups": "a mapper 'Group Membership' in the client's dedicated scope, with the token"
        " claim name `groups` and without 'Full group path'",
        "aud": "a mapper 'Audience' in the client's dedicated scope",
        "claims": "a mapper in the client's dedicated scope (Clients > (client) > Client scopes)",
    },
)
ENTRA = KnownProvider(
    "Entra ID",
    "entra-id",
    {
        "sid": "App registrations > (the API) > Token configuration > Add optional claim > Access >"
        " `sid`",
        "auth_time": "App registrations > (the API) > Token configuration > Add optional claim >"
        " Access > `auth_time`",
        "acr": "v2.0 access tokens have none; authentication contexts take its place: the optional"
        " claim `acrs`, and here `acrs_proof: auth_time` and `app.challenge: entra`",
        "amr": "v2.0 access tokens have none; authentication contexts take its place: the optional"
        " claim `acrs`, and here `acrs_proof: auth_time` and `app.challenge: entra`",
        "groups": "App registrations > (the API) > Token configuration > Add groups claim > 'Groups"
        " assigned to the application', which keeps the list short",
        "aud": "App registrations > (the API): with `requestedAccessTokenVersion: 2` in its"
        " manifest `aud` is its application (client) id",
        "claims": "App registrations > (the API) > Token configuration > Add optional claim",
    },
)
_OKTA_CLAIM = "Security > API > Authorization Servers > (server) > Claims > Add Claim"
OKTA = KnownProvider(
    "Okta",
    "okta",
    {
        "sid": f"{_OKTA_CLAIM} `session_id` for the access token, with the value `session.id`, and"
        " here `session_claim: session_id`",
        "auth_time": "use a custom authorization server (Security > API > Authorization Servers):"
        " its access tokens have it",
        "acr": "it is there where the client asked with `acr_values`: list `urn:okta:loa:1fa:any`,"
        " `urn:okta:loa:2fa:any`, `phr` in `assurance.levels`",
        "amr": f"{_OKTA_CLAIM} `sign_in_methods` for the access token, with the value"
        " `session.amr`, and here `amr_claim: sign_in_methods`",
        "groups": f"{_OKTA_CLAIM} `app_groups` for the access token, value type 'Groups' with a"
        " filter, and here `groups_claim: app_groups`",
        "aud": "Security > API > Authorization Servers > (server) > Settings > 'Audience'",
        "claims": f"{_OKTA_CLAIM}, for the access token",
    },
)
_AUTH0_ACTION = (
    "Actions > Triggers > post-login: an action with `api.accessToken.setCustomClaim` that sets"
)
AUTH0 = KnownProvider(
    "Auth0",
    "auth0",
    {
        "sid": f"{_AUTH0_ACTION} `event.session.id` under a name of yours, and that name here as"
        " `session_claim`",
        "auth_time": f"{_AUTH0_ACTION} the time of the newest of `event.authentication.methods`"
        " under a name of yours, and that name here as `auth_time_claim`",
        "acr": "access tokens have none: let the levels go by `amr` in `assurance.levels`",
        "amr": f"{_AUTH0_ACTION} the names in `event.authentication.methods` under a name of yours,"
        " and that name here as `amr_claim`",
        "groups": f"{_AUTH0_ACTION} `event.authorization.roles` under a name of yours, and that"
        " name here as `groups_claim`",
        "aud": "Applications > APIs > (API) > 'Identifier', which clients ask for as `audience`",
        "claims": f"{_AUTH0_ACTION} it under a name of yours",
    },
)
_AUTHENTIK_CODE = "access tokens of the authorization code flow have it; see the client's flow"
AUTHENTIK = KnownProvider(
    "authentik",
    "authentik",
    {
        "sid": _AUTHENTIK_CODE,
        "auth_time": _AUTHENTIK_CODE,
        "acr": "it is the same for every sign-in: let the levels go by `amr` in `assurance.levels`",
        "amr": f"{_AUTHENTIK_CODE}, and an 'Authenticator Validation' stage makes it `mfa`",
        "groups": "the scope `profile`, which the client must ask for",
        "aud": "it is the provider's 'Client ID'",
        "claims": "Customization > Property Mappings > a scope mapping, in the provider's scopes",
    },
)
_ZITADEL_ID = "access tokens have none, ID tokens do: have the app's front end send the ID token"
ZITADEL = KnownProvider(
    "Zitadel",
    "zitadel",
    {
        "sid": _ZITADEL_ID,
        "auth_time": _ZITADEL_ID,
        "acr": "it says nothing of levels: let them go by `amr` in `assurance.levels`",
        "amr": _ZITADEL_ID,
        "groups": "Projects > 'Assert Roles on Authentication', and an action (Complement Token >"
        " Pre Userinfo creation) that sets them as a list; name that claim here",
        "aud": "an ID token is for the app's 'Client ID'",
        "claims": "an action: Complement Token > Pre Userinfo creation, `api.v1.claims.setClaim`",
    },
    has_id_tokens=True,
)
_PINGONE_ALWAYS = "access tokens of users have it; use a custom resource (Applications > Resources)"
PINGONE = KnownProvider(
    "PingOne",
    "pingone",
    {
        "sid": _PINGONE_ALWAYS,
        "auth_time": _PINGONE_ALWAYS,
        "acr": "it is the name of the sign-on policy, or a flow policy's id: list them in"
        " `assurance.levels`",
        "amr": "access tokens have none: let the levels go by `acr` in `assurance.levels`",
        "groups": "Applications > Resources > (resource) > Attributes: `groups`, from 'Group"
        " Names'",
        "aud": "Applications > Resources > (resource) > 'Audience'; clients ask for its scopes",
        "claims": "Applications > Resources > (resource) > Attributes",
    },
)
_PF_POLICY = "Applications > OAuth > OpenID Connect Policy Management > (policy)"
PINGFEDERATE = KnownProvider(
    "PingFederate",
    "pingfederate",
    {
        "sid": f"{_PF_POLICY} > 'Include Session Identifier in ID Token', and here"
        " `session_claim: pi.sri`",
        "auth_time": "have the client send `max_age`, which asks for it in ID tokens",
        "acr": "ID tokens have it: a 'Requested AuthN Context Authentication Selector', or"
        " `SAML_AUTHN_CTX` in the policy contract, sets its value",
        "amr": "let the levels go by `acr` in `assurance.levels`",
        "groups": f"{_PF_POLICY} > Attribute Contract: `groups`, delivered in the ID token",
        "aud": "an ID token is for the client's id",
        "claims": f"{_PF_POLICY} > Attribute Contract, delivered in the ID token",
    },
    has_id_tokens=True,
)
GOOGLE = KnownProvider(
    "Google",
    "google",
    {
        "sid": "there is none; `session: user-client` here stands in for it",
        "auth_time": "Google Auth Platform > Settings > Advanced settings > 'Session age claims'",
        "acr": "there is none: let the levels go by `amr` in `assurance.levels`",
        "amr": "Google Auth Platform > Settings > Advanced settings > 'Authentication strength"
        " claims'",
        "groups": "its tokens list none; say `groups_unknown: excluded` here",
        "aud": "it is the OAuth client id",
        "claims": "its claims are fixed; a provider of yours before it can add others",
    },
    has_id_tokens=True,
)
_OPENID = "`claims: {openid: ['sub', 'acr', 'amr', 'auth_time', 'sid']}`"
_EXTRA = "`extraTokenClaims` puts it into access tokens"
OIDC_PROVIDER = KnownProvider(
    "oidc-provider",
    "oidc-provider",
    {
        "sid": f"`backchannel_logout_session_required: true` at the client; {_EXTRA}",
        "auth_time": f"{_OPENID}; {_EXTRA}",
        "acr": f"`acrValues`, {_OPENID}, and `acr` in the interaction's `login` result; {_EXTRA}",
        "amr": f"{_OPENID}, and `amr` in the interaction's `login` result; {_EXTRA}",
        "groups": f"from your accounts: {_EXTRA}",
        "aud": "`features.resourceIndicators`: `getResourceServerInfo` gives `audience`",
        "claims": _EXTRA,
    },
)
OTHER = KnownProvider(
    "your provider",
    "README",
    {
        "sid": "have it put `sid` into access tokens, or name its claim for sessions here as"
        " `session_claim`",
        "auth_time": "have it put `auth_time` into access tokens (RFC 9068, section 2.2.1), or name"
        " its claim here as `auth_time_claim`",
        "acr": "have it put `acr` into access tokens (RFC 9068, section 2.2.1), or name its claim"
        " here as `acr_claim`",
        "amr": "have it put `amr` into access tokens (RFC 9068, section 2.2.1), or name its claim"
        " here as `amr_claim`",
        "groups": "have it put `groups` into access tokens (RFC 9068, section 2.2.3.1), or name its"
        " claim here as `groups_claim`",
        "aud": "have the client ask for this resource (RFC 8707)",
        "claims": "have it put the claim into access tokens",
    },
)
PROVIDERS = (
    *(KEYCLOAK, ENTRA, OKTA, AUTH0, AUTHENTIK, ZITADEL, PINGONE, PINGFEDERATE),
    *(GOOGLE, OIDC_PROVIDER),
    OTHER,
)


def provider_of(issuer: str, metadata: Metadata) -> KnownProvider:
    """Return who made an issuer, by its URL and its metadata; `OTHER` where nobody knows."""
    parts = _split(issuer)
    host = (parts.hostname or "").lower()
    asked = _split(str(metadata.get("authorization_endpoint", "")))
    for provider, is_it in _SIGNS:
        if is_it(host, parts.path, asked.path, metadata):
            return provider
    return OTHER


def _split(url: str) -> SplitResult:
    """Take an address apart; what is none has no parts: metadata may say anything."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


_Sign = Callable[[str, str, str, Metadata], bool]


def _of_hosts(*suffixes: str) -> _Sign:
    def is_it(host: str, path: str, asked: str, metadata: Metadata) -> bool:  # noqa: ARG001
        return any(host == one or host.endswith(f".{one}") for one in suffixes)

    return is_it


_SIGNS: tuple[tuple[KnownProvider, _Sign], ...] = (
    (GOOGLE, _of_hosts("accounts.google.com")),
    (
        ENTRA,
        _of_hosts(
            *("login.microsoftonline.com", "login.microsoftonline.us", "sts.windows.net"),
            *("login.partner.microsoftonline.cn", "ciamlogin.com"),
        ),
    ),
    (OKTA, _of_hosts("okta.com", "oktapreview.com", "okta-emea.com")),
    (AUTH0, _of_hosts("auth0.com")),
    (ZITADEL, _of_hosts("zitadel.cloud")),
    (
        PINGONE,
        _of_hosts(
            *("auth.pingone.com", "auth.pingone.eu", "auth.pingone.ca", "auth.pingone.com.au"),
            *("auth.pingone.sg", "auth.pingone.asia"),
        ),
    ),
    (KEYCLOAK, lambda _h, path, asked, _m: "/realms/" in path or "/openid-connect/auth" in asked),
    (AUTHENTIK, lambda _h, path, _a, _m: "/application/o/" in path),
    (ZITADEL, lambda _h, _p, asked, _m: asked.endswith("/oauth/v2/authorize")),
    (OKTA, lambda _h, path, asked, _m: "/oauth2" in path and asked.endswith("/v1/authorize")),
    (PINGFEDERATE, lambda _h, _p, _a, metadata: "ping_end_session_endpoint" in metadata),
    (AUTH0, lambda _h, _p, _a, metadata: "mfa_challenge_endpoint" in metadata),
    (
        OIDC_PROVIDER,
        lambda _h, _p, asked, metadata: (
            asked.endswith("/auth")
            and str(metadata.get("jwks_uri", "")).endswith("/jwks")
            and "claims_parameter_supported" in metadata
        ),
    ),
)
