"""An HTTP server outside of a daemon, which can be slow, gone, refusing, full or lying."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.adapters.servers import free_ports


class Answer(NamedTuple):
    """What is answered: a status, a body, and where to go instead."""

    status: int = 200
    body: bytes = b""
    location: str = ""


REFUSING = Answer(503)
PAGE = Answer(200, b"<html>We are back soon.</html>")


def too_large(most: int) -> Answer:
    """JSON of more than so many bytes."""
    return Answer(200, b"{}" + b" " * most)


class Faulty:
    """A server at `url`, for GET and POST; `suffer` says how it is answered from now on.

    `full` and `lying` are its answers then; whoever is `slow` gives none.
    """

    def __init__(self, path: str, well: Answer, *, full: Answer, lying: Answer = PAGE) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}/{path}"
        self._well = well
        self._faults = {"refusing": REFUSING, "full": full, "lying": lying}
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
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self._fault == "slow":
            self._go_on.wait(30)
            return
        status, body, location = self._faults.get(self._fault, self._well)
        try:
            request.send_response(status)
            request.send_header("Content-Length", str(len(body)))
            if location:
                request.send_header("Location", location)
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            return  # whoever asked did not wait
