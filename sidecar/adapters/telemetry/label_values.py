"""The values of metrics' labels, which nothing that comes from outside makes unbounded."""

from collections.abc import Iterable, Iterator

from sidecar.wire.events.sources import local_source
from sidecar.wire.settings.settings import Settings

TRACE = "trace_id"
"""The label of an exemplar: the id of a trace."""
OTHER = "other"


class Vocabulary:
    """The values that a label may have: those of a closed set, or the first so many that come."""

    __slots__ = ("_cap", "_known", "_other")

    def __init__(self, known: Iterable[str] = (), other: str = OTHER, cap: int = 0) -> None:
        self._known = set(known)
        self._other = other
        self._cap = cap

    def __getitem__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) < self._cap:
            self._known.add(value)
            return value
        return self._other


def positions_of(settings: Settings) -> dict[str, str]:
    """Return the label of each issuer, which is its position, and of each transmitter."""
    issuers: Iterable[str] = (issuer.issuer for issuer in settings.tokens.issuers)
    names = [f"transmitter {one.name}" for one in settings.receiver.transmitters]
    positions = {issuer: str(position) for position, issuer in enumerate(issuers)}
    return positions | dict(zip(names, names, strict=True))


def issuers_of(settings: Settings) -> Iterator[tuple[str, ...]]:
    """Yield the label of each issuer of access tokens."""
    yield from ((str(position),) for position in range(len(settings.tokens.issuers)))


def sources_of(settings: Settings) -> list[str]:
    """Return the configured sources of events, which are their own labels."""
    named = [*(one.name for one in settings.sources), local_source(settings)]
    return named + [one.name for one in settings.receiver.transmitters]


def claims_of(settings: Settings) -> Iterator[tuple[str, ...]]:
    """Yield each issuer's label with each claim that its tokens may lack."""
    for position, issuer in enumerate(settings.tokens.issuers):
        names = (issuer.session_claim, issuer.auth_time_claim, issuer.acr_claim)
        for claim in (*names, issuer.groups_claim, issuer.roles_claim):
            yield str(position), claim


def credentials_of(settings: Settings) -> Iterator[tuple[str, ...]]:
    """Yield the key of each file that is read with each use, as `SecretRead` names it."""
    store, admin, receiver = settings.store, settings.admin, settings.receiver
    files = {
        "admin.token_file": admin.token_file,
        "admin.tls.certificate": admin.tls.certificate,
        "store.password_file": store.password_file,
        "store.sentinel_password_file": store.sentinel_password_file,
        "receiver.tls_key_file": receiver.tls_key_file,
        "intake.tls_key_file": settings.intake.tls_key_file,
        "central.tls_key_file": settings.central.tls_key_file,
    }
    for asker in settings.central.askers:
        files[f"central.askers.{asker.name}.token_file"] = asker.token_file
    for source in settings.sources:
        files[f"sources.{source.name}.token_file"] = source.token_file
    for one in receiver.transmitters:
        key = f"receiver.transmitters.{one.name}"
        files[f"{key}.authorization_file"] = one.authorization_file
        files[f"{key}.token_file"] = one.token_file
    yield from ((key,) for key, file in files.items() if file)


def key_holders_of(settings: Settings) -> list[str]:
    """Return the labels of the issuers and transmitters whose keys are fetched."""
    asked = {str(n) for n, one in enumerate(settings.tokens.issuers) if one.introspection.only}
    return [label for label in positions_of(settings).values() if label not in asked]


def databases_of(settings: Settings) -> Iterator[str]:
    """Yield the names of the configured geography databases."""
    places = settings.geography
    files = {
        "city": places.city,
        "asn": places.asn,
        "anonymous_ip": places.anonymous_ip,
        "connection_type": places.connection_type,
    }
    yield from (name for name, file in files.items() if file)


def reloaded_of(settings: Settings) -> Iterator[str]:
    """Yield what a reload may refuse, as `Reloaded` names it."""
    yield "config"
    yield from (f"geography {name}" for name in databases_of(settings))


def doors_of(settings: Settings) -> Iterator[str]:
    """Yield the doors that the configuration opens, as they call themselves."""
    binds = {
        "http": settings.http.bind,
        "grpc": settings.grpc.bind,
        "admin": settings.admin.bind,
        "receiver": settings.receiver.bind,
        "intake": settings.intake.bind,
        "transmitter": settings.transmitter.bind,
    }
    yield "socket"
    yield from (door for door, bind in binds.items() if bind)
