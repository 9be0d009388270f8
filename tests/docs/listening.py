"""The daemon whose listeners are held to their documents, and what they are asked with."""

from pathlib import Path
from typing import Any

import msgspec

from sidecar.adapters.admin import bundles
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.wire.settings.admin import OperatorSettings
from sidecar.wire.settings.settings import Settings
from tests.adapters import transmission
from tests.domain.scenes import policy
from tests.stories import logging_out
from tests.stories.running import CREDENTIAL
from tests.stories.transmission import receiving

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
BLOCKED = policy(UserRisk(RiskLevel.HIGH), name="blocked", contexts=frozenset({"c2"}), block=True)
OPERATOR = {"Authorization": "Bearer operator"}
SOURCE = {"Authorization": f"Bearer {CREDENTIAL}"}
EVENT: dict[str, Any] = {
    "type": "risk-level-change",
    "subject": {"user": "ada"},
    "data": {"current_level": "HIGH"},
}
WHY = {"reason": "ticket 4711"}
OF_BUNDLES = (bundles.PAGE, *bundles.ACTS)


def changed(settings: Settings, _: int) -> Settings:
    settings = logging_out.configured(receiving(settings), 0)
    directory = Path(settings.socket.path).parent
    viewer = OperatorSettings(name="viewer", token="of-a-viewer", acts=False)
    return msgspec.structs.replace(
        settings,
        admin=msgspec.structs.replace(settings.admin, operators=(viewer,)),
        intake=msgspec.structs.replace(settings.intake, wait=0.0),
        transmitter=transmission.settings_of(directory, settings.store.url).transmitter,
    )


def bearer(text: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}", **headers}
