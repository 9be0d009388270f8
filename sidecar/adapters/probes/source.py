"""Looks at what sources show to be known: whether it can be read here, and guessed elsewhere."""

import stat
from collections.abc import Iterator
from pathlib import Path

from sidecar.adapters.files.regular_files import read_text
from sidecar.domain.explanation.diagnosis import Diagnosis, Part, doubtful, right, wrong
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.plural import counted
from sidecar.wire.checks.weaknesses import SHORTEST_CREDENTIAL
from sidecar.wire.config.secret_files import read_secret
from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.scalars import Misspelt

_PART = Part.SOURCES
_MAKE = f"a random one of at least {SHORTEST_CREDENTIAL} characters: `openssl rand -hex 32`"


def examine_sources(settings: Settings) -> Iterator[Diagnosis]:
    """Return how it stands with each source. Blocks for as long as small files take."""
    if not settings.sources:
        words = "none is named: a peer of the socket is `local:APP`, which may tighten alone"
        yield right(_PART, "sources", words)
    for source in settings.sources:
        if source.token_file:
            yield _credential(source.name, source.token_file)
        else:
            known = "uids" if source.uids else "its transmitter"
            yield right(_PART, source.name, f"it is known by {known}")


def _credential(name: str, file: str) -> Diagnosis:
    """Judge the credential of one source; that two are the same is refused with the settings."""
    try:
        secret = read_secret(file, read_text)
        mode = Path(file).stat().st_mode
    except (OSError, Misspelt) as error:
        words = f"its token_file {file} cannot be used: {words_of(error)}"
        cure = f"put its credential there, in one line: {_MAKE}"
        return wrong(_PART, name, words, cure)
    if len(secret) < SHORTEST_CREDENTIAL:
        words = f"its credential has {counted(len(secret), 'character')}, and can be guessed"
        return wrong(_PART, name, words, f"put another into {file}: {_MAKE}")
    if mode & stat.S_IROTH:
        words = f"every user of this machine can read {file}"
        return doubtful(_PART, name, words, f"`chmod o-r {file}`")
    return right(_PART, name, f"it is known by the credential in {file}")
