import os
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from sidecar.adapters.geography.mmdb import InvalidDatabase, Mmdb, read
from sidecar.demo import geography as demo
from sidecar.domain.values import address


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return demo.build(tmp_path_factory.mktemp("sample")).city.read_bytes()


def save(path: Path, records: dict[str, Any], **more: int) -> Path:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    for name, value in more.items():
        setattr(writer, name, value)
    writer.to_db_file(str(path))
    return path


def look(mmdb: Mmdb, text: str) -> Any:
    parsed = address.parse(text)
    assert parsed is not None
    return mmdb.record(parsed)


def test_a_sound_file_is_read_with_its_build_time(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "city.mmdb"
    path.write_bytes(content)
    mmdb = read(path)
    assert mmdb.build == demo.BUILT
    assert look(mmdb, "192.0.2.1")["country"] == {"iso_code": "DE"}
    assert look(mmdb, "2001:db8:2::1")["country"] == {"iso_code": "PT"}
    assert look(mmdb, "8.8.8.8") is None


def test_the_digest_distinguishes_contents_not_files(tmp_path: Path, content: bytes) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    one.write_bytes(content)
    same.write_bytes(content)
    save(other, {"192.0.2.0/24": "x"})
    assert read(one).digest == read(same).digest != read(other).digest


@pytest.mark.parametrize(
    "metadata", [{"binary_format_major_version": 3}, {"ip_version": 5}, {"ip_version": 0}]
)
def test_metadata_that_make_no_sense_are_refused(tmp_path: Path, metadata: dict[str, int]) -> None:
    path = save(tmp_path / "odd.mmdb", {"192.0.2.0/24": "x"}, **metadata)
    with pytest.raises(InvalidDatabase, match="make no sense"):
        read(path)


def test_what_is_not_there_or_no_file_is_reported_in_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatabase, match="No such file"):
        read(tmp_path / "gone.mmdb")
    with pytest.raises(InvalidDatabase, match="directory"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidDatabase, match="not a regular file"):
        read(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidDatabase, match="not an MMDB file"):
        read(tmp_path / "text")


def test_the_probe_sees_records_from_all_over_both_families(tmp_path: Path) -> None:
    records = {f"{first}.0.0.0/8": f"four-{first}" for first in range(1, 224, 8)}
    records |= {f"2{index:03x}::/16": f"six-{index}" for index in range(0, 4096, 256)}
    probed = set(read(save(tmp_path / "wide.mmdb", records)).probe())
    assert probed == set(records.values())


def test_the_probe_of_a_full_database_is_bounded(tmp_path: Path) -> None:
    records = {str(net): str(net) for net in IPv4Network("11.0.0.0/14").subnets(new_prefix=24)}
    assert len(list(read(save(tmp_path / "full.mmdb", records)).probe())) <= 32


def test_the_probe_passes_a_network_that_the_readers_own_iterator_trips_over(
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "odd.mmdb", {"::1:0:0/96": "odd", "192.0.2.0/24": "plain"})
    assert list(read(path).probe()) == ["plain"]


def test_the_probe_finds_damage_that_opening_does_not(tmp_path: Path, content: bytes) -> None:
    """The data section is overwritten; tree and metadata stay whole."""
    marker = content.rindex(b"\xab\xcd\xefMaxMind.com")
    separator = content.index(b"\0" * 16, 0, marker) + 16
    begin = content.index(b"country", separator) - 40
    damaged = content[:begin] + b"\xff" * (marker - begin) + content[marker:]
    (tmp_path / "damaged.mmdb").write_bytes(damaged)
    mmdb = read(tmp_path / "damaged.mmdb")
    with pytest.raises(InvalidDatabase, match="a lookup failed"):
        list(mmdb.probe())


@how(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=20),
    cut=st.none() | st.floats(0, 1),
)
def test_no_damage_makes_it_raise_anything_but_its_own_error(
    tmp_path: Path, content: bytes, flips: list[tuple[float, int]], cut: float | None
) -> None:
    damaged = bytearray(content)
    for where, byte in flips:
        damaged[int(where * len(damaged))] = byte
    if cut is not None:
        del damaged[int(cut * len(damaged)) :]
    (tmp_path / "damaged.mmdb").write_bytes(damaged)
    try:
        mmdb = read(tmp_path / "damaged.mmdb")
        for _ in mmdb.probe():
            pass
    except InvalidDatabase:
        return
    for text in ("192.0.2.1", "203.0.113.250", "2001:db8:5::1", "255.255.255.255", "ffff::"):
        try:
            look(mmdb, text)
        except InvalidDatabase:
            continue


@how(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise_anything_but_its_own_error(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "junk.mmdb").write_bytes(junk + b"\xab\xcd\xefMaxMind.com" + junk)
    with pytest.raises(InvalidDatabase):
        read(tmp_path / "junk.mmdb")
