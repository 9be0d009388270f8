"""Checks of what must fit together in the configuration of the receiver of Shared Signals."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sidecar.wire.checks.reach import is_fetchable
from sidecar.wire.events.security_event_names import TYPES
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver
from sidecar.wire.subjects.subject_rules import KINDS, check_match
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import FilePosition, Problems, Table, place_of

SECRET_FILES = ("authorization_file", "token_file")


def check_receiver(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add what does not fit together in `receiver`, if that could be read."""
    receiver = values.get("receiver")
    if not isinstance(receiver, Receiver):
        return
    check = _Checks(root, problems)
    check.listener(receiver)
    for field, place, transmitter in transmitters(root, receiver):
        check.keys(field, place, transmitter)
        check.delivery(field, place, transmitter, receiver)
        check.events(field, place, transmitter)
        check.subjects(field, place, transmitter)


def transmitters(
    root: Table, receiver: Receiver
) -> Iterator[tuple[str, FilePosition, KnownTransmitter]]:
    """Yield each transmitter with its field and where it stands."""
    for index, transmitter in enumerate(receiver.transmitters):
        field = f"receiver.transmitters[{index}]"
        yield field, place_of(root, field), transmitter


def check_secret_files(
    root: Table, receiver: Receiver, read: Callable[[str], str], problems: Problems
) -> None:
    """Add those files of secrets that hold none. `read` raises ValueError, which quotes nothing."""
    for field, place, transmitter in transmitters(root, receiver):
        for name in SECRET_FILES:
            path = getattr(transmitter, name)
            if not path:
                continue
            try:
                read(path)
            except ValueError as error:
                problems.add(place, f"{field}.{name}", str(error))


class _Checks:
    def __init__(self, root: Table, problems: Problems) -> None:
        self._problems = problems
        self._place = place_of(root, "receiver")

    def listener(self, receiver: Receiver) -> None:
        """Report half a certificate, and a listener that no transmitter pushes to."""
        add = self._problems.add
        if bool(receiver.tls_cert_file) != bool(receiver.tls_key_file):
            missing = "tls_key_file" if receiver.tls_cert_file else "tls_cert_file"
            message = "is required: a certificate and its key go together"
            add(self._place, f"receiver.{missing}", message)
        if not receiver.bind:
            return
        if not any(not transmitter.poll_url for transmitter in receiver.transmitters):
            add(self._place, "receiver.bind", "is given, but no transmitter would push there")

    def keys(self, field: str, place: FilePosition, transmitter: KnownTransmitter) -> None:
        """Report keys from two places or none, or from where none may be fetched."""
        if transmitter.jwks_uri and transmitter.jwks_file:
            message = "is given, and so is jwks_uri; give one of them"
            self._problems.add(place, f"{field}.jwks_file", message)
        found = transmitter.jwks_uri or transmitter.jwks_file or transmitter.metadata_url
        if not found and not transmitter.issuer.startswith(("https://", "http://")):
            message = "is no URL where metadata could be; give jwks_uri, jwks_file or metadata_url"
            self._problems.add(place, f"{field}.issuer", message)
        sources = (("jwks_uri", transmitter.jwks_uri), ("metadata_url", transmitter.metadata_url))
        for name, url in sources if found else (("issuer", transmitter.issuer),):
            if url.startswith("http://") and not is_fetchable(url):
                message = "must be https, or http on a loopback host: keys are fetched from there"
                self._problems.add(place, f"{field}.{name}", message)
        for name in ("algorithms", "types"):
            if not getattr(transmitter, name):
                self._problems.add(place, f"{field}.{name}", "must not be empty")

    def delivery(
        self, field: str, place: FilePosition, transmitter: KnownTransmitter, receiver: Receiver
    ) -> None:
        """Report a transmitter that neither pushes nor is polled, or is polled in plain text."""
        url = transmitter.poll_url
        if not url and not receiver.bind:
            message = "is required: without receiver.bind it cannot push"
            self._problems.add(place, f"{field}.poll_url", message)
        if url and transmitter.authorization_file:
            message = "is for a transmitter that pushes, and this one is polled"
            self._problems.add(place, f"{field}.authorization_file", message)
        if url and not is_fetchable(url):
            message = "must be https, or http on a loopback host"
            self._problems.add(place, f"{field}.poll_url", message)

    def events(self, field: str, place: FilePosition, transmitter: KnownTransmitter) -> None:
        """Report a transmitter that may send no event, or one that does not exist."""
        if not transmitter.events:
            message = "is required: the types of events that it may send"
            self._problems.add(place, f"{field}.events", message)
        for index, name in enumerate(transmitter.events):
            if name not in TYPES:
                message = f"{name[:64]!r} is no type of event{suggestion(name[:64], TYPES)}"
                self._problems.add(place, f"{field}.events[{index}]", message)

    def subjects(self, field: str, place: FilePosition, transmitter: KnownTransmitter) -> None:
        """Report rules that can match nothing."""
        subjects = transmitter.subjects
        for kind in KINDS:
            for index, match in enumerate(getattr(subjects, kind)):
                try:
                    check_match(match)
                except ValueError as error:
                    where = f"{field}.subjects.{kind}[{index}]"
                    self._problems.add(place, where, str(error))
