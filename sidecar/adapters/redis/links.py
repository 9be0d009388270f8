"""Clients of the servers behind an address: one server, the sentinels' master, or a Cluster.

All methods but `node_of` and `nodes` block, for the settings' time-outs at most: call them in a
thread. redis-py itself never tries again here, as its own policy would turn a short time-out into
many seconds; `store` and `news` do.
"""

import itertools
import random
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, assert_never

from redis.backoff import NoBackoff
from redis.client import Redis
from redis.connection import (
    Connection,
    ConnectionInterface,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from sidecar import __version__
from sidecar.adapters.redis_server.credentials import StoreCredentials
from sidecar.domain.values.loss import ALL_SLOTS
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.address import (
    Cluster,
    Host,
    Local,
    Sentinels,
    Server,
    parse_store_address,
)
from sidecar.wire.store.losses import slot_of

ONLY = "only"
"""The name of the node where there is one."""


def call(client: Redis, *command: bytes | str | int) -> Any:
    """Run one command. Blocks; raises redis-py's errors."""
    return client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py's gap


class Links(Protocol):
    """The servers of the store, as nodes by name. Blocking methods raise redis-py's errors.

    `where` is the address of the store without credentials.
    """

    where: str

    def node_of(self, key: bytes) -> str:
        """Return the node that holds a key or channel.

        Raises `Unavailable` while none is known to.
        """

    def nodes(self) -> tuple[str, ...]:
        """Return all nodes that hold keys."""

    def spans(self, node: str) -> tuple[tuple[int, int], ...]:
        """Return the slots that a node has, as the first and last of each run.

        None where it has left.
        """

    def client(self, node: str) -> Redis:
        """Return the client of a node."""

    def connection(self, node: str) -> ConnectionInterface:
        """Return a new connection to a node, not yet connected, the caller's own."""

    def refresh(self) -> None:
        """Find out which nodes there are, and who holds what."""

    def topology(self) -> Hashable:
        """Return where everything is at present: if two results are equal, nothing moved."""

    def close(self) -> None:
        """Close all idle connections."""


def links_of(
    settings: StoreSettings, *, url: str = "", credentials: StoreCredentials | None = None
) -> Links:
    """Return the links to the store; nothing is connected yet.

    `url` stands in for an empty `settings.url`. Each new connection asks `credentials` for its
    user and password, by default those of the settings and their files; where they have none,
    those of the address count. Raises `InvalidAddress`.
    """
    address = parse_store_address(settings.url or url)
    where = address.shown
    credentials = credentials or StoreCredentials(settings)
    options = {
        **_basics(settings, tls=address.tls),
        "credential_provider": credentials.of_store(address),
    }
    match address.target:
        case Server(host=host, db=db):
            kind = SSLConnection if address.tls else Connection
            pool = ConnectionPool(kind, host=host.name, port=host.port, db=db, **options)
            return OneServer(pool, where)
        case Local(path=path, db=db):
            pool = ConnectionPool(UnixDomainSocketConnection, path=path, db=db, **options)
            return OneServer(pool, where)
        case Sentinels():
            ask = {
                **_basics(settings, tls=address.tls),
                "credential_provider": credentials.of_sentinels(),
            }
            pool = _sentinel_pool(address.target, ask, address.tls, options)
            return OneServer(pool, where)
        case Cluster(hosts=hosts):
            kind = SSLConnection if address.tls else Connection

            def pool_of(host: Host) -> ConnectionPool:
                return ConnectionPool(kind, host=host.name, port=host.port, **options)

            return ManyServers(hosts, pool_of, where)
        case never:
            assert_never(never)


def _basics(settings: StoreSettings, *, tls: bool) -> dict[str, Any]:
    basics: dict[str, Any] = {
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.connect_timeout,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": DriverInfo(name="stepup-sidecar", lib_version=__version__),
        "protocol": 2,  # every server since 7.0 speaks it, and it never pushes what nobody asked
    }
    if tls:
        basics["ssl_ca_certs"] = settings.tls_ca_file or None
        basics["ssl_certfile"] = settings.tls_cert_file or None
        basics["ssl_keyfile"] = settings.tls_key_file or None
    return basics


def _sentinel_pool(
    target: Sentinels,
    ask: dict[str, Any],
    tls: bool,  # noqa: FBT001 - private, and named where it is called
    options: dict[str, Any],
) -> ConnectionPool:
    if tls:
        ask["ssl"] = True
    hosts = [(host.name, host.port) for host in target.hosts]
    sentinel = Sentinel(hosts, sentinel_kwargs=ask)  # type: ignore[no-untyped-call] # their gap
    return SentinelConnectionPool(  # type: ignore[no-untyped-call] # likewise
        target.service, sentinel, db=target.db, ssl=tls, **options
    )


def _beside(pool: ConnectionPool) -> ConnectionInterface:
    """Make a connection like those of a pool, which is not counted there.

    `make_connection` counts for good, also what is closed again, and refuses from its hundredth on.
    """
    connection: ConnectionInterface = pool.connection_class(**pool.connection_kwargs)
    return connection


class OneServer:
    """One server, whichever that is at the moment."""

    def __init__(self, pool: ConnectionPool, where: str) -> None:
        self.where = where
        self._pool = pool
        self._client = Redis(connection_pool=pool)

    def node_of(self, key: bytes) -> str:  # noqa: ARG002 - all keys are there
        """Return the one node."""
        return ONLY

    def nodes(self) -> tuple[str, ...]:
        """Return the one node."""
        return (ONLY,)

    def spans(self, node: str) -> tuple[tuple[int, int], ...]:  # noqa: ARG002 - there is one
        """Return all slots."""
        return ((0, ALL_SLOTS - 1),)

    def client(self, node: str) -> Redis:  # noqa: ARG002 - there is one
        """Return the client."""
        return self._client

    def connection(self, node: str) -> ConnectionInterface:  # noqa: ARG002 - there is one
        """Return a new connection."""
        return _beside(self._pool)

    def refresh(self) -> None:
        """Have the next calls connect anew: the name may lead elsewhere now."""
        self._pool.disconnect(inuse_connections=False)

    def topology(self) -> Hashable:
        """Return the master's address by the sentinels; a plain server does not move."""
        if isinstance(self._pool, SentinelConnectionPool):
            return tuple(self._pool.get_master_address())  # type: ignore[no-untyped-call] # gap
        return ()

    def close(self) -> None:
        """Close all idle connections."""
        self._pool.disconnect(inuse_connections=False)


class ManyServers:
    """The masters of a Cluster, by slot (redis.io, "Redis Cluster specification")."""

    def __init__(
        self, seeds: tuple[Host, ...], pool: Callable[[Host], ConnectionPool], where: str
    ) -> None:
        self.where = where
        self._seeds = seeds
        self._pool = pool
        self._pools: dict[str, ConnectionPool] = {}
        self._hosts: dict[str, Host] = {}
        self._owners: tuple[str, ...] = ()
        self._nodes: tuple[str, ...] = ()
        self._spans: dict[str, tuple[tuple[int, int], ...]] = {}
        self._lock = threading.Lock()

    def node_of(self, key: bytes) -> str:
        """Return the master that holds a key's slot."""
        owner = self._owners[slot_of(key)] if self._owners else ""
        if not owner:
            raise Unavailable("no node of the Cluster is known to hold this")
        return owner

    def nodes(self) -> tuple[str, ...]:
        """Return all masters."""
        return self._nodes

    def spans(self, node: str) -> tuple[tuple[int, int], ...]:
        """Return the slots that a node has."""
        return self._spans.get(node, ())

    def client(self, node: str) -> Redis:
        """Return the client of a node, which need not be known: a redirection names any."""
        return Redis(connection_pool=self._pool_of(node))

    def connection(self, node: str) -> ConnectionInterface:
        """Return a new connection to a node."""
        return _beside(self._pool_of(node))

    def _pool_of(self, node: str) -> ConnectionPool:
        with self._lock:
            pool = self._pools.get(node)
            if pool is None:
                name, _, port = node.rpartition(":")
                pool = self._pools[node] = self._pool(Host(name.strip("[]"), int(port)))
            return pool

    def refresh(self) -> None:
        """Ask one node after the other until one says who holds which slots."""
        candidates = list(dict.fromkeys((*self._nodes, *map(str, self._seeds))))
        random.shuffle(candidates)
        failure: Exception | None = None
        for candidate in candidates:
            try:
                slots = call(self.client(candidate), "CLUSTER SLOTS")
            except RedisError as error:
                failure = error
                continue
            self._adopt(slots, candidate)
            return
        raise RedisConnectionError("no node of the Cluster answers") from failure

    def topology(self) -> Hashable:
        """Return who holds each slot."""
        self.refresh()
        return self._owners

    def _adopt(self, slots: list[list[Any]], informant: str) -> None:
        owners = [""] * ALL_SLOTS
        for first, last, (name, port, *_), *_ in slots:
            # No name, or an empty one, stands for the one we asked (redis.io, CLUSTER SLOTS).
            host = name.decode() if name else informant.rpartition(":")[0].strip("[]")
            node = str(Host(host, port))
            owners[first : last + 1] = [node] * (last + 1 - first)
        self._owners = tuple(owners)
        self._nodes = tuple(sorted({owner for owner in owners if owner}))
        self._spans = _spans_of(owners)
        with self._lock:
            kept = {*self._nodes, *map(str, self._seeds)}
            gone = [self._pools.pop(node) for node in set(self._pools) - kept]
        for pool in gone:
            pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.disconnect(inuse_connections=False)


def _spans_of(owners: Sequence[str]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return the runs of slots that each node has."""
    spans: dict[str, list[tuple[int, int]]] = {}
    slot = 0
    for owner, run in itertools.groupby(owners):
        first, slot = slot, slot + sum(1 for _ in run)
        if owner:
            spans.setdefault(owner, []).append((first, slot - 1))
    return {owner: tuple(runs) for owner, runs in spans.items()}
