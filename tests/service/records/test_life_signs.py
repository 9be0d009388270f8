"""Signs of life, added up, show whether one that was acknowledged is missing."""

import random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.service.records.life_signs import LifeSigns

TIMES = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def signed(times: list[int], draw: random.Random) -> tuple[LifeSigns, list[int]]:
    """Return signs that were counted so often each before they were acknowledged, and counts."""
    signs, counts = LifeSigns(draw.random), [0]
    for often in times:
        signs.begin(0.0)
        counts.append(counts[-1] + often * signs.step)
        signs.acknowledged(counts[-1])
    return signs, counts


@given(times=TIMES, late=st.integers(0, 3), again=st.integers(0, 3), seed=st.integers())
def test_none_is_missing_where_signs_were_counted_again_however_late(
    times: list[int], late: int, again: int, seed: int
) -> None:
    signs, counts = signed(times, random.Random(seed))
    assert not signs.is_lost
    count = counts[-1] + late * signs.step
    assert signs.have(count)
    signs.begin(1.0)
    assert signs.have(count)
    assert signs.have(count + again * signs.step), "not acknowledged, and counted all the same"
    signs.acknowledged(count + (1 + again) * signs.step)
    assert not signs.is_lost


@given(times=TIMES, back=st.integers(1, 8), again=st.integers(1, 3), seed=st.integers())
def test_one_is_missing_where_an_older_count_is_restored_however_often_the_next_is_counted(
    times: list[int], back: int, again: int, seed: int
) -> None:
    signs, counts = signed(times, random.Random(seed))
    restored = counts[max(0, len(counts) - 1 - back)]
    assert not signs.have(restored)
    signs.begin(1.0)
    assert not signs.have(restored + again * signs.step)
    signs.acknowledged(restored + again * signs.step)
    assert signs.is_lost


def test_none_is_missing_where_none_is_known_or_they_have_been_forgotten() -> None:
    signs, counts = signed([1, 2], random.Random(1))
    signs.forget()
    assert signs.have(0)
    signs.found(counts[1])
    signs.begin(0.0)
    signs.acknowledged(counts[1] + signs.step)
    assert not signs.is_lost
