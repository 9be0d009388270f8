"""Bundles from a directory, from below an address and from a small registry, over real HTTP."""

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.bundles import oci
from sidecar.adapters.bundles.cache import KEPT, KeptBundles
from sidecar.adapters.bundles.directory import DirectorySource
from sidecar.adapters.bundles.http import HttpFiles, HttpSource, ShowsToken
from sidecar.wire.bundles.archive import MAX_BYTES, pack, unpack
from sidecar.wire.bundles.bundle import Bundle, SignedBytes
from sidecar.wire.bundles.minisign import SecretKey, sign
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle

KEY = SecretKey(bytes(8), bytes(32))
ARCHIVE = pack({"policies/a.yaml": b"policies: []"}, sequence=7, made_at=0, policy_set="")
SIGNATURE = sign(KEY, ARCHIVE, "of monday")
GIVEN = SignedBytes(ARCHIVE, SIGNATURE)


class Web(ThreadingHTTPServer):
    """Answers by path: a body, or a status with its headers; remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, bytes | tuple[int, dict[str, str]]] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.bodies: dict[str, bytes] = {}
        self.hangs = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        tag, credential = (self.headers.get(x, "") for x in ("If-None-Match", "Authorization"))
        self.server.asked.append((self.path, tag, credential))
        page = self.server.pages.get(self.path, (404, {}))
        body, status, headers = b"", 200, dict[str, str]()
        if isinstance(page, tuple):
            status, headers = page
            body = self.server.bodies.get(self.path, b"")
        else:
            body = page
            headers = {"ETag": f'"{hashlib.md5(page).hexdigest()}"'}
            if tag == headers["ETag"]:
                body, status = b"", 304
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.server.hangs.is_set():
            self.rfile.read(1)  # until the client has had enough
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    yield web
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def web(server: Web) -> Web:
    server.asked.clear()
    server.bodies.clear()
    server.pages = {"/b/policies-7.tar": ARCHIVE, "/b/policies-7.tar.minisig": SIGNATURE.encode()}
    return server


def files(credential: str = "", timeout: float = 20) -> HttpFiles:
    return HttpFiles(ShowsToken(lambda: credential), lambda: timeout)


async def test_the_newest_number_is_that_of_a_file_of_a_tag_or_what_a_file_says(
    web: Web, tmp_path: Path
) -> None:
    directory = DirectorySource(str(tmp_path))
    assert await directory.newest() == 0
    for name in ("policies-7.tar", "policies-12.tar.minisig", "policies-010.tar", "policies-9.tar"):
        (tmp_path / name).write_bytes(b"")
    assert await directory.newest() == 9
    with pytest.raises(InvalidBundle):
        await DirectorySource(str(tmp_path / "nowhere")).newest()
    address = HttpSource(f"{web.url}/b", files())
    for content in (None, b"", b"<html>7</html>", b"-1", b"0", b"9" * 70):
        if content is not None:
            web.pages["/b/policies-newest"] = content
        with pytest.raises(InvalidBundle) as caught:
            await address.newest()
        assert caught.value.flaw is BundleFlaw.UNAVAILABLE
    web.pages["/b/policies-newest"] = b"12\n"
    assert await address.newest() == 12


async def test_the_newest_tag_may_be_on_a_later_page_of_the_same_list(web: Web) -> None:
    registry = oci.RegistrySource(f"{web.url}/team/policies", files())
    first, second = "/v2/team/policies/tags/list", "/v2/team/policies/tags/list?last=7&n=3"
    web.pages[second] = b'{"name": "team/policies", "tags": ["11", "9"]}'
    web.pages[first] = (200, {"Link": f'<{second}>; rel="next"'})
    with pytest.raises(InvalidBundle):
        await registry.newest()  # the first page is empty: no list at all
    web.bodies[first] = b'{"name": "team/policies", "tags": ["latest", "7", "v8", "1e3"]}'
    assert await registry.newest() == 11
    for link in (f"<{second}>; rel=next", "<http://127.0.0.1:1/x>; rel=next"):
        web.pages[second] = (200, {"Link": link})
        web.bodies[second] = b'{"tags": null}'
        with pytest.raises(InvalidBundle) as caught:
            await registry.newest()
        assert caught.value.flaw is BundleFlaw.UNAVAILABLE
    assert len(web.asked) < 40


async def test_an_answer_that_is_compressed_or_never_ends_is_no_bundle(web: Web) -> None:
    source = HttpSource(f"{web.url}/b", files())
    web.pages["/b/policies-7.tar"] = (200, {"Content-Encoding": "gzip"})
    web.bodies["/b/policies-7.tar"] = gzip.compress(bytes(4 * MAX_BYTES))
    assert "compressed" in (await flaw(source))[1]
    web.pages["/b/policies-7.tar"] = ARCHIVE
    web.hangs.set()
    try:
        assert await flaw(HttpSource(f"{web.url}/b", files(timeout=0.3))) == (
            BundleFlaw.UNAVAILABLE,
            f"{web.url}/b/policies-7.tar: it did not answer in time",
        )
    finally:
        web.hangs.clear()


async def test_the_blobs_of_a_registry_may_lie_elsewhere_where_no_credential_is_shown(
    web: Web,
) -> None:
    source = oci.RegistrySource(f"{web.url}/team/policies", files("secret"))
    pushed(web, bundle=ARCHIVE, signature=SIGNATURE.encode())
    (blob,) = (path for path, page in web.pages.items() if "blobs" in path and page == ARCHIVE)
    web.pages["/elsewhere"] = ARCHIVE
    elsewhere = f"http://localhost:{web.server_address[1]}/elsewhere"
    web.pages[blob] = (307, {"Location": elsewhere})
    assert await source.fetch(7) == GIVEN
    assert [shown for path, _, shown in web.asked if path == "/elsewhere"] == [""]
    manifest = web.pages["/v2/team/policies/manifests/7"]
    assert isinstance(manifest, bytes)
    web.pages["/moved"] = manifest
    moved = f"http://localhost:{web.server_address[1]}/moved"
    web.pages["/v2/team/policies/manifests/7"] = (307, {"Location": moved})
    assert "redirects elsewhere" in (await flaw(source))[1]


async def flaw(source: Any, sequence: int = 7) -> tuple[BundleFlaw, str]:
    with pytest.raises(InvalidBundle) as caught:
        await source.fetch(sequence)
    return caught.value.flaw, str(caught.value)


async def test_a_bundle_comes_from_a_directory_with_its_signature_or_without(
    tmp_path: Path,
) -> None:
    source = DirectorySource(str(tmp_path))
    assert (await flaw(source))[0] is BundleFlaw.UNAVAILABLE
    (tmp_path / "policies-7.tar").write_bytes(ARCHIVE)
    assert await source.fetch(7) == SignedBytes(ARCHIVE, "")
    (tmp_path / "policies-7.tar.minisig").write_text(SIGNATURE)
    assert await source.fetch(7) == GIVEN
    (tmp_path / "policies-8.tar").mkdir()
    assert (await flaw(source, 8))[0] is BundleFlaw.UNAVAILABLE


async def test_a_bundle_comes_over_http_with_a_credential_and_once_only(web: Web) -> None:
    source = HttpSource(f"{web.url}/b/", files("secret"))
    assert await source.fetch(7) == GIVEN
    assert {credential for _, _, credential in web.asked} == {"Bearer secret"}
    web.asked.clear()
    assert await source.fetch(7) == GIVEN
    assert all(tag for _, tag, _ in web.asked)


async def test_what_http_does_not_give_is_unavailable_or_unsigned(web: Web) -> None:
    source = HttpSource(f"{web.url}/b", files("secret"))
    assert "there is no" in (await flaw(source, 8))[1]
    del web.pages["/b/policies-7.tar.minisig"]
    assert await source.fetch(7) == SignedBytes(ARCHIVE, "")
    web.pages["/b/policies-7.tar"] = (500, {})
    assert "status 500" in (await flaw(source))[1]
    web.pages["/b/policies-7.tar"] = bytes(MAX_BYTES + 1)
    assert "too large" in (await flaw(source))[1]
    assert (await flaw(HttpSource("http://127.0.0.1:1", files())))[0] is BundleFlaw.UNAVAILABLE


async def test_redirects_stay_with_the_host_and_end(web: Web) -> None:
    source = HttpSource(f"{web.url}/b", files("secret"))
    web.pages["/c"] = ARCHIVE
    web.pages["/b/policies-7.tar"] = (302, {"Location": "/c"})
    assert await source.fetch(7) == GIVEN
    elsewhere = f"http://localhost:{web.server_address[1]}/c"
    web.pages["/b/policies-7.tar"] = (302, {"Location": elsewhere})
    web.asked.clear()
    assert "redirects elsewhere" in (await flaw(source))[1]
    assert [path for path, _, _ in web.asked] == ["/b/policies-7.tar"]
    web.pages["/b/policies-7.tar"] = (302, {"Location": "/b/policies-7.tar"})
    assert "more than 3 times" in (await flaw(source))[1]


def pushed(web: Web, **layers: bytes) -> None:
    """Have the registry hold an artifact with these layers under the tag 7."""
    types = {"bundle": oci.BUNDLE, "signature": oci.SIGNATURE}
    listed = []
    for name, content in layers.items():
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        web.pages[f"/v2/team/policies/blobs/{digest}"] = content
        listed.append({"mediaType": types[name], "digest": digest, "size": len(content)})
    manifest = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "layers": listed}
    web.pages["/v2/team/policies/manifests/7"] = json.dumps(manifest).encode()


async def test_a_bundle_comes_from_a_registry(web: Web) -> None:
    source = oci.RegistrySource(f"{web.url}/team/policies", files("secret"))
    assert "no tag 7" in (await flaw(source))[1]
    pushed(web, bundle=ARCHIVE)
    assert await source.fetch(7) == SignedBytes(ARCHIVE, "")
    pushed(web, bundle=ARCHIVE, signature=SIGNATURE.encode())
    assert await source.fetch(7) == GIVEN


async def test_a_registry_that_lies_is_not_believed(web: Web) -> None:
    source = oci.RegistrySource(f"{web.url}/team/policies", files())
    pushed(web, signature=b"")
    assert (await flaw(source))[0] is BundleFlaw.MALFORMED
    pushed(web, bundle=ARCHIVE)
    blob = next(path for path in web.pages if "blobs" in path and web.pages[path] == ARCHIVE)
    web.pages[blob] = b"another"
    assert (await flaw(source))[0] is BundleFlaw.TAMPERED
    for content in (b"{", b"[]", b'{"layers": [{"mediaType": 1}]}', b"\xff"):
        web.pages["/v2/team/policies/manifests/7"] = content
        assert (await flaw(source))[0] is BundleFlaw.MALFORMED
    layer = {"mediaType": oci.BUNDLE, "digest": "sha256:../../x", "size": 1}
    web.pages["/v2/team/policies/manifests/7"] = json.dumps({"layers": [layer]}).encode()
    assert (await flaw(source))[0] is BundleFlaw.MALFORMED


async def test_the_cache_keeps_the_last_bundles_over_a_restart_for_their_owner(
    tmp_path: Path,
) -> None:
    failures: list[str] = []
    directory = tmp_path / "kept"
    cache = KeptBundles(str(directory), failures.append)
    bundles = []
    for number in range(1, KEPT + 3):
        archive = pack({"policies/a.yaml": b""}, sequence=number, made_at=0, policy_set="")
        bundles.append(Bundle(unpack(archive), "", ""))
        await cache.keep(bundles[-1], SignedBytes(archive, f"of {number}"))
    again = KeptBundles(str(directory), failures.append)
    assert await again.find(bundles[0].digest) is None
    found = await again.find(bundles[-1].digest)
    assert found is not None
    assert found.signature == f"of {KEPT + 2}"
    assert {one.stat().st_mode & 0o777 for one in directory.iterdir()} == {0o600}
    assert await again.find("../../etc/passwd") is None
    assert not failures


async def test_a_cache_that_cannot_be_written_says_so_and_memory_serves(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failures: list[str] = []
    cache = KeptBundles(str(tmp_path / "file" / "kept"), failures.append)
    bundle = Bundle(unpack(ARCHIVE), "", "")
    await cache.keep(bundle, GIVEN)
    assert len(failures) == 1
    assert await cache.find(bundle.digest) == GIVEN
