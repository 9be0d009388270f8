"""Checks of the settings of traces."""

from collections.abc import Iterator

from sidecar.wire.decision_log.settings import DecisionLogSettings, Mask
from sidecar.wire.traces.headers import InvalidHeaders, headers_of
from sidecar.wire.traces.masking import NAMES
from sidecar.wire.traces.settings import TracesSettings
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import Problems, Table, place_of, shown


def check_traces(
    root: Table, settings: TracesSettings, decisions: DecisionLogSettings, problems: Problems
) -> None:
    """Add what does not fit together. The section's secrets are read."""
    for key, message in (*_masks(settings, decisions), *_headers(settings), *_resource(settings)):
        field = f"traces.{key}"
        problems.add(place_of(root, field), field, message)


def _masks(settings: TracesSettings, decisions: DecisionLogSettings) -> Iterator[tuple[str, str]]:
    for name in settings.masks:
        if name not in NAMES:
            yield (
                "masks",
                f"{shown(name)!r} is no field that may be masked{suggestion(name, NAMES)}",
            )
    if Mask.HASH in settings.masks.values() and not decisions.mask_key:
        yield "masks", "to hash takes the key of the log of decisions: decision_log.mask_key_file"


def _headers(settings: TracesSettings) -> Iterator[tuple[str, str]]:
    try:
        headers_of(settings.headers)
    except InvalidHeaders as error:
        yield "headers_file" if settings.headers_file else "headers", str(error)


def _resource(settings: TracesSettings) -> Iterator[tuple[str, str]]:
    if not settings.service_name:
        yield "service_name", "must not be empty"
    for name in settings.resource:
        if name in {"service.name", "service.instance.id", "service.version"}:
            yield "resource", f"{name} is set by the sidecar itself (service.name by service_name)"
