"""Weaknesses that a configuration allows in a deployment: findings, each with a name.

`run` can use all of it, so that none of it is an error: somebody may have a reason, which
`warnings.accept` states by the name. What `run` cannot use is refused elsewhere (`cross_checks`).
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from sidecar.domain.policy import lint
from sidecar.domain.values.plural import counted
from sidecar.wire.checks.reach import binds_of, is_fetchable, is_loopback, is_open
from sidecar.wire.config.descriptors import shortage
from sidecar.wire.routes.overlaps import overlaps
from sidecar.wire.settings.admin import Admin, OperatorSettings
from sidecar.wire.settings.privacy import Identifiers
from sidecar.wire.settings.settings import Gateway, Http, Route, Settings, Warnings
from sidecar.wire.settings.tokens import Possession
from sidecar.wire.store.address import (
    Cluster,
    InvalidAddress,
    Local,
    Sentinels,
    Server,
    parse_store_address,
)
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import Problems, Table, place_of, shown

SHORTEST_CREDENTIAL = 16
"""Characters of the shortest credential that nobody is expected to guess."""

WIDEST = 60.0
"""Seconds that clocks may differ by without a word on it: the largest of our own defaults."""

_WIDEST_PREFIX = MappingProxyType({4: 8, 6: 7})
"""Prefixes that are shorter are no network of anybody: 10.0.0.0/8 and fc00::/7 are the largest."""

_WRITABLE_BY_ALL = 0o002

CODES: Mapping[str, str] = {
    "data-listener-exposed": "whoever reaches the machine can ask the data listener, and send the"
    " headers that a gateway sets",
    "grpc-listener-exposed": "whoever reaches the machine can ask the gRPC listener, and say what"
    " only Envoy should",
    "socket-open-to-all": "every user of the machine can connect to the socket, ask and send"
    " events",
    "trusted-proxies-everyone": "headers are believed from anybody, so that a client chooses its"
    " own address",
    "public-everything": "every call passes behind a gateway, unasked and without a token",
    "route-unasked": "all calls of a route pass behind a gateway unasked, so that it asks for"
    " nothing",
    "unasked-unreached": "no gateway says what is called, so that nothing passes unasked",
    "store-plain": "the store's password, and who is marked and revoked, cross the network in"
    " plain text",
    "admin-credential-short": "the admin credential can be guessed",
    "admin-credential-plain": "the admin credential crosses the network in plain text",
    "receiver-open": "anybody can post to the receiver, in plain text and without a credential:"
    " only the signature distinguishes events from noise",
    "receiver-credential-plain": "what transmitters show to be known crosses the network in plain"
    " text",
    "transmitter-credential-plain": "what recipients show to be known, and the events that they"
    " fetch, cross the network in plain text",
    "push-plain": "events, and the credential that they are pushed with, cross the network in"
    " plain text",
    "push-header-stored": "the `Authorization` that a recipient gives for its stream lies in the"
    " store as it is, whatever is sealed there: who reads the store may use it",
    "issuer-plain": "an issuer whose name is http:// beyond this machine is one that anybody on"
    " the way can play",
    "redirect-key-short": "the key that signs the way back from a step-up can be guessed",
    "skew-wide": "for so long before a mark, a sign-in that is older than it counts as its proof",
    "leeway-wide": "a token counts so long after its end",
    "event-skew-wide": "an event may be from so far in the future, and then nothing newer replaces"
    " it until that time",
    "transmitter-skew-wide": "a transmitter's tokens may be from so far in the future",
    "dpop-window-wide": "a DPoP proof that somebody took can be shown so long",
    "shared-table-unused": "nothing is ever in the shared table: apps ask at each call",
    "descriptors-short": "the process may have fewer files and connections open than its listeners"
    " may need, so that each takes fewer connections than it was given",
}
"""What each name means."""

ADVICE: Mapping[str, str] = {
    "data-listener-exposed": "bind 127.0.0.1, or use `http.unix`; where the gateway is on another"
    " machine, use `central`, which asks who asks; it is refused unless it is accepted: then let a"
    " firewall or network policy admit nobody else",
    "grpc-listener-exposed": "bind 127.0.0.1; where Envoy is on another machine, let a firewall or"
    " network policy admit nobody else",
    "socket-open-to-all": 'say "0660" and a `group`, or list `socket.allowed_uids`',
    "trusted-proxies-everyone": "name the addresses of the proxies themselves",
    "public-everything": "name what is public",
    "route-unasked": "take it out of `http.public` or `http.unchecked`, or remove the route",
    "unasked-unreached": "name the gateway in `http.gateway`, or leave `http.public`, `unchecked`"
    " and `preflight` out",
    "store-plain": "use rediss:// (TLS), or a unix socket",
    "admin-credential-short": f"use a random one of at least {SHORTEST_CREDENTIAL} characters, such"
    " as `openssl rand -hex 32` makes",
    "admin-credential-plain": "give `admin.tls`, or bind 127.0.0.1",
    "receiver-open": "give `receiver.tls_cert_file` and `tls_key_file`, and each transmitter an"
    " `authorization_file`",
    "receiver-credential-plain": "give `receiver.tls_cert_file` and `tls_key_file`, unless what is"
    " before it has TLS",
    "transmitter-credential-plain": "have a gateway with TLS before it on this machine, and bind"
    " 127.0.0.1; or accept it, where that gateway is in a network of your own",
    "push-plain": "push to an https:// address",
    "push-header-stored": "give it a `stream` with an `authorization_file`, and no `push_prefixes`;"
    " or have it poll",
    "issuer-plain": "have the issuer served, and named, by https://",
    "redirect-key-short": f"use a random one of at least {SHORTEST_CREDENTIAL} characters",
    "skew-wide": "keep clocks in step (NTP) and say less; 0 is the default",
    "leeway-wide": "keep clocks in step (NTP) and say less; 30s is the default",
    "event-skew-wide": "keep clocks in step (NTP) and say less; 60s is the default",
    "transmitter-skew-wide": "keep clocks in step (NTP) and say less; 60s is the default",
    "dpop-window-wide": "keep clocks in step (NTP) and say less; 60s is the default",
    "shared-table-unused": "leave `shared_table.enabled` out, or the other key",
    "descriptors-short": "raise the hard limit of open files (`ulimit -Hn`, systemd's LimitNOFILE,"
    " the container runtime's), or lower `max_connections`",
}
"""What to do about each."""


ALL_CODES: Mapping[str, str] = MappingProxyType({**CODES, **lint.CODES})
ALL_ADVICE: Mapping[str, str] = MappingProxyType({**ADVICE, **lint.ADVICE})
"""Those that policies and names are looked at for, too."""

OF_ALL = frozenset({"issuers-alike", "routes-unreached", "session-by-sign-in", "app-by-client"})
"""Of those the ones that no policy has a part in: they are logged at the start, too."""


def check_accepted(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add those names of `warnings.accept` that no warning has."""
    accepted = values.get("warnings")
    for index, name in enumerate(accepted.accept if isinstance(accepted, Warnings) else ()):
        if name not in ALL_CODES:
            field = f"warnings.accept[{index}]"
            message = f"{shown(name)!r} is no name of a warning{suggestion(name, ALL_CODES)}"
            problems.add(place_of(root, field), field, message)


class Weakness(NamedTuple):
    """One finding: its name, the key of the configuration and what was found there."""

    code: str
    field: str
    message: str


def weaknesses(settings: Settings, descriptors: int) -> tuple[Weakness, ...]:
    """Return what makes this deployment weak, in the order of the sections.

    `descriptors` are how many the process may have open.
    """
    found = tuple(finding for check in _CHECKS for finding in check(settings))
    short = shortage(settings, descriptors)
    of = "http" if settings.http.enabled else "socket"
    scarce = (Weakness("descriptors-short", f"{of}.max_connections", short),) if short else ()
    return (*found, *scarce)


def _exposed(settings: Settings) -> Iterator[Weakness]:
    listeners = (("http", settings.http, settings.http.enabled), ("grpc", settings.grpc, True))
    for section, listener, is_on in listeners:
        code = "grpc-listener-exposed" if section == "grpc" else "data-listener-exposed"
        for bind in filter(is_open, binds_of(listener)) if is_on else ():
            yield Weakness(code, f"{section}.bind", f"{bind} is reached from other machines")


def _sockets(settings: Settings) -> Iterator[Weakness]:
    socket, http = settings.socket, settings.http
    code, message = "socket-open-to-all", "lets every user of this machine connect"
    if int(socket.mode, 8) & _WRITABLE_BY_ALL and socket.allowed_uids is None:
        yield Weakness(code, "socket.mode", f"{socket.mode} {message}")
    if http.enabled and http.unix and int(http.unix_mode, 8) & _WRITABLE_BY_ALL:
        yield Weakness(code, "http.unix_mode", f"{http.unix_mode} {message}")


def _proxies(settings: Settings) -> Iterator[Weakness]:
    if not (settings.http.enabled or settings.grpc.bind):
        return
    for index, text in enumerate(settings.http.trusted_proxies):
        network = ipaddress.ip_network(text)
        if network.prefixlen < _WIDEST_PREFIX[network.version]:
            field = f"http.trusted_proxies[{index}]"
            yield Weakness("trusted-proxies-everyone", field, f"{text} is nearly everybody")


def _unasked(settings: Settings) -> Iterator[Weakness]:
    http = settings.http
    for index, path in enumerate(http.public):
        if path == "/*":
            yield Weakness("public-everything", f"http.public[{index}]", "/* is every path")
    for index, route in enumerate(settings.routes):
        found = _passes_unasked(route, http)
        if found:
            yield Weakness("route-unasked", f"routes[{index}]", found)
    is_sent = http.gateway is not Gateway.NONE or settings.grpc.bind
    if http.enabled and not is_sent and (http.public or http.unchecked or http.preflight):
        yield Weakness("unasked-unreached", "http.gateway", "is none: it sends no path")


def _passes_unasked(route: Route, http: Http) -> str:
    """Return why all calls of a route pass unasked; empty if they do not.

    A public path within a wider route is an exception, and probably meant.
    """
    if route.methods and set(route.methods) <= set(http.unchecked):
        return "all of its methods are in `http.unchecked`"
    for path in http.public:
        below = path.endswith("/*")
        public = Route(path=quote(path.removesuffix("/*")) + "/**" * below, contexts=())
        if any(one.within and one.route == 1 for one in overlaps((public, route))):
            return f"{path} in `http.public` covers all of it"
    return ""


def _store(settings: Settings) -> Iterator[Weakness]:
    store = settings.store
    try:
        address = parse_store_address(store.url) if store.url else None
    except InvalidAddress:
        return
    if address is None or address.tls:
        return
    match address.target:
        case Server(host=host):
            hosts = [host]
        case Sentinels(hosts=several) | Cluster(hosts=several):
            hosts = list(several)
        case Local():
            hosts = []
    far = next((host for host in hosts if not is_loopback(host.name)), None)
    if far is not None:
        with_password = store.password or store.password_file or address.password
        words = "with a password, " if with_password else ""
        message = f"{words}to another machine ({far}) without TLS"
        yield Weakness("store-plain", "store.url", message)


def _admin(settings: Settings) -> Iterator[Weakness]:
    admin = settings.admin
    if not admin.enabled or not (admin.has_credential or admin.has_console):
        return
    owned: dict[str, Admin | OperatorSettings] = {"admin": admin}
    owned |= {f"admin.operators[{index}]": one for index, one in enumerate(admin.operators)}
    for at, one in owned.items():
        if 0 < len(one.token) < SHORTEST_CREDENTIAL:
            field = f"{at}.token_file" if one.token_file else f"{at}.token"
            yield Weakness("admin-credential-short", field, _characters(one.token))
    if not admin.tls.certificate:
        for bind in filter(is_open, binds_of(admin)):
            message = f"{bind} is reached from other machines, without TLS"
            yield Weakness("admin-credential-plain", "admin.bind", message)


def _receiver(settings: Settings) -> Iterator[Weakness]:
    receiver = settings.receiver
    if receiver.tls_cert_file or not receiver.bind:
        return
    is_reached = any(map(is_open, binds_of(receiver)))
    for index, one in enumerate(receiver.transmitters):
        field = f"receiver.transmitters[{index}]"
        if one.poll_url:
            continue
        if not one.authorization_file:  # also on loopback: what is before it lets everybody in
            message = f"{one.name} pushes over plain HTTP, and shows nothing to be known by"
            yield Weakness("receiver-open", field, message)
        elif is_reached:
            message = f"{one.name} shows its credential over plain HTTP"
            yield Weakness("receiver-credential-plain", f"{field}.authorization_file", message)


def _transmitter(settings: Settings) -> Iterator[Weakness]:
    with_credentials = any(one.credentials_file for one in settings.transmitter.recipients)
    for bind in filter(is_open, binds_of(settings.transmitter)) if with_credentials else ():
        message = f"{bind} is reached from other machines, without TLS"
        yield Weakness("transmitter-credential-plain", "transmitter.bind", message)
    is_sealed = settings.privacy.identifiers is Identifiers.KEYED
    for index, one in enumerate(settings.transmitter.recipients):
        if is_sealed and one.credentials_file and one.push_prefixes and one.max_streams:
            field = f"transmitter.recipients[{index}].push_prefixes"
            message = f"{one.name} may give the `Authorization` that it is pushed to with"
            yield Weakness("push-header-stored", field, message)
        fixed = one.stream.push_to if one.stream is not None else ""
        addresses = [(f"transmitter.recipients[{index}].stream.push_to", fixed)]
        addresses += [
            (f"transmitter.recipients[{index}].push_prefixes[{at}]", prefix)
            for at, prefix in enumerate(one.push_prefixes)
        ]
        for field, address in addresses:
            if address and not is_fetchable(address):
                message = "is plain HTTP to another machine"
                yield Weakness("push-plain", field, message)


def _issuers(settings: Settings) -> Iterator[Weakness]:
    for index, one in enumerate(settings.tokens.issuers):
        field = f"tokens.issuers[{index}]"
        if one.issuer.startswith("http://") and not is_fetchable(one.issuer):
            message = "is named by http://, on another machine"
            yield Weakness("issuer-plain", f"{field}.issuer", message)
        if one.leeway > WIDEST:
            yield Weakness("leeway-wide", f"{field}.leeway", _seconds(one.leeway))


def _allowances(settings: Settings) -> Iterator[Weakness]:
    if settings.assurance.skew >= WIDEST:
        yield Weakness("skew-wide", "assurance.skew", _seconds(settings.assurance.skew))
    if settings.sessions.event_skew > WIDEST:
        field, skew = "sessions.event_skew", settings.sessions.event_skew
        yield Weakness("event-skew-wide", field, _seconds(skew))
    for index, one in enumerate(settings.receiver.transmitters):
        if one.skew > WIDEST:
            field = f"receiver.transmitters[{index}].skew"
            yield Weakness("transmitter-skew-wide", field, _seconds(one.skew))
    window = settings.tokens.binding.dpop_window
    if window > WIDEST:
        yield Weakness("dpop-window-wide", "tokens.binding.dpop_window", _seconds(window))


def _shared_table(settings: Settings) -> Iterator[Weakness]:
    """Find what leaves the table empty: each call is to be logged, or to show a key."""
    if not settings.shared_table.enabled:
        return
    field = "shared_table.enabled"
    if settings.log.checks:
        yield Weakness("shared-table-unused", field, "`log.checks` has a line for each call")
    if settings.tokens.binding.possession is Possession.REQUIRE:
        message = "`tokens.binding.possession: require` has each call show a key"
        yield Weakness("shared-table-unused", field, message)


def _characters(secret: str) -> str:
    return f"has {counted(len(secret), 'character')}"


def _seconds(seconds: float) -> str:
    return f"is {seconds:g} seconds"


def _redirects(settings: Settings) -> Iterator[Weakness]:
    redirects = {"app.redirect": settings.app.redirect}
    for name, app in settings.apps.items():
        if app.redirect is not None:
            redirects[f"apps.{name}.redirect"] = app.redirect
    for field, redirect in redirects.items():
        if 0 < len(redirect.key) < SHORTEST_CREDENTIAL:
            key = "key_file" if redirect.key_file else "key"
            message = _characters(redirect.key)
            yield Weakness("redirect-key-short", f"{field}.{key}", message)


_CHECKS: tuple[Callable[[Settings], Iterator[Weakness]], ...] = (
    *(_sockets, _shared_table, _exposed, _proxies, _unasked, _admin, _receiver, _store),
    *(_issuers, _allowances, _transmitter, _redirects),
)
