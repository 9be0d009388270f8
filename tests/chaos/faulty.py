"""An HTTP server with a key set, which can be slow, gone, refusing, full or lying."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.adapters.servers import free_ports

TOO_LARGE = b'{"keys": []}' + b" " * 1_100_000
PAGE = b"<html>We are back soon.</html>"


class FaultyKeys:
    """A key set at `url`; `suffer` says how it is answered from now on."""

    def __init__(self, keys: bytes) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}/jwks"
        self._keys = keys
        self._fault = ""
        self._go_on = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._listen()

    def suffer(self, fault: str = "") -> None:
        """Answer with this fault; empty: well."""
        self._go_on.set()
        self._fault = fault
        self._go_on = threading.Event()
        if fault == "gone":
            self.close()
        elif self._server is None:
            self._listen()

    def close(self) -> None:
        """Be gone."""
        self._go_on.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _listen(self) -> None:
        keys = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys._answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self._fault == "slow":
            self._go_on.wait(30)
            return
        body = {"full": TOO_LARGE, "lying": PAGE}.get(self._fault, self._keys)
        try:
            request.send_response(503 if self._fault == "refusing" else 200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            return  # whoever asked did not wait
