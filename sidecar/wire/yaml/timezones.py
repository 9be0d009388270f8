"""The names of time zones, as the package `tzdata` lists them.

They are data of an installed package, as constant as code, and `zoneinfo` falls back to that very
package: a name in this list can be opened on every machine.
"""

import functools
import importlib.resources


@functools.cache
def timezones() -> frozenset[str]:
    """Return all IANA names: `Europe/Berlin`, `UTC`, ..."""
    listed = importlib.resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(listed.split())
