"""What each gateway passes, refuses and strips: seen at the app behind it, one row for each thing.

`python -m tests.system.gateways.passage` writes the table into docs/gateways.md, from runs of the
real gateways. The column of one that cannot be run here stays as it is.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.adapters import servers
from tests.stories.running import token, unique
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.stack import EVENTS, Seen, Stack, bearer, standing
from tests.system.gateways.tunnels import H2C, HANDSHAKE, Fields, Link, Response, head

PAGE = Path(__file__).parents[3] / "docs" / "gateways.md"
BEGIN, END = "<!-- passage: begin -->\n", "<!-- passage: end -->\n"
TITLES = {
    "nginx": "nginx",
    "caddy": "Caddy",
    "haproxy": "HAProxy",
    "apache": "Apache",
    "envoy": "Envoy, HTTP",
    "envoy-grpc": "Envoy, gRPC",
    "traefik": "Traefik",
}
HOST = ("Host", "shop.example")
CLIENT_SAYS = "203.0.113.7"


class Got(NamedTuple):
    """What came of a call: the client's answer, and what reached the app."""

    answer: Response
    seen: list[Seen]

    @property
    def fate(self) -> str:
        """Whether it passed."""
        return "passes" if self.seen else f"refused ({self.answer.status})"


class Probe:
    """Calls of a user who may make them, through one gateway."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.token = token(unique("user"), unique("session"))

    def call(
        self,
        target: str = "/public",
        fields: Fields = (),
        method: str = "GET",
        body: bytes = b"",
        host: Fields = (HOST,),
    ) -> Got:
        """Make one call with these header lines, and no others but the token's."""
        calls = len(self.stack.app.seen)
        with Link(self.stack.ports.gateway) as link:
            link.send(head(method, target, [*host, bearer(self.token), *fields]) + body)
            answer = link.begun()
        return Got(answer, self.stack.app.seen[calls:])


Look = Callable[[Probe], str]


def header(*lines: tuple[str, str]) -> Look:
    """Look at what becomes of header lines that a client sends."""

    def look(probe: Probe) -> str:
        fates = []
        for name, value in lines:
            got = probe.call(fields=[(name, value)])
            heard = (
                [item for key, item in got.seen[0].headers if key.lower() == name.lower()]
                if got.seen
                else []
            )
            kept = any(value in item for item in heard)
            fates.append(got.fate if kept or not got.seen else "replaced" if heard else "stripped")
        return _all(fates)

    return look


def path(*targets: str) -> Look:
    """Look at what becomes of paths."""

    def look(probe: Probe) -> str:
        fates = []
        for target in targets:
            got = probe.call(target)
            changed = bool(got.seen) and got.seen[0].target != target
            fates.append(f"as `{got.seen[0].target}`" if changed else got.fate)
        return _all(fates)

    return look


def call(*ways: tuple[str, Fields], body: bytes = b"") -> Look:
    """Look at what becomes of calls by their method and header lines."""

    def look(probe: Probe) -> str:
        return _all(probe.call(method=name, fields=more, body=body).fate for name, more in ways)

    return look


def methods(*names: str) -> Look:
    """Look at whether calls of these methods pass."""
    return call(*((name, ()) for name in names))


def hosts(*lines: Fields) -> Look:
    """Look at what becomes of calls to these hosts."""
    return lambda probe: _all(probe.call(host=line).fate for line in lines)


def upgrade(*wanted: Fields) -> Look:
    """Look at whether a tunnel is opened, and else what is left of the wish."""

    def look(probe: Probe) -> str:
        fates = []
        for fields in wanted:
            got = probe.call(fields=fields)
            if got.answer.status == 101:
                fates.append("passes")
            elif got.seen and got.seen[0].heard("Upgrade"):
                fates.append("passes, and no tunnel")
            else:
                fates.append("stripped" if got.seen else got.fate)
        return _all(fates)

    return look


def both_lengths(probe: Probe) -> str:
    """Look at what becomes of a body whose length is given in two ways (RFC 9112, section 6.3)."""
    fields = (CHUNKED, ("Content-Length", "6"))
    got = probe.call(method="POST", fields=fields, body=b"1\r\nx\r\n0\r\n\r\n")
    if not got.seen:
        return got.fate
    return "passes with both" if got.seen[0].heard("Content-Length") else "passes, in chunks"


def connection(probe: Probe) -> str:
    """Look at what becomes of a header that `Connection` names."""
    got = probe.call(fields=[("Connection", "X-Custom"), ("X-Custom", "1")])
    if not got.seen:
        return got.fate
    named = [value for value in got.seen[0].heard("Connection") if "custom" in value.lower()]
    return "passes" if named else "stripped" if got.seen[0].heard("X-Custom") else "obeyed"


def events(probe: Probe) -> str:
    """Look at whether an event reaches the client before the next one is sent."""
    with Link(probe.stack.ports.gateway) as link:
        link.send(head("GET", EVENTS, [HOST, bearer(probe.token)]))
        link.begun()
        first = link.chunk()
        probe.stack.app.goes_on.set()
        return "pass as they come" if first else "are held back"


def over_http2(probe: Probe) -> str:
    """Look at whether calls pass over HTTP/2 without TLS, and each is asked about."""
    common = ((":method", "GET"), (":scheme", "http"), (":authority", "shop.example"))
    allowed = ("authorization", f"Bearer {probe.token}")
    with Link(probe.stack.ports.gateway) as link:
        found = link.over_h2(
            [((":path", "/public"), *common, allowed), ((":path", "/public"), *common)]
        )
    return "each call is asked about" if found == {0: 200, 1: 401} else "not spoken"


def refusal(probe: Probe) -> str:
    """Look at what of the sidecar's refusal reaches the client."""
    with Link(probe.stack.ports.gateway) as link:
        link.send(head("GET", "/public", [HOST]))
        answer = link.response()
    assert answer.fields["www-authenticate"] == "Bearer"
    inside = " and `X-Sidecar-Decision`" if "x-sidecar-decision" in answer.fields else ""
    whole = b'"detail"' in answer.body
    return f"{'its body' if whole else 'a body of the file'}{inside}"


def _all(fates: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(fates))


SIDECAR = ("X-Sidecar-Subject", "X-Sidecar-Session", "X-Sidecar-Assurance", "X-Sidecar-Decision")
CHUNKED = ("Transfer-Encoding", "chunked")
ROWS: Sequence[tuple[str, Look]] = (
    (
        "`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`",
        methods("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    ),
    ("other methods (`PURGE`, `REPORT`)", methods("PURGE", "REPORT")),
    ("`TRACE`", methods("TRACE")),
    ("`CONNECT`", lambda probe: probe.call("shop.example:443", method="CONNECT").fate),
    ("a body in chunks", call(("POST", [CHUNKED]), body=b"1\r\nx\r\n0\r\n\r\n")),
    ("a body in chunks, with a `Content-Length`", both_lengths),
    ("a WebSocket", upgrade(HANDSHAKE)),
    ("server-sent events", events),
    ("`Upgrade: h2c`", upgrade(H2C)),
    (
        "`Upgrade: websocket, h2c`",
        upgrade((HANDSHAKE[0], ("Upgrade", "websocket, h2c"), *HANDSHAKE[2:])),
    ),
    ("another upgrade", upgrade((HANDSHAKE[0], ("Upgrade", "TLS/1.2")))),
    ("`HTTP2-Settings`", header(H2C[2])),
    ("headers that `Connection` names", connection),
    ("HTTP/2 without TLS", over_http2),
    (
        "`Authorization`, `Cookie`, `DPoP`, `X-Custom`",
        header(("Cookie", "a=1"), ("DPoP", "a"), ("X-Custom", "1")),
    ),
    (
        "`Origin`, `Access-Control-Request-Method`",
        header(("Origin", "https://any.example"), ("Access-Control-Request-Method", "POST")),
    ),
    ("`X_Custom`", header(("X_Custom", "1"))),
    ("`X-Sidecar-*`", header(*((name, "forged") for name in SIDECAR))),
    (
        "`X_Sidecar_Subject`, `X.Sidecar.Subject`",
        header(("X_Sidecar_Subject", "forged"), ("X.Sidecar.Subject", "forged")),
    ),
    ("`X-Auth-Context`", header(("X-Auth-Context", "c2"))),
    (
        "`X-Original-Method`, `-URI`, `-URL`",
        header(("X-Original-Method", "PUT"), ("X-Original-URI", "/x"), ("X-Original-URL", "/x")),
    ),
    (
        "`X-Forwarded-Method`, `-Uri`",
        header(("X-Forwarded-Method", "PUT"), ("X-Forwarded-Uri", "/x")),
    ),
    ("`X-Forwarded-For`", header(("X-Forwarded-For", CLIENT_SAYS))),
    ("`X-Forwarded-Host`", header(("X-Forwarded-Host", "other.example"))),
    (
        "`X-Real-IP`, `Forwarded`",
        header(("X-Real-IP", CLIENT_SAYS), ("Forwarded", f"for={CLIENT_SAYS}")),
    ),
    (
        "`X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`",
        header(
            ("X-HTTP-Method-Override", "PUT"),
            ("X-HTTP-Method", "PUT"),
            ("X-Method-Override", "PUT"),
        ),
    ),
    ("`?_method=PUT`", path("/public?_method=PUT")),
    (
        "two `Host`, or a list",
        hosts((HOST, ("Host", "pay.example")), (("Host", "shop.example, pay.example"),)),
    ),
    ("two `Authorization`", call(("GET", [("Authorization", "Bearer another")]))),
    ("`/public/%61?x=%20`", path("/public/%61?x=%20")),
    ("`http://shop.example/public`", path("http://shop.example/public")),
    ("`http://pay.example/public`, with another `Host`", path("http://pay.example/public")),
    ("`//public/x`, `/public//x`", path("//public/x", "/public//x")),
    ("`/public/./x`, `/a/../public/x`", path("/public/./x", "/a/../public/x")),
    ("`/public/%2e/x`, `/a/%2E%2e/public/x`", path("/public/%2e/x", "/a/%2E%2e/public/x")),
    ("`/public%2fx`, `/public%5cx`", path("/public%2fx", "/public%5cx")),
    ("`/public\\x`", path("/public\\x")),
    ("`/public;v=1/x`", path("/public;v=1/x")),
    ("`/%2570ublic`", path("/%2570ublic")),
    ("`/public/%00`, `/public/%c0%af`", path("/public/%00", "/public/%c0%af")),
    ("of a refusal, besides status and `WWW-Authenticate`", refusal),
)


def column(stack: Stack) -> list[str]:
    """Return what each row says of a gateway that runs."""
    probe = Probe(stack)
    return [look(probe) for _, look in ROWS]


def columns(page: str) -> dict[str, list[str]]:
    """Return the columns of the table in a page."""
    lines = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    titles = rows[0] if rows else []
    return {
        name: [row[titles.index(title)] for row in rows[2:]]
        for name, title in TITLES.items()
        if title in titles
    }


def with_columns(page: str, cells: dict[str, list[str]]) -> str:
    """Return the page with these columns in its table; `?` where nothing is known."""
    unknown = ["?"] * len(ROWS)
    each = [cells.get(name, unknown) for name in TITLES]
    each = [one if len(one) == len(ROWS) else unknown for one in each]
    lines = [["what a client sends", *TITLES.values()], ["---"] * (len(TITLES) + 1)]
    lines += [[row, *(one[at] for one in each)] for at, (row, _) in enumerate(ROWS)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Write the columns of the gateways that can be run here."""
    page = PAGE.read_text(encoding="utf-8")
    cells = columns(page)
    with servers.serving() as store:
        for name in (name for name in TITLES if GATEWAYS[name].installed):
            with standing(name, store.url) as stack:
                cells[name] = column(stack)
    PAGE.write_text(with_columns(page, cells), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
