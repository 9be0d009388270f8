"""A pod with a shared table, and an app beside it that reads it; both live in the pod's time."""

import itertools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stepup_client import SharedView, VerifiedToken
from stepup_client.shared import mapped_table, view

from sidecar.adapters.shared_memory.table_files import TableFiles, boot_id
from sidecar.daemon.wiring import SharedMemory
from sidecar.domain.policy.conditional_access import Policy
from sidecar.service.ports.calls import Answer, Call
from sidecar.service.shared_table.publisher import Publisher
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import Settings
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

BOOTED = 400.0
"""When the machine booted, by the wall clock of the pod."""


class Stage:
    """A pod and its app."""

    def __init__(
        self, path: Path, rules: tuple[Policy, ...], tokens: Tokens, settings: Settings = SETTINGS
    ) -> None:
        self.path = path
        self.files = TableFiles(str(path))
        self.since_boot = 0.0
        # By the key of its hash a call finds a place or none: so they are the same in each run.
        drawn = random.Random(1).randbytes
        memory = SharedMemory(self.files, self.monotonic, boot_id(), drawn)
        self.pod = Pod(MemoryStore(), rules, tokens, settings, shared_table=memory)
        publisher = self.pod.services.publisher
        assert publisher is not None
        self.publisher: Publisher = publisher
        self.app = SharedView(str(path), owner=os.geteuid())
        self.by_socket = itertools.cycle((True, False))
        self.files.claim()

    def monotonic(self) -> int:
        return int((self.pod.now - BOOTED + self.since_boot) * 1e9)

    def wall(self) -> int:
        return int(self.pod.now * 1e9)

    def replace(self, settings: Settings) -> None:
        """Have everybody follow another configuration, as a reload does."""
        self.pod.settings = settings
        self.pod.checker.replace(settings, Routes(settings.routes))
        self.publisher.replace(settings)

    async def keep(self) -> None:
        """Do what the publisher's task does twice a second."""
        await self.publisher.keep()

    def shown(self, name: str) -> VerifiedToken:
        """Return a token as the app knows it, which has verified it."""
        token = self.pod.tokens.known[name]
        sign_in = token.authentication
        return VerifiedToken(
            name,
            issuer=token.issuer,
            user=token.user,
            session=token.session,
            auth_time=sign_in.auth_time,
            acr=sign_in.acr,
        )

    def allows(self, call: Call) -> bool:
        """Return what the app finds, which looks for a table that is gone without a pause."""
        known = self.pod.tokens.known.get(call.token)
        if known is None or call.path:
            return False  # an app that verifies tokens would not get so far; or has to ask
        shown, contexts = self.shown(call.token), tuple(call.contexts)
        answers = []
        for _ in range(2):  # the one looks where a table is, the other into it
            self.app._retry_at = 0  # noqa: SLF001 - time that the test has no need to let pass
            found = self.app.allows(shown, contexts, ip=call.ip, user_agent=call.user_agent)
            answers.append(found)
        assert answers[0] <= answers[1]
        return answers[1]

    async def check(self, call: Call) -> Answer:
        """Have a call judged as the socket does it and as other doors do, in turn."""
        checker = self.pod.checker
        if next(self.by_socket):
            if (repeated := checker.check_at_once(call)) is not None:
                return repeated.whole
            if (answer := checker.judge_at_once(call)) is not None:
                return answer
        return await checker.check(call)


@contextmanager
def staged(stage: Stage) -> Iterator[Stage]:
    """Have the app live in the pod's time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (view, mapped_table):
            patch.setattr(module, "monotonic_ns", stage.monotonic)
        patch.setattr(view, "time_ns", stage.wall)
        try:
            yield stage
        finally:
            stage.files.release()
