"""The archive of a bundle has one form, and nothing else is read."""

import io
import tarfile

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.wire.bundles.archive import MAX_BYTES, is_path, pack, unpack
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle

FILES = {"policies/a.yaml": b"policies: []\n", "places.yaml": b"{}\n", "lists/office.txt": b""}
paths = st.from_regex(r"(policies/[a-z0-9]{1,8}\.yaml|lists/[a-z0-9]{1,8})", fullmatch=True)
contents = st.dictionaries(paths, st.binary(max_size=1200), max_size=6)


def packed(files: dict[str, bytes] = FILES, sequence: int = 7) -> bytes:
    return pack(files, sequence=sequence, made_at=1_700_000_000, policy_set="abc")


def tar(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, **more: object) -> bytes:
    """What another program makes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


@given(contents)
def test_what_is_packed_is_read_again_and_the_same_files_are_the_same_bytes(
    files: dict[str, bytes],
) -> None:
    files = {"policies/first.yaml": b"policies: []\n", **files}
    archive = packed(files)
    read = unpack(archive)
    assert read.files == files
    assert read.manifest.sequence == 7
    assert packed(dict(reversed(files.items()))) == archive


def test_tar_reads_what_is_packed() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed())) as archive:
        assert archive.getnames() == ["manifest.json", *sorted(FILES)]
        assert all(one.isreg() and one.mode == 0o644 for one in archive.getmembers())
        member = archive.extractfile("policies/a.yaml")
        assert member is not None
        assert member.read() == FILES["policies/a.yaml"]


@given(at=st.integers(0, len(packed()) - 1), change=st.integers(1, 255))
@example(at=packed().index(b'"sequence": 7') + 12, change=1)
def test_no_byte_can_be_other_than_it_is_but_of_what_the_manifest_says(
    at: int, change: int
) -> None:
    # Another number, time or name of its policies is another bundle, which the signature refuses.
    archive, said = bytearray(packed()), unpack(packed()).manifest
    archive[at] ^= change
    try:
        read = unpack(bytes(archive))
    except InvalidBundle:
        return
    assert read.files == FILES
    assert read.manifest != said
    assert (
        msgspec.structs.replace(
            read.manifest,
            sequence=said.sequence,
            made_at=said.made_at,
            policy_set=said.policy_set,
        )
        == said
    )


@given(st.binary(max_size=2048))
def test_no_bytes_raise_anything_but_the_reader_s_own_error(content: bytes) -> None:
    for archive in (content, packed()[:512] + content, packed() + content or b"x"):
        if archive != packed():
            with pytest.raises(InvalidBundle):
                unpack(archive)


@pytest.mark.parametrize(
    "path",
    [
        *("../policies/a.yaml", "policies/../a.yaml", "/policies/a.yaml", "policies//a.yaml"),
        *("policies/a.yaml/b.yaml", "policies/.a.yaml", "policies/a.txt", "lists/a/b", "a.yaml"),
        *("policies\\a.yaml", "policies/a.yaml\n", "lists/" + "a" * 81, "", "manifest.json"),
    ],
)
def test_a_path_that_leads_elsewhere_is_in_no_bundle(path: str) -> None:
    assert not is_path(path)
    with pytest.raises(InvalidBundle):
        packed({**FILES, path: b""})


@pytest.mark.parametrize(
    "archive",
    [
        tar(("manifest.json", b"{}"), ("policies/a.yaml", b"")),
        tar(("policies/a.yaml", b""), kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar(("policies/a.yaml", b""), kind=tarfile.LNKTYPE, linkname="manifest.json"),
        tar(("policies/a.yaml", b""), kind=tarfile.CHRTYPE),
        tar(("policies/a.yaml", b""), kind=tarfile.DIRTYPE),
        tar(("policies/a.yaml", b""), mode=0o4755),
        tar(("../../etc/cron.d/a", b"x")),
        packed() + bytes(512),
        packed()[:-512],
        packed()[:1024],
        packed()[:-1024] + packed()[-2048:],
        b"",
        b"\x1f\x8b" + bytes(600),
    ],
)
def test_links_devices_rests_and_other_forms_are_no_bundle(archive: bytes) -> None:
    with pytest.raises(InvalidBundle) as caught:
        unpack(archive)
    assert caught.value.flaw is BundleFlaw.MALFORMED


def test_a_file_that_is_there_twice_is_refused() -> None:
    archive = packed()
    second = archive.index(b"policies/a.yaml", 2048) // 512 * 512
    member = archive[second : second + 1024]
    with pytest.raises(InvalidBundle, match="twice"):
        unpack(archive[:second] + member + archive[second:])


def test_a_size_that_is_not_there_is_refused_before_it_is_taken() -> None:
    """A header can claim eight gibibytes in a few bytes."""
    archive = bytearray(packed())
    at = archive.index(b"policies/a.yaml", 2048) // 512 * 512
    archive[at + 124 : at + 136] = b"77777777777\0"
    with pytest.raises(InvalidBundle):
        unpack(bytes(archive))


def test_a_bundle_is_bounded() -> None:
    with pytest.raises(InvalidBundle, match="may have"):
        packed({"policies/a.yaml": bytes(MAX_BYTES)})
    with pytest.raises(InvalidBundle, match="may have"):
        unpack(bytes(MAX_BYTES + 1))
    with pytest.raises(InvalidBundle, match="more than"):
        packed({f"policies/{number}.yaml": b"" for number in range(2001)})
    with pytest.raises(InvalidBundle, match="sequence"):
        packed(sequence=0)
    with pytest.raises(InvalidBundle, match="no file of policies"):
        packed({"places.yaml": b""})
