"""Settings of traces. Part of `wire.settings.settings`."""

from typing import Annotated

import msgspec

from sidecar.wire.decision_log.settings import Mask
from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.yaml.scalars import Duration, File, PositiveInt, Url, instead


class TracesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traces by OpenTelemetry: docs/traces.md."""

    # the whole of it, such as `https://collector:4318/v1/traces`; empty: there are no traces
    endpoint: Restart[Annotated[Url, instead("headers_file")]] = ""
    headers: Live[str] = ""  # `Name: value`, one a line; better by `headers_file`
    headers_file: Live[File] = ""  # a file that holds `headers`
    ca_file: Restart[File] = ""  # authorities to trust; empty: the system's
    timeout: Live[Duration] = 10.0  # of one request, and as long again for its repetitions
    # share of the traces that are recorded
    sample: Live[Annotated[float, msgspec.Meta(ge=0, le=1)]] = 1.0
    follow: Live[bool] = True  # whether a caller's `sampled` decides for its own trace
    service_name: Restart[str] = "stepup-sidecar"  # `service.name` of the resource
    resource: Restart[dict[str, str]] = {}  # further attributes of the resource
    # what of a person a span may have, by field: `keep`, `hash` (under `decision_log.mask_key`)
    masks: Live[dict[str, Mask]] = {}
    queue: Restart[PositiveInt] = 8192  # spans that wait; more are dropped, and counted
