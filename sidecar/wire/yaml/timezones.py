"""The names of time zones, as the package `tzdata` lists them.

They are data of an installed package, as constant as code, and `zoneinfo` falls back to that very
package: a name in this list can be opened on every machine.
"""

import functools
import pkgutil


@functools.cache
def timezones() -> frozenset[str]:
    """Return all IANA names: `Europe/Berlin`, `UTC`, ..."""
    listed = pkgutil.get_data("tzdata", "zones")
    if listed is None:
        raise ModuleNotFoundError("tzdata")
    return frozenset(listed.decode().split())
