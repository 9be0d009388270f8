"""Addresses of stores: what each form means, and that a fault never quotes a password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.store.address import (
    Cluster,
    Host,
    InvalidAddress,
    Local,
    Sentinels,
    Server,
    StoreAddress,
    parse_store_address,
)

HOSTS = (Host("a", 1), Host("b", 2))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://a", StoreAddress(Server(Host("a", 6379)))),
        ("redis://a:7/2", StoreAddress(Server(Host("a", 7), 2))),
        ("rediss://a:7", StoreAddress(Server(Host("a", 7)), tls=True)),
        ("redis://[::1]:7", StoreAddress(Server(Host("::1", 7)))),
        ("redis://[::1]", StoreAddress(Server(Host("::1", 6379)))),
        (
            "redis://u:p%40s%2F@a",
            StoreAddress(Server(Host("a", 6379)), username="u", password="p@s/"),
        ),
        ("redis://:p@a", StoreAddress(Server(Host("a", 6379)), password="p")),
        ("unix:///run/x.sock", StoreAddress(Local("/run/x.sock"))),
        ("unix:///run/x.sock?db=3", StoreAddress(Local("/run/x.sock", 3))),
        ("unix://u:p@/x", StoreAddress(Local("/x"), username="u", password="p")),
        ("redis+sentinel://a:1,b:2/main", StoreAddress(Sentinels(HOSTS, "main"))),
        ("redis+sentinel://a/main/4", StoreAddress(Sentinels((Host("a", 26379),), "main", 4))),
        ("rediss+sentinel://a:1,b:2/main", StoreAddress(Sentinels(HOSTS, "main"), tls=True)),
        ("redis+cluster://a:1,b:2", StoreAddress(Cluster(HOSTS))),
        ("rediss+cluster://u:p@a:1,b:2/0", StoreAddress(Cluster(HOSTS), True, "u", "p")),
    ],
)
def test_an_address_is_read(url: str, address: StoreAddress) -> None:
    assert parse_store_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a:6379",
        "http://hunter2@a",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@a,b",
        "redis://:hunter2@a:port",
        "redis://:hunter2@a:0",
        "redis://:hunter2@a:70000",
        "redis://:hunter2@a/first",
        "redis://:hunter2@a?ssl=no",
        "redis://:hunter2@[::1",
        "redis://:hunter2@[::1]7",
        "unix://:hunter2@a/run/x",
        "unix://",
        "unix:///run/x?password=hunter2",
        "redis+sentinel://:hunter2@a",
        "redis+cluster://:hunter2@a/1",
        "redis+other://:hunter2@a",
    ],
)
def test_a_fault_is_reported_without_quoting(url: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        parse_store_address(url)
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_an_invalid_one(text: str) -> None:
    for url in (text, "redis://" + text, "redis+sentinel://" + text, "unix://" + text):
        try:
            parse_store_address(url)
        except InvalidAddress:
            continue
