"""The pause after failures in a row: twice as long each time, up to a bound."""


def doubled(base: float, cap: float, failures: int) -> float:
    """Return `base` doubled for each failure before the last, `cap` at most."""
    return min(cap, base * 2.0 ** min(failures, 32))  # or it overflows


def spread(pause: float, chance: float, share: float = 0.5) -> float:
    """Return a pause that `chance` (0..1) cuts by up to a share: no fleet asks in step."""
    return pause * (1 - share * chance)
