"""The formats of recordings that are not ours: what each record becomes, or why it is left out.

A format is a function from a record, as its vendor exports it, to records in our own form
(`occurrences`), which reads them: so places, times and names have one reader, in whatever they
came. `recognise` finds a format by what stands in a recording.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sidecar.tuning.formats import caep, cloudtrail, entra, okta, sshd
from sidecar.tuning.formats.foreign_records import Foreign, LeftOut, Ours
from sidecar.tuning.formats.format_names import Format
from sidecar.tuning.recording.json_documents import WRAPPERS
from sidecar.tuning.recording.occurrences import Occurrence

Reader: TypeAlias = Callable[[Foreign], "Sequence[Ours] | Sequence[Occurrence] | LeftOut"]


class _Known(NamedTuple):
    format: Format
    is_one: Callable[[Foreign], bool]
    read: Reader


_FORMATS = (
    _Known(Format.CAEP, caep.is_one, caep.read),
    _Known(Format.CLOUDTRAIL, cloudtrail.is_one, cloudtrail.read),
    _Known(Format.OKTA, okta.is_one, okta.read),
    _Known(Format.ENTRA, entra.is_one, entra.read),
)
_READERS: Mapping[Format, _Known] = {known.format: known for known in _FORMATS}
_TOKENS = "sets"
"""What a poll's answer has its tokens in, by their ids (RFC 8936, section 2.3)."""


def reader_of(record: Foreign, expected: Format) -> tuple[Format, Reader | None]:
    """Return a record's format, likeliest the one expected, and what reads it; None: we do."""
    likely = _READERS.get(expected)
    for known in (likely, *_FORMATS) if likely else _FORMATS:
        if known.is_one(record):
            return known.format, known.read
    return Format.NDJSON, None


def recognise(records: Sequence[object]) -> Format:
    """Return the format of JSON records by the first of them that any format knows."""
    for record in records:
        for one in unwrapped(record):
            if not isinstance(one, Foreign):
                return Format.CAEP
            found, _ = reader_of(one, Format.NDJSON)
            if found is not Format.NDJSON:
                return found
    return Format.NDJSON


def recognise_text(lines: Sequence[str]) -> Format | None:
    """Return the format of text that is no JSON; None where it may be CSV."""
    if any(sshd.is_one(line) for line in lines):
        return Format.SSHD
    return Format.CAEP if any(caep.is_compact(line.strip().strip('"')) for line in lines) else None


def unwrapped(record: object) -> Iterator[Foreign | str]:
    """Yield the records in a record: those of a list in which its vendor wraps them, or itself.

    A text is a security event token that has yet to be taken apart.
    """
    if isinstance(record, str) and caep.is_compact(record):
        yield record
    if isinstance(record, list):
        for item in record:
            yield from unwrapped(item)
        return
    if not isinstance(record, Mapping):
        return
    foreign = Foreign(record)
    tokens = record.get(_TOKENS)
    if isinstance(tokens, Mapping):
        for token in tokens.values():
            yield from unwrapped(token)
        return
    for name in WRAPPERS:
        wrapped = foreign.at(name)
        if isinstance(wrapped, list):
            for item in wrapped:
                yield from unwrapped(item)
            return
    yield foreign
