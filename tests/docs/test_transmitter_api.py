"""What the OpenAPI document says of the transmitter's listener is what a running one answers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from docs.transmitter_api import AT
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.shared_signals.adapters.transmitter_listener import TransmitterDoor
from sidecar.wire.settings.settings import Log, Settings
from sidecar.wire.settings.transmitter import DefaultSubjects, Transmitter
from tests.adapters.transmission import BEARER, MINE, Running, settings_of, transmission
from tests.docs.contract import DOCUMENTS, hold, missing
from tests.waiting import ask_until

FIXED = "mine"
"""The stream of the configuration, which has its recipient's name."""
NOT_REACHED = {408, 413, 429, 503}
"""Something has to be away, large, slow or guessed at: test_listeners_in_trouble.py has them so."""


class Transmitters:
    """Two transmitters on one store: new streams are about everybody at one, nobody at the other.

    Each may keep one subject of a stream.
    """

    def __init__(self, everybody: Running, nobody: Running) -> None:
        self.everybody = everybody
        self.nobody = nobody
        self.seen: set[tuple[str, str, str, int]] = set()

    async def ask(
        self, at: Running, status: int, method: str, path: str, **more: Any
    ) -> httpx.Response:
        answer = await at.ask(method, path, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        self.seen.add(("transmitter", *hold("transmitter", answer)))
        return answer

    async def __call__(self, status: int, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.ask(self.everybody, status, method, path, **more)


@pytest.fixture
async def call(valkey_url: str, tmp_path: Path) -> AsyncIterator[Transmitters]:
    async with AsyncExitStack() as stack:

        async def started(subjects: DefaultSubjects) -> Running:
            wanted = settings_of(
                tmp_path,
                valkey_url,
                push_to="http://127.0.0.1:9/ssf",
                default_subjects=subjects,
                max_subjects=1,
            )
            return await stack.enter_async_context(transmission(wanted))

        yield Transmitters(await started(DefaultSubjects.ALL), await started(DefaultSubjects.NONE))


def of(stream: str, **more: Any) -> dict[str, Any]:
    return {"json": {"stream_id": stream, **more}}


def about(stream: str, who: str) -> dict[str, Any]:
    return of(stream, subject={"format": "opaque", "id": who})


async def ask_streams(call: Transmitters, name: str) -> None:
    query = f"{AT.stream}?stream_id="
    await call(201, "POST", AT.stream, json={"description": "a second one"})
    await call(409, "POST", AT.stream, json={})
    await call(200, "GET", AT.stream)
    await call(200, "GET", f"{query}{name}")
    await call(404, "GET", f"{query}none")
    await call(400, "GET", f"{query}a&stream_id=b")
    for method in ("PATCH", "PUT"):
        await call(200, method, AT.stream, **of(name, description="changed"))
        await call(400, method, AT.stream, **of(name, iss="https://another.example"))
        await call(404, method, AT.stream, **of("none"))
        await call(403, method, AT.stream, **of(FIXED))
    await call(403, "DELETE", f"{query}{FIXED}")
    await call(404, "DELETE", f"{query}none")
    await call(400, "DELETE", AT.stream)
    await call(400, "POST", AT.stream, content=b"[")


async def ask_subjects(call: Transmitters, name: str) -> None:
    """Add and remove subjects, where each is the first exception of its stream, and one more."""
    nobodys = (await call.ask(call.nobody, 201, "POST", AT.stream)).json()["stream_id"]
    await call(200, "POST", AT.add_subject, **about(nobodys, "bob"))
    await call(403, "POST", AT.add_subject, **about(nobodys, "eve"))
    await call(204, "POST", AT.remove_subject, **about(name, "bob"))
    await call(403, "POST", AT.remove_subject, **about(name, "eve"))
    for path in (AT.add_subject, AT.remove_subject):
        await call(400, "POST", path, **of(name, subject={}))
        await call(404, "POST", path, **about("none", "bob"))
    await call(204, "DELETE", f"{AT.stream}?stream_id={nobodys}")


async def ask_for_events(call: Transmitters, name: str) -> None:
    await call(204, "POST", AT.verify, **of(name, state="s"))
    await call(429, "POST", AT.verify, **of(name, state="s"))
    await call(400, "POST", AT.verify, json={})
    await call(404, "POST", AT.verify, **of("none"))
    poll = f"{AT.polls}{name}"
    answer = await call(200, "POST", poll, json={"returnImmediately": True})
    assert len(answer.json()["sets"]) == 1
    refusal = {"err": "invalid_request", "description": "no"}
    refused = {"setErrs": dict.fromkeys(answer.json()["sets"], refusal), "maxEvents": 0}
    await call(200, "POST", poll, json=refused)
    await call(400, "POST", poll, json={"maxEvents": -1})
    await call(404, "POST", f"{AT.polls}none", json={})


async def ask_status(call: Transmitters, name: str) -> None:
    await call(200, "GET", f"{AT.status}?stream_id={name}")
    await call(404, "GET", f"{AT.status}?stream_id=none")
    await call(400, "GET", AT.status)
    await call(200, "POST", AT.status, **of(name, status="paused", reason="for a while"))
    await call(400, "POST", AT.status, **of(name, status="asleep"))
    await call(404, "POST", AT.status, **of("none", status="paused"))


async def ask_without_a_credential(call: Transmitters) -> None:
    for path, at in DOCUMENTS["transmitter"]["paths"].items():
        for method, operation in at.items():
            if method != "parameters" and "security" in operation:
                asked = (401, method.upper(), path.replace("{stream}", "x"))
                await call(*asked, headers={})
                await call(*asked, headers={"Authorization": f"Basic {MINE}"})


async def test_every_operation_answers_as_its_document_says(call: Transmitters) -> None:
    await call(200, "GET", AT.metadata, headers={})
    await call(200, "GET", AT.keys, headers={})
    fixed = f"{AT.stream}?stream_id={FIXED}"
    await ask_until(
        lambda: call.everybody.ask("GET", fixed), lambda answer: answer.status_code == 200
    )
    name = (await call(201, "POST", AT.stream)).json()["stream_id"]
    await ask_subjects(call, name)
    await ask_streams(call, name)
    await ask_for_events(call, name)
    await ask_status(call, name)
    await ask_without_a_credential(call)
    left = {one for one in missing(call.seen, ["transmitter"]) if one[3] not in NOT_REACHED}
    assert left == {("transmitter", AT.stream, "post", 403)}, "that recipient may create none"


async def test_a_recipient_that_may_create_no_streams_is_refused_as_documented(
    valkey_url: str, tmp_path: Path
) -> None:
    usual = settings_of(tmp_path, valkey_url)
    none = msgspec.structs.replace(usual.transmitter.recipients[0], max_streams=0)
    async with transmission(settings_of(tmp_path, valkey_url, recipients=(none,))) as here:
        answer = await here.ask("POST", AT.stream, headers=BEARER)
    assert answer.status_code == 403
    hold("transmitter", answer)


@pytest.mark.parametrize("below", ["", "/issuer1"])
def test_the_listener_has_the_operations_of_its_document(below: str) -> None:
    unused: Any = None  # what answers requests: only the routes are looked at
    door = TransmitterDoor(
        settings=Transmitter(issuer=f"https://t.example{below}"),
        management=unused,
        poll_server=unused,
        recipients=unused,
        keys=unused,
        telemetry=PrometheusTelemetry(Settings(log=Log(level="error"))),
    )
    found = {
        (AT.metadata + below if path == AT.metadata else below + path, method.upper())
        for path, at in DOCUMENTS["transmitter"]["paths"].items()
        for method in at.keys() - {"parameters"}
    }
    routes = {(route.path, method) for route in door.routes for method in route.methods or ()}
    assert {one for one in routes if one[1] != "HEAD"} == found
