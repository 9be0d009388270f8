"""Secrets that stand in files of their own: every setting `X` that has an `X_file` beside it.

A problem names the file and never quotes what is in it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import msgspec

from sidecar.domain.values.causes import words_of
from sidecar.wire.config.environment import FILE_SUFFIX
from sidecar.wire.yaml.scalars import Misspelt
from sidecar.wire.yaml.structs import join
from sidecar.wire.yaml.tree import Listing, Node, Problems, Table, has_control

ReadFile = Callable[[str], str]
"""The text of a file; may raise OSError or UnicodeDecodeError."""

MAX_SECRET = 8192


def with_secrets(
    root: Table, values: Mapping[str, Any], read_file: ReadFile, problems: Problems
) -> dict[str, Any]:
    """Return the sections with their secrets read. Adds to `problems` what cannot be."""
    reader = _Reader(read_file, problems)
    return {
        name: reader.filled(_below(root, name) or root, value, name)
        for name, value in values.items()
    }


def secrets_of(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the names of a struct's own secrets."""
    names = cls.__struct_fields__
    return tuple(name for name in names if name + FILE_SUFFIX in names)


def secret_paths(value: object) -> Iterator[str]:
    """Return the files of all secrets that are anywhere in these settings."""
    if isinstance(value, msgspec.Struct):
        files = (getattr(value, f"{name}{FILE_SUFFIX}") for name in secrets_of(type(value)))
        yield from filter(None, files)
        value = [getattr(value, name) for name in value.__struct_fields__]
    if isinstance(value, dict):
        value = list(value.values())
    for one in value if isinstance(value, list | tuple) else ():
        yield from secret_paths(one)


_S = TypeVar("_S")


def with_renewed_secrets(value: _S, read_file: ReadFile) -> _S:
    """Return settings with their secrets as the files now say; what cannot be read stays."""
    renewed: Any = value
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        changes = {name: with_renewed_secrets(one, read_file) for name, one in fields.items()}
        for name in secrets_of(type(value)):
            if path := fields[name + FILE_SUFFIX]:
                with contextlib.suppress(Misspelt):  # its check reports this
                    changes[name] = read_secret(path, read_file)
        changes = {name: one for name, one in changes.items() if one != fields[name]}
        renewed = msgspec.structs.replace(value, **changes) if changes else value
    elif isinstance(value, tuple) and any(isinstance(one, msgspec.Struct) for one in value):
        renewed = tuple(with_renewed_secrets(one, read_file) for one in value)
    elif isinstance(value, dict):
        renewed = {key: with_renewed_secrets(one, read_file) for key, one in value.items()}
    return cast("_S", renewed)


class _Reader:
    def __init__(self, read_file: ReadFile, problems: Problems) -> None:
        self._read_file = read_file
        self._problems = problems

    def filled(self, node: Node, value: Any, field: str) -> Any:
        """Return a value with the secrets anywhere in it."""
        if isinstance(value, msgspec.Struct):
            changes = dict(self._changes(node, value, field))
            return msgspec.structs.replace(value, **changes) if changes else value
        if isinstance(value, tuple) and isinstance(node, Listing):
            items = zip(node.items, value, strict=False)
            return tuple(self.filled(at, one, f"{field}[{i}]") for i, (at, one) in enumerate(items))
        if isinstance(value, dict):
            return {
                name: self.filled(_below(node, name) or node, one, join(field, name))
                for name, one in value.items()
            }
        return value

    def _changes(self, node: Node, value: msgspec.Struct, field: str) -> Iterator[tuple[str, Any]]:
        for name in value.__struct_fields__:
            before = getattr(value, name)
            after = self.filled(_below(node, name) or node, before, join(field, name))
            if after is not before:
                yield name, after
        for name in secrets_of(type(value)):
            secret = self._secret(node, value, name, join(field, name + FILE_SUFFIX))
            if secret:
                yield name, secret

    def _secret(self, node: Node, value: msgspec.Struct, name: str, field: str) -> str:
        beside = name + FILE_SUFFIX
        entries = node.entries if isinstance(node, Table) else {}
        place = entries[beside].place if beside in entries else node.place
        if beside in entries and name in entries:
            self._problems.add(place, field, f"is given, and so is {name}; give one of them")
        path = getattr(value, beside)
        if not path:
            return ""
        try:
            return read_secret(path, self._read_file)
        except Misspelt as error:
            self._problems.add(place, field, str(error))
            return ""


def _below(node: Node, name: str) -> Node | None:
    entry = node.entries.get(name) if isinstance(node, Table) else None
    return None if entry is None else entry.node


def read_secret(path: str, read_file: ReadFile) -> str:
    """Return what a secret's file holds; raises Misspelt, which never quotes it."""
    try:
        content = read_file(path)
    except OSError as error:
        raise Misspelt(f"{path} cannot be read: {words_of(error)}") from None
    except ValueError:
        raise Misspelt(f"{path} cannot be read: it is not UTF-8 text") from None
    content = content.removeprefix("\ufeff").removesuffix("\n").removesuffix("\r")
    if not content.strip():
        raise Misspelt(f"{path} is empty")
    if len(content) > MAX_SECRET or "\n" in content or has_control(content):
        raise Misspelt(f"{path} must hold one line of text, and no more")
    return content
