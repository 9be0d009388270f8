"""Checks of the settings of the log of decisions."""

from collections.abc import Iterator

from sidecar.wire.decision_log.masks import MASKABLE
from sidecar.wire.decision_log.settings import DecisionLogSettings, DecisionOutput, HashChain, Mask
from sidecar.wire.privacy.privacy_keys import LEAST
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import Problems, Table, place_of, shown


def check_decision_log(root: Table, settings: DecisionLogSettings, problems: Problems) -> None:
    """Add what does not fit together. The section's secrets are read."""
    for key, message in (*_outputs(settings), *_masks(settings), *_keys(settings)):
        field = f"decision_log.{key}"
        problems.add(place_of(root, field), field, message)


def _outputs(settings: DecisionLogSettings) -> Iterator[tuple[str, str]]:
    if settings.output is DecisionOutput.FILE and not settings.file.path:
        yield "file.path", "is required where the output is a file"
    if settings.output is DecisionOutput.OTLP and not settings.otlp.url:
        yield "otlp.url", "is required where the output is a collector"


def _masks(settings: DecisionLogSettings) -> Iterator[tuple[str, str]]:
    for name, mask in settings.masks.items():
        masking = MASKABLE.get(name)
        if masking is None:
            hint = suggestion(name, MASKABLE)
            yield "masks", f"{shown(name)!r} is no field that may be masked{hint}"
        elif mask is Mask.HASH and not masking.can_hash:
            yield "masks", f"{name} is no name, and may be kept or dropped"
    if Mask.HASH in settings.masks.values() and not settings.mask_key:
        yield "mask_key_file", "is required where a field is hashed: a file with a key"


def _keys(settings: DecisionLogSettings) -> Iterator[tuple[str, str]]:
    if settings.chain is HashChain.KEYED and not settings.chain_key:
        yield "chain_key_file", "is required where the chain is keyed: a file with a key"
    for name in ("mask_key", "chain_key"):
        key = getattr(settings, name)
        if key and len(key) < LEAST:
            yield name, f"must have {LEAST} characters at least, as 32 random bytes do"
