"""A sidecar that nobody asks anything asks little of its store."""

import trio
from trio.testing import MockClock

from sidecar.service.admin.identifier_forms import IdentifierForms
from sidecar.service.ports.store import (
    Enlistment,
    Join,
    JoinResult,
    Load,
    Loaded,
    Shard,
    Sign,
    Vitals,
)
from tests.service.memory import MemoryStore, Pod, Tokens

SPAN = 1200.0
MOST = 2.0
"""Commands a second."""


class Counting(MemoryStore):
    """Counts the commands that a server would carry out, those of scripts among them."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = 0

    def trip(self) -> None:
        self.commands += 2  # of a queue or backlog, which a script looks at; others say what more
        super().trip()

    async def join(self, *joins: Join) -> list[JoinResult]:
        # The script, HMGET, HSET, PEXPIRETIME, PEXPIREAT, and what else it is asked for.
        for one in joins:
            self.commands += 3 + one.want_record + 4 * len(one.indexes) + (one.publish is not None)
        return await super().join(*joins)

    async def load(self, *loads: Load) -> list[Loaded]:
        self.commands += len(loads) - 2 + sum(one.index is not None for one in loads)
        return await super().load(*loads)

    async def sign(self, sign: Sign) -> int:
        self.commands += bool(sign.expire_at)
        return await super().sign(sign)

    async def enlist(self, listing: Enlistment) -> None:
        self.commands += -1 + 2 * bool(listing.keep_until)
        await super().enlist(listing)

    async def vitals(self, shard: Shard) -> Vitals | None:
        self.commands -= 1
        return await super().vitals(shard)

    async def lacks(self, shard: Shard) -> str:
        self.commands -= 1
        return await super().lacks(shard)


class Living(Pod):
    """A pod whose clock goes."""

    def clock(self) -> float:
        return 1000.0 + trio.current_time()


async def test_an_idle_sidecar_asks_for_less_than_two_commands_a_second(
    autojump_clock: MockClock,
) -> None:
    store = Counting()
    pod = Living(store, [], Tokens())
    await pod.reconnect()
    forms = IdentifierForms(
        ("plain",),
        records=pod.services.view.fleet,
        telemetry=pod.telemetry,
        clock=pod.clock,
        life=lambda: 30 * 86400.0,
        judge=lambda _, __: None,
    )
    workers = (
        pod.guard.run, pod.acknowledger.run, pod.worklog.run, pod.fan_out.run,
        pod.rescore_all.run, pod.sweeper.run, pod.write_back.run, pod.auditor.run, forms.run,
    )  # fmt: skip
    pod.rescore_all.use("of now")
    async with trio.open_nursery() as nursery:
        for worker in workers:
            await nursery.start(worker)
        await trio.sleep(60)
        before = store.commands
        await trio.sleep(SPAN)
        assert (store.commands - before) / SPAN < MOST
        assert pod.guard.staleness() <= MOST
        nursery.cancel_scope.cancel()
