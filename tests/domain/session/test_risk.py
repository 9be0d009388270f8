"""A sum of words is what each of them comes to by itself, and says how long it stays so."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.session.risk import (
    FOR_EVER,
    LEAST_POINTS,
    SCORE_MAX,
    Sum,
    WeighedWord,
    WeighedWords,
    Weight,
    decayed,
)
from sidecar.domain.values.stamp import MICROSECONDS

NOW = 1_000_000 * MICROSECONDS
SINCE = st.none() | st.integers(-400_000, 10).map(lambda second: NOW + second * MICROSECONDS)
WORDS = st.builds(
    lambda name, since, source, weight, half_life: (
        (name, since, "risk-signal", source),
        Weight(weight, half_life),
    ),
    st.sampled_from(("travel", "odd", "country-changed")),
    SINCE,
    st.sampled_from(("", "edr", "mdm")),
    st.sampled_from((0.0, 0.04, LEAST_POINTS, 3.0, 30.0, 60.0)),
    st.sampled_from((0.0, 60.0, 3600.0, 86400.0)),
)
SINGLE = st.lists(WORDS, max_size=5)
SEVERAL = st.lists(st.lists(WORDS, min_size=2, max_size=3), max_size=2)


def points_of(one: WeighedWord, now: int) -> float:
    (_, since, _, _), weight = one
    age = 0.0 if since is None else (now - since) / MICROSECONDS
    return decayed(weight.weight, weight.half_life, age)


def that_count(words: WeighedWords, now: int) -> list[WeighedWord]:
    single, several = words
    most = [max(each, key=lambda one: points_of(one, now)) for each in several]
    return [one for one in (*single, *most) if points_of(one, now) >= LEAST_POINTS]


@given(SINGLE, SEVERAL)
def test_a_sum_is_of_what_is_left_of_each_word(
    single: list[WeighedWord], several: list[list[WeighedWord]]
) -> None:
    found = Sum((single, several), NOW)
    counting = that_count((single, several), NOW)
    whole = math.fsum(points_of(one, NOW) for one in counting)
    assert found.score == min(SCORE_MAX, whole)
    assert math.isclose(found.lasting + found.fading, whole, abs_tol=1e-9)
    assert [one for _, one in found.left] == counting
    points = [-each[0] for each in found.ordered()]
    assert points == sorted((points_of(one, NOW) for one in counting), reverse=True)
    latest = max((word[1] or 0 for word, _ in counting), default=0)
    assert (found.newest is None) == (not counting)
    if found.newest is not None:
        assert found.newest == max(word for word, _ in counting if (word[1] or 0) == latest)


@given(st.permutations(range(5)), st.lists(WORDS, min_size=5, max_size=5))
def test_no_order_of_words_matters_to_a_score(order: list[int], words: list[WeighedWord]) -> None:
    again = [words[at] for at in order]
    assert Sum((again, []), NOW).score == Sum((words, []), NOW).score


@given(SINGLE, SEVERAL, st.floats(0, 1))
def test_until_one_is_forgotten_the_same_words_count(
    single: list[WeighedWord], several: list[list[WeighedWord]], part: float
) -> None:
    words = (single, several)
    found = Sum(words, NOW)
    if found.wavers or found.forgotten <= NOW:
        return
    last = min(found.forgotten - 1, NOW + 3_000_000 * MICROSECONDS)
    for later in (last, NOW + int((last - NOW) * part)):
        assert [one for _, one in Sum(words, later).left] == [one for _, one in found.left]


def test_a_word_is_forgotten_when_less_than_the_least_is_left_of_it() -> None:
    halves = 7
    odd: WeighedWord = (("odd", NOW, "risk-signal", ""), Weight(LEAST_POINTS * 2**halves, 60.0))
    ends = NOW + halves * 60 * MICROSECONDS
    forgotten = Sum(([odd], []), NOW).forgotten
    assert ends - MICROSECONDS < forgotten <= ends
    assert Sum(([odd], []), ends + 1).left == []
    lasts: WeighedWord = (("odd", NOW, "risk-signal", ""), Weight(30.0))
    assert Sum(([lasts], []), NOW).forgotten == FOR_EVER


def test_what_may_come_to_count_otherwise_wavers() -> None:
    fades: WeighedWord = (("odd", NOW, "risk-signal", "edr"), Weight(30.0, 60.0))
    lasts: WeighedWord = (("odd", NOW, "risk-signal", "mdm"), Weight(20.0))
    assert not Sum(([fades, lasts], []), NOW).wavers
    assert Sum(([], [[fades, lasts]]), NOW).wavers
    assert not Sum(([], [[lasts, lasts]]), NOW).wavers
    assert Sum(([fades], []), NOW - 1).wavers
