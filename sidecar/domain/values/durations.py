"""Durations as files and people write them: `20s`, `15m`, `1h`, `7d`."""

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def spelled(seconds: float) -> str:
    """Return a duration in the largest unit that gives a whole number: `90m`, and `0.5s`."""
    if seconds % 1 or not seconds:
        return f"{seconds:g}s"
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    return f"{seconds // size:.0f}{unit}"
