"""An introspection endpoint (RFC 7662) that answers as a test says."""

import contextlib
import json
from typing import Any
from urllib.parse import parse_qs

import trio
import trio.testing


class Endpoint:
    """An introspection endpoint: `active` says what it answers of each token."""

    def __init__(self) -> None:
        self.active: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, str]] = []
        self.headers: list[str] = []
        self.status = 200
        self.body: bytes | None = None
        self.odd: tuple[int, bytes] | None = None  # what is answered to odd tokens
        self.free: set[str] = set()  # tokens that do not wait for the gate
        self.gate: trio.Event | None = None
        self.arrived = trio.Event()

    async def handle(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
            while b"\r\n\r\n" not in data:
                if not (more := await stream.receive_some()):
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            (length,) = (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            while len(body) < length:
                body += await stream.receive_some()
            self.headers.append(head.decode())
            asked = {name: value for name, (value,) in parse_qs(body.decode()).items()}
            self.asked.append(asked)
            self.arrived.set()
            if self.gate is not None and asked["token"] not in self.free:
                await self.gate.wait()
            known = self.active.get(asked["token"])
            claims = {"active": False} if known is None else {"active": True, **known}
            answer = json.dumps(claims).encode() if self.body is None else self.body
            status = self.status
            if self.odd is not None and asked["token"].startswith("odd"):
                status, answer = self.odd
            start = f"HTTP/1.1 {status} X\r\nConnection: close\r\n"
            await stream.send_all(f"{start}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
            await stream.aclose()
