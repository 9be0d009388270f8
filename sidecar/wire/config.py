"""The configuration, read: YAML and the environment to `Settings`, or every problem at once.

Later wins: the settings' own defaults, the file, the environment. A secret may stand in a file of
its own: `password_file` beside `password`, and so on.
"""

import posixpath
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import msgspec

from sidecar.domain.risk import Thresholds, Weight
from sidecar.wire.coherence import check_coherence
from sidecar.wire.environment import FILE_SUFFIX, overlay
from sidecar.wire.jwks import ALGORITHMS
from sidecar.wire.positions import (
    ConfigError,
    Place,
    Problems,
    Scalar,
    Table,
    has_control,
    read_tree,
    shown,
)
from sidecar.wire.settings import Settings
from sidecar.wire.shapes import Shapes, refuse, suggestion
from sidecar.wire.spellings import METHODS, READERS, DurationOrZero, Kind, Misspelt, Plain, text

__all__ = ["REFINED", "ConfigError", "read_settings"]

ReadFile = Callable[[str], str]

_Points = Annotated[float, msgspec.Meta(ge=0, le=100)]
REFINED: Mapping[tuple[type, str], Any] = {
    (Weight, "weight"): _Points,
    (Weight, "half_life"): DurationOrZero,
    (Thresholds, "medium"): _Points,
    (Thresholds, "high"): _Points,
    (Thresholds, "hysteresis"): _Points,
}
"""What values of the ground floor may be where they are configured."""

MAX_SECRET = 8192
SECRETS = (("admin", "token"), ("store", "password"), ("store", "sentinel_password"))
"""Section and key of what may stand in a file of its own."""


def read_settings(
    text: str, file: str, environ: Mapping[str, str], read_file: ReadFile
) -> Settings:
    """Read the configuration. Raises ConfigError with everything that is wrong with it.

    `file` names it in messages, and relative paths are relative to its directory. `read_file`
    gives the text of a secret's file; it may raise OSError or UnicodeDecodeError.
    """
    problems = Problems()
    shapes = Shapes(problems, REFINED, _readers(posixpath.dirname(file)))
    root = _root(text, file, problems)
    root = overlay(root, environ, shapes, problems)
    values = shapes.fields(root, Settings, "")
    check_coherence(root, values, problems)
    values = _with_secrets(root, values, read_file, problems)
    problems.check()
    return Settings(**values)


def _root(text: str, file: str, problems: Problems) -> Table:
    tree = read_tree(text, file, problems)
    if isinstance(tree, Table):
        return tree
    if tree is not None and not (isinstance(tree, Scalar) and tree.value is None):
        refuse(problems, tree, "", "a mapping")
    return Table({}, Place(file, 1))


def _readers(directory: str) -> Mapping[Kind, Callable[[Plain], Plain]]:
    rebased = partial(_rebased, directory)
    return {**READERS, Kind.FILE: rebased, Kind.ALGORITHM: _algorithm, Kind.METHOD: _method}


def _rebased(directory: str, value: Plain) -> str:
    path = text(value)
    return posixpath.normpath(posixpath.join(directory, path)) if path else ""


def _algorithm(value: Plain) -> str:
    name = text(value)
    if name not in ALGORITHMS:
        hint = suggestion(name, ALGORITHMS)
        raise Misspelt(f"{shown(name)!r} is no algorithm with a public key that is allowed{hint}")
    return name


def _method(value: Plain) -> str:
    name = text(value)
    if name.upper() not in METHODS:
        raise Misspelt(f"{shown(name)!r} is no HTTP method{suggestion(name, METHODS)}")
    return name.upper()


def _with_secrets(
    root: Table, values: Mapping[str, Any], read_file: ReadFile, problems: Problems
) -> dict[str, Any]:
    """The sections with their secrets: each `X` that has an `X_file` is read from there."""
    found = dict(values)
    for section, name in SECRETS:
        table = root.entries[section].node if section in root.entries else root
        entries = table.entries if isinstance(table, Table) else {}
        beside = name + FILE_SUFFIX
        field, place = f"{section}.{beside}", root.place
        if beside in entries:
            place = entries[beside].place
            if name in entries:
                problems.add(place, field, f"is given, and so is {name}; give one of them")
        path = getattr(values.get(section), beside, "")
        if path:
            try:
                secret = _secret(path, read_file)
            except Misspelt as error:
                problems.add(place, field, str(error))
            else:
                found[section] = msgspec.structs.replace(found[section], **{name: secret})
    return found


def _secret(path: str, read_file: ReadFile) -> str:
    """What a secret's file holds; raises Misspelt, which never quotes it."""
    try:
        content = read_file(path)
    except OSError as error:
        raise Misspelt(f"{path} cannot be read: {error.strerror or 'no reason given'}") from None
    except ValueError:
        raise Misspelt(f"{path} cannot be read: it is not UTF-8 text") from None
    content = content.removesuffix("\n").removesuffix("\r")
    if not content:
        raise Misspelt(f"{path} is empty")
    if len(content) > MAX_SECRET or "\n" in content or has_control(content):
        raise Misspelt(f"{path} must hold one line of text, and no more")
    return content
