"""Settings of the log of decisions. Part of `wire.settings.settings`."""

import enum
from typing import Annotated

import msgspec

from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.yaml.scalars import Duration, File, Mode, PositiveInt, Size, Url, instead


class DecisionOutput(enum.StrEnum):
    """The place to which decisions are written."""

    OFF = "off"
    STDOUT = "stdout"
    FILE = "file"
    OTLP = "otlp"


class Mask(enum.StrEnum):
    """The form in which a field is written: as it is, as a digest under `mask_key`, or not."""

    KEEP = "keep"
    HASH = "hash"
    DROP = "drop"


class HashChain(enum.StrEnum):
    """The digests by which a change of the log shows.

    `plain`: SHA-256, which shows a mistake, and an editor who does not know of it. `keyed`: HMAC
    under `chain_key`, which nobody makes anew who lacks the key.
    """

    OFF = "off"
    PLAIN = "plain"
    KEYED = "keyed"


class DecisionFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of decisions. It is opened anew on SIGHUP, and where it was renamed or removed."""

    path: Restart[File] = ""  # former ones are `PATH.1`, `PATH.2` and so on
    mode: Restart[Mode] = "0640"  # octal, in quotes
    max_bytes: Live[Size] = 104857600  # past that, another one begins
    max_age: Live[Duration] = 86400.0  # likewise
    # former ones that stay; the oldest go
    keep: Live[Annotated[int, msgspec.Meta(ge=0, le=1000)]] = 7


class DecisionOtlp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A collector that takes logs by OTLP over HTTP, in JSON."""

    # the whole of it, such as `https://collector:4318/v1/logs`
    url: Restart[Annotated[Url, instead("authorization_file")]] = ""
    authorization: Live[str] = ""  # the header of that name; better by `authorization_file`
    authorization_file: Live[File] = ""  # a file that holds `authorization`
    ca_file: Restart[File] = ""  # authorities to trust; empty: the system's
    timeout: Live[Duration] = 10.0  # of one request, and as long again for its repetitions
    batch: Live[PositiveInt] = 512  # records in one request at most


class DecisionLogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log of decisions for security teams: docs/decision-log.md."""

    output: Restart[DecisionOutput] = DecisionOutput.OFF  # where it goes
    # share of the sessions whose calls are there that were allowed; all others are always there
    sample: Live[Annotated[float, msgspec.Meta(ge=0, le=1)]] = 1.0
    # by field: `keep`, `hash` or `drop`; those that are not named are as by default
    masks: Live[dict[str, Mask]] = {}
    mask_key: Live[str] = ""  # of `hash`, 32 characters at least; better by `mask_key_file`
    mask_key_file: Live[File] = ""  # a file that holds `mask_key`
    chain: Restart[HashChain] = HashChain.OFF  # whether each record bears a digest of those before
    chain_key: Restart[str] = ""  # of `keyed`, 32 characters at least; better by `chain_key_file`
    chain_key_file: Restart[File] = ""  # a file that holds `chain_key`
    queue: Restart[PositiveInt] = 16384  # records that wait; more are dropped, and counted
    file: DecisionFile = DecisionFile()  # where the output is `file`
    otlp: DecisionOtlp = DecisionOtlp()  # where it is `otlp`
