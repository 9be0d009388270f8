"""The configuration as values: `reading` reads them from YAML and the environment.

Docstrings of structs and comments of fields become the reference. Durations are seconds.
"""

import enum
import re
from collections.abc import Collection
from typing import Annotated

import msgspec

from sidecar.domain.policy.conditional_access import Principals
from sidecar.domain.session.risk import Thresholds, Weight, default_weights
from sidecar.domain.values.assurance import DEFAULT_LEVELS, Level, Strength
from sidecar.wire.bundles.settings import PolicyBundles
from sidecar.wire.central.settings import CentralSettings
from sidecar.wire.decision_log.settings import DecisionLogSettings
from sidecar.wire.settings.admin import Admin
from sidecar.wire.settings.app import (
    App,
    AppChallenges,
    ChallengeStyle,
    ClaimsChallenges,
    ProofOf,
    Redirect,
)
from sidecar.wire.settings.history import HistorySettings
from sidecar.wire.settings.intake import IntakeSettings
from sidecar.wire.settings.privacy import Privacy
from sidecar.wire.settings.receiver import Receiver
from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.settings.shared_table import SharedTable
from sidecar.wire.settings.sources import Limits, SourceSettings
from sidecar.wire.settings.tokens import ContextProof, Introspection, Issuer, Tokens
from sidecar.wire.settings.transmitter import Transmitter
from sidecar.wire.traces.settings import TracesSettings
from sidecar.wire.yaml.scalars import (
    Asn,
    Binds,
    Cidr,
    Country,
    Duration,
    DurationOrZero,
    File,
    Files,
    HeaderName,
    Method,
    Mode,
    Name,
    Origin,
    PositiveInt,
    PublicPath,
    Size,
    StoreUrl,
    StringOrUri,
    Url,
    WholeDuration,
)

__all__ = [
    "Admin",
    "App",
    "AppChallenges",
    "ChallengeStyle",
    "ClaimsChallenges",
    "ContextProof",
    "Introspection",
    "Issuer",
    "ProofOf",
    "Redirect",
    "SharedTable",
    "Tokens",
]
"""What stands in modules of its own, as one file would be too long; all else is defined here."""

CONTEXT = re.compile(r"c[1-9][0-9]?")
"""The names of authentication contexts, as Entra has them."""

ALIAS = re.compile(r"[a-z][a-z0-9-]{1,63}")
"""What a context may be called besides; neither an id nor a word that stands for contexts."""

Positive = Annotated[float, msgspec.Meta(gt=0)]
Natural = Annotated[int, msgspec.Meta(ge=0)]


class Gateway(enum.StrEnum):
    """The gateway whose headers describe the original call; all other headers are ignored."""

    NONE = "none"
    NGINX = "nginx"
    CADDY = "caddy"
    TRAEFIK = "traefik"
    ENVOY = "envoy"
    HAPROXY = "haproxy"
    APACHE = "apache"


class ClientAddress(enum.StrEnum):
    """The header that names the client's address.

    `either`: `X-Forwarded-For`, and `X-Real-IP` where that is absent. Name the one that the
    proxies set if they pass the other on as it came: a client can send it.
    """

    EITHER = "either"
    FORWARDED_FOR = "x-forwarded-for"
    REAL_IP = "x-real-ip"


class Resilience(enum.StrEnum):
    """The answer to a sensitive call when the daemon cannot know: contract, section 5."""

    UNAVAILABLE = "unavailable"
    DENY = "deny"
    STEP_UP = "step_up"
    ALLOW = "allow"


class UnknownContexts(enum.StrEnum):
    """The answer to a call that asks for a context which is not configured.

    `error`: none of its own; it is refused (400). `strictest`: it is judged as of all contexts.
    """

    ERROR = "error"
    STRICTEST = "strictest"


class Eviction(enum.StrEnum):
    """The treatment of a store whose `maxmemory-policy` is another than `noeviction`.

    `refuse`: the daemon does not start, since the store may throw out marks and revocations.
    `accept`: it starts, and after each eviction sessions must sign in anew that nobody vouches for.
    """

    REFUSE = "refuse"
    ACCEPT = "accept"


class HttpEvents(enum.StrEnum):
    """The senders whose events the data listener takes over TCP; its unix socket takes them always.

    `off`: nobody's. `on`: those of a source that shows its credential. `local`: also those of
    whoever can connect, as a local peer: any process of the pod, whatever its uid.
    """

    OFF = "off"
    ON = "on"
    LOCAL = "local"


class Socket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local socket."""

    # also `SIDECAR_SOCKET`; where nothing names it and /run/sidecar cannot be written, it is
    # `$XDG_RUNTIME_DIR/sidecar.sock`, if only its user can write there
    path: Restart[File] = "/run/sidecar/sidecar.sock"
    mode: Restart[Mode] = "0660"  # octal, in quotes
    group: Restart[str] = ""  # the group that owns it; empty: the process's own
    # who may connect; null: whoever the mode lets
    allowed_uids: Live[tuple[int, ...] | None] = None
    # open at a time, of one uid three quarters of these; past that, one that waits makes room
    max_connections: Restart[PositiveInt] = 256
    max_watches: Live[PositiveInt] = 128  # of one uid; more are refused
    watch_timeout: Live[Duration] = 43200.0  # then a watch ends, and its client watches anew
    max_line_bytes: Live[Size] = 65536  # of one request
    idle_timeout: Live[Duration] = 3600.0  # a connection without a whole request is closed
    write_timeout: Live[Duration] = 10.0  # a client that does not read is cut off
    max_backlog_bytes: Live[Size] = 262144  # waiting for a watcher, before it is cut off


class Cors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The origins other than the app's own whose pages may read a refusal (CORS)."""

    # such as `https://shop.example`; `*` for any, without `credentials`
    origins: Live[tuple[Origin, ...]] = ()
    # for pages that have cookies sent along (`credentials: "include"`)
    credentials: Live[bool] = False


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data listener: checks and events over HTTP, for the pod's own app and proxy."""

    enabled: Restart[bool] = True  # whether it listens at all
    bind: Restart[Binds] = "127.0.0.1:8181"  # `host:port` or `[::1]:port`; one, or a list
    unix: Restart[File] = ""  # path of a unix socket to listen on besides
    unix_mode: Restart[Mode] = "0660"  # octal, in quotes
    # the group that owns it, as the proxy's; empty: the process's own
    unix_group: Restart[str] = ""
    gateway: Live[Gateway] = Gateway.NONE  # whose headers describe the original call
    # whose headers are believed
    trusted_proxies: Live[tuple[Cidr, ...]] = ("127.0.0.0/8", "::1/128")
    client_address: Live[ClientAddress] = ClientAddress.EITHER  # the header that has it
    token_cookie: Live[HeaderName] = ""  # cookie to take the token from
    token_header: Live[HeaderName] = ""  # header to take the token from
    # paths that pass unasked at a gateway: exact ones, and `/static/*` for all below
    public: Live[tuple[PublicPath, ...]] = ()
    # methods that pass unasked, for apps that distinguish them
    unchecked: Live[tuple[Method, ...]] = ()
    # whether browsers' CORS preflights, which bring no token, pass unasked
    preflight: Live[bool] = False
    cors: Cors = Cors()  # whose pages may read refusals
    # whose events it takes over TCP: `off`, `on` or `local`
    events: Live[HttpEvents] = HttpEvents.OFF
    # host names that this listener is called by, besides loopback's and the one it binds
    hosts: Live[tuple[str, ...]] = ()
    # of this listener in AuthZEN's metadata; empty: where it listens
    authzen_url: Live[Url] = ""
    max_header_bytes: Restart[Size] = 32768  # of one request
    max_body_bytes: Restart[Size] = 1048576  # of one request
    max_events: Live[PositiveInt] = 1000  # lines of NDJSON in one request
    header_timeout: Restart[Duration] = 5.0  # for all of a request's head to arrive
    body_timeout: Restart[Duration] = 10.0  # for all of its body
    keep_alive_timeout: Restart[Duration] = 75.0  # for the next request
    write_timeout: Restart[Duration] = 10.0  # a client that does not read is cut off
    # open at a time, of one peer (an address, or a uid of the unix socket) three quarters of these;
    # past that, one that waits for its client makes room
    max_connections: Restart[PositiveInt] = 1024


class Grpc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Envoy's and Istio's external authorization; the token's place and trusted proxies: `http`."""

    # `host:port`, such as `127.0.0.1:8182`, or a list; empty: it does not listen
    bind: Restart[Binds] = ""
    # open at a time, of one address three quarters of these; past that, one without a call makes
    # room
    max_connections: Restart[PositiveInt] = 64
    max_streams: Restart[PositiveInt] = 128  # calls at a time on one connection
    max_message_bytes: Restart[Size] = 65536  # of one request
    message_timeout: Restart[Duration] = 5.0  # for all of a request to arrive
    write_timeout: Restart[Duration] = 10.0  # a client that does not read is cut off
    idle_timeout: Restart[Duration] = 3600.0  # a connection without a request is closed


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Redis or Valkey (7.0 or newer). `url` empty: an embedded server, private to this daemon.

    `redis://host:6379/0`, `rediss://...`, `unix:///path`,
    `redis+sentinel://host:26379,host2:26379/service/0`, `redis+cluster://host:6379,host2:6379`
    (both also with `rediss+`).
    """

    url: Restart[StoreUrl] = ""  # see above
    # of the ACL (its least rights: docs/store.md); empty: the default user
    username: Live[str] = ""
    password: Live[str] = ""  # better by `password_file`
    password_file: Live[File] = ""  # a file that holds `password`
    sentinel_password: Live[str] = ""  # of the sentinels themselves
    sentinel_password_file: Live[File] = ""  # a file that holds `sentinel_password`
    tls_ca_file: Restart[File] = ""  # authorities to trust; empty: the system's
    tls_cert_file: Restart[File] = ""  # our own certificate
    tls_key_file: Restart[File] = ""  # its key
    prefix: Restart[str] = "su"  # of every key and channel
    connect_timeout: Restart[Duration] = 1.0  # for a connection
    timeout: Restart[Duration] = 1.0  # for an answer
    retries: Restart[Natural] = 2  # of one operation
    retry_base: Restart[Duration] = 0.05  # the first pause, which then doubles
    retry_cap: Restart[Duration] = 0.5  # the longest pause
    batch: Restart[PositiveInt] = 512  # operations sent together at most
    threads: Restart[PositiveInt] = 2  # connections that work at a time
    queue: Restart[PositiveInt] = 8192  # operations that wait; more are refused
    wait_replicas: Restart[Natural] = 0  # that must have an event before it is acknowledged
    # whether it must be on disk as well (Redis 7.2, `appendonly yes`)
    wait_aof: Restart[bool] = False
    # for both; then the event is refused, and may be sent again
    wait_timeout: Restart[Duration] = 0.5
    # whether the store may evict records when it is full
    eviction: Live[Eviction] = Eviction.REFUSE
    embedded_dir: Restart[File] = ""  # where the embedded server keeps its data


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events that come while the store is away wait on disk; without a `dir` they are refused."""

    dir: Restart[File] = ""  # a directory of this daemon's own, across restarts; empty: no spool
    max_events: Live[PositiveInt] = 50000  # that wait; more are refused
    max_bytes: Live[Size] = 33554432  # on disk; more are refused
    segment_bytes: Restart[Size] = 1048576  # of one file, which goes when all of it is in the store
    # false: faster, and a crash of the machine loses acknowledged events
    fsync: Restart[bool] = True


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The authentication context of calls. `path` is a template: `/pay/{id}`, `/admin/**`."""

    path: str  # `{id}` or `*`: a segment; `**`: all below
    contexts: tuple[str, ...]  # what the call is, such as `c1`
    methods: tuple[Method, ...] = ()  # empty: any
    hosts: tuple[str, ...] = ()  # empty: any; `*.example.com`: any below it


class Requires(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The needs of a context at all times, whatever was signalled: a policy, named `context-c3`."""

    assurance: str = ""  # the level or strength that a sign-in must show; empty: any
    max_age: WholeDuration = 0  # the age that the sign-in may have; 0: any
    exclude: Principals = Principals()  # of whom it requires nothing, besides `break_glass`


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An authentication context: its name, what it always needs, what it gets if we cannot know."""

    name: str  # its display name
    # what apps, routes, policies and commands may call it instead: `payments`; empty: only its id
    alias: str = ""
    when_unknown: Resilience = Resilience.UNAVAILABLE  # what a call gets when we cannot know
    # an older view cannot decide calls in it; null: `sessions.max_staleness`
    max_staleness: Duration | None = None
    requires: Requires | None = None  # what it needs at all times; null: nothing


class NamedLocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named location: by CIDR, file of CIDRs (one a line), country or ASN; trusted or not."""

    name: str  # as policies name it
    cidrs: tuple[Cidr, ...] = ()  # IPv4 and IPv6
    cidr_file: File = ""  # one a line, `#` comments; `none` alone where it is to hold none
    countries: tuple[Country, ...] = ()  # ISO 3166-1 alpha-2
    asns: tuple[Asn, ...] = ()  # `64496` or `AS64496`
    trusted: bool = False  # shown with the location


ALL_TRUSTED = "all-trusted"
"""The location that every trusted location lies in; policies can name it like any other."""


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network segment by CIDR or file of CIDRs; the longest prefix wins."""

    name: str  # as policies name it
    cidrs: tuple[Cidr, ...] = ()  # may be empty where an agent reports the segment
    cidr_file: File = ""  # one a line, `#` comments; `none` alone where it is to hold none


class FieldMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a database, as dotted paths; for files that are not in MaxMind's schema."""

    country: Live[str] = "country.iso_code"
    region: Live[str] = "subdivisions.0.iso_code"
    city: Live[str] = "city.names.en"
    latitude: Live[str] = "location.latitude"
    longitude: Live[str] = "location.longitude"
    accuracy_km: Live[str] = "location.accuracy_radius"
    asn: Live[str] = "autonomous_system_number"
    organization: Live[str] = "autonomous_system_organization"


RELAYS = (
    *(14593, 22351, 64294),  # by satellite: Starlink, Intelsat, Panasonic Avionics in aircraft
    *(36492, 714),  # Google's and Apple's relays
    *(13335, 54113, 36183, 20940),  # iCloud Private Relay's egress: Cloudflare, Fastly, Akamai
)
"""Networks whose users are not where the network is.

Checked in November 2026 against the names in routing registries (of June 2026), and the last four
against the egress ranges that Apple publishes for iCloud Private Relay (of February 2026): Akamai's
IPv4 ranges are announced by 36183 and 20940, its IPv6 ranges by 20940.
"""


def files_of(configured: Files) -> tuple[str, ...]:
    """Return the files that are configured, in the order in which they are asked."""
    named = (configured,) if isinstance(configured, str) else configured
    return tuple(dict.fromkeys(file for file in named if file))


class GeographySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Geography databases in MMDB format, each optional."""

    # MMDB of cities or countries; one, or a list: IPv4 and IPv6 in files of their own, say
    city: Live[Files] = ""
    asn: Live[Files] = ""  # MMDB of autonomous systems; one, or a list
    anonymous_ip: Live[Files] = ""  # MMDB of anonymizers; one, or a list
    # MMDB of connection types, or of mobile carriers; one, or a list
    connection_type: Live[Files] = ""
    fields: FieldMap = FieldMap()  # for files that are not in MaxMind's schema
    # radius of a record that has coordinates and no radius: never exact
    accuracy_km: Live[Positive] = 50.0
    accuracy_without_city_km: Live[Positive] = 500.0  # likewise, where it names no city
    # networks whose place is not their users': satellites, relays, content delivery
    meaningless_asns: Live[tuple[Asn, ...]] = RELAYS
    # of mobile carriers, where no database says so: users are somewhere in the country
    carrier_asns: Live[tuple[Asn, ...]] = ()
    carrier_networks: Live[tuple[Cidr, ...]] = ()  # likewise, by address
    # nearer sightings are no journey
    least_distance_km: Live[Annotated[float, msgspec.Meta(ge=0)]] = 100.0


class Assurance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The assurance levels, strengths beside them, and how far clocks may disagree on a proof."""

    # each level by its `acr` values and by combinations of `amr`
    levels: Live[tuple[Level, ...]] = DEFAULT_LEVELS
    # sets of what is allowed, by name; not comparable with levels, nor with each other
    strengths: Live[dict[str, Strength]] = {}
    skew: Live[WholeDuration] = 0  # whole seconds; 0: a proof lies in a later second than its mark
    # whose proof counts for a call: its own `token`'s, or any of its `session`'s
    proof_of: Live[ProofOf] = ProofOf.TOKEN
    # a sign-in proves where the call comes from that first shows it, if made so shortly before
    establish_within: Live[WholeDuration] = 300


class Risk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The risk score: what counts how much, and where the levels begin."""

    # merged into the defaults by name; weight 0 turns one off
    weights: Live[dict[str, Weight]] = msgspec.field(default_factory=default_weights)
    thresholds: Live[Thresholds] = Thresholds()  # where `medium` and `high` begin
    # of a custom signal that has none
    default_weight: Live[Annotated[float, msgspec.Meta(ge=0, le=100)]] = 20.0
    default_half_life: Live[DurationOrZero] = 3600.0  # likewise
    travel_speed_kmh: Live[Positive] = 900.0  # faster journeys count


class Friction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on how often people are asked to sign in again."""

    # for so long after a proof its cause does not ask again, unless a policy says otherwise
    min_interval: Live[WholeDuration] = 0
    # a user who is asked more often than so within `per` is reported, once a period; 0: nobody is
    prompts: Live[Annotated[int, msgspec.Meta(ge=0, le=48)]] = 0
    per: Live[Duration] = 86400.0  # the period of `prompts`
    # places that a user has proven on a known device count in later sessions on it; 0: do not
    remember: Live[DurationOrZero] = 2592000.0


class Emergency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Emergency accounts of one issuer."""

    issuer: StringOrUri  # whose names these are: an issuer's `issuer` or its `namespace`
    users: tuple[Name, ...] = ()  # by the id in tokens
    groups: tuple[Name, ...] = ()  # and whoever is in one of these


class BreakGlass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Emergency accounts: no policy touches them, a revocation does. Each use is logged.

    Where the issuers have several namespaces, `accounts` says whose they are.
    """

    users: Live[tuple[Name, ...]] = ()  # by the id in tokens
    groups: Live[tuple[Name, ...]] = ()  # and whoever is in one of these
    accounts: Live[tuple[Emergency, ...]] = ()  # of one issuer each


class Sessions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time that sessions and facts are kept, and how many this sidecar holds in its view."""

    min_ttl: Live[Duration] = 86400.0  # a session is kept at least so long
    facts_ttl: Live[Duration] = 2592000.0  # facts of users and devices are kept
    # sessions that this sidecar holds; more are read from the store when they are asked for. The
    # default gives way to `memory.limit`; another number stands
    view: Live[PositiveInt] = 50000
    seen_interval: Live[Duration] = 300.0  # between records of unchanged call facts
    max_staleness: Live[Duration] = 10.0  # an older view cannot decide sensitive calls
    revalidate_interval: Live[Duration] = 30.0  # each record in the view is looked for in the store
    event_skew: Live[DurationOrZero] = 60.0  # an event from further in the future is refused
    sweep_interval: Live[Duration] = 1.0  # between looks for what time has changed
    # bits of an IPv6 address that `changed: [ip]` compares; 64: its network, in which hosts take
    # new addresses as they like
    ipv6_prefix: Live[Annotated[int, msgspec.Meta(ge=32, le=128)]] = 128


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The memory that the daemon may take; `sessions.view` and `tokens.cache` follow from it."""

    limit: Restart[Size | None] = None  # null: the container's (cgroup), where it has one


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounded queues between the doors and the work behind them."""

    queue: Restart[PositiveInt] = 4096  # events that wait; more are refused
    workers: Restart[PositiveInt] = 4  # events worked on at a time
    # part of its time that a sidecar gives to the re-score of all sessions
    rescore_share: Live[Annotated[float, msgspec.Meta(gt=0, le=1)]] = 0.5
    tries: Live[PositiveInt] = 5  # of an event whose work fails, before it becomes a dead letter
    # kept in the store; past that, events stay where they are
    dead_letters: Live[PositiveInt] = 10000
    log: Live[PositiveInt] = 65536  # events in each of 16 parts of the store's work log
    drain_timeout: Live[Duration] = 10.0  # for what is in flight at shutdown


class Shutdown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The end of the daemon: what `work.drain_timeout` bounds comes after `lame_duck`."""

    # after SIGTERM `/readyz` fails for so long while calls are still answered, so that nobody
    # sends more; 5s where nothing ends the callers first, as it does for a native sidecar
    lame_duck: Live[DurationOrZero] = 0.0


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Structured logs on standard error."""

    # debug, info, warning or error
    level: Live[Annotated[str, msgspec.Meta(pattern="^(debug|info|warning|error)$")]] = "info"
    # json or console
    format: Live[Annotated[str, msgspec.Meta(pattern="^(json|console)$")]] = "json"
    checks: Live[bool] = False  # a line for every check
    # in that line, why: each policy that was looked at, its conditions, the score's terms. It
    # costs a second evaluation, and names addresses, groups and devices
    explain: Live[bool] = False


class Warnings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Warnings of `sidecar validate`, which the daemon logs at its start: reference/warnings.md."""

    accept: Live[tuple[str, ...]] = ()  # names of warnings that are meant so, and shown no more


class Policies(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy files: every `*.yaml` and `*.yml` in `path`, in name order.

    Each must be there to be read. No policies at all need `policies: []` in one.
    """

    path: Live[File] = "policies"  # a directory
    bundle: PolicyBundles = PolicyBundles()  # in the place of `path`: signed bundles


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration file."""

    app: App = App()
    apps: Live[dict[str, AppChallenges]] = {}
    socket: Socket = Socket()
    shared_table: SharedTable = SharedTable()
    http: Http = Http()
    grpc: Grpc = Grpc()
    admin: Admin = Admin()
    receiver: Receiver = Receiver()
    intake: IntakeSettings = IntakeSettings()
    central: CentralSettings = CentralSettings()
    sources: Live[tuple[SourceSettings, ...]] = ()
    limits: Limits = Limits()
    store: StoreSettings = StoreSettings()
    spool: SpoolSettings = SpoolSettings()
    tokens: Tokens = Tokens()
    contexts: Live[dict[str, Context]] = {}
    # what a call in a context gets that is not configured: `error`, or as of all: `strictest`
    unknown_contexts: Live[UnknownContexts] = msgspec.field(
        default=UnknownContexts.ERROR, name="contexts.unknown"
    )
    routes: Live[tuple[Route, ...]] = ()
    locations: Live[tuple[NamedLocation, ...]] = ()
    networks: Live[tuple[Network, ...]] = ()
    geography: GeographySettings = GeographySettings()
    assurance: Assurance = Assurance()
    risk: Risk = Risk()
    friction: Friction = Friction()
    break_glass: BreakGlass = BreakGlass()
    sessions: Sessions = Sessions()
    history: HistorySettings = HistorySettings()
    decision_log: DecisionLogSettings = DecisionLogSettings()
    traces: TracesSettings = TracesSettings()
    memory: Memory = Memory()
    work: Work = Work()
    shutdown: Shutdown = Shutdown()
    transmitter: Transmitter = Transmitter()
    log: Log = Log()
    privacy: Privacy = Privacy()
    policies: Policies = Policies()
    warnings: Warnings = Warnings()

    def proof_of(self, app: str) -> ProofOf:
        """Return whose proof counts for the calls of an app (empty: it is not known which)."""
        own = self.apps.get(app)
        return self.assurance.proof_of if own is None or own.proof_of is None else own.proof_of

    def is_alone(self, app: str) -> bool:
        """Return whether the calls of an app are judged by their own token alone."""
        return self.proof_of(app) is ProofOf.TOKEN

    def strangers(self, contexts: Collection[str]) -> frozenset[str]:
        """Return those of the contexts that are not configured.

        Where `contexts` is left out, all of c1 to c99 count as configured.
        """
        if self.contexts:
            return frozenset(name for name in contexts if name not in self.contexts)
        return frozenset(name for name in contexts if not CONTEXT.fullmatch(name))

    @property
    def aliases(self) -> dict[str, str]:
        """The contexts that have another name, by that."""
        return {one.alias: name for name, one in self.contexts.items() if one.alias}

    def max_staleness(self, context: str) -> float:
        """Seconds that a view may lag behind and still decide calls in this context."""
        known = self.contexts.get(context)
        if known is None or known.max_staleness is None:
            return self.sessions.max_staleness
        return known.max_staleness

    @property
    def longest_staleness(self) -> float:
        """Seconds after which no sidecar decides any sensitive call by its view."""
        return max(self.sessions.max_staleness, *map(self.max_staleness, self.contexts), 0.0)
