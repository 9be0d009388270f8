# ruff: noqa: INP001 - a script, no package
"""Writes the page of errors: each code at the socket and over HTTP, its meaning, and what helps.

`python -m docs.error_codes` writes `docs/reference/errors.md`. A test sees to it that no code of
the socket, of problem details or of the receiver is missing.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.http.problems import Problem

PAGE = Path(__file__).parent / "reference" / "errors.md"


class ErrorCode(NamedTuple):
    """What an error means, and what helps."""

    means: str
    cure: str


AGAIN = "send it again after `retry_after` seconds"
SOCKET: Mapping[str, ErrorCode] = {
    "invalid_json": ErrorCode(
        "the line is not one JSON object, or names a member twice",
        "write one object a line, without line breaks in it",
    ),
    "unknown_op": ErrorCode(
        "`op` is none of `event`, `check`, `watch`, `ping`", "mend the spelling"
    ),
    "invalid_event": ErrorCode(
        "the event, or another request, has a member that is wrong or not known; `field` names it",
        "compare it with [events](events.md) or with the [socket's schema](socket.md)",
    ),
    "invalid_token": ErrorCode(
        "the token of a check is not believed: signature, issuer, audience, times, or its key is "
        "not known; `message` says which",
        "answer the client with `status` and `www_authenticate`; `sidecar doctor --token-file` "
        "goes through it claim by claim",
    ),
    "unknown_context": ErrorCode(
        "the check names a context that is not configured; it is never taken for routine",
        "mend the name, which `message` may suggest, or add it to `contexts`",
    ),
    "not_allowed": ErrorCode(
        "the source may not say this, or may not watch all sessions; `message` names the setting",
        "send it with the credential of a source that may, or add the power to its entry in "
        "[`sources`](../sources.md)",
    ),
    "too_large": ErrorCode(
        "a line has more than 64 KiB; on the socket the connection ends",
        "send less: an event needs no copy of the original message",
    ),
    "too_many_refusals": ErrorCode(
        "too many lines of a request were no events, and those after them were not looked at",
        "mend the sender, and send the rest again",
    ),
    "overloaded": ErrorCode(
        "too much is waiting, or this source has sent more than its `rate`",
        f"{AGAIN}; if it is meant so, raise [`limits`](configuration.md#limits)",
    ),
    "unavailable": ErrorCode(
        "it cannot be decided, or an event cannot be kept, since something outside is away",
        f"{AGAIN}; `/readyz` says what is away, [faults](../faults.md) what then counts",
    ),
}
HTTP: Mapping[Problem, ErrorCode] = {
    Problem.STEP_UP: ErrorCode(
        "the call needs a stronger or newer sign-in",
        "send the user to the provider with `acr_values` and `max_age` of the challenge, and "
        "repeat the call with the new token",
    ),
    Problem.INVALID_TOKEN: ErrorCode(
        "there is no token, it is not believed, or its session is revoked",
        "sign in; if that does not help: `sidecar doctor --token-file`",
    ),
    Problem.DENIED: ErrorCode(
        "a policy blocks, or asks for what no sign-in gives (a compliant device)",
        "`reasons` says which policy; `sidecar history --decision ID` says why",
    ),
    Problem.UNAVAILABLE: SOCKET["unavailable"],
    Problem.OVERLOADED: SOCKET["overloaded"],
    Problem.TOO_MANY: ErrorCode(
        "all connections of the listener, or those that one address may have, are open",
        "have the gateway reuse connections; else raise `max_connections`",
    ),
    Problem.INVALID_REQUEST: ErrorCode(
        "the request cannot be read, or the call that it describes cannot be judged: no path and "
        "no context, or a path that servers read in different ways",
        "look at `detail`; check `http.gateway`, and the gateway's headers against "
        "[its rules](../gateways.md#rules)",
    ),
    Problem.UNKNOWN_CONTEXT: SOCKET["unknown_context"],
    Problem.INVALID_EVENT: SOCKET["invalid_event"],
    Problem.NOT_ALLOWED: SOCKET["not_allowed"],
    Problem.NO_CREDENTIAL: ErrorCode(
        "no source has the credential that was shown, or none was shown",
        "send `Authorization: Bearer` with the text of the source's `token_file`",
    ),
    Problem.FOREIGN: ErrorCode(
        "a browser sent it for a page of another origin, or to a host that is not this listener's",
        "call from a program; let no name of another host lead here",
    ),
    Problem.NOT_FOUND: ErrorCode(
        "there is nothing at this path, or it is switched off",
        "compare it with the [listeners](http.md); `detail` may name the setting",
    ),
    Problem.WRONG_METHOD: ErrorCode("the path takes another method", "look at `Allow`"),
    Problem.TIMED_OUT: ErrorCode(
        "the request took too long to arrive, and its connection ends. The data listener answers "
        "so for a slow head and a slow body, the others for a slow body: where a head is slow, "
        "they end the connection without an answer",
        "send it at once; or raise `http.header_timeout` and `http.body_timeout`, "
        "`intake.request_timeout` or `receiver.request_timeout`. Elsewhere it is 10 s",
    ),
    Problem.BODY_TOO_LARGE: ErrorCode(
        "the body, or an event in it, is too large, or it has too many lines", "send less at a time"
    ),
    Problem.MEDIA_TYPE: ErrorCode(
        "the body is of another type than is taken here",
        "`application/json`, or `application/x-ndjson` for lines of events",
    ),
    Problem.EXPECTATION: ErrorCode("`Expect` asks for what is not done here", "leave it out"),
    Problem.HEADERS_TOO_LARGE: ErrorCode(
        "the headers are larger than `http.max_header_bytes`",
        "look at the size of cookies and tokens; else raise the limit",
    ),
    Problem.INTERNAL: ErrorCode(
        "a fault of the sidecar's own; the log has it as `worker-failed`", "report it, please"
    ),
    Problem.UNKNOWN_CODING: ErrorCode(
        "`Transfer-Encoding` is another one than `chunked`", "send it in chunks, or with a length"
    ),
    Problem.WRONG_VERSION: ErrorCode("it is not HTTP/1.1 or 1.0", "let the gateway speak HTTP/1.1"),
}
SET: Mapping[Fault, ErrorCode] = {
    Fault.INVALID_REQUEST: ErrorCode(
        "the token cannot be read, is too old, or says what this transmitter may not send",
        "`description` says which; compare with the transmitter's `events` and `max_age`",
    ),
    Fault.INVALID_KEY: ErrorCode(
        "its key is not among the transmitter's, or its signature is wrong",
        "check `jwks_uri` or the transmitter's metadata",
    ),
    Fault.INVALID_ISSUER: ErrorCode(
        "no transmitter has this `iss`", "write `issuer` exactly as the token has it"
    ),
    Fault.INVALID_AUDIENCE: ErrorCode(
        "none of our `audiences` is in `aud`", "add the audience that the stream was made with"
    ),
    Fault.AUTHENTICATION_FAILED: ErrorCode(
        "`Authorization` is not what a transmitter was given",
        "compare it with the transmitter's `authorization_file`",
    ),
    Fault.ACCESS_DENIED: ErrorCode(
        "the token is signed by another transmitter than the one that sends it",
        "give each transmitter an `authorization_file` of its own",
    ),
    Fault.INVALID_STATE: ErrorCode(
        "a verification event has a state that nobody asked for", "ask for verification anew"
    ),
}
OAUTH: Mapping[str, ErrorCode] = {
    "invalid_request": ErrorCode(
        "the logout token or the request is not valid, or has counted before",
        "`error_description` says why; compare `clients` and `endpoints` in `intake.issuers`",
    ),
    "invalid_token": ErrorCode(
        "the signed JWT has counted for another request", "sign one anew for each request"
    ),
    "access_denied": ErrorCode(
        "the provider may not end this session",
        "look at the issuers of its users: `intake.issuers[].users_of`",
    ),
    "not_found": ErrorCode(
        "nothing is known of the user; sign-ins until now are refused all the same",
        "compare how `sub_id` names users with `intake.issuers[].users`",
    ),
    "unprocessable": ErrorCode(
        "`sub_id` has a format without a rule", "add it to `intake.issuers[].users`"
    ),
    "temporarily_unavailable": ErrorCode(
        "it is not known to be done everywhere", "send the same again: that does no harm"
    ),
}
HEAD = """\
# Errors

<!-- Written by docs/error_codes.py: change it there. -->

Each error has a code that stays the same, and words that say what is special this time. Look at the
code in programs, and at the words as a person. What you see without a code ("401 for ever") is in
[troubleshooting](../troubleshooting.md).

## At the local socket, and in lines of events

`{"ok": false, "error": CODE, "field": ..., "message": ...}`. A check that is refused has also
`status`: what the app should answer.

| error | means | what helps |
| --- | --- | --- |
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD + _rows(SOCKET)]
    parts.append(
        "## Over HTTP\n\nProblem details (RFC 9457); `type` is "
        "`urn:stepup-sidecar:problem:` and this name. Of a gateway's check the status may be "
        "another one, as its context's `when_unknown` says. The admin listener has `about:blank` "
        "and the status alone.\n\n| type | status | means | what helps |\n| --- | --- | --- | --- |"
    )
    parts[-1] += "\n" + "\n".join(
        f"| `{kind.value.name}` | {kind.status} | {one.means} | {one.cure} |"
        for kind, one in HTTP.items()
    )
    parts.append(
        "\n## At the receiver, for Security Event Tokens\n\n"
        '`{"err": CODE, "description": ...}` (RFC 8935, section 2.4).\n\n'
        "| err | means | what helps |\n| --- | --- | --- |\n"
        + _rows({fault.value: one for fault, one in SET.items()})
    )
    parts.append(
        "## At the intake, for logouts\n\n"
        '`{"error": CODE, "error_description": ...}` (RFC 6749, section 5.2).\n\n'
        "| error | means | what helps |\n| --- | --- | --- |\n" + _rows(OAUTH)
    )
    return "\n".join(parts)


def _rows(codes: Mapping[str, ErrorCode]) -> str:
    return "".join(f"| `{code}` | {one.means} | {one.cure} |\n" for code, one in codes.items())


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
