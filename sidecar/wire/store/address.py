"""The address of the store, from its text.

`redis://host:6379/0`, `rediss://...`, `unix:///path?db=0`,
`redis+sentinel://host:26379,host2:26379/service/0`, `redis+cluster://host:6379,host2:6379`;
the last two also with `rediss+`. Each may carry `user:password@`, percent-encoded.
"""

from typing import TypeAlias, assert_never
from urllib.parse import parse_qs, unquote

import msgspec

REDIS_PORT = 6379
SENTINEL_PORT = 26379


class InvalidAddress(ValueError):  # noqa: N818 - the operator must act: a fault of `store.url`
    """Not the address of a store. Never quotes it: it may hold a password."""


class Host(msgspec.Struct, frozen=True):
    """A host by name or address, and its port."""

    name: str
    port: int

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{name}:{self.port}"


class Server(msgspec.Struct, frozen=True):
    """One server, over TCP."""

    host: Host
    db: int = 0


class Local(msgspec.Struct, frozen=True):
    """One server, over a unix socket."""

    path: str
    db: int = 0


class Sentinels(msgspec.Struct, frozen=True):
    """Whichever server the sentinels call the master of `service`."""

    hosts: tuple[Host, ...]
    service: str
    db: int = 0


class Cluster(msgspec.Struct, frozen=True):
    """A Cluster, found by any of its nodes."""

    hosts: tuple[Host, ...]


Target: TypeAlias = Server | Local | Sentinels | Cluster


class StoreAddress(msgspec.Struct, frozen=True):
    """The store's address, whether to speak TLS, and the credentials that the address carries."""

    target: Target
    tls: bool = False
    username: str = ""
    password: str = ""

    @property
    def shown(self) -> str:
        """The address without credentials, as it may be logged."""
        tls = "s" if self.tls else ""
        match self.target:
            case Local(path=path, db=db):
                return f"unix://{path}{f'?db={db}' if db else ''}"
            case Server(host=host, db=db):
                return f"redis{tls}://{host}{f'/{db}' if db else ''}"
            case Sentinels(hosts=hosts, service=service):
                return f"redis{tls}+sentinel://{','.join(map(str, hosts))}/{service}"
            case Cluster(hosts=hosts):
                return f"redis{tls}+cluster://{','.join(map(str, hosts))}"
            case never:
                assert_never(never)


def parse_store_address(url: str) -> StoreAddress:
    """Read the address of a store. Raises `InvalidAddress`."""
    scheme, found, rest = url.partition("://")
    if not found:
        raise InvalidAddress("an address begins with its scheme, such as redis://")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    if "@" in path and scheme != "unix":
        raise InvalidAddress("a `/` in a user's name or password is written as %2F")
    credentials, _, hosts = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    return StoreAddress(
        _target(scheme.removeprefix("rediss").removeprefix("redis"), scheme, hosts, path, query),
        tls=scheme.startswith("rediss"),
        username=unquote(username),
        password=unquote(password),
    )


def _target(kind: str, scheme: str, hosts: str, path: str, query: str) -> Target:
    if query and scheme != "unix":
        raise InvalidAddress("options after `?` are not known; see the settings of the store")
    match kind:
        case "unix":
            if hosts or not path:
                raise InvalidAddress("a unix socket's address is unix:///path")
            return Local("/" + unquote(path), _db_of_query(query))
        case "":
            found = _hosts(hosts, REDIS_PORT)
            if len(found) > 1:
                raise InvalidAddress("several hosts need redis+cluster:// or redis+sentinel://")
            return Server(found[0], _db(path))
        case "+sentinel":
            service, _, db = path.partition("/")
            if not service:
                raise InvalidAddress("sentinels need a service: redis+sentinel://host/service")
            return Sentinels(_hosts(hosts, SENTINEL_PORT), unquote(service), _db(db))
        case "+cluster":
            if _db(path):
                raise InvalidAddress("a Cluster has database 0 only")
            return Cluster(_hosts(hosts, REDIS_PORT))
        case _:
            raise InvalidAddress(
                "the scheme is none of redis, rediss, unix, redis+sentinel, rediss+sentinel,"
                " redis+cluster, rediss+cluster"
            )


def _db_of_query(query: str) -> int:
    options = parse_qs(query)
    if set(options) - {"db"}:
        raise InvalidAddress("a unix socket's address knows the option `db` only")
    return _db(options.get("db", [""])[0])


def _db(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise InvalidAddress("the database is a number")
    return int(text or 0)


def _hosts(text: str, port: int) -> tuple[Host, ...]:
    return tuple(_host(part, port) for part in text.split(","))


def _host(text: str, default: int) -> Host:
    if text.startswith("["):  # RFC 3986, section 3.2.2
        name, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise InvalidAddress("a bracket of an IPv6 address is missing")
        port = port[1:]
    else:
        name, _, port = text.partition(":")
    if not name:
        raise InvalidAddress("a host is missing")
    if not port:
        return Host(name, default)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidAddress("a port is a number from 1 to 65535")
    return Host(name, int(port))
