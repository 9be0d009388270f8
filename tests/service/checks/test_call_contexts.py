"""The contexts of calls are resolved once for each place, as far as it is short."""

import pytest

from sidecar.service.checks.call_contexts import CallContexts
from sidecar.service.ports.calls import Call
from sidecar.wire.routes.routes import Routes
from tests.service.memory import SETTINGS


class CountedRoutes(Routes):
    """Routes that count how often they are asked."""

    asked = 0

    def match(self, method: str, host: str, path: str) -> tuple[str, ...]:
        self.asked += 1
        return super().match(method, host, path)


@pytest.mark.parametrize(("path", "asked"), [("/pay", 1), ("/" + "x" * 60_000, 3)])
def test_only_short_paths_are_remembered(path: str, asked: int) -> None:
    routes = CountedRoutes(SETTINGS.routes)
    contexts = CallContexts(SETTINGS, routes)
    found = {contexts.judged(Call("", path=path)) for _ in range(3)}
    assert len(found) == 1
    assert routes.asked == asked
