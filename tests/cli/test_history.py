import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from sidecar.adapters.admin.credential import sole
from sidecar.adapters.admin.listener import AdminApp
from sidecar.adapters.listening.asgi import Listener
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.domain.facts.signal import NetworkChange, Subject
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.domain.values.stamp import at
from sidecar.service.admin.health import Health
from sidecar.wire.settings.settings import Log, Settings
from tests.cli.command import Done, sidecar
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RESTRICTED = policy(Networks(Selection(frozenset({"restricted"}))), name="segment")
NASTY = "edge\x1b[2J"


class Admin:
    """An admin listener over the history of a pod whose store is in memory."""

    def __init__(self, token_file: Path) -> None:
        self.tokens = Tokens()
        self.pod = Pod(MemoryStore(), [RESTRICTED], self.tokens)
        self.token_file = token_file
        token_file.write_text("admin-token\n")
        app = AdminApp(
            Health(),
            PrometheusTelemetry(Settings(log=Log(level="error"))),
            self.pod.inspector,
            lambda: sole("admin-token"),
            history=self.pod.services.admin.history,
        )
        self.listener = Listener("127.0.0.1:0", app)
        self.url = ""

    async def ask(self, *words: str) -> Done:
        file = {"SIDECAR_ADMIN__TOKEN_FILE": str(self.token_file)}
        return await sidecar("history", *words, "--url", self.url, **file)

    async def mark(self) -> str:
        """Have a session marked, and a call of it refused; return the id of that decision."""
        shown = self.tokens.issue("t")
        await self.pod.check(shown)
        await self.pod.settle()
        subject = Subject(session="s1", user="alice")
        self.pod.now = 1002.0
        event = NetworkChange(
            stamp=at(1002, "e1"), subject=subject, segment="restricted", source=NASTY
        )
        await self.pod.intake.accept(event)
        answer = await self.pod.check(shown)
        await self.pod.settle()
        await self.pod.services.view.history.flush()
        return answer.id


@pytest.fixture
async def admin(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Admin]:
    admin = Admin(tmp_path / "token")
    (admin.url,) = await nursery.start(admin.listener.run)
    yield admin
    admin.listener.stop()


async def test_it_says_what_happened_and_why_in_sentences(admin: Admin) -> None:
    decision = await admin.mark()
    done = await admin.ask("--user", "alice")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0] == "1970-01-01 00:16:39Z session s1: signed in with single-factor"
    assert lines[1].startswith("1970-01-01 00:16:42Z session s1: network moved to restricted")
    assert lines[2].startswith("1970-01-01 00:16:42Z session s1: marked by policy segment for c1")
    assert lines[3].startswith("1970-01-01 00:16:42Z session s1: a call in c1 was asked to step up")
    assert f"(decision {decision})" in lines[3]
    assert "\x1b" not in done.out
    assert (await admin.ask("--session", "s1")).out == done.out


async def test_a_decision_is_found_by_its_id(admin: Admin) -> None:
    decision = await admin.mark()
    done = await admin.ask("--decision", decision, "--json")
    (entry,) = json.loads(done.out)["entries"]
    assert (entry["kind"], entry["user"], entry["decision"]) == ("challenged", "alice", decision)
    missing = await admin.ask("--decision", "no-such")
    assert (missing.status, missing.out) == (1, "")


async def test_it_says_how_many_entries_cannot_be_read(admin: Admin) -> None:
    await admin.mark()
    (key,) = (key for key in admin.pod.store.records if key.endswith(b"}:h"))
    admin.pod.store.records[key][b"h:0other"] = b"%016d" % 1 + b"act\0\x81\xa1k\xa6beacon"
    done = await admin.ask("--user", "alice")
    assert done.status == 0
    assert "1 cannot be read: of another release, or damaged" in done.err
    admin.pod.store.records[key] = {b"h:0other": admin.pod.store.records[key][b"h:0other"]}
    assert (await admin.ask("--user", "alice")).status == 1


async def test_the_newest_are_shown_and_it_says_that_there_are_older_ones(admin: Admin) -> None:
    await admin.mark()
    done = await admin.ask("--user", "alice", "--limit", "1")
    assert len(done.out.splitlines()) == 1
    assert "a call in c1" in done.out
    assert "older" in done.err


async def test_a_mistake_is_not_taken_for_knowing_nothing(admin: Admin) -> None:
    assert (await admin.ask()).status == 2
    assert (await admin.ask("--user", "alice", "--since", "soon")).status == 2
    assert (await admin.ask("--user", "alice", "--limit", "0")).status == 2
    assert (await admin.ask("--user", "alice", "--issuer", "nobody")).status == 2
    assert (await admin.ask("--user", "nobody")).status == 1


async def test_the_timeline_of_a_session_has_what_its_facts_do_not_say(admin: Admin) -> None:
    await admin.mark()
    detail = await admin.pod.inspector.session("s1")
    assert detail is not None
    kinds = [moment.kind for moment in detail.timeline]
    assert kinds.count("marked") == 1
    assert kinds.count("challenged") == 1
    assert sum("restricted" in one.text and one.event == "e1" for one in detail.timeline) == 1
