"""The memory of a connection is free when it ends, without a full garbage collection.

What is frozen by then, no collection looks at (`adapters.process.collector`).
"""

import gc

import pytest
import trio

from sidecar.adapters.http.request_parser import RequestParser
from tests.adapters.http.site import OK, answer, serving


@pytest.mark.parametrize("sent", [OK, b"", b"GET / HTTP/1.1\r\n", b"nonsense\r\n\r\n"])
async def test_nothing_of_an_http_connection_waits_for_the_collector(sent: bytes) -> None:
    gc.collect()
    # By type: of some objects (Django's settings) `isinstance` has the class looked up.
    held = [one for one in gc.get_objects() if type(one) is RequestParser]  # by other tests
    gc.disable()
    try:
        async with serving() as site:
            for _ in range(3):
                client = await site.client()
                if sent:
                    await client.send(sent)
                if sent == OK:
                    await answer(client)
                await client.stream.aclose()
            with trio.fail_after(20):
                while sum(type(one) is RequestParser for one in gc.get_objects()) > len(held):
                    await trio.lowlevel.checkpoint()
    finally:
        gc.enable()
