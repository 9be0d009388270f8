"""Parts of a recording that have nothing to do with each other come to what the whole does."""

import random
from itertools import islice
from typing import Any

import msgspec
import pytest

from benchmarks.recordings import recording
from sidecar.domain.facts.signal import Subject
from sidecar.tuning.replay import run
from sidecar.tuning.replay.shards import SubjectShards
from tests.service.replaying import begin, call, replay, risk
from tests.tuning.replay.recordings import BOTH, TEN

DAY = 86400
ALL = """policies:
  - {id: country, contexts: [c1], conditions: {changed: [country]}, grant: mfa}
  - {id: risky, contexts: [c1, c2], conditions: {user_risk: {at_least: medium}}, grant: mfa}
  - {id: watch, conditions: {score: {at_least: 40}}, grant: phishing-resistant}
  - {id: fast, conditions: {travel_speed: {at_least: 900}}, grant: mfa, sticky: true}
  - {id: noon, conditions: {time_of_day: {start: "11:00", end: "13:00"}}, grant: mfa}
  - {id: fresh, contexts: [c2], session: {sign_in_frequency: 1h}}
"""


def test_what_is_ever_named_together_is_in_one_part() -> None:
    shards = SubjectShards()
    together = [
        Subject(user="ada", session="s1"),
        Subject(session="s1", device="kiosk"),
        Subject(user="bob", device="kiosk"),
        Subject(device="kiosk"),
        Subject(user="bob", session="s2"),
    ]
    others = [Subject(user=f"user{n}", session=f"u{n}") for n in range(20)]
    for one in (*together, *others):
        shards.add(one)
    shards.divide(3)
    assert len({shards.part_of(one) for one in together}) == 1
    assert {shards.part_of(one) for one in others} == {0, 1, 2}
    assert shards.part_of(Subject(user="nobody")) is None


def test_parts_are_of_about_the_same_size() -> None:
    shards = SubjectShards()
    for n in range(100):
        for _ in range(n):
            shards.add(Subject(user=f"user{n}", session=f"s{n}"))
    shards.divide(3)
    sizes = [0, 0, 0]
    for n in range(1, 100):
        sizes[shards.part_of(Subject(user=f"user{n}", session=f"s{n}")) or 0] += n
    assert max(sizes) - min(sizes) < 20


def life(dice: random.Random) -> list[dict[str, Any]]:
    """Some days of users who share devices, with sessions that end and prompts that are left."""
    lines = []
    for _ in range(40):
        user = f"user{dice.randrange(6)}"
        session = f"{user}-{dice.randrange(3)}"
        at = TEN + dice.randrange(4 * DAY)
        begun = begin(at, session, user)
        if dice.random() < 0.3:
            begun["subject"]["device"] = f"device{dice.randrange(6)}"
        away = dice.random() < 0.5
        lines += [begun, call(at + 30 + dice.randrange(900), session=session, away=away)]
        if dice.random() < 0.5:
            lines.append(risk(at + 60, user=user))
        if dice.random() < 0.3:
            lines.append(call(at + DAY - dice.randrange(40), session=session, away=not away))
    return sorted(lines, key=lambda line: float(line["time"]))


@pytest.mark.parametrize("seed", range(6))
def test_a_replay_in_parts_counts_what_a_whole_one_does(seed: int) -> None:
    lines = life(random.Random(seed))
    whole = replay(lines, BOTH, thresholds=["risky"])
    for parts in (2, 3):
        again = replay(lines, BOTH, thresholds=["risky"], parts=parts)
        assert msgspec.json.encode(again) == msgspec.json.encode(whole)


@pytest.mark.parametrize("seed", range(3))
def test_a_standing_that_is_kept_is_what_would_be_found_again(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [*life(random.Random(seed)), *islice(recording(seed=seed, users=4), 200)]
    lines.sort(key=lambda line: float(line["time"]))
    kept = replay(lines, ALL, thresholds=["watch"])
    monkeypatch.setattr(run, "QUIET", frozenset())
    assert msgspec.json.encode(replay(lines, ALL, thresholds=["watch"])) == msgspec.json.encode(
        kept
    )
