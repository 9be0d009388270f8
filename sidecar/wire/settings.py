"""The configuration as values: `config` reads them from YAML and the environment.

Every struct's docstring and every field's comment below becomes the configuration reference.
Durations are seconds unless the name says otherwise.
"""

import enum
from typing import Annotated

import msgspec

from sidecar.domain.assurance import Level
from sidecar.domain.risk import Thresholds, Weight

Positive = Annotated[float, msgspec.Meta(gt=0)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
PositiveInt = Annotated[int, msgspec.Meta(gt=0)]


class Gateway(enum.StrEnum):
    """Whose headers describe the original call; all others are ignored."""

    NONE = "none"
    NGINX = "nginx"
    CADDY = "caddy"
    TRAEFIK = "traefik"
    ENVOY = "envoy"
    HAPROXY = "haproxy"
    APACHE = "apache"


class ClientAddress(enum.StrEnum):
    """Which header tells the client's address.

    `either`: `X-Forwarded-For`, and `X-Real-IP` where that is absent. Name the one that the
    proxies set if they pass the other on as it came: a client can send it.
    """

    EITHER = "either"
    FORWARDED_FOR = "x-forwarded-for"
    REAL_IP = "x-real-ip"


class Resilience(enum.StrEnum):
    """What a sensitive call gets when the daemon cannot know: contract, section 5."""

    UNAVAILABLE = "unavailable"
    DENY = "deny"
    STEP_UP = "step_up"
    ALLOW = "allow"


class ChallengeStyle(enum.StrEnum):
    """How a step-up is asked for."""

    RFC9470 = "rfc9470"
    ENTRA = "entra"


class App(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The app this sidecar stands beside."""

    id: str = ""
    challenge: ChallengeStyle = ChallengeStyle.RFC9470
    realm: str = ""
    authorization_uri: str = ""


class Socket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local socket."""

    path: str = "/run/sidecar/sidecar.sock"
    mode: str = "0660"
    group: str = ""
    allowed_uids: tuple[int, ...] | None = None
    max_connections: PositiveInt = 256
    max_line_bytes: PositiveInt = 65536
    idle_timeout: Positive = 3600.0
    write_timeout: Positive = 10.0
    max_backlog_bytes: PositiveInt = 262144


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data listener: checks and events over HTTP, for the pod's own app and proxy."""

    enabled: bool = True
    bind: str = "127.0.0.1:8181"
    unix: str = ""
    unix_mode: str = "0660"
    gateway: Gateway = Gateway.NONE
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    client_address: ClientAddress = ClientAddress.EITHER
    token_cookie: str = ""
    token_header: str = ""
    max_header_bytes: PositiveInt = 32768
    max_body_bytes: PositiveInt = 1048576
    header_timeout: Positive = 5.0
    body_timeout: Positive = 10.0
    keep_alive_timeout: Positive = 75.0
    write_timeout: Positive = 10.0
    max_connections: PositiveInt = 1024


class Admin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The admin listener: metrics, health, and with a credential the sessions and policies."""

    enabled: bool = True
    bind: str = "0.0.0.0:9090"
    token: str = ""
    token_file: str = ""


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Redis or Valkey (7.0 or newer). `url` empty: an embedded server, private to this daemon.

    `redis://host:6379/0`, `rediss://...`, `unix:///path`,
    `redis+sentinel://host:26379,host2:26379/service/0`, `redis+cluster://host:6379,host2:6379`
    (both also with `rediss+`).
    """

    url: str = ""
    username: str = ""
    password: str = ""
    password_file: str = ""
    sentinel_password: str = ""
    sentinel_password_file: str = ""
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    prefix: str = "su"
    connect_timeout: Positive = 1.0
    timeout: Positive = 1.0
    retries: Natural = 2
    retry_base: Positive = 0.05
    retry_cap: Positive = 0.5
    batch: PositiveInt = 512
    threads: PositiveInt = 2
    queue: PositiveInt = 8192
    embedded_dir: str = ""


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity provider whose tokens are believed, and how its claims are read.

    Keys come from `jwks_uri`, or `jwks_file`, or discovery at `issuer`.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks_uri: str = ""
    jwks_file: str = ""
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    leeway: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    user_claim: str = "sub"
    session_claim: str = "sid"
    device_claim: str = "deviceid"
    groups_claim: str = "groups"
    roles_claim: str = "roles"
    app_claim: str = "azp"
    types: tuple[str, ...] = ("at+jwt", "application/at+jwt", "JWT", "")


class Tokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verification of JWTs."""

    issuers: tuple[Issuer, ...] = ()
    cache: PositiveInt = 20000
    max_bytes: PositiveInt = 16384
    jwks_refresh: Positive = 300.0
    jwks_min_interval: Positive = 5.0
    jwks_timeout: Positive = 3.0
    jwks_max_staleness: Positive = 86400.0


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which authentication context a call needs. `path` is a template: `/pay/{id}`, `/admin/**`."""

    path: str
    contexts: tuple[str, ...]
    methods: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An authentication context: its display name and what it gets when we cannot know."""

    name: str
    when_unknown: Resilience = Resilience.UNAVAILABLE


class NamedLocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named location: by CIDR, file of CIDRs (one a line), country or ASN; trusted or not."""

    name: str
    cidrs: tuple[str, ...] = ()
    cidr_file: str = ""
    countries: tuple[str, ...] = ()
    asns: tuple[int, ...] = ()
    trusted: bool = False


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network segment by CIDR or file of CIDRs; the longest prefix wins."""

    name: str
    cidrs: tuple[str, ...] = ()
    cidr_file: str = ""


class FieldMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a database keeps what, as dotted paths; for files that are not in MaxMind's schema."""

    country: str = "country.iso_code"
    region: str = "subdivisions.0.iso_code"
    city: str = "city.names.en"
    latitude: str = "location.latitude"
    longitude: str = "location.longitude"
    accuracy_km: str = "location.accuracy_radius"
    asn: str = "autonomous_system_number"
    organization: str = "autonomous_system_organization"


class Geography(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Geography databases in MMDB format, each optional."""

    city: str = ""
    asn: str = ""
    anonymous_ip: str = ""
    fields: FieldMap = FieldMap()
    meaningless_asns: tuple[int, ...] = (14593, 18747, 22351, 36492, 64294, 714, 13335, 54113)
    least_distance_km: Annotated[float, msgspec.Meta(ge=0)] = 100.0


class Assurance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The assurance levels, weakest first, and how far clocks may disagree about a proof."""

    levels: tuple[Level, ...] = (
        Level("single-factor", ("single-factor",), (frozenset({"pwd"}), frozenset({"pin"}))),
        Level(
            "mfa",
            ("mfa",),
            (
                frozenset({"mfa"}),
                frozenset({"pwd", "otp"}),
                frozenset({"pwd", "sms"}),
                frozenset({"pwd", "tel"}),
                frozenset({"pwd", "swk"}),
                frozenset({"pwd", "hwk"}),
            ),
        ),
        Level(
            "passwordless",
            ("passwordless",),
            (
                frozenset({"swk", "user"}),
                frozenset({"swk", "pin"}),
                frozenset({"swk", "fpt"}),
                frozenset({"swk", "face"}),
            ),
        ),
        Level(
            "phishing-resistant",
            ("phr", "phrh"),
            (
                frozenset({"hwk", "user"}),
                frozenset({"hwk", "pin"}),
                frozenset({"hwk", "fpt"}),
                frozenset({"hwk", "face"}),
                frozenset({"sc", "pin"}),
            ),
        ),
    )
    skew: Natural = 0


def _weights() -> dict[str, Weight]:
    return {
        "user-risk-medium": Weight(30),
        "user-risk-high": Weight(60),
        "device-risk-medium": Weight(20),
        "device-risk-high": Weight(50),
        "session-risk-medium": Weight(30),
        "session-risk-high": Weight(60),
        "device-not-compliant": Weight(25),
        "country-changed": Weight(30, 86400),
        "asn-changed": Weight(10, 43200),
        "network-changed": Weight(10, 43200),
        "device-changed": Weight(25, 86400),
        "user-agent-changed": Weight(15, 43200),
        "anonymizer": Weight(25),
        "travel": Weight(40, 86400),
        "credential-change": Weight(15, 86400),
    }


class Risk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The risk score: what counts how much, and where the levels begin."""

    weights: dict[str, Weight] = msgspec.field(default_factory=_weights)
    thresholds: Thresholds = Thresholds()
    default_weight: Annotated[float, msgspec.Meta(ge=0, le=100)] = 20.0
    default_half_life: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
    travel_speed_kmh: Positive = 900.0


class Sessions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long sessions and facts are kept, and how many this sidecar holds in its view."""

    min_ttl: Positive = 86400.0
    facts_ttl: Positive = 2592000.0
    view: PositiveInt = 50000
    seen_interval: Positive = 300.0
    max_staleness: Positive = 10.0
    revalidate_interval: Positive = 30.0
    event_skew: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    sweep_interval: Positive = 1.0


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounded queues between the doors and the work behind them."""

    queue: PositiveInt = 4096
    workers: PositiveInt = 4
    drain_timeout: Positive = 10.0


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Structured logs on standard error."""

    level: Annotated[str, msgspec.Meta(pattern="^(debug|info|warning|error)$")] = "info"
    format: Annotated[str, msgspec.Meta(pattern="^(json|console)$")] = "json"
    checks: bool = False


class Policies(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the policy files lie: every `*.yaml` and `*.yml` in `path`, in name order."""

    path: str = "policies"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration file."""

    app: App = App()
    socket: Socket = Socket()
    http: Http = Http()
    admin: Admin = Admin()
    store: Store = Store()
    tokens: Tokens = Tokens()
    contexts: dict[str, Context] = {}
    routes: tuple[Route, ...] = ()
    locations: tuple[NamedLocation, ...] = ()
    networks: tuple[Network, ...] = ()
    geography: Geography = Geography()
    assurance: Assurance = Assurance()
    risk: Risk = Risk()
    sessions: Sessions = Sessions()
    work: Work = Work()
    log: Log = Log()
    policies: Policies = Policies()
