"""The story's frame: a step that does not go as expected is shown, and makes the story fail."""

import io
from pathlib import Path
from typing import cast

import pytest
import trio

from sidecar.demo import acts
from sidecar.demo.acts import Act, Plot
from sidecar.demo.browser import Astray
from sidecar.demo.cast import ALLOWED, INVALID, STEP_UP, Cast, Watcher, later_second
from sidecar.demo.lines import connected
from sidecar.demo.stage import write_secret
from sidecar.demo.story import Story
from sidecar.demo.timeline import WIDTH, DemoTimeline


class Prompter(io.StringIO):
    """The output of a timeline in a test, like a file of UTF-8."""

    encoding = "utf-8"


def on(timeline: DemoTimeline) -> Cast:
    """Return a cast of nobody: the acts here only use the timeline."""
    nobody = cast("Cast", None)
    return Cast(nobody, timeline, *[nobody] * 6)  # type: ignore[arg-type]


async def output_of(*played: Act) -> tuple[bool, str]:
    page = Prompter()
    story = Story(played)
    well = await story.play(on(DemoTimeline(page)))
    return well, page.getvalue()


async def as_expected(cast: Cast, _plot: Plot) -> None:
    cast.timeline.step("Alice", "calls", ALLOWED, expected=ALLOWED, why=["because she may"])


async def unexpected(cast: Cast, _plot: Plot) -> None:
    cast.timeline.step("Alice", "calls", ALLOWED, expected=STEP_UP)


async def leads_nowhere(_cast: Cast, _plot: Plot) -> None:
    raise Astray("there is no challenge")


async def breaks_off(_cast: Cast, _plot: Plot) -> None:
    raise trio.BrokenResourceError("gone")


async def test_a_story_whose_steps_go_as_expected_goes_well() -> None:
    well, page = await output_of(as_expected, as_expected)
    assert well
    assert "2 steps" in page
    assert "because she may" in page


async def test_a_step_that_does_not_go_as_expected_shows_both_and_fails_the_story() -> None:
    well, page = await output_of(unexpected, as_expected)
    assert not well
    assert f"expected: {STEP_UP}" in page
    assert f"actual: {ALLOWED}" in page
    assert "2 steps" in page
    assert "1 not as expected" in page


@pytest.mark.parametrize(
    ("act", "reason"), [(leads_nowhere, "there is no challenge"), (breaks_off, "gone")]
)
async def test_a_story_that_cannot_go_on_ends_there_and_fails(act: Act, reason: str) -> None:
    well, page = await output_of(act, as_expected)
    assert not well
    assert reason in page
    assert "calls" not in page


async def test_an_act_that_needs_an_earlier_one_cannot_go_on_without_it() -> None:
    well, page = await output_of(acts.restricted_network)
    assert not well
    assert "alice has not signed in" in page


async def test_a_page_that_is_no_terminal_gets_plain_text_of_its_width() -> None:
    page = Prompter()
    timeline = DemoTimeline(page)
    timeline.act("Act", "about something")
    timeline.step("Alice", "does " * 40, INVALID, expected=ALLOWED, why=["because " * 30])
    timeline.table(("policy", "marks"), [("one", "1")])
    timeline.commands("Try", [("what", "x" * 150)])
    lines = page.getvalue().splitlines()
    assert "\x1b" not in page.getvalue()
    assert "x" * 150 in lines  # a command is not broken
    assert max(len(line) for line in lines if "xxx" not in line) <= WIDTH


async def test_a_stream_of_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    page = io.TextIOWrapper(raw, encoding="ascii")
    timeline = DemoTimeline(page)
    timeline.act("Act")
    timeline.say("Alice", "waits")
    timeline.step("Alice", "calls", ALLOWED, expected=INVALID)
    timeline.astray("no more")
    page.flush()
    assert b"calls" in raw.getvalue()


def test_a_secret_is_for_its_owner_only_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "alice.token"
    write_secret(path, "one")
    write_secret(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


async def test_a_later_second_is_a_later_one() -> None:
    from sidecar.adapters import clock  # noqa: PLC0415 - only here

    before = int(clock.now())
    await later_second()
    assert int(clock.now()) > before


async def test_a_watcher_whose_daemon_is_gone_sees_no_change(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    with listening:
        await listening.bind(path)
        listening.listen()
        async with connected(Path(path)) as lines, trio.open_nursery() as nursery:
            watcher = Watcher(lines, "a-credential")
            accepted, _ = await listening.accept()
            with accepted:
                await accepted.send(b'{"ok":true}\n')
                await nursery.start(watcher.run)
                line = b'{"event":"standing","session":"s","standing":"clear"}\n'
                await accepted.send(line)
                change = await watcher.until("s", "clear")
                assert change is not None
            assert await watcher.until("s", "clear") is None


async def test_a_daemon_that_refuses_to_be_watched_leads_astray(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    with listening:
        await listening.bind(path)
        listening.listen()
        async with connected(Path(path)) as lines:
            accepted, _ = await listening.accept()
            with accepted:
                await accepted.send(b'{"ok":false,"error":"overloaded"}\n')
                with pytest.raises(Astray, match="overloaded"):
                    await Watcher(lines, "a-credential").run()
