"""`sidecar doctor` at the command line: lines, one JSON document, the status, and no token."""

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import trio

from sidecar.cli.main import main
from tests.adapters.identity import serve
from tests.adapters.servers import Server
from tests.cli.command import Done
from tests.daemon.set_up import SetUp, places_of


@pytest.fixture
async def set_up(tmp_path: Path, valkey_server: Server, nursery: trio.Nursery) -> SetUp:
    return SetUp(tmp_path, places_of(tmp_path), await serve(nursery), valkey_server)


async def doctor(*words: str) -> Done:
    """The command in a thread of this process: it runs a trio of its own."""

    def call() -> Done:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(["doctor", *words])
        return Done(status, out.getvalue(), err.getvalue())

    return await trio.to_thread.run_sync(call)


async def test_lines_and_document_say_the_same_and_neither_has_the_token(
    set_up: SetUp, tmp_path: Path
) -> None:
    config, file = str(set_up.written()), tmp_path / "token"
    file.write_text(f"Bearer {set_up.token}\n")
    lines = await doctor("--config", config, "--token-file", str(file))
    whole = await doctor("--config", config, "--token-file", str(file), "--json")
    assert (lines.status, whole.status) == (0, 0)
    document = json.loads(whole.out)
    assert document["counts"] == {
        "wrong": 0,
        "doubtful": 1,  # the store of the tests keeps nothing
        "right": len(document["findings"]) - 1,
    }
    for one in document["findings"]:
        assert one["name"] in lines.out
        assert f"cure: {one['cure']}" in lines.out or not one["cure"]
    assert set_up.token.split(".")[2] not in lines.out + whole.out + lines.err + whole.err


async def test_a_token_is_taken_from_standard_input(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(f"Authorization: Bearer {set_up.token}\n"))
    done = await doctor("--config", str(set_up.written()), "--token-file", "-")
    assert (done.status, done.err) == (0, "")
    assert "signature: it is the issuer's" in done.out


async def test_a_gateway_is_called_and_an_address_that_is_none_is_refused(set_up: SetUp) -> None:
    config = str(set_up.written())
    done = await doctor("--config", config, "--gateway-url", "http://127.0.0.1:1/x")
    assert done.status == 1
    assert "answer: http://127.0.0.1:1/x: " in done.out
    assert (await doctor("--config", config, "--gateway-url", "shop.example")).status == 2


async def test_something_wrong_is_status_1_and_bad_usage_2(set_up: SetUp, tmp_path: Path) -> None:
    set_up.claims["aud"] = "shop"
    config, file = str(set_up.written()), tmp_path / "token"
    file.write_text(set_up.token)
    assert (await doctor("--config", config, "--token-file", str(file))).status == 1
    for words in (
        ("--config", str(tmp_path / "no.yaml")),
        ("--config", config, "--token-file", str(tmp_path / "no")),
    ):
        done = await doctor(*words)
        assert (done.status, done.out) == (2, "")
        assert "no" in done.err
