"""Holds the configuration in force: one immutable snapshot, which a reload swaps whole."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import trio

from sidecar.daemon.configuration.files import Configuration, evaluator_of
from sidecar.daemon.configuration.generation import policy_set_of
from sidecar.domain.policy.conditional_access import Policy
from sidecar.wire.config.reloads import changed, in_force, without_live
from sidecar.wire.settings.reload import Reload
from sidecar.wire.settings.settings import Settings


class Swap(NamedTuple):
    """A snapshot that took another one's place, and the keys by which they differ."""

    before: Configuration
    after: Configuration
    applied: tuple[str, ...]


class InForce:
    """The snapshot that all parts of a daemon read; nobody else keeps one.

    What the daemon `started` with stays for all keys that wait for a restart, whatever is read
    later. Some of it may be less than was `configured`, where this process may not have as much.
    """

    def __init__(self, started: Configuration, configured: Settings | None = None) -> None:
        self._started = started.settings
        self._configured = configured or started.settings
        self._swapped = trio.Event()
        self._followers: list[Callable[[Swap], None]] = []
        self._digested: tuple[tuple[Policy, ...], str] | None = None
        self.configuration = started
        self.read = msgspec.structs.replace(started, settings=self._configured)

    @property
    def started(self) -> Settings:
        """Return what stays until a restart.

        Each live key is as by default, so that nobody keeps it.
        """
        return without_live(self._started)

    def settings(self) -> Settings:
        """Return the settings in force."""
        return self.configuration.settings

    @property
    def policy_set(self) -> str:
        """Return a digest of the policies in force; of each set it is made once."""
        policies = self.configuration.policies
        if self._digested is None or self._digested[0] is not policies:
            self._digested = policies, policy_set_of(self.configuration)
        return self._digested[1]

    @property
    def waiting(self) -> tuple[str, ...]:
        """The keys that were read last and wait for a restart."""
        return changed(self._configured, self.read.settings, Reload.RESTART)

    def follow(self, follower: Callable[[Swap], None]) -> None:
        """Call this at each swap, before anybody else runs: it derives something from a snapshot.

        Followers are called in the order in which they came.
        """
        self._followers.append(follower)

    def compiled(self, read: Configuration) -> Configuration:
        """Return what of this can be in force before a restart; blocks while it compiles."""
        settings = in_force(self._started, read.settings)
        if settings is read.settings:
            return read
        evaluator = evaluator_of(settings, read.policies, read.prefixes)
        return msgspec.structs.replace(read, settings=settings, evaluator=evaluator)

    def swap(self, read: Configuration, after: Configuration) -> Swap:
        """Put in force what was `compiled` of this."""
        before = self.configuration
        self.configuration, self.read = after, read
        swap = Swap(before, after, changed(before.settings, after.settings, Reload.LIVE))
        for follower in self._followers:
            follower(swap)
        self._swapped.set()
        self._swapped = trio.Event()
        return swap

    async def pause(self, seconds: Callable[[Settings], float]) -> None:
        """Sleep for so many seconds; where a swap makes them more or fewer, that counts at once."""
        began = trio.current_time()
        while (left := began + seconds(self.settings()) - trio.current_time()) > 0:
            with trio.move_on_after(left):
                await self._swapped.wait()
