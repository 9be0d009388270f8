"""`sidecar policies` for files: what it makes, and what it refuses before anything is written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli.main import main

POLICY = "policies:\n  - {id: one, state: enabled, contexts: {include: [c1]}, grant: block}\n"


class Desk:
    """A directory with a fleet's policies, a configuration, and keys in open files."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys
        self.fleet = directory / "fleet"
        (self.fleet / "policies").mkdir(parents=True)
        (self.fleet / "policies" / "one.yaml").write_text(POLICY)
        self.config = directory / "sidecar.yaml"
        self.config.write_text(json.dumps({"contexts": {"c1": {"name": "Payments"}}}))
        self.key, self.public = directory / "key", directory / "key.pub"
        self.bundle = directory / "policies-7.tar"

    def run(self, *words: str | Path) -> tuple[int, str]:
        """Run `sidecar policies`; returns its status and what it printed."""
        self._capsys.readouterr()
        status = main(["policies", *map(str, words)])
        printed = self._capsys.readouterr()
        return status, printed.out + printed.err

    def keys(self, *more: str | Path) -> tuple[int, str]:
        """Make keys."""
        given = more or ("--unencrypted",)
        return self.run("keygen", "--key", self.key, "--public-key", self.public, *given)

    def build(self, *more: str | Path) -> tuple[int, str]:
        """Build bundle 7."""
        words = ("--sequence", "7", "--config", self.config, "--out", self.bundle)
        return self.run("build", self.fleet, *words, *more)

    def signed(self) -> None:
        """Have bundle 7 built, and signed."""
        for status, said in (
            self.keys(),
            self.build("--made-at", "1700000000"),
            self.run("sign", self.bundle, "--key", self.key),
        ):
            assert status == 0, said

    def verify(self, *more: str | Path) -> tuple[int, str]:
        """Verify bundle 7."""
        return self.run("verify", self.bundle, "--public-key", self.public, *more)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_a_bundle_is_made_signed_verified_and_shown(desk: Desk) -> None:
    desk.signed()
    status, said = desk.verify("--json")
    verified = json.loads(said)
    assert (status, verified["sequence"]) == (0, 7)
    status, said = desk.run("show", desk.bundle)
    assert (status, verified["digest"] in said) == (0, True)
    assert "bundle 7, made 2023-11-14T22:13:20Z" in said
    assert f"policies/one.yaml  {len(POLICY)} bytes" in said
    shown = json.loads(desk.run("show", desk.bundle, "--json")[1])
    assert shown["digest"] == verified["digest"]
    assert [one["path"] for one in shown["manifest"]["files"]] == ["policies/one.yaml"]


def test_the_same_files_give_the_same_bytes_at_the_time_that_is_given(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.build("--made-at", "1700000000")[0] == 0
    first = desk.bundle.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert desk.build()[0] == 0
    assert desk.bundle.read_bytes() == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    assert desk.build()[0] == 0
    assert desk.bundle.read_bytes() != first


def a_link_out(desk: Desk) -> None:
    (desk.fleet / "policies" / "two.txt").symlink_to("/etc/hostname")


def two_places(desk: Desk) -> None:
    (desk.fleet / "policies" / "deep").mkdir()
    (desk.fleet / "policies" / "deep" / "one.yaml").write_text(POLICY)


def a_stray_file(desk: Desk) -> None:
    (desk.fleet / "README.md").write_text("")


def no_files(desk: Desk) -> None:
    (desk.fleet / "policies" / "one.yaml").unlink()


def no_context(desk: Desk) -> None:
    desk.config.write_text(json.dumps({"contexts": {"c2": {"name": "Reports"}}}))


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (a_link_out, "no bundle has a file like that"),
        (two_places, "no bundle has a file like that"),
        (a_stray_file, "no bundle has a file like that"),
        (no_files, "there are no files in policies/"),
        (no_context, "fleet/policies/one.yaml:2"),
    ],
)
def test_what_no_sidecar_would_take_is_not_built(
    desk: Desk, plant: Callable[[Desk], None], words: str
) -> None:
    plant(desk)
    status, said = desk.build()
    assert status == 2
    assert words in said
    assert not desk.bundle.exists()


def test_hidden_files_of_a_checkout_are_left_out(desk: Desk) -> None:
    (desk.fleet / ".git").mkdir()
    (desk.fleet / ".git" / "config").write_text("")
    assert desk.build()[0] == 0


def test_a_key_is_never_replaced_and_its_owner_alone_may_read_it(desk: Desk) -> None:
    assert desk.keys()[0] == 0
    assert desk.key.stat().st_mode & 0o777 == 0o600
    secret = desk.key.read_text()
    status, said = desk.keys()
    assert (status, "key" in said) == (2, True)
    assert desk.key.read_text() == secret
    desk.key.chmod(0o640)
    assert desk.build()[0] == 0
    status, said = desk.run("sign", desk.bundle, "--key", desk.key)
    assert (status, "chmod 600" in said) == (2, True)
    assert not desk.bundle.with_name("policies-7.tar.minisig").exists()


def test_a_key_with_a_password_signs_by_it_alone(desk: Desk) -> None:
    right, wrong, empty = (desk.directory / name for name in ("right", "wrong", "empty"))
    right.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    empty.write_text("\n")
    assert "the password is empty" in desk.keys("--password-file", empty)[1]
    assert desk.keys("--password-file", right)[0] == 0
    assert desk.build()[0] == 0
    sign = ("sign", desk.bundle, "--key", desk.key, "--password-file")
    status, said = desk.run(*sign, wrong)
    assert status == 2
    assert "battery" not in said
    assert desk.run(*sign, right)[0] == 0
    assert desk.verify()[0] == 0


def test_what_is_not_as_it_was_signed_is_not_verified(desk: Desk) -> None:
    desk.signed()
    whole = desk.bundle.read_bytes()
    desk.bundle.write_bytes(whole[:-1] + b"x")
    status, said = desk.verify()
    assert (status, "(wrong-signature)" in said) == (1, True)
    desk.bundle.write_bytes(whole)
    signature = desk.bundle.with_name("policies-7.tar.minisig")
    signature.unlink()
    assert "(unsigned)" in desk.verify()[1]
    desk.bundle.unlink()
    assert desk.verify()[0] == 2
    status, said = desk.run("verify", desk.bundle, "--public-key", "no-key-and-no-file")
    assert status == 2


def test_a_signature_says_what_is_wanted_in_a_line(desk: Desk) -> None:
    desk.signed()
    status, said = desk.run("sign", desk.bundle, "--key", desk.key, "--comment", "two\nlines")
    assert (status, "one line" in said) == (2, True)
    assert desk.run("sign", desk.bundle, "--key", desk.key, "--comment", "by ada")[0] == 0
    assert "by ada" in desk.verify()[1]
    desk.config.write_text("no archive")
    status, said = desk.run("sign", desk.config, "--key", desk.key)
    assert status == 2
    assert not desk.config.with_name("sidecar.yaml.minisig").exists()
