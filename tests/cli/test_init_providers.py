"""`sidecar init` at providers that are away, slow, wrong or lie; at a terminal, and interrupted."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.cli.main import INTERRUPTED, main
from tests.adapters.identity import Signer, key_set

KEYS = key_set(Signer("ES256"))
METADATA = "/.well-known/openid-configuration"
INIT = [sys.executable, "-m", "sidecar", "init"]


class Provider(ThreadingHTTPServer):
    """Answers each path with what `answers` has for it; `asked` is set once it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked = threading.Event()
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.publish()
        self.answers["/jwks"] = (200, KEYS, {})

    def publish(self, **more: Any) -> None:
        """Change its metadata; what is None is left out."""
        usual = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **more}
        metadata = {name: value for name, value in usual.items() if value is not None}
        self.answers[METADATA] = (200, json.dumps(metadata).encode(), {})


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked.set()
        nothing: tuple[int, bytes, dict[str, str]] = (404, b"", {})
        status, body, headers = self.server.answers.get(self.path, nothing)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the test's terminal."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server, _serving(server):
        yield server


@contextmanager
def _serving(server: Provider) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def initialise(provider: Provider, out: Path, *more: str) -> int:
    return main(["init", f"--issuer={provider.url}", "--audience=payroll", f"--out={out}", *more])


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        ((404, b"", {}), f"{METADATA}: the answer has status 404"),
        ((500, b"", {}), f"{METADATA}: the answer has status 500"),
        ((200, b"<html>", {}), "is not a plain JSON object"),
        ((200, b"[]", {}), "is not a plain JSON object"),
        ((200, b'{"a":' * 90_000, {}), "is not a plain JSON object"),
        ((200, b" " * 1_100_000, {}), "the answer is too large"),
        ((302, b"", {"Location": "http://127.0.0.1:1/"}), "must not send us to http://127.0.0.1:1"),
        ((302, b"", {"Location": METADATA}), "too many redirects"),
        ((302, b"", {"Location": "https://127.0.0.1/"}), "a redirect changes the scheme"),
        ({"issuer": "https://evil.example"}, "of the issuer 'https://evil.example'"),
        ({"issuer": "https://evil.example/\x1b[2J"}, "of the issuer 'https://evil.example/?[2J'"),
        ({"issuer": None}, "the metadata name no issuer"),
        ({"jwks_uri": None}, "the metadata has no jwks_uri"),
        ({"jwks_uri": "http://keys.example/jwks"}, "must be https, or http on a loopback host"),
        ({"jwks_uri": "http://127.0.0.1:6379/"}, "must not send us to http://127.0.0.1:6379/"),
        ({"jwks_uri": "file:///etc/passwd"}, "must be https"),
    ],
)
def test_a_provider_that_is_not_what_it_should_be_is_reported_and_nothing_is_written(
    answer: Any,
    printed: str,
    provider: Provider,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if isinstance(answer, dict):
        provider.publish(**answer)
    else:
        provider.answers[METADATA] = answer
    assert initialise(provider, tmp_path / "new") == 2
    error = capsys.readouterr().err
    assert printed in error
    assert "Give --issuer exactly as the `iss` of its tokens" in error
    assert not (tmp_path / "new").exists()


def test_keys_that_verify_nothing_are_no_keys(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.answers["/jwks"] = (200, b'{"keys":[{"kty":"oct","k":"AAAA"}]}', {})
    assert initialise(provider, tmp_path / "new") == 2
    assert f"{provider.url}/jwks: " in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_what_a_provider_offers_decides_levels_and_what_is_noted(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert initialise(provider, tmp_path / "silent") == 0
    assert "does not say which values of `acr` it offers" in capsys.readouterr().out
    offered = ["gold", "\x1b[2J", None, "urn:okta:loa:2fa:any", *map(str, range(2, 5000))]
    provider.publish(
        acr_values_supported=offered,
        id_token_signing_alg_values_supported=["none"],
        authorization_endpoint="http://[",
    )
    assert initialise(provider, tmp_path / "much") == 0
    note = capsys.readouterr().out
    assert "that no assurance level has: gold, 2, 3, " in note
    assert len(note) < 3000
    written = yaml.safe_load((tmp_path / "much" / "sidecar.yaml").read_text())
    levels = {level["name"]: level["acr"] for level in written["assurance"]["levels"]}
    assert levels["mfa"] == ["urn:okta:loa:2fa:any"]
    assert "algorithms" not in written["tokens"]["issuers"][0]


def test_the_issuer_is_written_as_its_tokens_have_it(provider: Provider, tmp_path: Path) -> None:
    provider.publish(issuer=f"{provider.url}/")
    assert initialise(provider, tmp_path, "--framework=flask-bff") == 0
    written = yaml.safe_load((tmp_path / "sidecar.yaml").read_text())
    assert written["tokens"]["issuers"][0]["issuer"] == f"{provider.url}/"
    assert f'ISSUER = "{provider.url}/"' in (tmp_path / "settings.py").read_text()


@pytest.mark.parametrize("gone", ["http://127.0.0.1:9", "https://nowhere.invalid"])
def test_a_provider_that_is_away_is_reported_with_its_address(
    gone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["init", "--issuer", gone, "--audience", "payroll", "--out", str(tmp_path / "new")]
    assert main(words) == 2
    assert f"sidecar init: {gone}{METADATA}: " in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_an_interrupt_while_the_provider_is_slow_leaves_nothing(
    provider: Provider, tmp_path: Path
) -> None:
    class Slow(dict[str, Any]):
        def get(self, *_: object) -> Any:
            ended.wait(60)
            return 404, b"", {}

    ended = threading.Event()
    provider.answers = Slow()
    words = ["--issuer", provider.url, "--audience", "payroll"]
    # A run in the background of a shell ignores interrupts, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [*INIT, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        signal.signal(signal.SIGINT, before)
        assert provider.asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == (b"", b"")
    ended.set()
    assert process.returncode == INTERRUPTED
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        (b"https://login.example.com\npayroll\n\nnone of it\nflask\nnginx\n\n\n", 0),
        (b"https://login.example.com\n\x04", 2),
    ],
)
def test_in_a_terminal_it_asks_for_what_is_not_given(
    typed: bytes, status: int, tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    os.write(ours, typed)
    try:
        done = subprocess.run(
            [*INIT, "--offline"], cwd=tmp_path, stdin=theirs, capture_output=True, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == status, done.stderr
    if status == 2:
        assert b"nothing is written" in done.stderr
        assert not list(tmp_path.iterdir())
    else:
        written = yaml.safe_load((tmp_path / "sidecar" / "sidecar.yaml").read_text())
        assert written["app"]["id"] == "payroll"
        assert written["http"]["gateway"] == "nginx"
        assert b"One of: fastapi, " in done.stdout
        assert (tmp_path / "sidecar" / "app.py").exists()
