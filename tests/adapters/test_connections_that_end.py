"""The memory of a connection is free when it ends, without a full garbage collection.

There is one seldom (`daemon.process`), as it walks through every session in memory.
"""

import gc

import pytest
import trio

from sidecar.adapters.http.request_parser import RequestParser
from tests.adapters.http.site import OK, answer, serving


@pytest.mark.parametrize("sent", [OK, b"", b"GET / HTTP/1.1\r\n", b"nonsense\r\n\r\n"])
async def test_nothing_of_an_http_connection_waits_for_the_collector(sent: bytes) -> None:
    gc.collect()
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
                # By type: of some objects (Django's settings) `isinstance` has the class looked up.
                while any(type(one) is RequestParser for one in gc.get_objects()):
                    await trio.lowlevel.checkpoint()
    finally:
        gc.enable()
