"""Names the key of the configuration for what cannot be used at the start."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sidecar.adapters.files.regular_files import read_text
from sidecar.adapters.files.spool_segments import SpoolInUse
from sidecar.adapters.listening.socket_files import AddressInUse, UnusableGroup
from sidecar.adapters.listening.tcp_listeners import CannotListen, UnusableCertificate
from sidecar.domain.values.causes import ungrouped, words_of
from sidecar.wire.yaml.tree import (
    ConfigError,
    ConfigProblem,
    FilePosition,
    Problems,
    place_of,
    read_tree,
)

_EXPECTED = (AddressInUse, SpoolInUse, OSError)


@contextmanager
def naming_key(
    file: Path, section: str, *, path: str = "path", certificate: str = "tls_cert_file"
) -> Iterator[None]:
    """Raise `ConfigError` for a listener of a section that cannot be opened.

    `path` is the key of the section's unix socket; that of its group is named after it.
    `certificate` is that of its certificate.
    """
    keys = _Keys(path, "group" if path == "path" else f"{path}_group", certificate)
    try:
        yield
    except _EXPECTED as error:
        raise _problem(file, section, keys, [error]) from error
    except BaseExceptionGroup as several:
        expected, other = several.split(_EXPECTED)
        if expected is None or other is not None:
            raise
        raise _problem(file, section, keys, list(ungrouped(expected))) from several


class _Keys(NamedTuple):
    """The keys of a section."""

    path: str
    group: str
    certificate: str

    def of(self, error: BaseException) -> str:
        """Return the one that an error comes from."""
        match error:
            case CannotListen():
                return "bind"
            case UnusableCertificate():
                return self.certificate
            case UnusableGroup():
                return self.group
            case _:
                return self.path


def _problem(file: Path, section: str, keys: _Keys, errors: list[BaseException]) -> ConfigError:
    return ConfigError(
        tuple(problem_at(file, f"{section}.{keys.of(one)}", words_of(one)) for one in errors)
    )


def problem_at(file: Path, field: str, message: str) -> ConfigProblem:
    """Return a problem of a key, at the line where it stands in the file."""
    try:
        tree = read_tree(read_text(file), str(file), Problems())
    except (OSError, UnicodeDecodeError):
        tree = None
    place = FilePosition(str(file), 0) if tree is None else place_of(tree, field)
    return ConfigProblem(place.file, place.line, field, message)
