"""Shared Signals in, wired: keys of transmitters, the taking of their tokens, pollers, the door."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import trio

from sidecar.adapters import clock
from sidecar.adapters.events.intake import Events
from sidecar.adapters.telemetry.telemetry import Telemetry
from sidecar.adapters.tokens.keys import KeySource, Refresh
from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.service.audit.lease import Lease
from sidecar.service.observations.observations import KeysOutcome, KeysRefreshed, SecretRead
from sidecar.service.ports.store import Store
from sidecar.shared_signals.adapters.receiver_listener import PushApp, push_listener
from sidecar.shared_signals.adapters.set_verifier import SetVerifier
from sidecar.shared_signals.adapters.transmitter_client import PollEndpoint, TransmitterApi
from sidecar.shared_signals.service.poll_client import Poller
from sidecar.shared_signals.service.receiver import Receiving
from sidecar.shared_signals.wire.stream_api import metadata_address
from sidecar.wire.events.sources import issuers_of_transmitter, source_of_transmitter
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.settings.settings import Issuer, Settings, Tokens
from sidecar.wire.store.keys import Names
from sidecar.wire.subjects.subject_rules import SubjectRules


class Reception:
    """All that a daemon needs to receive Shared Signals, by its settings.

    `judged` is told in words of which transmitters nothing new can be believed, or is fetched;
    empty: of none.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        settings: Settings,
        *,
        events: Events,
        store: Store,
        names: Names,
        telemetry: Telemetry,
        sidecar: str,
        current: Callable[[], Settings],
        judged: Callable[[str], None] = lambda _: None,
    ) -> None:
        receiver = settings.receiver
        self._judged = judged
        self._settings = settings
        self._telemetry = telemetry
        self._rules = _rules_of(settings)
        self.keys = [self._key_source(one) for one in receiver.transmitters]
        self._authorizations = self._secrets("authorization_file", kept=False)
        self._tokens = self._secrets("token_file", kept=True)
        self._verifier = SetVerifier(
            zip(receiver.transmitters, self.keys, strict=True), receiver.max_body_bytes
        )
        self.receiving = Receiving(
            verifier=self._verifier,
            events=events,
            rules=self._rules,
            source_of=lambda name: source_of_transmitter(current(), name),
            state_secret=self._state_secret,
            clock=clock.now,
            skew=lambda: current().sessions.event_skew,
            telemetry=telemetry,
        )
        self.pollers = {
            one.name: self._poller(one, store, names, sidecar)
            for one in receiver.transmitters
            if one.poll_url
        }

    def _judge(self) -> None:
        """Say of which transmitters nothing new is believed or fetched, or soon will not be."""
        words = []
        known = self._settings.receiver.transmitters
        for one, source in zip(known, self.keys, strict=True):
            why = source.trouble
            if not source.ready:
                words.append(f"no keys of transmitter {one.name}: {why}")
            elif why:
                words.append(f"the keys of transmitter {one.name} cannot be renewed: {why}")
        for name, poller in self.pollers.items():
            if poller.trouble:
                words.append(f"nothing is fetched from transmitter {name}: {poller.trouble}")
        self._judged("; ".join(words))

    def replace(self, settings: Settings) -> None:
        """Take up what transmitters may say, and of whom; one that is left out may say nothing.

        A new one, another place of keys and how events are fetched wait for a restart.
        """
        self._verifier.replace(settings.receiver.transmitters)
        for name, rules in _rules_of(settings).items():
            if (before := self._rules.get(name)) is not None:
                rules.learn_critical(before.critical)
                self._rules[name] = rules

    async def start(self, work: trio.Nursery) -> None:
        """Fetch keys and begin to poll. Keys that are not to be had hold up nothing else."""
        self._judge()
        for source in self.keys:
            work.start_soon(source.run)
        for poller in self.pollers.values():
            await work.start(poller.run)

    async def open(self, doors: trio.Nursery, draining: trio.Event) -> tuple[str, ...]:
        """Open the door for those who push, if there is one; raises OSError."""
        receiver = self._settings.receiver
        if not receiver.bind:
            return ()
        app = PushApp(receiver, self.receiving, self._authorizations, self._telemetry)
        listener = push_listener(receiver, app, self._telemetry)
        bound: list[str] = await doors.start(partial(listener.run, draining=draining))
        return tuple(bound)

    def _key_source(self, transmitter: KnownTransmitter) -> KeySource:
        name = transmitter.name

        def learn(metadata: Mapping[str, object]) -> None:
            members = metadata.get("critical_subject_members")
            if isinstance(members, list):
                self._rules[name].learn_critical(
                    [member for member in members if isinstance(member, str)]
                )

        def refreshed(_issuer: str, outcome: Refresh, detail: str) -> None:
            self._judge()
            self._telemetry.record(
                KeysRefreshed(
                    issuer=f"transmitter {name}", outcome=KeysOutcome(outcome), detail=detail
                )
            )

        return keys_of_transmitter(
            transmitter, self._settings.tokens, on_refresh=refreshed, on_metadata=learn
        )

    def _poller(
        self, transmitter: KnownTransmitter, store: Store, names: Names, sidecar: str
    ) -> Poller:
        api = TransmitterApi(
            transmitter.issuer,
            token=self._tokens.get(transmitter.name, _nothing),
            timeout=transmitter.poll_timeout,
        )
        return Poller(
            transmitter=transmitter,
            polls=PollEndpoint(api, transmitter.poll_url),
            receiving=self.receiving,
            lease=Lease(
                key=names.lease_record(f"poll {transmitter.issuer}"),
                sidecar=sidecar,
                store=store,
                clock=clock.now,
            ),
            telemetry=self._telemetry,
            judged=self._judge,
        )

    def _secrets(self, field: str, *, kept: bool) -> dict[str, Callable[[], Awaitable[str]]]:
        """By a transmitter's name how to read its secret, where it has one."""

        def state(name: str, reason: str) -> None:
            key = f"receiver.transmitters.{name}.{field}"
            self._telemetry.record(SecretRead(field=key, reason=reason))

        return {
            one.name: SecretFile(path, partial(state, one.name), kept=kept).text
            for one in self._settings.receiver.transmitters
            if (path := getattr(one, field))
        }

    async def _state_secret(self, name: str) -> str:
        """As `sidecar ssf verify` has it: the push secret, else the token, else none."""
        secret = self._authorizations.get(name) or self._tokens.get(name)
        return await secret() if secret else ""


def _rules_of(settings: Settings) -> dict[str, SubjectRules]:
    """How each transmitter's subjects are read, by its name."""
    return {
        one.name: SubjectRules(
            one.subjects, issuers_of_transmitter(settings, one), settings.tokens.namespaces
        )
        for one in settings.receiver.transmitters
    }


async def _nothing() -> str:
    return ""


def _addresses(metadata_url: str, issuer: str) -> tuple[str, ...]:
    """SSF 1.0, "Obtaining Transmitter Configuration Metadata", and where RISC had it before."""
    if metadata_url:
        return (metadata_url,)
    return (metadata_address(issuer), metadata_address(issuer, "risc-configuration"))


def _unheard(issuer: str, outcome: Refresh, detail: str) -> None:
    """Nobody listens."""


def _unread(metadata: Mapping[str, object]) -> None:
    """Nobody reads it."""


def keys_of_transmitter(
    transmitter: KnownTransmitter,
    tokens: Tokens,
    *,
    on_refresh: Callable[[str, Refresh, str], None] = _unheard,
    on_metadata: Callable[[Mapping[str, object]], None] = _unread,
) -> KeySource:
    """Return the keys of a transmitter, which are fetched as an issuer's are."""
    return KeySource(
        Issuer(
            issuer=transmitter.issuer,
            audiences=transmitter.audiences,
            jwks_uri=transmitter.jwks_uri,
            jwks_file=transmitter.jwks_file,
            algorithms=transmitter.algorithms,
        ),
        tokens,
        on_refresh=on_refresh,
        addresses=partial(_addresses, transmitter.metadata_url),
        on_metadata=on_metadata,
    )
