"""No command repeats a credential of a URL, wherever that stands; and none takes one."""

from collections.abc import Iterator

import pytest

from sidecar.cli import init_questions
from sidecar.cli.main import main

SECRET = "4711hunter"
URL = f"https://user:{SECRET}@host.example"
QUERY = f"https://host.example/?access_token={SECRET}"

OPTIONS = (
    ("doctor", "--gateway-url"),
    ("dead-letters", "list", "--url"),
    ("init", "--audience", "x", "--issuer"),
    ("init", "--issuer", "https://host.example", "--audience"),
    ("init", "--issuer", "https://host.example", "--audience", "x", "--app"),
    ("promote", "policy", "--metrics"),
    ("sessions", "--url"),
    ("ssf", "create", "idp", "--endpoint"),
)

ELSEWHERE = (
    (),
    ("check",),
    ("check", "--context"),
    ("doctor", "--config"),
    ("emit",),
    ("emit", "--data"),
    ("import-entra",),
    ("promote", "--config"),
    ("replay",),
    ("run", "--config"),
    ("schema",),
    ("sessions", "show"),
    ("ssf",),
    ("ssf", "discover"),
    ("test",),
    ("transmit", "--config"),
    ("validate", "--config"),
    ("validate", "--allow"),
    ("what-if", "--issuer"),
)


def output_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    try:
        status = main(words)
    except SystemExit as left:
        status = int(str(left.code))
    out = capsys.readouterr()
    return status, out.out + out.err


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_an_option_takes_no_credential_in_a_url(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (URL, QUERY):
        status, output = output_of(capsys, *words, url)

        assert (status, SECRET in output) == (2, False)
        assert f"argument {words[-1]}: must not hold a" in output


@pytest.mark.parametrize("words", ELSEWHERE, ids=" ".join)
def test_no_command_repeats_a_credential(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (URL, QUERY):
        status, output = output_of(capsys, *words, url)

        assert (status in {1, 2}, SECRET in output) == (True, False)


def test_the_environment_names_no_credential_in_a_url(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_ADMIN_URL", URL)

    status, output = output_of(capsys, "sessions")

    assert (status, SECRET in output) == (2, False)
    assert "argument --url: must not hold a user or password" in output


def test_an_answer_with_a_credential_is_asked_for_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[str] = iter([URL, "https://host.example"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))

    assert init_questions._answer("Your provider") == "https://host.example"  # noqa: SLF001 - a terminal is asked
    assert "must not hold a user or password" in capsys.readouterr().out
