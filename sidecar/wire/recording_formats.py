"""The formats of recordings that are not ours: what each record becomes, or why it is left out.

A format is a function from a record, as its vendor exports it, to records in our own form
(`recordings`), which reads them: so places, times and names have one reader, whatever they came in.
`recognise` tells a format by what stands in a recording.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sidecar.wire import (
    recorded_caep,
    recorded_cloudtrail,
    recorded_entra,
    recorded_okta,
    recorded_sshd,
)
from sidecar.wire.foreign_records import Foreign, LeftOut, Ours
from sidecar.wire.json_documents import WRAPPERS
from sidecar.wire.recording_format_names import Format

Reader: TypeAlias = Callable[[Foreign], "Sequence[Ours] | LeftOut"]


class _Known(NamedTuple):
    format: Format
    is_one: Callable[[Foreign], bool]
    read: Reader


_FORMATS = (
    _Known(Format.CAEP, recorded_caep.is_one, recorded_caep.read),
    _Known(Format.CLOUDTRAIL, recorded_cloudtrail.is_one, recorded_cloudtrail.read),
    _Known(Format.OKTA, recorded_okta.is_one, recorded_okta.read),
    _Known(Format.ENTRA, recorded_entra.is_one, recorded_entra.read),
)
_READERS: Mapping[Format, Reader] = {known.format: known.read for known in _FORMATS}


def reader_of(chosen: Format) -> Reader | None:
    """Return what reads a format's records; None for our own, and for text that is no JSON."""
    return _READERS.get(chosen)


def recognise(records: Sequence[object]) -> Format:
    """Tell the format of JSON records by the first of them that any format knows."""
    for record in records:
        for one in unwrapped(record):
            for known in _FORMATS:
                if known.is_one(one):
                    return known.format
    return Format.NDJSON


def recognise_text(lines: Sequence[str]) -> Format | None:
    """Tell the format of text that is no JSON; None where it may be CSV."""
    return Format.SSHD if any(recorded_sshd.is_one(line) for line in lines) else None


def unwrapped(record: object) -> Iterator[Foreign]:
    """Yield the records in a record: those of a list in which its vendor wraps them, or itself."""
    if isinstance(record, list):
        for item in record:
            yield from unwrapped(item)
        return
    if not isinstance(record, Mapping):
        return
    foreign = Foreign(record)
    for name in WRAPPERS:
        wrapped = foreign.at(name)
        if isinstance(wrapped, list):
            for item in wrapped:
                yield from unwrapped(item)
            return
    yield foreign
