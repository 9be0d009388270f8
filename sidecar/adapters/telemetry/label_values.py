"""What a metric's label may say: nothing that comes from outside makes it unbounded."""

from collections.abc import Iterable

from sidecar.wire.settings.settings import Settings

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
    """Return what issuers are called in labels: by their position; transmitters by their name."""
    issuers: Iterable[str] = (issuer.issuer for issuer in settings.tokens.issuers)
    names = [f"transmitter {one.name}" for one in settings.receiver.transmitters]
    positions = {issuer: str(position) for position, issuer in enumerate(issuers)}
    return positions | dict(zip(names, names, strict=True))
