"""The identity providers that are known by their metadata, and where they set what tokens tell.

All of this is from the providers' own documentation, as of `AS_OF`; where names of menus have
changed since, the words to look for are in it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

AS_OF = "November 2026"

Metadata = Mapping[str, object]


class Provider(NamedTuple):
    """An identity provider: its name, and by claim where its setting is."""

    name: str
    settings: Mapping[str, str]

    def cure(self, claim: str) -> str:
        """Return where a claim is switched on, and that this is from documentation."""
        setting = self.settings.get(claim) or self.settings["claims"]
        return f"{self.name}: {setting} (from its documentation, {AS_OF})"


KEYCLOAK = Provider(
    "Keycloak",
    MappingProxyType(
        {
            "sid": "`sid` is in access tokens unless they are lightweight: Clients > (client) >"
            " Advanced > switch off 'Always use lightweight access token'",
            "auth_time": "Clients > (client) > Client scopes > add `basic` (its mapper `auth_time`)"
            " as a default scope",
            "acr": "Clients > (client) > Client scopes > add `acr` as a default scope; Realm"
            " settings > General > 'ACR to LoA Mapping' names the values, and the browser flow has"
            " a 'Condition - Level of Authentication' for each",
            "amr": "Clients > (client) > Client scopes > (dedicated) > Add mapper >"
            " 'Authentication Method Reference (AMR)', and in Authentication > (flow) > (execution)"
            " > settings an 'Authenticator Reference' such as `pwd`",
            "groups": "Clients > (client) > Client scopes > (dedicated) > Add mapper > 'Group"
            " Membership' with the token claim name `groups`, 'Full group path' off",
            "aud": "Clients > (client) > Client scopes > (dedicated) > Add mapper > 'Audience'",
            "claims": "Clients > (client) > Client scopes > (dedicated) > Add mapper",
        }
    ),
)
ENTRA = Provider(
    "Entra ID",
    MappingProxyType(
        {
            "sid": "App registrations > (the API) > Token configuration > Add optional claim >"
            " Access > `sid`",
            "auth_time": "App registrations > (the API) > Token configuration > Add optional claim"
            " > Access > `auth_time`",
            "acr": "v2.0 access tokens have no `acr`: ask for authentication contexts (optional"
            " claim `acrs`, and `tokens.issuers[].acrs_proof` here), with `app.challenge: entra`",
            "amr": "only v1.0 access tokens have `amr`; for v2.0 use authentication contexts"
            " (optional claim `acrs`, and `tokens.issuers[].acrs_proof` here)",
            "groups": "App registrations > (the API) > Token configuration > Add groups claim;"
            " 'Groups assigned to the application' keeps the list short",
            "aud": "the API's application id in v2.0 tokens, its application id URI in v1.0 ones"
            " (Manifest > `requestedAccessTokenVersion`)",
            "claims": "App registrations > (the API) > Token configuration > Add optional claim",
        }
    ),
)
_OKTA_CLAIM = "Security > API > Authorization Servers > (server) > Claims > Add Claim, included in"
OKTA = Provider(
    "Okta",
    MappingProxyType(
        {
            "sid": "access tokens have no `sid`; `session: user-client` here stands in for it, or"
            f" {_OKTA_CLAIM} the access token, and its name in `session_claim`",
            "auth_time": "access tokens of a custom authorization server have it, those of the org"
            " authorization server are not for APIs of yours: Security > API > Authorization"
            " Servers",
            "acr": "it is in the token where the client asked for it with `acr_values`"
            " (`urn:okta:loa:1fa:any`, `urn:okta:loa:2fa:any`, `phr`, ...); list these values in"
            " `assurance.levels`",
            "amr": f"{_OKTA_CLAIM} the access token, with the value `session.amr`",
            "groups": f"{_OKTA_CLAIM} the access token, value type 'Groups', with a filter",
            "aud": "Security > API > Authorization Servers > (server) > Settings > Audience",
            "claims": f"{_OKTA_CLAIM} the access token",
        }
    ),
)
_AUTH0_ACTION = "Actions > Triggers > post-login > an action with `api.accessToken.setCustomClaim`"
AUTH0 = Provider(
    "Auth0",
    MappingProxyType(
        {
            "sid": f"{_AUTH0_ACTION} that sets `event.session.id` under a name of yours, and that"
            " name in `tokens.issuers[].session_claim`",
            "auth_time": "access tokens do not carry it, and actions may not set a claim of that"
            " name: use the RFC 9068 token profile (Applications > APIs > (API) > Settings > Token"
            " Profile), or have the app tell sign-ins (`session-established`)",
            "acr": "ask with `acr_values` for"
            " `http://schemas.openid.net/pape/policies/2007/06/multi-factor`, have an action call"
            " `api.multifactor.enable`, and list the value in `assurance.levels`",
            "amr": f"{_AUTH0_ACTION} from `event.authentication.methods` under a name of yours,"
            " which a policy's `claims` condition reads",
            "groups": f"{_AUTH0_ACTION} under a name of yours, and that name in"
            " `tokens.issuers[].groups_claim`",
            "aud": "the API's identifier (Applications > APIs), which the client asks for with"
            " `audience`",
            "claims": _AUTH0_ACTION,
        }
    ),
)
_AUTHENTIK_MAPPING = "Customization > Property Mappings > Create > Scope Mapping, and add it to the"
AUTHENTIK = Provider(
    "authentik",
    MappingProxyType(
        {
            "sid": f"update it (tokens have `sid` since 2024.12), or {_AUTHENTIK_MAPPING} provider",
            "auth_time": "it is in tokens of the authorization code flow; others have no sign-in",
            "acr": "it is `goauthentik.io/providers/oauth2/default` for every sign-in: list levels"
            " by `amr` instead, or return another from a Scope Mapping",
            "amr": "it is in tokens of flows with an authenticator validation stage",
            "groups": "the scope `profile` has them: Applications > Providers > (provider) >"
            " Advanced > Scopes, and have the client ask for it",
            "aud": "the provider's client id",
            "claims": f"{_AUTHENTIK_MAPPING} provider's scopes",
        }
    ),
)
_ZITADEL_ACTION = "Actions > a function for `preaccesstoken` that appends the claim"
ZITADEL = Provider(
    "Zitadel",
    MappingProxyType(
        {
            "sid": _ZITADEL_ACTION,
            "auth_time": f"ID tokens have it; for access tokens {_ZITADEL_ACTION}",
            "acr": f"{_ZITADEL_ACTION}; what is asked is set by the organisation's login policy",
            "amr": f"ID tokens have it; for access tokens {_ZITADEL_ACTION}",
            "groups": "roles stand for groups: Projects > (project) > 'Assert Roles on"
            " Authentication', and `roles_claim` or `groups_claim` with their path here",
            "aud": "ask for the scope `urn:zitadel:iam:org:project:id:PROJECT:aud`",
            "claims": f"Projects > (application) > Token Settings > 'JWT', and {_ZITADEL_ACTION}",
        }
    ),
)
GOOGLE = Provider(
    "Google",
    MappingProxyType(
        {
            "sid": "its tokens name no session: `session: user-client` here stands in for it",
            "auth_time": "ask for it with the `claims` parameter"
            ' (`{"id_token": {"auth_time": {"essential": true}}}`), for verified apps only',
            "acr": "it has no levels: use a provider of your own before it that does the step-up",
            "amr": "it has no levels: use a provider of your own before it that does the step-up",
            "groups": "its tokens list none: the Admin SDK's Directory API has them",
            "aud": "the OAuth client id",
            "claims": "its claims are fixed; a provider of your own before it can add others",
        }
    ),
)
_EXTRA = "`extraTokenClaims` puts it into JWT access tokens"
OIDC_PROVIDER = Provider(
    "oidc-provider",
    MappingProxyType(
        {
            "sid": f"`claims: {{openid: ['sub', 'sid', 'auth_time', 'acr', 'amr']}}`, and {_EXTRA}",
            "auth_time": f"`claims: {{openid: ['sub', 'auth_time', ...]}}`, and {_EXTRA}",
            "acr": f"`acrValues: [...]`, `acr` in the interaction's `login` result, and {_EXTRA}",
            "amr": f"`amr` in the interaction's `login` result, and {_EXTRA}",
            "groups": f"`groups` from `findAccount`, a scope for it in `claims`, and {_EXTRA}",
            "aud": "`features.resourceIndicators.getResourceServerInfo` gives `audience`",
            "claims": _EXTRA,
        }
    ),
)
OTHER = Provider(
    "your provider",
    MappingProxyType(
        {
            "sid": "have it put the OpenID Connect claim `sid` into access tokens, or name the"
            " claim that it has for sessions in `tokens.issuers[].session_claim`",
            "auth_time": "have it put the OpenID Connect claim `auth_time` into access tokens"
            " (RFC 9068, section 2.2.1)",
            "acr": "have it put `acr` into access tokens (RFC 9068, section 2.2.1)",
            "amr": "have it put `amr` into access tokens (RFC 9068, section 2.2.1)",
            "groups": "have it put `groups` into access tokens (RFC 9068, section 2.2.3), or name"
            " its claim in `tokens.issuers[].groups_claim`",
            "aud": "have the client ask for this resource (RFC 8707)",
            "claims": "have it put the claim into access tokens",
        }
    ),
)


def provider_of(issuer: str, metadata: Metadata) -> Provider:
    """Return who made an issuer, by its URL and its metadata; `OTHER` where nobody knows."""
    parts = urlsplit(issuer)
    host = (parts.hostname or "").lower()
    asked = urlsplit(str(metadata.get("authorization_endpoint", "")))
    for provider, is_it in _SIGNS:
        if is_it(host, parts.path, asked.path, metadata):
            return provider
    return OTHER


_Sign = Callable[[str, str, str, Metadata], bool]


def _of_hosts(*suffixes: str) -> _Sign:
    def is_it(host: str, path: str, asked: str, metadata: Metadata) -> bool:  # noqa: ARG001
        return any(host == one or host.endswith(f".{one}") for one in suffixes)

    return is_it


_SIGNS: tuple[tuple[Provider, _Sign], ...] = (
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
    (KEYCLOAK, lambda _h, path, asked, _m: "/realms/" in path or "/openid-connect/auth" in asked),
    (AUTHENTIK, lambda _h, path, _a, _m: "/application/o/" in path),
    (ZITADEL, lambda _h, _p, asked, _m: asked.endswith("/oauth/v2/authorize")),
    (OKTA, lambda _h, path, asked, _m: "/oauth2" in path and asked.endswith("/v1/authorize")),
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
