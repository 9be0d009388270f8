import json
from pathlib import Path

import jwt
import msgspec
import pytest

from sidecar.service.ports.calls import Unavailable
from sidecar.shared_signals.adapters.transmitter_secrets import (
    InvalidFiles,
    Secrets,
    paths_of,
    read_files,
)
from sidecar.shared_signals.service.recipients import Recipients
from sidecar.wire.settings.transmitter import FixedStream, Recipient, Transmitter
from tests.adapters.recipients import key_file, pem, secret_file


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def recipient(name: str = "iga", **more: object) -> Recipient:
    return msgspec.convert(
        {"name": name, "audience": ("https://r.example",), **more}, Recipient, from_attributes=True
    )


def settings(*keys: str, recipients: tuple[Recipient, ...] = ()) -> Transmitter:
    return Transmitter(
        issuer="https://t.example",
        key_files=keys,
        key_lead=300,
        key_keep=3600,
        recipients=recipients,
    )


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def published(secrets: Secrets) -> set[str]:
    return {key["kid"] for key in json.loads(secrets.key_set())["keys"]}


def test_the_first_key_signs_and_all_are_published(tmp_path: Path) -> None:
    secrets = Secrets(settings(key_file(tmp_path), key_file(tmp_path, "RS256")), Clock())
    secrets.load()
    key = next(
        one
        for one in json.loads(secrets.key_set())["keys"]
        if one["kid"] == kid(secrets.sign(b"{}"))
    )
    assert key["alg"] == "ES256"
    assert len(published(secrets)) == 2


def test_before_it_is_loaded_there_is_no_key() -> None:
    with pytest.raises(Unavailable):
        Secrets(settings(), Clock()).sign(b"{}")


def test_a_replaced_key_is_published_before_it_signs_and_the_old_one_stays(tmp_path: Path) -> None:
    clock = Clock()
    file = tmp_path / "key.pem"
    file.write_bytes(pem("ES256", 0))
    secrets = Secrets(settings(str(file)), clock)
    secrets.load()
    old = kid(secrets.sign(b"{}"))
    file.write_bytes(pem("ES256", 1))
    secrets.load()
    (new,) = published(secrets) - {old}
    assert kid(secrets.sign(b"{}")) == old
    clock.now += 299
    assert kid(secrets.sign(b"{}")) == old
    clock.now += 1
    assert kid(secrets.sign(b"{}")) == new
    clock.now += 3599
    assert published(secrets) == {old, new}, "what it signed last may still be under way"
    clock.now += 1
    assert published(secrets) == {new}


def test_a_key_that_was_published_for_long_signs_as_soon_as_it_is_first(tmp_path: Path) -> None:
    one, two = tmp_path / "one.pem", tmp_path / "two.pem"
    one.write_bytes(pem("ES256", 0))
    two.write_bytes(pem("ES256", 1))
    secrets = Secrets(settings(str(one), str(two)), Clock())
    secrets.load()
    old = kid(secrets.sign(b"{}"))
    one.write_bytes(pem("ES256", 1))
    two.write_bytes(pem("ES256", 0))
    secrets.load()
    assert kid(secrets.sign(b"{}")) != old
    assert len(published(secrets)) == 2


def test_a_broken_file_leaves_all_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem())
    secrets = Secrets(settings(str(file)), Clock())
    secrets.load()
    before = secrets.key_set()
    file.write_text("half a ke")
    with pytest.raises(InvalidFiles, match=r"transmitter\.key_files\[0\]: .*neither a PEM"):
        secrets.load()
    assert secrets.key_set() == before
    assert secrets.sign(b"{}")


def test_every_problem_is_reported_with_its_field_and_no_secret(tmp_path: Path) -> None:
    short = secret_file(tmp_path, "short")
    spaced = secret_file(tmp_path, "a credential with spaces in it")
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "huge").write_bytes(b"x" * 70000)
    unreadable = tmp_path / "directory"
    unreadable.mkdir()
    many = (
        recipient("a", credentials_file=short),
        recipient("b", credentials_file=spaced),
        recipient("c", credentials_file=str(tmp_path / "empty")),
        recipient("d", credentials_file=str(unreadable)),
        recipient("e", stream=FixedStream(authorization_file=str(tmp_path / "absent"))),
    )
    key = key_file(tmp_path)
    with pytest.raises(InvalidFiles) as caught:
        read_files(settings(key, key, str(tmp_path / "huge"), recipients=many))
    problems = {one.field: one.message for one in caught.value.wrong}
    assert set(problems) == {
        "transmitter.key_files[1]",
        "transmitter.key_files[2]",
        *(f"transmitter.recipients[{i}].credentials_file" for i in range(4)),
        "transmitter.recipients[4].stream.authorization_file",
    }
    assert "has the kid of a key before it" in problems["transmitter.key_files[1]"]
    assert problems["transmitter.key_files[2]"].endswith("File too large")
    assert "cannot be read" in problems["transmitter.recipients[3].credentials_file"]
    assert "a credential with" not in problems[
        "transmitter.recipients[1].credentials_file"
    ].replace(spaced, "")


def test_a_recipient_is_known_by_each_of_its_credentials_as_they_now_are(tmp_path: Path) -> None:
    old, new = "the-old-credential", "the-new-credential"
    path = tmp_path / "secret"
    path.write_text(old)
    mine = settings(
        key_file(tmp_path),
        recipients=(
            recipient("other", credentials_file=secret_file(tmp_path, "another-credential")),
            recipient("iga", credentials_file=str(path)),
        ),
    )
    secrets = Secrets(mine, Clock())
    secrets.load()
    recipients = Recipients(mine.recipients, secrets.access)

    def known(credential: str) -> str | None:
        found = recipients.known_by(credential.encode())
        return found.name if found else None

    assert (known(old), known(new), known("another-credential")) == ("iga", None, "other")
    path.write_text(f"{old}\n{new}\n")
    secrets.load()
    assert (known(old), known(new)) == ("iga", "iga")
    path.write_text(new)
    secrets.load()
    assert (known(old), known(new), known("")) == (None, "iga", None)
    path.write_text("one-that-is-rotated")
    assert (known(new), known("one-that-is-rotated")) == (None, "iga"), "without a reload"
    path.write_text("")
    assert (known("one-that-is-rotated"), known("another-credential")) == (None, "other")
    with pytest.raises(InvalidFiles, match=r"recipients\[1\].credentials_file"):
        secrets.load()
    path.write_text(new)
    assert known(new) == "iga"
    assert old not in repr(secrets.access())
    assert new not in repr(secrets.access())


def test_what_we_push_with_rotates_and_stays_while_it_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "authorization"
    file.write_text("Bearer one")
    stream = FixedStream(push_to="https://r.example", authorization_file=str(file))
    mine = settings(key_file(tmp_path), recipients=(recipient("iga", stream=stream),))
    secrets = Secrets(mine, Clock())
    secrets.load()
    recipients = Recipients(mine.recipients, secrets.access)
    assert recipients.authorization("iga") == "Bearer one"
    file.write_text("Bearer two")
    secrets.load()
    assert recipients.authorization("iga") == "Bearer two"
    file.unlink()
    with pytest.raises(InvalidFiles, match="authorization_file"):
        secrets.load()
    assert recipients.authorization("iga") == "Bearer two"


def test_a_file_nobody_may_read_is_named(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert paths_of(settings(absent)) == [absent]
    with pytest.raises(InvalidFiles, match="absent cannot be read: No such file"):
        read_files(settings(absent))
