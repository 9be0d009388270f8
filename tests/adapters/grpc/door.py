"""A gRPC door, and calls of it as Envoy makes them."""

from typing import Any

from sidecar.adapters.grpc.listener import CHECK
from sidecar.wire.grpc.messages import Code, packed, unpacked
from sidecar.wire.grpc.protobuf import Message, bytes_field
from tests.adapters.doors import Services
from tests.adapters.http2 import Peer


class Door:
    """A running listener, what stands behind it, and a peer of it."""

    def __init__(self, services: Services, address: str, peer: Peer) -> None:
        self.services = services
        self.address = address
        self.peer = peer

    async def send(self, message: bytes, path: bytes = CHECK) -> Any:
        return await self.peer.outcome(await self.peer.call(path, packed(message)))

    async def check(self, headers: dict[str, str], **more: Any) -> tuple[int, Message]:
        """Return the status of the refusal (200: none), and the refusal or the pass."""
        outcome = await self.send(check_request(headers, **more))
        assert outcome.status == Code.OK
        answer = Message(unpacked(outcome.data))
        if answer.text(3):
            return 200, answer.message(3)
        denied = answer.text(2)
        # DeniedHttpResponse.status.code, a varint of two bytes
        code = Message(denied).text(1)
        return (code[1] & 0x7F) | code[2] << 7, Message(denied)


def pair(key: str, value: str) -> bytes:
    return bytes_field(1, key.encode()) + bytes_field(2, value.encode())


def check_request(
    headers: dict[str, str],
    *,
    path: str = "/pay/7?x",
    method: str = "POST",
    host: str = "shop.example:443",
    source: str = "203.0.113.9",
    contexts: str = "",
) -> bytes:
    http = b"".join(
        [
            bytes_field(2, method.encode()),
            *(bytes_field(3, pair(*one)) for one in headers.items()),
            bytes_field(4, path.encode()),
            bytes_field(5, host.encode()),
        ]
    )
    peer = bytes_field(1, bytes_field(1, bytes_field(2, source.encode())))
    attributes = bytes_field(1, peer) + bytes_field(4, bytes_field(2, http))
    if contexts:
        attributes += bytes_field(10, pair("auth-context", contexts))
    return bytes_field(1, attributes)
