"""The story of `sidecar demo`: sets the stage, plays the acts, checks that all goes as expected."""

import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import trio

from sidecar.demo import acts, epilogue
from sidecar.demo.acts import Act, Plot
from sidecar.demo.browser import Astray
from sidecar.demo.cast import Cast, gathered
from sidecar.demo.stage import staged
from sidecar.demo.timeline import DemoTimeline
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.yaml.tree import ConfigError

ACTS: Sequence[Act] = (
    acts.ordinary_morning,
    acts.restricted_network,
    acts.another_country,
    acts.user_at_risk,
    acts.unhealthy_device,
    acts.many_times,
    acts.revoked,
    epilogue.counted,
)


class Story:
    """Plays acts one after the other. One that cannot go on ends the story."""

    def __init__(self, played: Sequence[Act] = ACTS) -> None:
        self._acts = played
        self.plot = Plot()

    async def play(self, cast: Cast) -> bool:
        """Play; True if every step went as expected."""
        try:
            for act in self._acts:
                await act(cast, self.plot)
        except Astray as error:
            cast.timeline.astray(str(error))
        except (httpx.HTTPError, OSError, trio.BrokenResourceError) as error:
            cast.timeline.astray(words_of(error))
        cast.timeline.end()
        return not cast.timeline.failures


def main(*, once: bool) -> int:
    """Act the story out; unless `once`, stay until SIGINT or SIGTERM. Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as directory:
        try:
            return trio.run(_perform, Path(directory), once)
        except* (ConfigError, OSError, Unavailable) as group:
            for error in _leaves(group):
                sys.stderr.write(f"sidecar demo: {error}\n")
    return 1


async def _perform(directory: Path, once: bool) -> int:  # noqa: FBT001 - trio.run passes no names
    timeline = DemoTimeline()
    timeline.title(
        "stepup-sidecar: a daemon, a provider and a story, all of it real, on this machine",
        f"in {directory}",
    )
    status = 1
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_leave, signals, nursery.cancel_scope)
            async with (
                staged(directory, lambda what: timeline.say("", what)) as stage,
                gathered(stage, timeline) as cast,
            ):
                timeline.say("", "ready")
                story = Story()
                status = 0 if await story.play(cast) else 1
                if not once:
                    status = await _stay(cast, story.plot, status)
            nursery.cancel_scope.cancel()
    return status


async def _stay(cast: Cast, plot: Plot, status: int) -> int:
    """Stay until cancelled. Only a story that went astray leaves nothing to stay for."""
    try:
        await epilogue.Playground(cast, plot).run()
    except Astray as error:
        cast.timeline.astray(str(error))
        return 1
    return status


async def _leave(signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
    async for _ in signals:
        everything.cancel()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
