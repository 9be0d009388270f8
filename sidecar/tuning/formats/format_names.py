"""What the formats of recordings are called on the command line and in a report."""

from enum import StrEnum


class Format(StrEnum):
    """What a recording is written in; `NDJSON` is our own form, `CSV` such with a map."""

    NDJSON = "ndjson"
    CSV = "csv"
    ENTRA = "entra-signins"
    OKTA = "okta-system-log"
    CLOUDTRAIL = "cloudtrail"
    SSHD = "sshd"
    CAEP = "caep"


AUTO = "auto"
CHOICES = (AUTO, *(f.value for f in Format if f is not Format.CSV))
"""What may be asked for. CSV needs no word: a map says how it is read."""
