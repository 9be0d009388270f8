"""Names of the formats of recordings, for the command line and the report."""

from enum import StrEnum


class Format(StrEnum):
    """The format of a recording; `NDJSON` is our own form, `CSV` is read with a map of columns."""

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
