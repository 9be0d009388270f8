"""What an outsider puts at the source, or into the store, at a running sidecar: nothing changes."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.adapters.clock import now
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.wire.bundles.archive import MAX_BYTES, digest_of, pack
from sidecar.wire.bundles.generations import ACTIVE, SEALED, Generation, PolicyAct, encode, field_of
from sidecar.wire.bundles.minisign import SecretKey, read_secret_key, sign
from sidecar.wire.store.keys import StoreKeys
from tests import plain_http
from tests.adapters.servers import Server
from tests.stories.running import token
from tests.system.bundling import Follower, Operator, asking, fleet, generation_of
from tests.system.processes import level
from tests.waiting import eventually

ESCAPE = "../../../escaped.yaml"


def tar_of(*members: tarfile.TarInfo, content: bytes = b"policies: []") -> bytes:
    """A tar that is none of ours: these members, each file with this content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for one in members:
            if one.isreg():
                one.size = len(content)
            tar.addfile(one, io.BytesIO(content) if one.isreg() else None)
    return file.getvalue()


def link_to(target: str, kind: bytes) -> tarfile.TarInfo:
    """A member that is a link."""
    member = tarfile.TarInfo("policies/a.yaml")
    member.type, member.linkname = kind, target
    return member


def packed(number: int) -> bytes:
    """A bundle that fits."""
    return pack({"policies/a.yaml": b"policies: []"}, sequence=number, made_at=0, policy_set="")


SIGNED_RUBBISH: dict[str, Callable[[int], bytes]] = {
    "a path upwards": lambda _: tar_of(tarfile.TarInfo(ESCAPE)),
    "an absolute path": lambda _: tar_of(tarfile.TarInfo("/etc/escaped.yaml")),
    "a symbolic link": lambda _: tar_of(link_to("/etc/passwd", tarfile.SYMTYPE)),
    "a hard link": lambda _: tar_of(link_to(ESCAPE, tarfile.LNKTYPE)),
    "a device": lambda _: tar_of(link_to("", tarfile.CHRTYPE)),
    "a gzip bomb": lambda number: gzip.compress(packed(number) + bytes(64 * MAX_BYTES)),
    "a manifest of nothing but brackets": lambda _: tar_of(
        tarfile.TarInfo("manifest.json"), content=b"[" * (MAX_BYTES // 2)
    ),
    "a truncated archive": lambda number: packed(number)[:700],
    "bytes behind the end": lambda number: packed(number) + bytes(512),
    "another number": lambda number: packed(number + 1),
    "nothing": lambda _: b"",
    "a page": lambda _: b"<html><title>503 Service Unavailable</title></html>",
}
"""What a key that counts has signed, and is no bundle all the same: whoever has it is careless."""


class Attacked:
    """A sidecar by whose bundle 1 all calls of `c1` are blocked, and its source."""

    def __init__(self, operator: Operator, sidecar: Follower, store: Server) -> None:
        self.operator, self.sidecar, self.store = operator, sidecar, store
        self.source = operator.source
        self.key = read_secret_key(operator.key.read_text())

    def put(self, number: int, archive: bytes, signature: str) -> None:
        """Publish."""
        (self.source / f"policies-{number}.tar").write_bytes(archive)
        (self.source / f"policies-{number}.tar.minisig").write_text(signature)

    def refuses(self, number: int) -> str:
        """Have it activated, hold that nothing has changed, and return why it is refused."""
        status, said = self.operator.order(self.sidecar, "activate", str(number))
        assert status == 1, said
        self.is_as_before()
        return said

    def is_as_before(self) -> None:
        """Hold that bundle 1 judges, and that the sidecar is ready."""
        with asking(self.sidecar) as ask:
            assert generation_of(ask(token("ada", "s1"))) == 1
        assert level(self.sidecar, "sidecar_policy_bundle_sequence") == 1
        assert plain_http.get(f"{self.sidecar.admin}/readyz").status_code == 200


@pytest.fixture
def attacked(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    valkey_server: Server,
) -> Iterator[Attacked]:
    monkeypatch.setenv("SIDECAR_ADMIN__TOKEN", "operator")
    with valkey_server.client() as client:
        client.flushall()
    operator = Operator(tmp_path, capsys)
    operator.sign(operator.build(1))
    with fleet(operator, valkey_server.url, "a") as (sidecar,):
        assert operator.order(sidecar, "activate", "1")[0] == 0
        yield Attacked(operator, sidecar, valkey_server)


def test_nothing_that_an_outsider_publishes_changes_a_running_sidecar(attacked: Attacked) -> None:
    right = packed(2)
    foreign = SecretKey(b"12345678", b"1" * 32)
    attacked.put(2, right, sign(foreign, right, ""))
    assert "foreign-key" in attacked.refuses(2)
    attacked.put(2, right, sign(SecretKey(attacked.key.public.id, b"1" * 32), right, ""))
    assert "wrong-signature" in attacked.refuses(2)
    attacked.put(2, right[:-1024], sign(attacked.key, right, ""))
    assert "wrong-signature" in attacked.refuses(2)
    attacked.put(2, right, "<html>")
    assert "malformed" in attacked.refuses(2)
    attacked.put(2, right, "untrusted comment: x\n" + "A" * 100_000)
    assert "unavailable" in attacked.refuses(2)
    attacked.put(2, bytes(MAX_BYTES + 1), "")
    assert "unavailable" in attacked.refuses(2)
    attacked.put(1, right, sign(attacked.key, right, ""))
    assert "tampered" in attacked.refuses(1)
    (attacked.source / "policies-3.tar").symlink_to("/dev/zero")
    os.mkfifo(attacked.source / "policies-4.tar")
    for number in (3, 4):
        assert "unavailable" in attacked.refuses(number)


def test_what_a_careless_author_signs_is_refused_whatever_it_is(attacked: Attacked) -> None:
    for number, (what, made) in enumerate(SIGNED_RUBBISH.items(), 2):
        archive = made(number)
        attacked.put(number, archive, sign(attacked.key, archive, ""))
        said = attacked.refuses(number)
        assert "malformed" in said or "tampered" in said or "unavailable" in said, (what, said)
    assert not [*attacked.operator.directory.rglob("*escaped*")]
    assert not Path("/etc/escaped.yaml").exists()


def test_what_an_outsider_writes_into_the_store_brings_no_policies(attacked: Attacked) -> None:
    right = packed(2)
    attacked.put(2, right, sign(SecretKey(b"12345678", b"1" * 32), right, ""))
    moment = int(now() * MICROSECONDS)
    one = Generation(7, 2, digest_of(right), moment, PolicyAct.ACTIVATE, "mallory", "", moment)
    fields = {field_of(ACTIVE, 7): encode(one, 7), field_of(SEALED, 7): encode(moment, 7)}
    with attacked.store.client() as client:
        client.hset(StoreKeys("other").policies_record(), mapping=fields)
        client.hset(StoreKeys("su").policies_record(), mapping=fields)
    refused = 'sidecar_policy_bundles_refused_total{flaw="foreign-key"}'
    eventually(lambda: level(attacked.sidecar, refused), bool, within=60)
    with asking(attacked.sidecar) as ask:
        assert generation_of(ask(token("ada", "s1"))) == 1
    attacked.put(2, right, sign(attacked.key, right, ""))  # its author signs it after all
    eventually(
        lambda: level(attacked.sidecar, "sidecar_policy_bundle_sequence"),
        lambda number: number == 2,
        within=60,
    )
