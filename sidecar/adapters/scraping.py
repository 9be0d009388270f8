"""Reads the metrics that a daemon's admin listener shows, for commands that count with them."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from sidecar.service.answers import Unavailable
from sidecar.service.expecting import Sample

MOST_BYTES = 64 << 20


def scrape(url: str, seconds: float) -> list[Sample]:
    """All samples at `url`. Raises `Unavailable` where there are none to be had in that time."""
    try:
        response = httpx.get(url, timeout=seconds, trust_env=False)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Unavailable(f"nobody answers ({type(error).__name__})") from error
    if response.status_code != 200:
        raise Unavailable(f"status {response.status_code}")
    if len(response.content) > MOST_BYTES:
        raise Unavailable("the answer is too long to be metrics")
    try:
        return [
            Sample(sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        ]
    except ValueError as error:
        raise Unavailable("the answer is not metrics") from error
