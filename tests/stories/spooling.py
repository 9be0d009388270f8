"""A daemon with a spool, and what it counts."""

from pathlib import Path
from typing import Any

import msgspec

from sidecar.wire.settings.settings import Settings, SpoolSettings
from tests import plain_http
from tests.adapters.servers import impatient
from tests.stories.running import Pods

RESTRICTED = {"segment": "restricted"}


def with_spool(directory: Path, url: str, **spool: Any) -> Any:
    """What changes a pod's settings: a spool of its own, and little patience with the store."""

    def change(settings: Settings, index: int) -> Settings:
        return msgspec.structs.replace(
            settings,
            store=impatient(url, retries=1),
            spool=SpoolSettings(dir=str(directory / f"spool{index}"), **spool),
        )

    return change


def metric(pods: Pods, name: str, pod: int = 0) -> float:
    text = plain_http.get(pods.addresses[pod].admin[0] + "/metrics").text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith((f"{name} ", f"{name}{{"))
    )
