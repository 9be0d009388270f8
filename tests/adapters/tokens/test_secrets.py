"""Secrets in files: as they now are, and what holds while they cannot be read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.adapters.admin.credential import AdminCredentials
from sidecar.adapters.redis_server.credentials import StoreCredentials
from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.config.secret_files import secret_paths
from sidecar.wire.settings.admin import OperatorSettings, Role
from sidecar.wire.settings.settings import (
    Admin,
    App,
    Introspection,
    Issuer,
    Redirect,
    Settings,
    StoreSettings,
    Tokens,
)
from sidecar.wire.store.address import parse_store_address


@pytest.mark.parametrize("kept", [True, False])
async def test_a_secret_counts_as_its_file_now_is(tmp_path: Path, kept: bool) -> None:
    file, reported = tmp_path / "secret", list[str]()
    secret = SecretFile(str(file), reported.append, kept=kept)
    with pytest.raises(Unavailable):
        await secret.text()
    file.write_text("one\n")
    assert await secret.text() == "one"
    file.write_text("two")
    assert await secret.text() == "two"
    for broken in ("", "a\nb", None):
        if broken is None:
            file.unlink()
        else:
            file.write_text(broken)
        assert secret.current() == ("two" if kept else "")
    file.write_text("three")
    assert secret.current() == "three"
    assert [bool(reason) for reason in reported] == [True, False, True, False]
    assert not any(word in reason for reason in reported for word in ("one", "two", "three"))


def pipe(file: Path) -> None:
    os.mkfifo(file)


STATES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    # how the file is, and which text then counts: of what we show, and of what others show
    "a line": (lambda file: file.write_text("new"), "new", "new"),
    "a line with its end": (lambda file: file.write_bytes(b"new\r\n"), "new", "new"),
    "a byte order mark": (lambda file: file.write_bytes(b"\xef\xbb\xbfnew"), "new", "new"),
    "blanks around it": (lambda file: file.write_text(" new \n"), " new ", "new"),
    "nothing": (lambda file: file.write_text(""), "old", ""),
    "the end of a line": (lambda file: file.write_text("\n"), "old", ""),
    "blanks": (lambda file: file.write_text("  \t"), "old", ""),
    "two lines": (lambda file: file.write_text("new\nnewer"), "old", ""),
    "an empty line first": (lambda file: file.write_text("\nnew"), "old", ""),
    "another encoding": (lambda file: file.write_bytes(b"n\xe9w"), "old", ""),
    "a control character": (lambda file: file.write_bytes(b"n\0w"), "old", ""),
    "too much": (lambda file: file.write_text("n" * 10_000), "old", ""),
    "no file": (lambda _: None, "old", ""),
    "a directory": (lambda file: file.mkdir(), "old", ""),
    "a link to nothing": (lambda file: file.symlink_to("nowhere"), "old", ""),
    "a link to itself": (lambda file: file.symlink_to(file.name), "old", ""),
    "a pipe that nobody writes to": (pipe, "old", ""),
    "a device without an end": (lambda file: file.symlink_to("/dev/zero"), "old", ""),
}


@pytest.mark.parametrize("state", STATES)
def test_what_counts_while_a_file_is_replaced(tmp_path: Path, state: str) -> None:
    make, shown_by_us, shown_to_us = STATES[state]
    file, reported = tmp_path / "secret", list[str]()
    file.write_text("old")
    ours = SecretFile(str(file), reported.append)
    theirs = SecretFile(str(file), reported.append, kept=False)
    assert ours.current() == theirs.current() == "old"
    file.unlink()
    make(file)
    assert (ours.current(), theirs.current()) == (shown_by_us, shown_to_us)
    assert len(reported) == (0 if shown_to_us else 2)
    assert not any("new" in reason for reason in reported)


def test_a_secret_is_followed_through_the_links_of_kubernetes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"..{name}").mkdir()
        (tmp_path / f"..{name}" / "token").write_text(name)
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / "token").symlink_to("..data/token")
    secret = SecretFile(str(tmp_path / "token"), kept=False)
    assert secret.current() == "first"
    (tmp_path / "..new").symlink_to("..second")
    os.replace(tmp_path / "..new", tmp_path / "..data")  # noqa: PTH105 - as the kubelet does
    assert secret.current() == "second"


def test_admin_credentials_are_those_of_the_settings_now_and_of_their_files(
    tmp_path: Path,
) -> None:
    file, reported = tmp_path / "admin", list[tuple[str, str]]()
    file.write_text("in-a-file")
    current = [Admin()]
    credentials = AdminCredentials(
        lambda: current[-1], lambda field, reason: reported.append((field, reason))
    )
    assert credentials() == ()
    current.append(Admin(token="given"))
    assert credentials() == (("admin", "given", Role.ADMIN),)
    ada = OperatorSettings(name="ada", token_file=str(file), acts=False)
    current.append(Admin(token="given", token_file=str(file), operators=(ada,)))
    assert credentials() == (("admin", "in-a-file", Role.ADMIN), ("ada", "in-a-file", Role.VIEWER))
    file.unlink()
    assert [one.text for one in credentials()] == ["", ""], "what was given does not stand in"
    fields = ["admin.token_file", "admin.operators.ada.token_file"]
    assert [field for field, _ in reported] == fields


def test_the_store_is_shown_the_password_of_its_file_and_else_the_last_one(tmp_path: Path) -> None:
    file = tmp_path / "password"
    address = parse_store_address("redis://user:of-the-address@valkey")
    settings = StoreSettings(password="at-the-start", password_file=str(file))
    credentials = StoreCredentials(settings)
    provider = credentials.of_store(address)
    assert provider.get_credentials() == ("user", "at-the-start")
    file.write_text("rotated")
    assert provider.get_credentials() == ("user", "rotated")
    file.unlink()
    assert provider.get_credentials() == ("user", "rotated")
    assert credentials.replace(StoreSettings(username="other", password="given"))
    assert provider.get_credentials() == ("other", "given")
    assert not credentials.replace(StoreSettings(username="other", password="given", timeout=3.0))
    credentials.replace(StoreSettings())
    assert provider.get_credentials() == ("user", "of-the-address")
    assert not credentials.of_sentinels().get_credentials()


def test_the_files_of_all_secrets_are_found() -> None:
    asked = Introspection(client_secret_file="c", bearer_token_file="b")
    issuer = Issuer(issuer="https://a.example", audiences=("us",), introspection=asked)
    settings = Settings(
        app=App(redirect=Redirect(key_file="k")),
        admin=Admin(token_file="a"),
        store=StoreSettings(password_file="p", sentinel_password_file="s"),
        tokens=Tokens(issuers=(issuer,)),
    )
    assert sorted(secret_paths(settings)) == ["a", "b", "c", "k", "p", "s"]
