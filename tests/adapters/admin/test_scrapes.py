import pytest
import trio
import trio.testing

from sidecar.adapters.admin.scrapes import PAUSE, Scrapes
from sidecar.adapters.telemetry.metrics import Exposition, ScrapeFormat, form_of

LONG = 2.0


class Metrics:
    """Takes `LONG` of the processor to be rendered, and `waits` for it; says how often it was."""

    def __init__(self, clock: trio.testing.MockClock, waits: float = 0.0) -> None:
        self._clock = clock
        self._waits = waits
        self.began: list[float] = []
        self.scrapes = Scrapes(self.render, lambda: LONG * len(self.began))

    def render(self, _: ScrapeFormat) -> Exposition:
        self.began.append(trio.current_time())
        self._clock.jump(LONG + self._waits)
        return Exposition(str(len(self.began)).encode(), "text/plain", "")


async def test_who_asks_together_shares_what_is_rendered_after_all_have_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    metrics, got = Metrics(autojump_clock), list[bytes]()
    scrapes = metrics.scrapes

    async def ask() -> None:
        got.append((await scrapes.take("", "")).body)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert {b"1"} <= set(got) <= {b"1", b"2"}
    before = len(metrics.began)
    await ask()
    assert got[-1] == str(before + 1).encode()  # never what was rendered before


async def test_however_many_ask_most_of_the_time_is_left_to_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    metrics = Metrics(autojump_clock)
    scrapes = metrics.scrapes

    async def ask(number: int) -> None:
        for _ in range(3):
            accept = "application/openmetrics-text" if number % 2 else f"text/{number}"
            await scrapes.take(accept, "gzip" if number % 3 else "br")

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(ask, number)
    gaps = [after - before for before, after in zip(metrics.began, metrics.began[1:], strict=False)]
    assert min(gaps) >= LONG * (1 + PAUSE)
    assert len(metrics.began) <= 4 * (3 + 1)


async def test_a_machine_that_was_busy_meanwhile_has_nobody_wait_for_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    metrics = Metrics(autojump_clock, waits=100 * LONG)
    for _ in range(2):
        await metrics.scrapes.take("", "")
    first, second = metrics.began
    assert second - first == pytest.approx(LONG * (1 + 100 + PAUSE))


@pytest.mark.parametrize(
    ("accept", "encoding", "form"),
    [
        ("", "", ScrapeFormat()),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "gzip",
            ScrapeFormat(True, True),
        ),
        ("application/openmetrics-text;q=0", "gzip;q=0.0", ScrapeFormat()),
    ],
)
def test_a_form_is_what_the_headers_take(accept: str, encoding: str, form: ScrapeFormat) -> None:
    assert form_of(accept, encoding) == form
