"""`sidecar pseudonym`: what a log line calls somebody, for who has the keys."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli.main import main
from sidecar.wire.privacy.privacy_keys import PrivacyKey
from sidecar.wire.privacy.pseudonyms import PseudonymKind, pseudonym
from tests.cli.command import Done

Ask = Callable[..., Done]

NEW, OLD = "n" * 44, "o" * 44
ONE = "tokens: {issuers: [{issuer: 'https://a.example', audiences: [x], jwks_file: k}]}\n"
TWO = """tokens:
  issuers:
    - {issuer: 'https://a.example', audiences: [x], jwks_file: k}
    - {issuer: 'https://b.example', audiences: [x], jwks_file: k}
"""
KEYED = "privacy: {identifiers: keyed, key_file: keys}\n"


@pytest.fixture
def sidecar(capsys: pytest.CaptureFixture[str]) -> Ask:
    """The command, in this process."""

    def ask(*words: str) -> Done:
        status = main(list(words))
        printed = capsys.readouterr()
        return Done(status, printed.out, printed.err)

    return ask


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "keys").write_text(f"# the first writes\n{NEW}\n{OLD}\n")
    file = tmp_path / "sidecar.yaml"
    file.write_text(ONE + KEYED)
    return file


def written(config: Path, text: str, keys: str | None = "tooshort\n") -> str:
    """The configuration, changed, and its file of keys (None: there is none)."""
    config.write_text(text)
    (config.parent / "keys").unlink()
    if keys is not None:
        (config.parent / "keys").write_text(keys)
    return str(config)


def test_it_prints_a_names_pseudonym_under_each_key(config: Path, sidecar: Ask) -> None:
    keys = [PrivacyKey(NEW.encode()), PrivacyKey(OLD.encode())]
    for words, kind, namespace, name in (
        (("ada@example.com",), PseudonymKind.USER, "https://a.example", "ada@example.com"),
        (("--kind", "session", "s-1"), PseudonymKind.SESSION, "https://a.example", "s-1"),
        (("--kind", "address", "192.0.2.1"), PseudonymKind.ADDRESS, "", "192.0.2.1"),
    ):
        done = sidecar("pseudonym", "--config", str(config), *words)
        assert (done.status, done.err) == (0, "")
        assert done.out.split() == [pseudonym(key, kind, namespace, name) for key in keys]
    done = sidecar("pseudonym", "--config", str(config), "--json", "ada@example.com")
    assert list(json.loads(done.out)["pseudonyms"]) == [key.id for key in keys]


def test_whose_name_it_is_must_be_said_where_issuers_are_several(
    config: Path, sidecar: Ask
) -> None:
    file = written(config, TWO + KEYED, NEW)
    done = sidecar("pseudonym", "--config", file, "ada")
    assert done.status == 2
    assert "--issuer" in done.err
    assert "https://b.example" in done.err
    words = ("--config", file, "--issuer", "https://b.example", "ada")
    done = sidecar("pseudonym", *words)
    assert done.out.split()[0] == pseudonym(
        PrivacyKey(NEW.encode()), PseudonymKind.USER, "https://b.example", "ada"
    )


def test_what_is_wrong_is_reported_and_no_key_is_quoted(config: Path, sidecar: Ask) -> None:
    for text, wrong in ((ONE, "no privacy keys"), (ONE + KEYED, "32 characters")):
        done = sidecar("pseudonym", "--config", written(config, text), "ada")
        assert (done.status, done.out) == (2, "")
        assert wrong in done.err
        assert "tooshort" not in done.err
    done = sidecar("pseudonym", "--config", written(config, ONE + KEYED, None), "ada")
    assert "keys cannot be read: No such file" in done.err
