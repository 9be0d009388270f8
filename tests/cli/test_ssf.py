import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.adapters.clock import now
from sidecar.cli.main import main
from sidecar.shared_signals.wire.security_events import CAEP
from sidecar.shared_signals.wire.verification_state import is_ours
from tests.adapters.identity import Signer
from tests.adapters.transmitter import TOKEN, Transmitter, transmit
from tests.cli.command import Done

AUTHORIZATION = "Bearer pushed"


async def command(*words: str) -> Done:
    """The command in a thread of this process: it runs a trio of its own."""

    def call() -> Done:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(words)
        return Done(status, out.getvalue(), err.getvalue())

    return await trio.to_thread.run_sync(call)


class Scene:
    """A transmitter, and a configuration that knows it."""

    def __init__(self, directory: Path, transmitter: Transmitter) -> None:
        self.transmitter = transmitter
        (directory / "token").write_text(TOKEN)
        (directory / "authorization").write_text(AUTHORIZATION)
        self.config = directory / "sidecar.yaml"
        self.config.write_text(
            f"""
receiver:
  bind: 127.0.0.1:0
  transmitters:
    - name: idp
      issuer: {transmitter.url}
      audiences: [https://us.example]
      events: [session-revoked, risk-level-change]
      token_file: token
      authorization_file: authorization
"""
        )

    async def ssf(self, action: str, *words: str) -> Done:
        return await command("ssf", action, "idp", "--config", str(self.config), *words)

    async def shown(self, action: str, *words: str) -> Any:
        done = await self.ssf(action, *words)
        assert (done.status, done.err) == (0, "")
        return json.loads(done.out)

    def asked(self) -> tuple[str, str, Any]:
        return self.transmitter.requests[-1]


@pytest.fixture
async def scene(tmp_path: Path, nursery: trio.Nursery) -> Scene:
    return Scene(tmp_path, await nursery.start(transmit, Signer()))


@pytest.fixture
async def streaming(scene: Scene) -> Scene:
    await scene.shown("create")
    return scene


async def test_discover_shows_what_is_offered(scene: Scene) -> None:
    assert (await scene.shown("discover"))["issuer"] == scene.transmitter.url


async def test_discover_names_the_address_where_no_metadata_are(scene: Scene) -> None:
    elsewhere = f"{scene.transmitter.url}/nowhere"
    issuer = f"issuer: {scene.transmitter.url}"
    text = scene.config.read_text().replace(issuer, f"{issuer}\n      metadata_url: {elsewhere}")
    scene.config.write_text(text)
    done = await scene.ssf("discover")
    assert (done.status, done.out) == (1, "")
    assert f"{elsewhere}: there are no metadata" in done.err
    assert "metadata_url" in done.err


async def test_create_asks_for_the_events_that_are_taken_and_by_default_polls(
    scene: Scene,
) -> None:
    made = await scene.shown("create", "--description", "ours")
    assert made["stream_id"] == "s1"
    method, path, body = scene.asked()
    assert (method, path) == ("POST", "/streams")
    assert body == {
        "delivery": {"method": "urn:ietf:rfc:8936"},
        "events_requested": [f"{CAEP}session-revoked", f"{CAEP}risk-level-change"],
        "description": "ours",
    }


async def test_create_reports_where_to_push_and_with_what_but_shows_no_secret(scene: Scene) -> None:
    url = "https://us.example/ssf/events"
    done = await scene.ssf("create", "--endpoint", url, "--event", "credential-change")
    assert done.status == 0
    assert AUTHORIZATION not in done.out
    body = scene.asked()[2]
    assert body["delivery"] == {
        "method": "urn:ietf:rfc:8935",
        "endpoint_url": url,
        "authorization_header": AUTHORIZATION,
    }
    assert body["events_requested"] == [f"{CAEP}credential-change"]


async def test_a_second_stream_where_there_may_be_one_is_a_negative_answer(
    streaming: Scene,
) -> None:
    done = await streaming.ssf("create")
    assert (done.status, done.out) == (1, "")
    assert "exists already" in done.err


async def test_an_audience_that_is_not_ours_is_reported(scene: Scene) -> None:
    text = scene.config.read_text().replace("https://us.example", "https://else.example")
    scene.config.write_text(text)
    done = await scene.ssf("create")
    assert done.status == 1
    assert json.loads(done.out)["stream_id"] == "s1"
    assert "aud" in done.err


async def test_show_lists_streams_or_shows_one(streaming: Scene) -> None:
    assert [one["stream_id"] for one in await streaming.shown("show")] == ["s1"]
    assert [one["stream_id"] for one in await streaming.shown("show", "--stream", "s1")] == ["s1"]
    done = await streaming.ssf("show", "--stream", "s2")
    assert (done.status, "no such stream" in done.err) == (1, True)


async def test_update_changes_what_is_given_and_nothing_else(streaming: Scene) -> None:
    await streaming.shown("update", "--event", "session-revoked")
    method, path, body = streaming.asked()
    assert (method, path) == ("PATCH", "/streams")
    assert body == {"stream_id": "s1", "events_requested": [f"{CAEP}session-revoked"]}
    assert (await streaming.ssf("update")).status == 2


async def test_status_is_shown_and_changed(streaming: Scene) -> None:
    assert (await streaming.shown("status"))["status"] == "enabled"
    for action, status in (("pause", "paused"), ("disable", "disabled"), ("enable", "enabled")):
        assert (await streaming.shown(action, "--reason", "so"))["status"] == status
        assert (await streaming.shown("status", "--stream", "s1"))["status"] == status


async def test_verify_gives_a_state_that_the_receiver_will_know(streaming: Scene) -> None:
    assert (await streaming.ssf("verify")).out == "done: verify s1\n"
    _, path, body = streaming.asked()
    assert path == "/verify"
    assert is_ours(body["state"], AUTHORIZATION, now())


async def test_subjects_are_added_and_removed(streaming: Scene) -> None:
    subject = {"format": "email", "email": "ada@example.com"}
    for action in ("add", "remove"):
        done = await streaming.ssf(f"{action}-subject", "--subject", json.dumps(subject))
        assert done.status == 0
        _, path, body = streaming.asked()
        assert path == f"/subjects:{action}"
        assert body == {"stream_id": "s1", "subject": subject}
    for wrong in ("ada", "[]", '{"format": "email"}'):
        assert (await streaming.ssf("add-subject", "--subject", wrong)).status == 2


async def test_delete_takes_it_away_and_then_there_is_none_to_guess(streaming: Scene) -> None:
    assert (await streaming.ssf("delete")).status == 0
    assert streaming.transmitter.streams == {}
    done = await streaming.ssf("delete")
    assert (done.status, "There are: none" in done.err) == (2, True)


async def test_a_token_that_is_not_accepted_is_a_negative_answer(
    scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("wrong")
    done = await scene.ssf("show", "--token-file", str(tmp_path / "other"))
    assert (done.status, "not accepted" in done.err) == (1, True)
    assert "wrong" not in done.err


async def test_a_transmitter_that_is_another_or_away_or_unknown_is_reported(scene: Scene) -> None:
    scene.transmitter.metadata["issuer"] = "https://else.example"
    printed = (await scene.ssf("discover")).err
    assert "the metadata are of the issuer 'https://else.example', and" in printed
    scene.config.write_text(
        scene.config.read_text().replace(scene.transmitter.url, "http://[::1]:1")
    )
    done = await scene.ssf("discover")
    assert (done.status, "Connection refused" in done.err) == (2, True)
    done = await command("ssf", "show", "mdm", "--config", str(scene.config))
    assert (done.status, "there are: idp" in done.err) == (2, True)


async def test_what_a_transmitter_does_not_offer_is_reported(scene: Scene) -> None:
    del scene.transmitter.metadata["verification_endpoint"]
    await scene.shown("create")
    assert "offers no verification_endpoint" in (await scene.ssf("verify")).err
