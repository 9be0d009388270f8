"""Reads the metrics that a daemon's admin listener shows, for commands that count with them."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from sidecar.adapters.http.causes import call_failures, why
from sidecar.service.ports.calls import Unavailable
from sidecar.tuning.trial.forecast import Sample

MOST_BYTES = 64 << 20


def scrape(url: str, seconds: float) -> list[Sample]:
    """Return all samples at `url`. Raises `Unavailable` where there are none to be had.

    `seconds` is the time for a connection, and for each part of the answer.
    """
    try:
        with httpx.stream("GET", url, timeout=seconds, trust_env=False) as response:
            if response.status_code != 200:
                raise Unavailable(f"status {response.status_code}")
            body = bytearray()
            for part in response.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise Unavailable("the answer is too long to be metrics")
    except call_failures() as error:
        raise Unavailable(f"nobody answers ({why(error)})") from error
    try:
        return [
            Sample(sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        ]
    except ValueError as error:
        raise Unavailable("the answer is not metrics") from error
