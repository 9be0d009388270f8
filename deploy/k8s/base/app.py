"""A sample app: it asks the pod's sidecar about each call before it answers.

What it does by hand (connect, write a line, read a line) is the whole protocol. It fails
closed: when the sidecar cannot be asked, the caller gets 503.
"""

import http.server
import json
import os
import signal
import socket
import threading

SOCKET = os.environ.get("SIDECAR_SOCKET", "/run/sidecar/sidecar.sock")
PORT = int(os.environ.get("PORT", "8080"))
CANNOT_ASK = {"decision": "deny", "status": 503, "message": "the sidecar cannot be asked"}
NO_TOKEN = {
    "decision": "deny",
    "status": 401,
    "www_authenticate": 'Bearer error="invalid_token"',
}


def ask(question: dict[str, str]) -> dict[str, object]:
    """Send one request line, return the reply; a 503 where that fails."""
    try:
        with socket.socket(socket.AF_UNIX) as sidecar, sidecar.makefile("rwb") as lines:
            sidecar.settimeout(2)
            sidecar.connect(SOCKET)
            lines.write(json.dumps(question).encode() + b"\n")
            lines.flush()
            reply = json.loads(lines.readline())
    except (OSError, ValueError):
        return CANNOT_ASK
    if not isinstance(reply, dict):
        return CANNOT_ASK
    if reply.get("error") == "invalid_token":
        return NO_TOKEN | reply
    return reply if "decision" in reply else CANNOT_ASK


class App(http.server.BaseHTTPRequestHandler):
    """Answers every path alike, if the sidecar lets the call pass."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Ask, then pass on either the sidecar's refusal or our content."""
        if self.path == "/healthz":
            self.reply(200, {"status": "ok"})
            return
        # Only the gateway reaches us (networkpolicy.yaml), so the last address is the one it saw.
        forwarded = self.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        verdict = ask(
            {
                "op": "check",
                "token": token.strip() if scheme.lower() == "bearer" else "",
                "method": self.command,
                "host": self.headers.get("Host", ""),
                "path": self.path,
                "ip": forwarded or self.client_address[0],
            }
        )
        if verdict["decision"] == "allow":
            self.reply(200, {"path": self.path, "session": verdict.get("session")})
        else:
            self.reply(int(str(verdict.get("status", 403))), verdict)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's

    def reply(self, status: int, content: dict[str, object]) -> None:
        """Write an answer in JSON, with the sidecar's challenge if there is one."""
        body = json.dumps(content).encode()
        self.send_response(status)
        if challenge := content.get("www_authenticate"):
            self.send_header("WWW-Authenticate", str(challenge))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # A request's body is left unread, so the connection cannot be used again.
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """Answers each call in a thread of its own; the last calls are waited for at the end."""

    daemon_threads = False

    def end(self, *_: object) -> None:
        """Stop taking calls. As process 1 of a container SIGTERM does nothing by itself."""
        threading.Thread(target=self.shutdown).start()  # which waits for the loop that we are in


if __name__ == "__main__":
    everywhere = "0.0.0.0"  # noqa: S104 - a pod is reached at its address
    with Server((everywhere, PORT), App) as server:
        signal.signal(signal.SIGTERM, server.end)
        server.serve_forever(poll_interval=0.1)
