"""Compares and merges settings by what a reload makes of each key: `live` or `restart`.

What each key is stands beside its definition, in `wire.settings`. The settings in force after a
reload are the live keys as the files now have them, and the others as they were at the start.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple, get_type_hints

import msgspec

from sidecar.wire.settings.reload import Reload
from sidecar.wire.settings.settings import Settings


class Key(NamedTuple):
    """A key of the configuration, as the file names it, and how its value is reached.

    `section` declares it, under the name of `field` within the file.
    """

    name: str
    path: tuple[str, ...]
    declared: Reload | None
    section: type
    field: str

    @property
    def reload(self) -> Reload:
        """Return what a reload makes of it: what nobody declared waits for a restart."""
        return self.declared or Reload.RESTART

    def of(self, settings: Settings) -> Any:
        """Return its value."""
        return functools.reduce(getattr, self.path, settings)


@functools.cache
def keys() -> tuple[Key, ...]:
    """Return every key: of a list or a mapping it is the whole."""
    return tuple(_keys(Settings, "", ()))


def changed(before: Settings, after: Settings, reload: Reload) -> tuple[str, ...]:
    """Return the names of the keys that differ, of those of which a reload makes this."""
    return tuple(
        sorted(
            key.name for key in keys() if key.reload is reload and key.of(before) != key.of(after)
        )
    )


def in_force(started: Settings, read: Settings) -> Settings:
    """Return the settings of a daemon that was `started` so, after a reload has `read` those."""
    if not changed(started, read, Reload.RESTART):
        return read
    merged: Settings = _merged(started, read, {key.path: key.reload for key in keys()}, ())
    return merged


def without_live(settings: Settings) -> Settings:
    """Return the settings with each live key as by default.

    For parts that read at their start what waits for a restart: of a live key they cannot keep a
    copy.
    """
    return in_force(settings, Settings())


def _keys(cls: type, above: str, path: tuple[str, ...]) -> Iterator[Key]:
    hints = get_type_hints(cls, include_extras=True)
    for field in msgspec.structs.fields(cls):
        marks = getattr(hints[field.name], "__metadata__", ())
        declared = next((mark for mark in marks if isinstance(mark, Reload)), None)
        name = f"{above}.{field.encode_name}" if above else field.encode_name
        at = (*path, field.name)
        if declared is None and _is_section(hints[field.name]):
            yield from _keys(hints[field.name], name, at)
        else:
            yield Key(name, at, declared, cls, field.encode_name)


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _merged(
    started: Any, read: Any, reloads: dict[tuple[str, ...], Reload], path: tuple[str, ...]
) -> Any:
    values = {}
    for name in started.__struct_fields__:
        before, after = getattr(started, name), getattr(read, name)
        match reloads.get((*path, name)):
            case None:
                values[name] = _merged(before, after, reloads, (*path, name))
            case Reload.LIVE:
                values[name] = after
            case Reload.RESTART:
                values[name] = before
    return msgspec.structs.replace(started, **values)
