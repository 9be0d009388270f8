"""A listener's certificate is that of its files, without a restart."""

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from starlette.responses import Response

from sidecar.adapters.listening.asgi import Listener
from sidecar.adapters.listening.certificates import Certificate


def issue(authority: trustme.CA, directory: Path) -> None:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(directory / "key.pem")
    issued.cert_chain_pems[0].write_to_path(directory / "cert.pem")


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_changed_certificate_counts_for_new_connections_and_a_broken_one_does_not(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    first, second, reported = trustme.CA(), trustme.CA(), list[str]()
    issue(first, tmp_path)
    files = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    empty: Any = Response()
    listener = Listener("127.0.0.1:0", empty, certificate=Certificate(*files, reported.append))
    (url,) = await nursery.start(listener.run)
    assert url.startswith("https://")
    async with httpx.AsyncClient(verify=trusting(first), timeout=20) as early:
        assert (await early.get(url)).status_code == 200
        (tmp_path / "key.pem").write_text("of no use")
        async with httpx.AsyncClient(verify=trusting(first), timeout=20) as client:
            assert (await client.get(url)).status_code == 200, "the old one stays"
            assert len(reported) == 1
        issue(second, tmp_path)
        async with httpx.AsyncClient(verify=trusting(second), timeout=20) as client:
            assert (await client.get(url)).status_code == 200
            assert reported[1:] == [""]
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient(verify=trusting(first), timeout=20).get(url)
        assert (await early.get(url)).status_code == 200, "what was open goes on"


def test_a_certificate_that_cannot_be_used_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Certificate(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
