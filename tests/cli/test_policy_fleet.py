"""`sidecar policies activate`, `rollback` and `list`, against an admin listener that answers so."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sidecar.cli.main import main

DONE = {
    "act": "activate",
    "sequence": 7,
    "digest": "d" * 64,
    "term": 3,
    "moment": 1_800_000_000.5,
    "by": "ada",
    "sidecars": 3,
    "ready": 3,
    "in_force": 3,
    "waits": {},
}
ACTIVATION = {
    "term": 3,
    "sequence": 7,
    "digest": "d" * 64,
    "moment": 1_800_000_000_500_000,
    "act": "activate",
    "by": "ada",
    "reason": "ticket\x1b[2J",
    "at": 1_800_000_000_000_000,
    "signed_by": "RWQ",
}
PAGE = {"in_force": 7, "here": 7, "moment": 1_800_000_000.5, "proposed": 0}


class Admin(ThreadingHTTPServer):
    """Answers every request with `answer`, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: tuple[int, Any] = (200, DONE)
        self.asked: list[tuple[str, str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Admin

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, self.path, body))
        status, answer = self.server.answer
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _respond  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Admin]:
    admin = Admin()
    thread = threading.Thread(target=admin.serve_forever, args=(0.02,))
    thread.start()
    yield admin
    admin.shutdown()
    thread.join()
    admin.server_close()


@pytest.fixture
def admin(server: Admin, monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.setenv("SIDECAR_ADMIN__TOKEN", "operator")
    server.asked.clear()
    server.answer = (200, DONE)
    return server


def run(admin: Admin, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    status = main(["policies", *words, "--url", admin.url])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_an_act_is_asked_for_as_it_was_ordered(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    why = ("--reason", "ticket 4711")
    assert run(admin, capsys, "activate", "7", *why) == (
        0,
        "bundle 7 is in force on 3 sidecars\n",
    )
    assert run(admin, capsys, "rollback", "5", *why, "--partial", "--wait", "2")[0] == 0
    assert run(admin, capsys, "rollback", *why)[0] == 0
    usual = {"reason": "ticket 4711", "partial": False, "timeout": 10.0}
    assert admin.asked == [
        ("POST", "/v1/policies/activate", {**usual, "sequence": 7}),
        (
            "POST",
            "/v1/policies/rollback",
            {**usual, "sequence": 5, "partial": True, "timeout": 2.0},
        ),
        ("POST", "/v1/policies/rollback", {**usual, "sequence": 0}),
    ]


def test_where_some_have_it_not_the_command_says_which_and_why(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = {"one": "unavailable: the source is away\x1b[2J", "two": ""}
    admin.answer = (200, {**DONE, "ready": 1, "in_force": 1, "waits": waits})
    status, said = run(admin, capsys, "activate", "7", "--reason", "why", "--partial")
    assert status == 1
    assert "1 of 3 sidecars say so yet" in said
    assert "one: unavailable: the source is away" in said
    assert "two: does not answer" in said
    assert "\x1b" not in said
    status, said = run(admin, capsys, "activate", "7", "--reason", "why", "--json")
    assert (status, json.loads(said)["waits"]) == (1, waits)


def test_a_refusal_is_a_negative_answer_in_the_listeners_words(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = "bundle 7 is older than 9, which is in force"
    admin.answer = (409, {"title": "Conflict", "status": 409, "detail": detail})
    status, said = run(admin, capsys, "activate", "7", "--reason", "why")
    assert (status, detail in said) == (1, True)


def test_a_reason_is_asked_for(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(admin, capsys, "activate", "7")
    assert caught.value.code == 2
    assert admin.asked == []


def test_what_was_in_force_is_listed(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.answer = (200, {**PAGE, "activations": [ACTIVATION]})
    status, said = run(admin, capsys, "list")
    assert status == 0
    assert "ada" in said
    assert "\x1b" not in said
    assert "under way" not in said
    admin.answer = (200, {**PAGE, "here": 5, "proposed": 8, "activations": [ACTIVATION]})
    said = run(admin, capsys, "list")[1]
    assert "this sidecar judges by bundle 5 still" in said
    assert "bundle 8 is under way" in said
    assert json.loads(run(admin, capsys, "list", "--json")[1])["proposed"] == 8
    admin.answer = (200, {**PAGE, "activations": []})
    assert "no bundle was ever in force" in run(admin, capsys, "list")[1]
