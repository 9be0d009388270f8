import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from sidecar.adapters.admin.credential import sole
from sidecar.adapters.admin.listener import AdminApp
from sidecar.adapters.listening.asgi import Listener
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.stamp import at
from sidecar.service.admin.health import Health
from sidecar.service.observations.observations import DeadReason
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Log, Settings
from sidecar.wire.store.event_keys import event_field
from sidecar.wire.store.keys import digest
from sidecar.wire.store.worklog import Letter, enclose
from tests.cli.command import Done, sidecar
from tests.service.memory import MemoryStore, Pod, Tokens
from tests.service.queues import MemoryQueues

NASTY = "WRONGTYPE \x1b[2J[bold]of a key"


class Admin:
    """An admin listener over the dead letters of a pod whose store is in memory."""

    def __init__(self, token_file: Path) -> None:
        self.pod = Pod(MemoryStore(), [], Tokens())
        self.token_file = token_file
        token_file.write_text("admin-token\n")
        telemetry = PrometheusTelemetry(Settings(log=Log(level="error")))
        app = AdminApp(
            Health(), telemetry, self.pod.inspector, lambda: sole("admin-token"), self.pod.letters
        )
        self.listener = Listener("127.0.0.1:0", app)
        self.url = ""

    async def ask(self, *words: str) -> Done:
        file = {"SIDECAR_ADMIN__TOKEN_FILE": str(self.token_file)}
        return await sidecar("dead-letters", *words, "--url", self.url, **file)

    async def bury(self, count: int) -> list[str]:
        for number in range(count):
            user = f"u{number}"
            signal = RiskLevelChange(
                stamp=at(1001, f"e{number}"), subject=Subject(user), level=RiskLevel.HIGH
            )
            letter = Letter(0, "", "", 0, "risk-level-change", f"e{number}", enclose(signal))
            await self.pod.letters.bury(DeadReason.REFUSED, NASTY, 5, letter)
        return [one.id for one in (await self.pod.letters.page(1000)).letters]

    def refuse(self, user: str) -> None:
        self.pod.store.refused.add(self.record_of(user))

    def record_of(self, user: str) -> bytes:
        return self.pod.names.user_record(digest("", user))


@pytest.fixture
async def admin(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Admin]:
    admin = Admin(tmp_path / "token")
    (admin.url,) = await nursery.start(admin.listener.run)
    yield admin
    admin.listener.stop()


async def test_the_list_shows_what_was_given_up_and_why_in_the_order_it_came(admin: Admin) -> None:
    assert (await admin.ask("list")).err == "there are no dead letters\n"
    ids = await admin.bury(3)
    done = await admin.ask("list", "--limit", "2")
    lines = done.out.splitlines()
    assert lines[0].split("\t") == ["id", "time", "type", "reason", "error", "tries", "event"]
    assert [line.split()[0] for line in lines[1:]] == ids[:2]
    assert "\x1b" not in done.out
    assert (done.status, done.err) == (0, "there are more: raise --limit\n")
    listed = json.loads((await admin.ask("list", "--json")).out)
    assert [letter["event"] for letter in listed["letters"]] == ["e0", "e1", "e2"]
    assert listed["more"] is False


async def test_one_is_shown_with_its_event(admin: Admin) -> None:
    (letter,) = await admin.bury(1)
    done = await admin.ask("show", letter)
    assert done.status == 0
    assert "risk-level-change" in done.out
    shown = json.loads((await admin.ask("show", letter, "--json")).out)
    assert shown["signal"]["subject"]["user"] == "u0"
    assert (shown["reason"], shown["tries"], shown["error"]) == ("refused", 5, NASTY)


async def test_one_that_is_put_back_is_in_force_and_gone(admin: Admin) -> None:
    letter, other = await admin.bury(2)
    done = await admin.ask("retry", letter)
    assert (done.status, done.out) == (0, "1 put back, 0 failed\n")
    assert event_field("e0") in admin.pod.store.records[admin.record_of("u0")]
    again = await admin.ask("retry", letter)
    assert (again.status, again.err) == (1, "sidecar dead-letters: no dead letter has this id\n")
    assert [one.id for one in (await admin.pod.letters.page(9)).letters] == [other]


async def test_all_are_put_back_and_those_that_cannot_be_stay(admin: Admin) -> None:
    _, second, _ = await admin.bury(3)
    admin.refuse("u1")
    done = await admin.ask("retry", "--all")
    assert (done.status, done.out) == (1, "2 put back, 1 failed\n")
    assert done.err == f"{second}: the store refuses this\n"
    printed = json.loads((await admin.ask("retry", "--all", "--json")).out)
    assert [one["outcome"] for one in printed["letters"]] == ["failed"]


async def test_one_is_dropped(admin: Admin) -> None:
    (letter,) = await admin.bury(1)
    done = await admin.ask("drop", letter)
    assert (done.status, done.out) == (0, f"dropped {letter}\n")
    assert (await admin.ask("drop", letter)).status == 1
    assert await admin.pod.letters.count() == 0


async def test_bad_usage_is_reported(admin: Admin) -> None:
    for words in ((), ("retry",), ("retry", "1-0", "--all"), ("list", "--limit", "0")):
        assert (await admin.ask(*words)).status == 2
    assert (await admin.ask("show", "../sessions")).status != 0


async def test_a_store_that_is_away_is_reported(admin: Admin) -> None:
    queues = admin.pod.store.queues
    assert isinstance(queues, MemoryQueues)
    queues.away = True
    done = await admin.ask("list")
    assert (done.status, "the store is away" in done.err) == (1, True)
    with pytest.raises(Unavailable):
        await admin.pod.letters.count()
