"""What is handed over in batches is what was put into them."""

import json
import pickle
from itertools import islice

from benchmarks.recordings import recording
from sidecar.tuning.formats.format_names import Format
from sidecar.tuning.recording.handed_over import OccurrencePacker, OccurrenceUnpacker
from sidecar.tuning.recording.reader import RecordingReader, RecordingSource
from sidecar.tuning.recording.repeated_lines import Recounted, SaidAgain


def test_what_is_unpacked_is_what_was_packed_however_few_numbers_there_are() -> None:
    lines = [json.dumps(line).encode() for line in islice(recording(users=15), 2000)]
    reading = RecordingReader(strict=True)
    occurrences = list(reading.lines(RecordingSource("file", Format.NDJSON), lines))
    assert sum(isinstance(one, SaidAgain) for one in occurrences) > 1000
    for most in (1, 20, 65536):
        packer, unpacker = OccurrencePacker(most), OccurrenceUnpacker()
        found: list[Recounted] = []
        anew = 0
        for at, occurrence in enumerate(occurrences):
            assert packer.put(occurrence) == at % 100 + 1
            if at % 100 == 99:
                batch = pickle.loads(pickle.dumps(packer.take()))
                anew += batch.anew
                found += unpacker.occurrences(batch)
        assert found == occurrences
        assert (anew > 5) == (most < 100)
