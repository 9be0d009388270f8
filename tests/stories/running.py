"""Whole daemons in one process, on one real store, spoken to over their real sockets.

They use it as a user who has just the rights that the documents name: see `as_least_user`.

They run on trio in a thread of their own (anyio's blocking portal), so that plain tests and
hypothesis can drive them.
"""

import itertools
import json
import operator
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from sidecar.adapters.clock import now
from sidecar.adapters.geography.networks import load
from sidecar.daemon.configuration.files import Configuration, claims_of, evaluator_of
from sidecar.daemon.lifecycle import Addresses, Daemon
from sidecar.demo.geography import Databases, build
from sidecar.domain.facts.fact_kinds import SIGNALS
from sidecar.domain.facts.signal import Signal
from sidecar.domain.policy.conditional_access import Policy
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import (
    Admin,
    App,
    Context,
    GeographySettings,
    Http,
    HttpEvents,
    Issuer,
    Log,
    Network,
    Policies,
    ProofOf,
    Route,
    Sessions,
    Settings,
    Socket,
    StoreSettings,
    Tokens,
    Work,
)
from sidecar.wire.settings.sources import SourceSettings
from tests.adapters.identity import Signer, key_set
from tests.adapters.servers import PASSWORD, USER
from tests.waiting import eventually

ISSUER = "https://id.example"
SIGNER = Signer("ES256")
_numbers = itertools.count()


def unique(prefix: str) -> str:
    """A name that no other test of this run uses."""
    return f"{prefix}-{next(_numbers)}"


def token(
    user: str,
    session: str | None,
    *,
    age: float = 60,
    acr: str = "single-factor",
    issuer: str = ISSUER,
    **more: Any,
) -> str:
    """A real token of a sign-in `age` seconds ago."""
    issued = int(now())
    signed_in = int(now() - age)
    return SIGNER.token(
        iss=issuer,
        aud="payroll",
        azp="payroll",
        sub=user,
        sid=session,
        iat=issued,
        exp=issued + 3600,
        auth_time=signed_in,
        acr=acr,
        amr=None,
        **more,
    )


CREDENTIAL = "the-credential-of-the-identity-provider"
"""What `idp` shows: a source with every power, for what a test's local peer may not say."""


def powerful(file: Path) -> SourceSettings:
    """The source that shows `CREDENTIAL`."""
    file.write_text(CREDENTIAL)
    return SourceSettings(
        name="idp",
        token_file=str(file),
        may_loosen=SIGNALS,
        may_prove=True,
        may_identify=True,
        may_watch=True,
        may_ask_sessions=True,
    )


def empowered(settings: Settings, *transmitters: str) -> Settings:
    """The settings with every power for these transmitters, also over the pod's local peers."""
    powers = tuple(
        SourceSettings(
            name=name,
            transmitter=name,
            over=(f"local:{settings.app.id}",),
            may_loosen=SIGNALS,
            may_prove=True,
            may_identify=True,
            issuers=(ISSUER,),
        )
        for name in transmitters
    )
    return msgspec.structs.replace(settings, sources=(*settings.sources, *powers))


def settings_for(directory: Path, url: str, geography: Databases, name: str) -> Settings:
    """A configuration of one pod."""
    return Settings(
        app=App(id="payroll"),
        socket=Socket(path=str(directory / f"{name}.sock")),
        http=Http(bind="127.0.0.1:0", events=HttpEvents.LOCAL),
        sources=(powerful(directory / "credential"),),
        admin=Admin(bind="127.0.0.1:0", token="operator"),
        store=StoreSettings(url=url),
        tokens=Tokens(
            issuers=(
                Issuer(
                    issuer=ISSUER, audiences=("payroll",), jwks_file=str(directory / "jwks.json")
                ),
            )
        ),
        contexts={"c1": Context(name="Payments"), "c2": Context(name="Reports")},
        routes=(Route(path="/pay/**", contexts=("c1",)),),
        networks=(Network(name="lab", cidrs=("192.0.2.128/25",)),),
        geography=GeographySettings(
            city=str(geography.city),
            asn=str(geography.asn),
            anonymous_ip=str(geography.anonymous_ip),
        ),
        sessions=Sessions(sweep_interval=0.2),
        work=Work(drain_timeout=3.0),
        log=Log(level="error"),
        policies=Policies(path=str(directory)),
    )


def proofs_of_sessions(settings: Settings) -> Settings:
    """The same, where any sign-in of a session counts for all of its tokens."""
    assurance = msgspec.structs.replace(settings.assurance, proof_of=ProofOf.SESSION)
    return msgspec.structs.replace(settings, assurance=assurance)


def as_least_user(settings: Settings) -> Settings:
    """The same, as the user of a test's server who has just the documented rights."""
    store = settings.store
    if (
        not store.url.startswith("unix://")
        or store.username
        or store.prefix != StoreSettings().prefix
    ):
        return settings
    store = msgspec.structs.replace(store, username=USER, password=PASSWORD)
    return msgspec.structs.replace(settings, store=store)


def configuration(settings: Settings, policies: Sequence[Policy], directory: Path) -> Configuration:
    """Compile what a file would say."""
    prefixes = load(settings.networks, settings.locations)
    return Configuration(
        directory / "sidecar.yaml",
        settings,
        tuple(policies),
        prefixes,
        Routes(settings.routes),
        evaluator_of(settings, tuple(policies), prefixes),
        claims_of(tuple(policies)),
    )


class Client:
    """A connection to a daemon's local socket."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def ask(self, **request: Any) -> Any:
        """One request, one reply."""
        self.send(request)
        return self.read()

    def send(self, *requests: Any) -> None:
        """Requests whose replies are read later."""
        self._socket.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in requests))

    def read(self) -> Any:
        """The next line."""
        return json.loads(self._lines.readline())

    def check(self, token: str, context: str = "c1", ip: str = "192.0.2.1") -> Any:
        """Ask whether a call may pass; without a context it is a routine call."""
        request = {"op": "check", "token": token, "ip": ip}
        return self.ask(**request, **({"context": context} if context else {}))

    def event(self, type: str, subject: dict[str, str], **more: Any) -> Any:  # noqa: A002
        """Push an event, as the local peer that this client is."""
        return self.ask(op="event", type=type, subject=subject, **more)

    def trusted(self, type: str, subject: dict[str, str], **more: Any) -> Any:  # noqa: A002
        """Push an event, as the source with every power."""
        return self.event(type, subject, credential=CREDENTIAL, **more)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._lines.close()
        self._socket.close()


class Pods:
    """Running daemons: their addresses and a client of each."""

    def __init__(
        self, addresses: list[Addresses], daemons: list[Daemon], portal: BlockingPortal
    ) -> None:
        self._portal = portal
        self.addresses = addresses
        self.daemons = daemons
        self.clients = [Client(one.socket) for one in addresses]

    def take(self, index: int, signal: Signal) -> None:
        """Have a daemon take an event as if a door had brought it."""
        services = self.daemons[index]._services  # noqa: SLF001 - no door lets it be dated
        assert services is not None
        self._portal.call(services.wired.intake.events.accept, signal)

    def sweep(self, times: int = 4) -> None:
        """Wait until each daemon has gone through its view so often, and logged what it found."""
        for daemon in self.daemons:
            services = daemon._services  # noqa: SLF001 - no door reports sweeps
            assert services is not None
            audit = services.wired.audit
            for _ in range(times):
                enough = audit.sweeper.passes + 1
                self._portal.call(services.wired.view.view.changes.add_all)
                eventually(lambda audit=audit: audit.sweeper.passes, partial(operator.le, enough))
            eventually(lambda audit=audit: audit.auditor.waiting, operator.not_)

    def close(self) -> None:
        """Close the clients."""
        for client in self.clients:
            client.close()


@contextmanager
def running(
    url: str,
    policies: Sequence[Policy],
    count: int = 2,
    change: Callable[[Settings, int], Settings] = lambda settings, _: settings,
) -> Iterator[Pods]:
    """`count` daemons on the store at `url` (empty: each on an embedded one of its own).

    `change` gives the settings of each, by its number, where they are not the usual ones.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pods-")))
        (directory / "jwks.json").write_bytes(key_set(SIGNER))
        geography = build(directory)
        portal = stack.enter_context(start_blocking_portal("trio"))
        daemons = []
        addresses = []
        for index in range(count):
            settings = change(settings_for(directory, url, geography, f"pod{index}"), index)
            settings = as_least_user(settings)
            daemon = Daemon(configuration(settings, policies, directory), {})
            draining = portal.call(trio.Event)
            ended, address = portal.start_task(_run, daemon, draining)
            stack.callback(ended.result, 20)
            stack.callback(portal.call, draining.set)
            daemons.append(daemon)
            addresses.append(address)
        pods = Pods(addresses, daemons, portal)
        stack.callback(pods.close)
        yield pods


async def _run(
    daemon: Daemon,
    draining: trio.Event,
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    await daemon.run(draining, task_status=task_status)
