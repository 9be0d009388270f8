"""A small transmitter of Shared Signals, over real HTTP on trio: keys, streams and poll."""

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from sidecar.adapters.listening.tcp_listeners import tcp_socket
from tests.adapters.identity import key_set

TOKEN = "let-me-in"
PATIENCE = 0.5


class Transmitter:
    """A transmitter: its events, and its requests. Plain containers are safe enough for tests."""

    def __init__(self, url: str, keys: bytes) -> None:
        self.url = url
        self.keys = keys
        self.waiting: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self.refused: dict[str, Any] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.streams: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, str] = {}
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.at_once = 100
        self.metadata: dict[str, Any] = {
            "spec_version": "1_0",
            "issuer": url,
            "jwks_uri": f"{url}/jwks",
            "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
            "configuration_endpoint": f"{url}/streams",
            "status_endpoint": f"{url}/status",
            "add_subject_endpoint": f"{url}/subjects:add",
            "remove_subject_endpoint": f"{url}/subjects:remove",
            "verification_endpoint": f"{url}/verify",
        }

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["type"] == "http"
        body, more = b"", True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            body, more = body + message["body"], message["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = {
            name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()
        }
        asked = json.loads(body) if body else query
        path = scope["path"]
        self.requests.append((scope["method"], path, asked))
        fields: dict[str, str] = {}
        if self.faults and path == "/poll":
            (status, fields), answer = self.faults.pop(0), None
        elif path.startswith("/.well-known/ssf") or path == "/jwks":
            status = 200
            answer = self.metadata if path != "/jwks" else json.loads(self.keys)
        elif headers.get("authorization") != f"Bearer {TOKEN}":
            status, answer = 401, None
        else:
            status, answer = await self._answer(scope["method"], path, asked)
        raw = b"" if answer is None else json.dumps(answer).encode()
        extra = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", str(len(raw)).encode()), *extra],
            }
        )
        await send({"type": "http.response.body", "body": raw, "more_body": False})

    async def _answer(self, method: str, path: str, asked: Any) -> tuple[int, Any]:  # noqa: C901, PLR0912
        stream = str(asked.get("stream_id", ""))
        match method, path:
            case "POST", "/poll":
                return 200, await self._poll(asked)
            case "POST", "/streams" if self.streams:
                return 409, None
            case "POST", "/streams":
                self.streams["s1"] = {
                    "stream_id": "s1",
                    "iss": self.url,
                    "aud": "https://us.example",
                    "events_delivered": asked.get("events_requested", []),
                    "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": f"{self.url}/poll"},
                    **asked,
                }
                self.statuses["s1"] = "enabled"
                return 201, self.streams["s1"]
            case "GET", "/streams" if not stream:
                return 200, list(self.streams.values())
            case _ if stream not in self.streams:
                return 404, None
            case "GET", "/streams":
                return 200, self.streams[stream]
            case "PATCH", "/streams":
                self.streams[stream] |= asked
                return 200, self.streams[stream]
            case "DELETE", "/streams":
                del self.streams[stream]
                return 204, None
            case "GET", "/status":
                return 200, {"stream_id": stream, "status": self.statuses[stream]}
            case "POST", "/status":
                self.statuses[stream] = asked["status"]
                return 200, asked
            case "POST", "/subjects:add":
                return 200, None
            case "POST", "/subjects:remove" | "/verify":
                return 204, None
            case _:
                return 405, None

    async def _poll(self, asked: Any) -> dict[str, Any]:
        for token_id in (*asked.get("ack", ()), *asked.get("setErrs", {})):
            self.waiting.pop(token_id, None)
        self.acknowledged += asked.get("ack", ())
        self.refused |= asked.get("setErrs", {})
        if not asked.get("returnImmediately"):
            with trio.move_on_after(PATIENCE):
                while not self.waiting:  # noqa: ASYNC110 - filled from other threads
                    await trio.sleep(0.01)  # the pace at which it is looked whether there is any
        count = min(self.at_once, asked.get("maxEvents", self.at_once))
        sets = dict(list(self.waiting.items())[:count])
        return {"sets": sets, "moreAvailable": len(sets) < len(self.waiting)}


async def transmit(
    *keys: Any, task_status: trio.TaskStatus[Transmitter] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve a transmitter with these keys until cancelled."""
    config = Config()
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.1
    listener = tcp_socket("127.0.0.1:0")
    host, port = listener.getsockname()
    transmitter = Transmitter(f"http://{host}:{port}", key_set(*keys))
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                worker_serve,
                ASGIWrapper(transmitter),
                config,
                sockets=Sockets([], [listener], []),
                shutdown_trigger=trio.sleep_forever,
            )
        )
        task_status.started(transmitter)
