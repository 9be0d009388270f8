import errno
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from sidecar.adapters.listening.tcp_listeners import CannotListen, tcp_listeners, tcp_sockets
from tests.adapters.servers import free_ports


def answers(host: str, port: int) -> bool:
    """Return whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def opened(stack: ExitStack, *binds: str) -> list[socket.socket]:
    return [stack.enter_context(one) for one in tcp_sockets(binds)]


@needs_ipv6
def test_the_unspecified_address_of_ipv6_is_for_both_families() -> None:
    with ExitStack() as stack:
        (one,) = opened(stack, "[::]:0")
        port = one.getsockname()[1]
        assert answers("127.0.0.1", port)
        assert answers("::1", port)


@needs_ipv6
def test_several_addresses_are_listened_at_and_no_others() -> None:
    with ExitStack() as stack:
        four, six = opened(stack, "127.0.0.1:0", "[::1]:0")
        assert answers("127.0.0.1", four.getsockname()[1])
        assert answers("::1", six.getsockname()[1])
        assert not answers("127.0.0.1", six.getsockname()[1])


def test_without_ipv6_the_unspecified_address_is_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def without(address: Any, *, family: int = socket.AF_INET, **how: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return create(address, family=family, **how)

    monkeypatch.setattr(socket, "create_server", without)
    with ExitStack() as stack:
        (one,) = opened(stack, "[::]:0")
        assert answers("127.0.0.1", one.getsockname()[1])
    with pytest.raises(CannotListen, match=r"\[::1\]:0"):
        tcp_sockets(["[::1]:0"])


def test_a_name_is_all_of_its_addresses_at_one_port() -> None:
    with ExitStack() as stack:
        found = opened(stack, "localhost:0")
        assert len({one.getsockname()[1] for one in found}) == 1
        assert all(answers(one.getsockname()[0], one.getsockname()[1]) for one in found)


def test_where_one_address_cannot_be_had_none_stays_open() -> None:
    (free,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match=other):
            tcp_sockets([f"127.0.0.1:{free}", other])
        assert not answers("127.0.0.1", free)


async def test_a_listener_of_trio_is_had_by_the_same_means() -> None:
    (one,) = await tcp_listeners(["127.0.0.1:0"])
    with one:
        assert answers("127.0.0.1", one.getsockname()[1])
    assert await tcp_listeners([]) == []
