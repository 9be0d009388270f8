import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tuning.formats.times import LATEST, moment

OUTSIDE = "is no moment between 1970 and 9999"
NO_TIMES: list[object] = [None, True, [], {}]
AT = 1_790_071_200.0  # 2026-09-22T10:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        *(AT, int(AT), str(int(AT)), "1790071200.0", "1.7900712e9"),
        *(AT * 1e3, "1790071200000", int(AT) * 10**6, int(AT) * 10**9),
        *("2026-09-22T10:00:00Z", "2026-09-22T12:00:00+02:00", "2026-09-22 10:00:00"),
        *("2026-09-22T12:00:00+0200", "2026-09-22 12:00:00 +02:00", "20260922T100000Z"),
        *(" 2026-09-22T10:00:00.0000000+00:00 ", "2026-09-22 10:00:00 UTC"),
    ],
)
def test_a_moment_is_read_however_it_is_spelled(value: object) -> None:
    assert moment(value) == AT


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *[(value, OUTSIDE) for value in (-1, math.inf, math.nan, 10**400, 1e300, 1e25)],
        *[(text, OUTSIDE) for text in ("nan", "-inf", "1e400")],
        *[(value, "is required") for value in NO_TIMES],
        *[
            (text, "must be seconds or milliseconds")
            for text in ("", "noon", "2026-13-01", "10:00")
        ],
        ("01/09/2007 09:41:00", "does not show which is the day and which the month"),
        ("1/9/2007 10:41:00 AM +01:00", "does not show which is the day and which the month"),
        ("01.09.2007", "does not show which is the day and which the month"),
        ("0001-01-01T00:00:00+23:00", "must be seconds or milliseconds"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_reason(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is required") as caught:
        moment(value)
    assert said in str(caught.value)


@given(st.floats() | st.integers() | st.text(max_size=30) | st.none() | st.booleans())
def test_it_gives_a_moment_or_its_own_error(value: object) -> None:
    try:
        found = moment(value)
    except ValueError:
        return
    assert 0 <= found < LATEST
