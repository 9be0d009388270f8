"""The port through which the view learns what the store has lost of its records."""

from collections.abc import Collection, Iterable
from typing import Protocol

from sidecar.service.ports.store import Load, Loaded


class Witness(Protocol):
    """A witness of whether records were read before anything was lost of them."""

    def evidence(self, slots: Collection[int]) -> list[Load]:
        """Return what is to be read behind the records of these slots."""

    async def weigh(
        self, loads: Iterable[Load], loaded: Iterable[Loaded], absent: Collection[bytes]
    ) -> None:
        """Take up a loss that it shows, or hides behind records that are absent."""

    def staleness(self) -> float:
        """Seconds since it was last certain that the store takes what all have to say."""
