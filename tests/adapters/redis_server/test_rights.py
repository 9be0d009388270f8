"""The table of rights has all that is used; a server names what it does not grant."""

import re
from importlib import resources
from pathlib import Path

import pytest
import redis

from sidecar.adapters.redis import commands as redis_commands
from sidecar.adapters.redis.links import call
from sidecar.adapters.redis_server.rights import lacks_in_words, lacks_of, least_rights, needs_of
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import Join, Load
from sidecar.shared_signals.adapters import stream_scripts
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.redis.running import FAR, running
from tests.adapters.servers import PASSWORD, USER, Server, impatient

NEEDS = needs_of(StoreSettings(wait_aof=True), transmits=True)
SPARED = [one.right for one in NEEDS if one.is_spared]
_CALL = re.compile(r"p?call\('([A-Z]+)'(?:, '(CREATE)')?")


def commands_in(text: str) -> set[str]:
    """Return the commands that a script calls, as rights."""
    return {"+" + "|".join(filter(None, found)).lower() for found in _CALL.findall(text)}


def test_every_command_of_every_script_is_in_the_table() -> None:
    folder = resources.files(redis_commands.__package__) / "lua"
    texts = [file.read_text() for file in folder.iterdir() if file.name != "rights.lua"]
    texts.append(Path(stream_scripts.__file__).read_text())
    used = set().union(*map(commands_in, texts))
    assert len(used) > 30
    assert used - set(least_rights(NEEDS)) == set()


def test_commands_are_whole_as_servers_crash_on_half_ones(valkey: redis.Redis) -> None:
    for need in NEEDS:
        (described,) = call(valkey, "COMMAND", "INFO", need.command[0]).values()
        assert len(need.command) >= abs(described["arity"]), need


def test_a_user_with_the_least_rights_lacks_none_and_each_that_is_taken_is_named(
    valkey_server: Server, valkey: redis.Redis
) -> None:
    rights = least_rights(NEEDS)
    with redis.Redis(
        unix_socket_path=str(valkey_server.path), username=USER, password=PASSWORD, protocol=2
    ) as client:
        assert lacks_in_words(lacks_of(client, NEEDS)) == ""
        try:
            for right in rights:
                if right.startswith("+"):
                    call(valkey, "ACL", "SETUSER", USER, f"-{right[1:]}")
                    missed = [] if right in SPARED else [right]
                    assert [one.right for one in lacks_of(client, NEEDS)] == missed
                    call(valkey, "ACL", "SETUSER", USER, right)
            call(valkey, "ACL", "SETUSER", USER, "-@all", "+evalsha")
            assert re.search(
                r"lacks the right .*, \d+ more: ", lacks_in_words(lacks_of(client, NEEDS))
            )
        finally:
            call(valkey, "ACL", "SETUSER", USER, *rights)


async def test_a_record_is_cut_to_its_bounds_without_the_right_that_is_spared(
    valkey_server: Server, valkey: redis.Redis
) -> None:
    assert SPARED == ["+hscan"]
    async with running(impatient(valkey_server.url, username=USER, password=PASSWORD)) as (
        store,
        _,
    ):
        try:
            call(valkey, "ACL", "SETUSER", USER, "-hscan")
            for n in range(70):
                fields = {b"a:%02d" % n: b"%02d" % n, b"b:%02d" % n: b"x"}
                join = Join(b"su:{u}:f", fields, FAR, 0, want_record=False, want_group=b"a")
                (joined,) = await store.join(join)
            assert set(joined.record) == {b"a:%02d" % n for n in range(6, 70)}
        finally:
            call(valkey, "ACL", "SETUSER", USER, "+hscan")


@pytest.mark.parametrize("taken", ["-spublish", "-hdel", "-hlen"])
async def test_a_join_whose_news_are_refused_writes_nothing_and_does_it_all_once_it_may(
    valkey_server: Server, valkey: redis.Redis, taken: str
) -> None:
    settings = impatient(valkey_server.url, username=USER, password=PASSWORD)
    join = Join(b"su:{u}:f", {b"a:1": b"x"}, FAR, 0, unless=b"a:1", publish=b"su:{u}")
    async with running(settings) as (store, _):
        try:
            call(valkey, "ACL", "SETUSER", USER, taken)
            with pytest.raises(Unavailable, match=f"permissions to run the '{taken[1:]}' command"):
                await store.join(join)
            assert (await store.load(Load(b"su:{u}:f")))[0].record == {}
        finally:
            call(valkey, "ACL", "SETUSER", USER, f"+{taken[1:]}")
        (joined,) = await store.join(join)
        assert joined.changed == (b"a:1",)
