"""Bundles in a registry: OCI artifacts, whose tag is the bundle's number (distribution-spec 1.1).

A manifest is asked for by its tag, and its blobs by their digests. What comes is believed for its
signature alone; the digests of the manifest are held to all the same. `oras push
REGISTRY/REPOSITORY:7 policies-7.tar:MEDIA_TYPE policies-7.tar.minisig:MEDIA_TYPE` makes one.
"""

import hashlib
from urllib.parse import urljoin, urlsplit

import msgspec

from sidecar.adapters.bundles.http import HttpFiles, unavailable
from sidecar.adapters.bundles.names import number_in
from sidecar.wire.bundles.archive import MAX_BYTES
from sidecar.wire.bundles.bundle import SignedBytes
from sidecar.wire.bundles.minisign import MAX_TEXT
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BUNDLE = "application/vnd.stepup.policies.bundle.v1.tar"
SIGNATURE = "application/vnd.stepup.policies.signature.v1+minisign"
MAX_MANIFEST = 65_536
MAX_TAGS, MAX_PAGES = 1_048_576, 16
"""Bytes of a page of tags, and pages of them."""


class _Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str
    size: int


class _TagList(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None


class _ImageManifest(msgspec.Struct, frozen=True, rename="camel"):
    layers: tuple[_Descriptor, ...]


class RegistrySource:
    """Gets bundles from a repository, `https://HOST/REPOSITORY`."""

    def __init__(self, repository: str, files: HttpFiles) -> None:
        parts = urlsplit(repository)
        self._repository = repository
        self._address = f"{parts.scheme}://{parts.netloc}/v2{parts.path.rstrip('/')}"
        self._files = files

    async def newest(self) -> int:
        """Return the highest tag that is a number; 0: none is. Raises `InvalidBundle`."""
        address, newest = f"{self._address}/tags/list", 0
        with self._files.in_time(address):
            for _ in range(MAX_PAGES):
                page = await self._files.page(address, MAX_TAGS)
                if page is None:
                    raise unavailable(f"{self._repository} has no list of tags")
                try:
                    tags = msgspec.json.decode(page.body, type=_TagList).tags or ()
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    raise unavailable(f"{address} is no list of tags") from None
                newest = max([newest, *map(number_in, tags)])
                if not page.following:
                    return newest
                address = urljoin(address, page.following)
                if not address.startswith(f"{self._address}/tags/list"):
                    raise unavailable(f"{self._repository}: its list of tags goes on elsewhere")
        raise unavailable(f"{self._repository} has more than {MAX_PAGES} pages of tags")

    async def fetch(self, sequence: int) -> SignedBytes:
        """Return a bundle's bytes and its signature's. Raises `InvalidBundle`."""
        with self._files.in_time(f"{self._repository}:{sequence}"):
            return await self._fetch(sequence)

    async def _fetch(self, sequence: int) -> SignedBytes:
        address = f"{self._address}/manifests/{sequence}"
        content = await self._files.get(address, MAX_MANIFEST, {"Accept": MANIFEST})
        if content is None:
            message = f"{self._repository} has no tag {sequence}"
            raise InvalidBundle(BundleFlaw.UNAVAILABLE, message)
        try:
            layers = msgspec.json.decode(content, type=_ImageManifest).layers
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            message = f"{self._repository}:{sequence} has no manifest that can be read"
            raise InvalidBundle(BundleFlaw.MALFORMED, message) from None
        archive = await self._blob(layers, BUNDLE, MAX_BYTES, sequence)
        if archive is None:
            message = f"{self._repository}:{sequence} has no layer of type {BUNDLE}"
            raise InvalidBundle(BundleFlaw.MALFORMED, message)
        signature = await self._blob(layers, SIGNATURE, MAX_TEXT, sequence)
        return SignedBytes(archive, (signature or b"").decode("utf-8", "replace"))

    async def _blob(
        self, layers: tuple[_Descriptor, ...], media_type: str, most: int, sequence: int
    ) -> bytes | None:
        """Return the only layer of a type; None: there is none, or there are several."""
        found = [one for one in layers if one.media_type == media_type]
        if len(found) != 1:
            return None
        (layer,) = found
        kind, _, digits = layer.digest.partition(":")
        if kind != "sha256" or len(digits) != 64 or not digits.isalnum():
            message = f"{self._repository}:{sequence} names a layer by no SHA-256"
            raise InvalidBundle(BundleFlaw.MALFORMED, message)
        blob = await self._files.get(f"{self._address}/blobs/{layer.digest}", most, elsewhere=True)
        if blob is None:
            message = f"{self._repository} has no blob {layer.digest[:19]}"
            raise InvalidBundle(BundleFlaw.UNAVAILABLE, message)
        if hashlib.sha256(blob).hexdigest() != digits or len(blob) != layer.size:
            message = f"{self._repository} sends another blob than {layer.digest[:19]}"
            raise InvalidBundle(BundleFlaw.TAMPERED, message)
        return blob
