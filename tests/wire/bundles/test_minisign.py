"""Keys and signatures are those of minisign, in both directions."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.bundles import minisign
from sidecar.wire.bundles.archive import pack
from sidecar.wire.bundles.bundle import SignedBytes
from sidecar.wire.bundles.minisign import InvalidKey, SecretKey
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle
from sidecar.wire.bundles.verification import opened

KEY = SecretKey(bytes(range(8)), bytes(range(32)))
OTHER = SecretKey(bytes(range(1, 9)), bytes(range(1, 33)))
SAME_NAME = SecretKey(KEY.id, OTHER.seed)
ARCHIVE = pack({"policies/a.yaml": b"policies: []"}, sequence=7, made_at=0, policy_set="")
CHEAP = (1 << 15, 1 << 20)
MINISIGN = shutil.which("minisign")


def flaw(signature: str, archive: bytes = ARCHIVE, **known: object) -> BundleFlaw | None:
    try:
        opened(SignedBytes(archive, signature), [KEY.public], **known)  # type: ignore[arg-type]
    except InvalidBundle as error:
        return error.flaw
    return None


def test_what_a_configured_key_signed_is_opened() -> None:
    signature = minisign.sign(KEY, ARCHIVE, "of\tmonday")
    bundle = opened(SignedBytes(ARCHIVE, signature), [OTHER.public, KEY.public], sequence=7)
    assert (bundle.signed_by, bundle.comment) == (KEY.public.name, "of\tmonday")


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("", BundleFlaw.UNSIGNED),
        ("\n", BundleFlaw.UNSIGNED),
        ("signed, honestly", BundleFlaw.MALFORMED),
        (minisign.sign(OTHER, ARCHIVE, ""), BundleFlaw.FOREIGN_KEY),
        (minisign.sign(SAME_NAME, ARCHIVE, ""), BundleFlaw.WRONG_SIGNATURE),
        (minisign.sign(KEY, ARCHIVE + b" ", ""), BundleFlaw.WRONG_SIGNATURE),
        (minisign.sign(KEY, ARCHIVE, "one").replace("one", "two"), BundleFlaw.WRONG_SIGNATURE),
        (minisign.sign(KEY, ARCHIVE, "") * 2, BundleFlaw.MALFORMED),
        ("x" * 5000, BundleFlaw.MALFORMED),
    ],
)
def test_what_is_not_signed_so_is_refused_with_its_flaw(
    signature: str, expected: BundleFlaw
) -> None:
    assert flaw(signature) is expected


def test_a_signature_over_the_bytes_themselves_is_refused() -> None:
    lines = minisign.sign(KEY, ARCHIVE, "").split("\n")
    raw = base64.b64decode(lines[1])
    lines[1] = base64.b64encode(b"Ed" + raw[2:]).decode()
    assert flaw("\n".join(lines)) is BundleFlaw.MALFORMED


def test_another_number_or_digest_than_the_named_one_is_tampered_with() -> None:
    signature = minisign.sign(KEY, ARCHIVE, "")
    assert flaw(signature, sequence=8) is BundleFlaw.TAMPERED
    assert flaw(signature, digest="0" * 64) is BundleFlaw.TAMPERED
    assert flaw(signature, sequence=7) is None


@given(st.data())
def test_no_bit_of_an_archive_can_be_other_than_it_was_signed(data: st.DataObject) -> None:
    signature, archive = minisign.sign(KEY, ARCHIVE, ""), bytearray(ARCHIVE)
    archive[data.draw(st.integers(0, len(archive) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert flaw(signature, bytes(archive)) is BundleFlaw.WRONG_SIGNATURE


@given(st.text(max_size=400))
def test_no_text_is_a_key_or_signature_by_accident(text: str) -> None:
    with pytest.raises(InvalidKey):
        minisign.read_public_key(text)
    with pytest.raises(InvalidKey):
        minisign.read_secret_key(text)
    assert flaw(text) in {BundleFlaw.MALFORMED, BundleFlaw.UNSIGNED}


def test_keys_are_read_as_they_were_written() -> None:
    assert minisign.read_public_key(minisign.write_public_key(KEY.public)) == KEY.public
    assert minisign.read_public_key(KEY.public.text) == KEY.public
    assert minisign.read_secret_key(minisign.write_secret_key(KEY, None, b"")) == KEY


def test_a_secret_key_that_is_masked_needs_its_password() -> None:
    text = minisign.write_secret_key(KEY, b"right", bytes(32), CHEAP)
    assert base64.b64encode(KEY.seed)[:-4].decode() not in text
    with pytest.raises(minisign.PasswordNeeded):
        minisign.read_secret_key(text)
    with pytest.raises(InvalidKey, match="password is wrong"):
        minisign.read_secret_key(text, b"wrong")
    assert minisign.read_secret_key(text, b"right") == KEY


def test_a_secret_key_that_asks_for_too_much_memory_is_refused() -> None:
    lines = minisign.write_secret_key(KEY, None, b"").splitlines()
    raw = bytearray(base64.b64decode(lines[1]))
    raw[2:4] = b"Sc"
    raw[38:54] = (1 << 40).to_bytes(8, "little") * 2
    with pytest.raises(InvalidKey, match="memory"):
        minisign.read_secret_key(f"{lines[0]}\n{base64.b64encode(raw).decode()}\n", b"any")


@pytest.mark.skipif(MINISIGN is None, reason="the tool minisign is not there")
def test_minisign_verifies_what_we_sign_and_we_what_it_signs(tmp_path: Path) -> None:
    assert MINISIGN is not None
    bundle, public, secret = (tmp_path / name for name in ("b.tar", "k.pub", "k.key"))
    bundle.write_bytes(ARCHIVE)
    public.write_text(minisign.write_public_key(KEY.public))
    secret.write_text(minisign.write_secret_key(KEY, None, b""))
    signature = tmp_path / "b.tar.minisig"
    signature.write_text(minisign.sign(KEY, ARCHIVE, "ours"))
    run = subprocess.run
    verified = run([MINISIGN, "-Vm", bundle, "-p", public], capture_output=True, text=True)
    assert verified.returncode == 0
    assert "Trusted comment: ours" in verified.stdout
    signature.unlink()
    signed = run([MINISIGN, "-Sm", bundle, "-s", secret, "-t", "its"], capture_output=True)
    assert signed.returncode == 0, signed.stderr
    bundle_read = opened(SignedBytes(ARCHIVE, signature.read_text()), [KEY.public])
    assert bundle_read.comment == "its"
