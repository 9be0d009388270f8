import re

from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.console.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw

MOMENTS = st.floats(min_value=0, max_value=4e9)


def test_a_curve_goes_from_its_begin_to_its_end_and_up_with_the_score() -> None:
    drawing = draw([("s", [(0.0, 0.0), (50.0, 100.0), (100.0, 0.0)])], (0.0, 100.0), 50.0)
    (curve,) = drawing.curves
    floor = HEIGHT - BOTTOM
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    assert curve.path == f"M{LEFT:g},{floor:g}L{middle:g},{TOP:g}L{WIDTH - RIGHT:g},{floor:g}"
    assert (drawing.at.x1, drawing.at.x2) == (middle, middle)


def test_what_happened_outside_of_the_span_is_left_out() -> None:
    drawing = draw(
        [], (100.0, 200.0), 150.0, [], [(99.0, "a", ""), (150.0, "b", ""), (201.0, "c", "")]
    )
    assert [one.kind for one in drawing.happened] == ["b"]


@given(
    points=st.lists(st.tuples(MOMENTS, st.floats(-1e9, 1e9)), max_size=20),
    ends=st.tuples(MOMENTS, MOMENTS),
    at=MOMENTS,
)
def test_nothing_is_drawn_outside_of_the_picture(
    points: list[tuple[float, float]], ends: tuple[float, float], at: float
) -> None:
    span = min(ends), max(ends)
    drawing = draw([("s", points)], span, at, [("high", 70.0)])
    numbers = re.findall(r"[ML](-?[\d.e+]+),(-?[\d.e+]+)", drawing.curves[0].path)
    for x, y in numbers:
        assert LEFT <= float(x) <= WIDTH - RIGHT
        assert TOP <= float(y) <= HEIGHT - BOTTOM
    assert LEFT <= drawing.at.x1 <= WIDTH - RIGHT
    assert len(drawing.moments) == 5
