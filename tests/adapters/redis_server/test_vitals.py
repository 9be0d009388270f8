"""The vitals of servers, and when keys expire: against real ones."""

from sidecar.service.ports.store import Shard, Vitals
from tests.adapters.redis.running import FAR, join, running
from tests.adapters.servers import impatient, serving

WHOLE = Shard(((0, 16383),))


async def test_a_server_says_its_process_its_policy_and_how_much_it_evicted() -> None:
    with serving("--maxmemory-policy", "allkeys-lru") as server:
        async with running(impatient(server.url)) as (store, _):
            assert store.shards() == (WHOLE,)
            vitals = await store.vitals(WHOLE)
            with server.client() as client:
                run = client.info("server")["run_id"]
                assert vitals == Vitals(run, "allkeys-lru", 0)
                client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)
                for n in range(200):
                    client.set(f"filler:{n}", b"x" * 10_000)
            later = await store.vitals(WHOLE)
            assert later is not None
            assert later.evicted > 0


async def test_a_user_who_may_not_ask_a_server_about_itself_gets_nothing() -> None:
    with serving() as server:
        with server.client() as client:
            client.execute_command("ACL SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-info")
        settings = impatient(server.url, username="app", password="pw")
        async with running(settings) as (store, _):
            assert await store.vitals(WHOLE) is None
            assert store.up


async def test_when_keys_expire_is_reported_in_order_and_0_of_those_that_are_not_there() -> None:
    with serving() as server:
        async with running(impatient(server.url)) as (store, _):
            await store.join(join(b"{a}:1", b"x"))
            with server.client() as client:
                client.set(b"{a}:3", b"for ever")
            assert await store.expiries(b"{a}:2", b"{a}:1", b"{a}:3") == [0, FAR, 1 << 62]


async def test_of_hundreds_of_keys_a_server_is_asked_in_one_command() -> None:
    keys = [b"{%d}:1" % n for n in range(300)]
    with serving() as server:
        async with running(impatient(server.url)) as (store, watch):
            await store.join(*map(join, keys[:200]))
            assert await store.expiries(*keys) == [FAR] * 200 + [0] * 100
            with server.client() as client:
                client.config_resetstat()
                assert await store.expiries(*keys, keys[0]) == [FAR] * 200 + [0] * 100 + [FAR]
                asked = {
                    command: counts["calls"]
                    for command, counts in client.info("commandstats").items()
                }
    assert asked["cmdstat_evalsha"] == 1
    assert watch.operations["load"] == 2
