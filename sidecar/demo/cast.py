"""The actors: people with their browsers, the app that asks about their calls, and the signals.

Each asks the daemon as it would in earnest: the app over HTTP, as a proxy describes the call; the
senders of signals, and an app that follows standings, over the local socket.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NamedTuple

import httpx
import trio

from sidecar.adapters import clock
from sidecar.demo.browser import (
    INSUFFICIENT,
    Astray,
    Browser,
    Challenge,
    SignedInUser,
    parse_challenge,
)
from sidecar.demo.lines import SocketClient, connected
from sidecar.demo.people import ALICE, BOB, CAROL, Person
from sidecar.demo.stage import CLIENT, SENSITIVE, DemoStage
from sidecar.demo.timeline import DemoTimeline

ALLOWED = "200 allow"
PENDING = "200 allow, step-up pending"
STEP_UP = "401 step up"
INVALID = "401 invalid token"
DENIED = "403 deny"
PATIENCE = 5.0
"""Seconds until something that must come is missed."""
_MARGIN = 0.005
_POLL = 0.02
_SOURCE_OF = {
    "risk-level-change": "idp",
    "session-revoked": "idp",
    "device-compliance-change": "mdm",
    "network-change": "nac",
}

_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Called(NamedTuple):
    """The result of a check: an outcome as above, the challenge, and the reasons in words."""

    outcome: str
    challenge: Challenge
    why: tuple[str, ...]


class Change(NamedTuple):
    """A change of standing that a watcher was notified of, and when (trio's clock)."""

    session: str
    standing: str
    at: float


class Took(NamedTuple):
    """The time that an event took, in seconds from its line being sent.

    `check`: to the answer of the first check that was challenged; `watch`: to a watcher's line.
    """

    check: float
    watch: float


class Watcher:
    """An app with open streams, which is notified when a session's standing changes."""

    def __init__(self, lines: SocketClient, credential: str) -> None:
        self._lines = lines
        self._credential = credential
        self._send, self._receive = trio.open_memory_channel[Change](1000)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled, or until the daemon ends it: no change comes after that."""
        reply = await self._lines.ask({"op": "watch", "credential": self._credential})
        if not reply.get("ok"):
            raise Astray(f"watching is refused: {reply}")
        task_status.started()
        async with self._send:
            with suppress(Astray, trio.BrokenResourceError):
                while True:
                    line = await self._lines.read()
                    change = Change(line["session"], line["standing"], trio.current_time())
                    await self._send.send(change)

    async def until(self, session: str, standing: str) -> Change | None:
        """Return the next such change, None if it does not come.

        Others before it are passed over.
        """
        with trio.move_on_after(PATIENCE):
            async for change in self._receive:
                if (change.session, change.standing) == (session, standing):
                    return change
        return None


class Cast(NamedTuple):
    """The actors, as the acts need them."""

    stage: DemoStage
    timeline: DemoTimeline
    alice: Browser
    bob: Browser
    carol: Browser
    watcher: Watcher
    pusher: SocketClient
    http: httpx.AsyncClient

    async def call(self, signed: SignedInUser, call: str, ip: str) -> Called:
        """Ask about a call, `METHOD /path`, as the app's proxy does."""
        method, _, path = call.partition(" ")
        answer = await self.http.get(
            f"{self.stage.checks}/v1/check",
            headers={
                "Authorization": f"Bearer {signed.access_token}",
                "X-Forwarded-Method": method,
                "X-Forwarded-Uri": path,
                "X-Forwarded-For": ip,
            },
        )
        return _called(answer)

    async def event(self, kind: str, subject: Mapping[str, str], **more: Any) -> dict[str, Any]:
        """Push an event into the socket, as the source whose word it is.

        Raises `Astray` where it is refused.
        """
        shown = {"credential": self.stage.credential(_SOURCE_OF[kind])}
        reply = await self.pusher.ask(
            {"op": "event", "type": kind, "subject": subject, **shown, **more}
        )
        if not reply.get("ok"):
            raise Astray(f"the event is refused: {reply}")
        return reply

    async def strike(self, signed: SignedInUser, ip: str, kind: str, **data: str) -> Took:
        """Push an event about a session; return after how many seconds it takes effect.

        Raises `Astray` where the session is not marked in time.
        """
        check = {"op": "check", "token": signed.access_token, "context": SENSITIVE, "ip": ip}
        async with connected(self.stage.socket) as lines:
            started = trio.current_time()
            await self.event(kind, {"session": signed.session}, data=data)
            marked = None
            with trio.move_on_after(PATIENCE):
                decision = ""
                while decision != "step_up":
                    decision = (await lines.ask(check)).get("decision", "")
                marked = trio.current_time()
        change = await self.watcher.until(signed.session, "step_up")
        if marked is None or change is None:
            raise Astray("the event did not mark the session")
        return Took(marked - started, change.at - started)

    async def metric(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the samples of a metric, by their labels."""
        page = (await self.http.get(f"{self.stage.admin}/metrics")).raise_for_status().text
        found = (_SAMPLE.fullmatch(line) for line in page.splitlines())
        return {
            tuple(_LABEL.findall(sample["labels"] or "")): float(sample["value"])
            for sample in found
            if sample is not None and sample["name"] == name
        }

    async def marks(self, *awaited: tuple[str, str]) -> dict[tuple[str, str], int]:
        """Return the marks set so far, by policy and signal, once those awaited are among them.

        Counting follows enforcement and does not hold it up, so it is a moment late. Returned
        without them after `PATIENCE`.
        """
        marks: dict[tuple[str, str], int] = {}
        with trio.move_on_after(PATIENCE):
            while True:
                samples = await self.metric("sidecar_marks_total")
                named = ((dict(labels), value) for labels, value in samples.items())
                marks = {(of["policy"], of["signal"]): int(value) for of, value in named}
                if marks.keys() >= set(awaited):
                    break
                await trio.sleep(_POLL)
        return marks


def _called(answer: httpx.Response) -> Called:
    header = answer.headers.get("www-authenticate", "")
    challenge = parse_challenge(header) if header else Challenge()
    body = answer.json() if answer.headers.get("content-type", "").endswith("json") else {}
    why = tuple(
        f"because {reason['text']}" + (f" ({reason['policy']})" if reason["policy"] else "")
        for reason in body.get("reasons", ())
    )
    return Called(_outcome(answer, challenge), challenge, why)


def _outcome(answer: httpx.Response, challenge: Challenge) -> str:
    match answer.status_code, challenge.error:
        case 200, _:
            return PENDING if answer.headers.get("x-sidecar-step-up") == "pending" else ALLOWED
        case 401, error if error == INSUFFICIENT:
            return STEP_UP
        case 401, "invalid_token":
            return INVALID
        case 403, _:
            return DENIED
        case status, _:
            return str(status)


async def later_second() -> None:
    """Return once the wall clock shows another second than now."""
    now = clock.now()
    await trio.sleep(int(now) + 1 - now + _MARGIN)


@asynccontextmanager
async def gathered(stage: DemoStage, timeline: DemoTimeline) -> AsyncIterator[Cast]:
    """Connect everybody, and yield them."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:

        async def browser(person: Person) -> Browser:
            http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            return Browser(http, stage.provider.issuer, CLIENT, person)

        lines = await stack.enter_async_context(connected(stage.socket))
        watcher = Watcher(lines, stage.credential("app"))
        await nursery.start(watcher.run)
        yield Cast(
            stage=stage,
            timeline=timeline,
            alice=await browser(ALICE),
            bob=await browser(BOB),
            carol=await browser(CAROL),
            watcher=watcher,
            pusher=await stack.enter_async_context(connected(stage.socket)),
            http=await stack.enter_async_context(httpx.AsyncClient(trust_env=False)),
        )
        nursery.cancel_scope.cancel()
