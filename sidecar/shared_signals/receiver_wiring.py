"""Shared Signals in, wired: keys of transmitters, the taking of their tokens, pollers, the door."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import trio

from sidecar.adapters import clock
from sidecar.adapters.events.intake import DurableEvents
from sidecar.adapters.process.workers import Workers
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.adapters.tokens.keys import KeySource, Refresh
from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.service.audit.lease import Lease
from sidecar.service.observations.observations import KeysOutcome, KeysRefreshed, SecretRead
from sidecar.service.ports.store import Store
from sidecar.service.records.fleet import FleetRecords
from sidecar.shared_signals.adapters.set_verifier import SetVerifier
from sidecar.shared_signals.adapters.transmitter_client import PollEndpoint, TransmitterApi
from sidecar.shared_signals.service.poll_client import Poller
from sidecar.shared_signals.service.receiver import SetReceiver
from sidecar.shared_signals.wire.stream_api import metadata_address
from sidecar.wire.events.sources import issuers_of_transmitter, source_of_transmitter
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.settings.settings import Issuer, Settings, Tokens
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.subjects.subject_rules import SubjectRules


class _Known(NamedTuple):
    """A transmitter as it is configured now, with what was made of that."""

    transmitter: KnownTransmitter
    keys: KeySource
    poller: Poller | None


class Reception:
    """All that a daemon needs to receive Shared Signals, by the settings as they now are.

    `started` are those that wait for a restart. `judged` is called with words on which transmitters
    send nothing new that is believed, or fetched; empty: none.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        started: Settings,
        *,
        events: DurableEvents,
        store: Store,
        names: StoreKeys,
        telemetry: PrometheusTelemetry,
        sidecar: str,
        current: Callable[[], Settings],
        judged: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._receiver = started.receiver
        self._judged = judged
        self._current = current
        self._telemetry = telemetry
        self._lease = partial(
            Lease,
            sidecar=sidecar,
            records=FleetRecords(store, names, clock.now),
            clock=clock.now,
        )
        self._workers = Workers()
        self._is_started = False
        self._known: dict[str, _Known] = {}
        self._rules: dict[str, SubjectRules] = {}
        self._authorizations: dict[str, SecretFile] = {}
        self._tokens: dict[str, SecretFile] = {}
        self._verifier = SetVerifier((), started.receiver.max_body_bytes)
        self.receiving = SetReceiver(
            verifier=self._verifier,
            events=events,
            rules=self._rules,
            source_of=lambda name: source_of_transmitter(current(), name),
            state_secret=self._state_secret,
            clock=clock.now,
            skew=lambda: current().sessions.event_skew,
            telemetry=telemetry,
        )
        self.replace()

    @property
    def keys(self) -> list[KeySource]:
        """The keys of the transmitters, in their order."""
        return [known.keys for known in self._known.values()]

    @property
    def pollers(self) -> dict[str, Poller]:
        """Those that fetch, by the names of their transmitters."""
        return {name: one.poller for name, one in self._known.items() if one.poller is not None}

    def _judge(self) -> None:
        """Say of which transmitters nothing new is believed or fetched, or soon will not be."""
        words = []
        for name, known in self._known.items():
            why = known.keys.trouble
            if not known.keys.ready:
                words.append(f"no keys of transmitter {name}: {why}")
            elif why:
                words.append(f"the keys of transmitter {name} cannot be renewed: {why}")
        for name, poller in self.pollers.items():
            if poller.trouble:
                words.append(f"nothing is fetched from transmitter {name}: {poller.trouble}")
        self._judged("; ".join(words))

    def replace(self) -> None:
        """Believe and ask the transmitters that are configured now, and no others."""
        settings, before = self._current(), self._known
        transmitters = settings.receiver.transmitters
        self._authorizations = self._secrets(self._authorizations, "authorization_file")
        self._tokens = self._secrets(self._tokens, "token_file", kept=True)
        self._known = {one.name: self._known_as(one, settings) for one in transmitters}
        rules = _rules_of(settings)
        for name, known in self._known.items():
            if name in before and before[name].keys is known.keys:
                rules[name].learn_critical(self._rules[name].critical)
        self._rules.clear()
        self._rules.update(rules)
        self._verifier.replace((one.transmitter, one.keys) for one in self._known.values())
        self._workers.keep((*self.keys, *self.pollers.values()))
        if self._is_started:
            self._judge()

    def _known_as(self, transmitter: KnownTransmitter, settings: Settings) -> _Known:
        """Return what is made of a transmitter; what needs no other stays as it is."""
        before = self._known.get(transmitter.name)
        if before is None or _place(before.transmitter) != _place(transmitter):
            keys = self._key_source(transmitter, settings.tokens)
        else:
            keys = before.keys
            keys.configure(_issuer_of(transmitter), settings.tokens)
        if not transmitter.poll_url:
            return _Known(transmitter, keys, None)
        if before is not None and before.poller and before.transmitter == transmitter:
            return _Known(transmitter, keys, before.poller)
        return _Known(transmitter, keys, self._poller(transmitter))

    async def start(self, work: trio.Nursery) -> None:
        """Fetch keys and begin to poll. Keys that are not to be had hold up nothing else."""
        self._is_started = True
        self._judge()
        self._workers.begin(work)

    async def open(self, doors: trio.Nursery, draining: trio.Event) -> tuple[str, ...]:
        """Open the door for those who push, if there is one; raises OSError."""
        receiver = self._receiver
        if not receiver.bind:
            return ()
        from sidecar.shared_signals.adapters.receiver_listener import (  # noqa: PLC0415 - only where it listens
            PushApp,
            push_listener,
        )

        app = PushApp(
            receiver,
            self.receiving,
            lambda: {name: one.text for name, one in self._authorizations.items()},
            self._telemetry,
            lambda: self._current().receiver.transmitters,
        )
        listener = push_listener(receiver, app, self._telemetry)
        bound: list[str] = await doors.start(partial(listener.run, draining=draining))
        return tuple(bound)

    def _key_source(self, transmitter: KnownTransmitter, tokens: Tokens) -> KeySource:
        name = transmitter.name

        def learn(metadata: Mapping[str, object]) -> None:
            members = metadata.get("critical_subject_members")
            if isinstance(members, list) and name in self._rules:
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

        return keys_of_transmitter(transmitter, tokens, on_refresh=refreshed, on_metadata=learn)

    def _poller(self, transmitter: KnownTransmitter) -> Poller:
        token = self._tokens.get(transmitter.name)
        api = TransmitterApi(
            transmitter.issuer,
            token=_nothing if token is None else token.text,
            timeout=transmitter.poll_timeout,
        )
        return Poller(
            transmitter=transmitter,
            polls=PollEndpoint(api, transmitter.poll_url),
            receiving=self.receiving,
            lease=self._lease(work=f"poll {transmitter.issuer}"),
            telemetry=self._telemetry,
            judged=self._judge,
        )

    def _secrets(
        self, before: Mapping[str, SecretFile], field: str, *, kept: bool = False
    ) -> dict[str, SecretFile]:
        """Return the files of the transmitters' secrets, by their names; a file stays as it is."""

        def state(name: str, reason: str) -> None:
            key = f"receiver.transmitters.{name}.{field}"
            self._telemetry.record(SecretRead(field=key, reason=reason))

        found = {}
        for one in self._current().receiver.transmitters:
            if path := getattr(one, field):
                file = before.get(one.name)
                if file is None or file.path != path:
                    file = SecretFile(path, partial(state, one.name), kept=kept)
                found[one.name] = file
        return found

    async def _state_secret(self, name: str) -> str:
        """Return the secret that `sidecar ssf verify` uses: for push, else the token, else none."""
        secret = self._authorizations.get(name) or self._tokens.get(name)
        return await secret.text() if secret else ""


def _rules_of(settings: Settings) -> dict[str, SubjectRules]:
    """Return how each transmitter's subjects are read, by its name."""
    return {
        one.name: SubjectRules(
            one.subjects, issuers_of_transmitter(settings, one), settings.tokens.namespaces
        )
        for one in settings.receiver.transmitters
    }


async def _nothing() -> str:
    return ""


def _addresses(metadata_url: str, issuer: str) -> tuple[str, ...]:
    """Return the metadata's addresses: that of SSF 1.0, and the one that RISC had before."""
    if metadata_url:
        return (metadata_url,)
    return (metadata_address(issuer), metadata_address(issuer, "risc-configuration"))


def _unheard(issuer: str, outcome: Refresh, detail: str) -> None:
    """Ignore the outcome: nobody waits for it here."""


def _unread(metadata: Mapping[str, object]) -> None:
    """Ignore the metadata: nobody reads them here."""


def keys_of_transmitter(
    transmitter: KnownTransmitter,
    tokens: Tokens,
    *,
    on_refresh: Callable[[str, Refresh, str], None] = _unheard,
    on_metadata: Callable[[Mapping[str, object]], None] = _unread,
) -> KeySource:
    """Return the keys of a transmitter, which are fetched as an issuer's are."""
    return KeySource(
        _issuer_of(transmitter),
        tokens,
        on_refresh=on_refresh,
        addresses=partial(_addresses, transmitter.metadata_url),
        on_metadata=on_metadata,
    )


def _issuer_of(transmitter: KnownTransmitter) -> Issuer:
    return Issuer(
        issuer=transmitter.issuer,
        audiences=transmitter.audiences,
        jwks_uri=transmitter.jwks_uri,
        jwks_file=transmitter.jwks_file,
        algorithms=transmitter.algorithms,
    )


def _place(transmitter: KnownTransmitter) -> tuple[str, ...]:
    """Return where its keys come from."""
    return (
        transmitter.issuer,
        transmitter.metadata_url,
        transmitter.jwks_uri,
        transmitter.jwks_file,
    )
