"""The local socket in its tests: a running one, what stands behind it, and its raw clients."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

from sidecar.adapters.socket.server import LocalSocket
from sidecar.wire.settings.settings import Socket
from tests.adapters.doors import (
    SKEW,
    Incidents,
    Numbers,
    Services,
    Wire,
    clock,
    connect,
    running,
    speakers,
)

REVOKE = {"op": "event", "type": "session-revoked"}


class Client(Wire):
    """A raw client that speaks JSON lines."""

    async def ask(self, *requests: Any) -> None:
        await self.send(b"".join(json.dumps(request).encode() + b"\n" for request in requests))

    async def reply(self) -> Any:
        return json.loads(await self.line())

    async def call(self, request: Any) -> Any:
        await self.ask(request)
        return await self.reply()


class Door:
    """A running socket and what stands behind it."""

    def __init__(self, path: Any, services: Any = None, **more: Any) -> None:
        self.path = str(path)
        self.services = services or Services()
        self.incidents = Incidents()
        self.clients: list[Client] = []
        more.setdefault("acknowledger", self.services)
        settings = {
            name: more.pop(name) for name in tuple(more) if name in Socket.__struct_fields__
        }
        self.socket = LocalSocket(
            Socket(path=self.path, **settings),
            checks=self.services,
            events=self.services,
            watches=more.pop("watches", self.services.watches),
            speakers=more.pop("speakers", None) or speakers(),
            clock=clock,
            skew=lambda: SKEW,
            new_id=Numbers(),
            on_incident=self.incidents,
            **more,
        )

    async def client(self) -> Any:
        self.clients.append(Client((await connect(self.path)).stream))
        return self.clients[-1]

    def close(self) -> None:
        for client in self.clients:
            client.stream.socket.close()


@asynccontextmanager
async def opened(
    path: Any, services: Any = None, draining: Any = None, **more: Any
) -> AsyncIterator[Any]:
    door = Door(path, services, **more)
    options = {} if draining is None else {"draining": draining}
    async with running(door.socket.run, **options):
        with closing(door):  # first, so that nobody waits for us
            yield door


def revoke(session: Any, **more: Any) -> Any:
    return {**REVOKE, "subject": {"session": session}, **more}
