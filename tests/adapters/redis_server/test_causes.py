"""The causes why a store that was set up wrongly is down, one line each."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
import trustme

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.servers import free_ports, impatient, serving
from tests.adapters.strangers import handshake, replying, say_http, say_nothing

SECRET = "tiger5"


class Field(NamedTuple):
    """The servers that wrong addresses lead to, by port, and a directory of certificates."""

    locked: int
    plain: int
    clustered: int
    tls: int
    of_another: int
    web: int
    mute: int
    gone: int
    certificates: Path


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    locked, plain, clustered, gone = free_ports(4)
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    with (
        serving("--requirepass", SECRET, port=locked),
        serving(port=plain),
        serving("--cluster-enabled", "yes", port=clustered),
        replying(handshake(authority, "127.0.0.1")) as tls,
        replying(handshake(authority, "db.example")) as of_another,
        replying(say_http) as web,
        replying(say_nothing) as mute,
    ):
        yield Field(locked, plain, clustered, tls, of_another, web, mute, gone, directory)


CREDENTIALS = "; see store.username and store.password"
ASK_TLS = r"; does it want TLS\? an address with rediss:// speaks it"
ASK_NO_TLS = r"; does it speak TLS\? an address with redis:// asks for none"
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "wrong password": (
        f"redis://:x{SECRET}@127.0.0.1:{{locked}}",
        {},
        f"it refuses the credentials: .*invalid username-password pair.*{CREDENTIALS}",
    ),
    "wrong user": (
        f"redis://ada:{SECRET}@127.0.0.1:{{locked}}",
        {},
        f"it refuses the credentials: .*invalid username-password pair.*{CREDENTIALS}",
    ),
    "no password": (
        "redis://127.0.0.1:{locked}",
        {},
        f"it refuses the credentials: Authentication required{CREDENTIALS}",
    ),
    "unknown host": ("redis://db.invalid", {}, r"the host name is not known: \w.*"),
    "refused": ("redis://127.0.0.1:{gone}", {}, "Connection refused"),
    "TLS against plain": ("rediss://127.0.0.1:{plain}", {}, f".*{ASK_NO_TLS}"),
    "plain against TLS": ("redis://127.0.0.1:{tls}", {}, f".*{ASK_TLS}"),
    "private authority": (
        "rediss://127.0.0.1:{tls}",
        {},
        "its certificate is not trusted: .*; see store.tls_ca_file, and the host in store.url",
    ),
    "wrong name": (
        "rediss://127.0.0.1:{of_another}",
        {"tls_ca_file": "{certificates}/ca.pem"},
        "its certificate is not trusted: .*mismatch.*'127.0.0.1'; see store.tls_ca_file.*",
    ),
    "no such authority": (
        "rediss://127.0.0.1:{tls}",
        {"tls_ca_file": "{certificates}/gone.pem"},
        "No such file or directory; see store.tls_ca_file, .*",
    ),
    "Cluster against a lone server": (
        "redis+cluster://127.0.0.1:{plain}",
        {},
        "it refuses: This instance has cluster support disabled; a lone server needs redis://.*",
    ),
    "Cluster, refused": ("redis+cluster://127.0.0.1:{gone}", {}, "Connection refused"),
    "no sentinel there": (
        "redis+sentinel://127.0.0.1:{gone}/mymaster",
        {},
        r"No master found for 'mymaster': no answer from the sentinels 127.0.0.1:\d+; see .*",
    ),
    "a server for a sentinel": (
        "redis+sentinel://127.0.0.1:{plain}/mymaster",
        {},
        "it refuses: unknown command 'SENTINEL'.*; it is no sentinel: .*",
    ),
    "no such socket": ("unix:///nowhere/store.sock", {}, "No such file or directory"),
    "no such database": (
        "redis://127.0.0.1:{plain}/99",
        {},
        "it refuses: .*DB index is out of range; see the number of the database in store.url",
    ),
    "a server that is silent": ("redis://127.0.0.1:{mute}", {}, "it did not answer in time"),
    "a web server": ("redis://127.0.0.1:{web}", {}, "it does not speak Redis' protocol: .*"),
}


@pytest.mark.parametrize(("address", "other", "expected"), CASES.values(), ids=CASES)
async def test_a_store_that_is_set_up_wrongly_is_down_with_its_cause(
    field: Field, address: str, other: dict[str, str], expected: str
) -> None:
    values = field._asdict()
    settings = impatient(
        address.format(**values),
        **{name: value.format(**values) for name, value in other.items()},
    )
    heard: list[tuple[bool, str]] = []
    store = RedisStore(
        links_of(settings), settings, on_up=lambda up, cause: heard.append((up, cause))
    )
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            nursery.cancel_scope.cancel()
    ((up, cause),) = heard[:1]
    assert not up
    where = re.escape(links_of(settings).where)
    assert re.fullmatch(f"the store at {where}: {expected}", cause), cause
    assert SECRET not in cause


async def test_a_cause_that_changes_is_reported_anew(field: Field) -> None:
    causes: list[str] = []
    changed = trio.Event()

    def on_up(up: bool, cause: str) -> None:
        causes.append(cause)
        changed.set()

    (port,) = free_ports(1)
    settings = impatient(f"redis://127.0.0.1:{port}")
    store = RedisStore(links_of(settings), settings, on_up=on_up)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            assert "Connection refused" in causes[-1]
            changed = trio.Event()
            with serving("--requirepass", SECRET, port=port):
                await changed.wait()
                assert "it refuses the credentials" in causes[-1]
            nursery.cancel_scope.cancel()


def test_an_address_is_shown_without_its_credentials() -> None:
    for url in (
        f"redis://ada:{SECRET}@db.example:6380/3",
        f"rediss://ada:{SECRET}@[2001:db8::1]:6379",
        f"redis+sentinel://:{SECRET}@a.example:1,b.example:2/mymaster",
        f"rediss+cluster://:{SECRET}@a.example:1,b.example:2",
        "unix:///run/valkey.sock?db=2",
    ):
        scheme, _, rest = url.partition("://")
        kept = rest.rpartition("@")[2]
        assert links_of(StoreSettings(url=url)).where == f"{scheme}://{kept}"
