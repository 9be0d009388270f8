"""What a session costs the store: the bytes of its keys, as the server itself counts them."""

from collections import Counter

import redis

from sidecar.service.ports.store import Index, Join
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.redis.running import FAR, running
from tests.service.memory import MemoryStore, Pod, Tokens

GOAL = 900
"""Of a session of one sign-in without a mark: its record, its user's, the index and the locator."""

SESSIONS = 8
KINDS = {b"f": "user", b"s": "session", b"x": "index", b"l": "locator"}


async def written() -> MemoryStore:
    """Return what a sidecar writes of sessions that it sees once; ids are as long as real ones."""
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [], tokens, name="identi")
    for number in range(1234, 1234 + SESSIONS):
        token = tokens.issue(
            f"t{number}",
            namespace="https://id.example",
            user=f"user-{number}",
            session=f"session-{number}",
            device=f"device-{number}",
            groups=frozenset(),
            groups_known=False,
        )
        await pod.check(token, ip="192.0.2.9")
    await pod.settle()
    return store


async def test_a_session_of_one_sign_in_is_small_in_the_store(
    valkey_url: str, valkey: redis.Redis
) -> None:
    store = await written()
    async with running(StoreSettings(url=valkey_url)) as (real, _):
        for key, record in store.records.items():
            indexes = []
            if b":s:" in key:
                index = key.partition(b":s:")[0] + b":x"
                indexes = [Index(index, member, FAR) for member in store.indexes[index]]
            await real.join(Join(key, record, FAR, 0, tuple(indexes)))
    found: Counter[str] = Counter()
    for key in valkey.scan_iter(b"t:{*"):
        kind = KINDS.get(key.partition(b"}:")[2][:1])
        if kind is not None and key[3:4] in b"us":
            found[kind] += valkey.memory_usage(key, samples=0) or 0
            assert valkey.object("encoding", key) == b"listpack"
    each = {kind: total / SESSIONS for kind, total in found.items()}
    assert each.keys() == set(KINDS.values())
    assert sum(each.values()) <= GOAL, each
