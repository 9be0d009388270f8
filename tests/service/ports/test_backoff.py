"""Pauses double, never beyond their bound, and never overflow."""

import pytest

from sidecar.service.ports.backoff import doubled, spread


@pytest.mark.parametrize(
    ("failures", "pause"), [(0, 0.5), (1, 1.0), (3, 4.0), (4, 5.0), (10**6, 5.0)]
)
def test_a_pause_doubles_up_to_its_bound(failures: int, pause: float) -> None:
    assert doubled(0.5, 5.0, failures) == pause


def test_chance_shortens_a_pause_by_its_share_at_most() -> None:
    assert [spread(8.0, chance) for chance in (0.0, 0.5, 1.0)] == [8.0, 6.0, 4.0]
    assert spread(10.0, 1.0, 0.2) == 8.0
