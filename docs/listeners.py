# ruff: noqa: INP001 - a script, no package
"""Describes each HTTP listener as an OpenAPI 3.1 document, from the code's own types and tables.

`python -m docs.listeners` writes them into `docs/reference/openapi`, and the page that shows them
for people. A test calls every path at a running daemon and holds statuses and bodies to them.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from docs import transmitter_api
from docs.openapi import (
    CLOSES,
    JSON,
    METHODS,
    NDJSON,
    SLOW,
    TEXT,
    Operation,
    Says,
    Schema,
    document_of,
    of_types,
    problem,
    problem_schema,
    ref,
    text_of,
)
from sidecar.adapters.admin import bundles, dead_letters
from sidecar.adapters.admin.acts import ActAnswer
from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.policy.conditional_access import Policy
from sidecar.service.admin.health import HealthState
from sidecar.service.admin.inspection import Detail, Page, SharedWork
from sidecar.service.bundles.orders import GenerationPage, PolicyActDone, PolicyOrder
from sidecar.service.history.reader import HistoryPage
from sidecar.service.intake.dead_letters import DeadLetter, LetterPage, RetryOutcome
from sidecar.service.ports.calls import Reason
from sidecar.wire.events import operator_acts
from sidecar.wire.events.kinds import event_schema
from sidecar.wire.events.operator_acts import Act
from sidecar.wire.events.security_event_names import Fault

DIRECTORY = Path(__file__).parent / "reference" / "openapi"
PAGE = Path(__file__).parent / "reference" / "http.md"


RECEIPT: Schema = {
    "type": "object",
    "description": "the answer to an event that is durable",
    "required": ["ok", "id"],
    "properties": {
        "ok": {"const": True},
        "id": {"type": "string", "description": "the event's, or the one that it was given"},
        "duplicate": {"const": True, "description": "the id was known: nothing changed"},
        "spooled": {"const": True, "description": "the store is away: it is on this disk"},
        "settled": {"type": "boolean", "description": "every live sidecar has it (`wait`)"},
        "have": {"type": "integer", "description": "sidecars that have it"},
        "live": {"type": "integer", "description": "sidecars that there are, if it is known"},
        "ref": {"description": "what the request had"},
    },
}
REFUSED: Schema = {
    "type": "object",
    "description": "the answer to a line that is refused",
    "required": ["ok", "error", "message"],
    "properties": {
        "ok": {"const": False},
        "error": {
            "enum": [
                *("invalid_json", "invalid_event", "unknown_op", "unknown_context", "not_allowed"),
                *("too_large", "overloaded", "unavailable", "invalid_token", "too_many_refusals"),
            ]
        },
        "field": {"type": "string", "description": "what is to blame"},
        "message": TEXT,
        "status": {"type": "integer", "description": "what an app should answer"},
        "www_authenticate": TEXT,
        "retry_after": {"type": "integer", "description": "seconds"},
        "id": {"type": "string", "description": "the decision's"},
        "ref": {"description": "what the request had"},
    },
}
EVALUATED: Schema = {
    "type": "object",
    "required": ["decision"],
    "properties": {
        "decision": {"type": "boolean", "description": "whether it may pass"},
        "context": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "description": "the decision's"},
                "error": {
                    "type": "object",
                    "required": ["status", "message"],
                    "properties": {"status": {"type": "integer"}, "message": TEXT},
                },
                **dict.fromkeys(
                    ("session", "subject", "assurance", "acr_values", "www_authenticate"), TEXT
                ),
                "reasons": {"type": "array", "items": ref("Reason")},
                "step_up_pending": {"const": True},
                "max_age": {"type": "integer"},
                "reason_user": {"type": "object", "additionalProperties": TEXT},
            },
        },
    },
}


def _asked() -> Schema:
    named = {"type": "object", "required": ["type", "id"], "properties": {"type": TEXT, "id": TEXT}}
    return {
        "type": "object",
        "required": ["subject", "action", "resource"],
        "properties": {
            "subject": named,
            "resource": named,
            "action": {"type": "object", "required": ["name"], "properties": {"name": TEXT}},
            "context": {"type": "object"},
        },
    }


def _order(act: Act) -> Schema:
    known: Schema = {
        "reason": {"type": "string", "minLength": 1, "maxLength": operator_acts.MAX_REASON},
        "issuer": TEXT,
        "user": {"type": "string", "description": "of a session that several users have"},
        "id": {"type": "string", "description": "given again, it does nothing again"},
        "unseen": {"type": "boolean", "description": "also where nobody has heard of the name"},
        "wait": {"const": "everywhere"},
        "timeout": {"type": "number", "minimum": 0},
        "contexts": {"type": "array", "items": TEXT, "minItems": 1},
        "acr": TEXT,
        "max_age": {"type": "integer", "minimum": 1, "maximum": operator_acts.LONGEST_AGE},
        "confirm_risk": {"type": "boolean", "description": "say that the risk is high, too"},
        "dismiss_risk": {"type": "boolean", "description": "say that the risk is low, too"},
    }
    members = {name: known[name] for name in sorted(operator_acts.members_of(act))}
    return {
        "type": "object",
        "required": ["reason"],
        "additionalProperties": False,
        "properties": members,
    }


_CHECKED = (
    Says(200, "the call may pass", headers=("X-Sidecar-Decision", "X-Sidecar-Session")),
    Says(303, "a browser that opens a page is sent to a step-up (`redirect`)"),
    problem(400, "the call cannot be judged: no path, an odd path, an unknown context"),
    problem(401, "a step-up is required, or a valid token", "WWW-Authenticate"),
    problem(403, "denied: no sign-in would help"),
    SLOW,
    problem(503, "it cannot be decided now", "Retry-After"),
)
_TAKEN = (
    Says(202, "one event: it is durable", JSON, ref("Receipt")),
    Says(200, "several: each line is answered by one, `Receipt` or `Refused`", NDJSON, TEXT),
    problem(400, "it is no event; or too many lines were none"),
    problem(401, "the credential is no source's", "WWW-Authenticate"),
    problem(403, "the source may not say so; or a browser sent it from another page"),
    problem(404, "events are not taken here (`http.events`)"),
    SLOW,
    problem(413, "the body is too large"),
    problem(415, "the body is no JSON"),
    problem(503, "it cannot be kept now: send it again", "Retry-After"),
)
_EVENTS = {JSON: ref("Event"), NDJSON: {"type": "string", "description": "an event a line"}}
_EVALUATED = (
    Says(200, "evaluated, also where the answer is no", JSON, ref("Evaluated")),
    problem(400, "the request is malformed, or names an unknown context"),
    problem(401, "a question about a session takes a source's credential", "WWW-Authenticate"),
    problem(403, "the source may not ask about sessions; or a browser sent it"),
    SLOW,
    problem(503, "it cannot be decided now", "Retry-After"),
)


def data() -> Schema:
    """Describe the data listener."""
    check = Operation("checks the call that the configured gateway describes in headers", _CHECKED)
    envoy = Operation("the same for Envoy, whose original path follows", _CHECKED)
    several = {
        "type": "object",
        "properties": {
            "evaluations": {"type": "array", "items": ref("Evaluated"), "maxItems": 512},
        },
        "required": ["evaluations"],
    }
    either = {"anyOf": [several, ref("Evaluated")]}  # without evaluations it is a single question
    batch = (Says(200, "evaluated, each for itself", JSON, either), *_EVALUATED[1:])
    metadata = {
        "type": "object",
        "required": ["policy_decision_point", "access_evaluation_endpoint"],
        "properties": dict.fromkeys(
            (
                *("policy_decision_point", "access_evaluation_endpoint"),
                "access_evaluations_endpoint",
            ),
            TEXT,
        ),
    }
    paths = {
        "/v1/check": dict.fromkeys(METHODS, check),
        "/v1/ext_authz/{path}": dict.fromkeys(METHODS, envoy),
        "/v1/events": {
            "post": Operation("takes an event, or lines of them", _TAKEN, _EVENTS, secured="source")
        },
        "/access/v1/evaluation": {
            "post": Operation("judges one call (AuthZEN)", _EVALUATED, {JSON: _asked()})
        },
        "/access/v1/evaluations": {
            "post": Operation("judges several calls (AuthZEN)", batch, {JSON: {"type": "object"}})
        },
        "/.well-known/authzen-configuration": {
            "get": Operation(
                "says where the two are", (Says(200, "the metadata", JSON, metadata), SLOW)
            )
        },
    }
    schemas = {
        "Problem": problem_schema(),
        "Event": event_schema(),
        "Receipt": RECEIPT,
        "Refused": REFUSED,
        "Evaluated": EVALUATED,
        **of_types(Reason),
    }
    slow = (
        "A request whose head or body does not come in time (`http.header_timeout`, "
        "`http.body_timeout`) gets 408, and the connection ends"
    )
    what = f"checks and events, for the pod's app and proxy. {slow}"
    return document_of("data", what, paths, schemas)


_GUESSED = problem(429, "too many wrong credentials", "Retry-After")


def _looked(does: str, schema: Schema, *more: Says, **query: str) -> Operation:
    says = (
        Says(200, "found", JSON, schema),
        *more,
        problem(401, "an admin credential is asked for", "WWW-Authenticate"),
        _GUESSED,
        problem(503, "the store is away", "Retry-After"),
    )
    return Operation(does, says, query=query, secured="operator")


_PAGED = {"limit": "at most so many", "cursor": "as the page before gave it"}
_BAD_QUERY = problem(400, "the query is not valid")
_NONE = problem(404, "there is none; or nobody has an admin credential here")
_MAY_LOOK = problem(403, "the credential may look, and not act")
_NO_ADMIN = problem(403, "the role of the credential is not `admin`")


def _letter_paths() -> Mapping[str, Mapping[str, Operation]]:
    dropped = {
        "type": "object",
        "required": ["id", "dropped"],
        "properties": {"id": TEXT, "dropped": {"const": True}},
    }
    one = dead_letters.ONE.replace(":letter", "")
    return {
        dead_letters.LIST: {
            "get": _looked("lists dead letters", ref("LetterPage"), _BAD_QUERY, **_PAGED)
        },
        one: {
            "get": _looked("shows a dead letter", ref("DeadLetter"), _NONE),
            "delete": _looked("forgets a dead letter", dropped, _NONE, _NO_ADMIN),
        },
        dead_letters.RETRY.replace(":letter", ""): {
            "post": _looked("puts a dead letter back", ref("RetryOutcome"), _NONE, _NO_ADMIN)
        },
    }


def _bundle_paths() -> Mapping[str, Mapping[str, Operation]]:
    ordered = (
        Says(200, "it is in force", JSON, ref("PolicyActDone")),
        problem(400, "the order cannot be read"),
        problem(401, "an admin credential is asked for", "WWW-Authenticate"),
        _MAY_LOOK,
        problem(404, "policies come from files here (`policies.bundle`)"),
        SLOW,
        problem(409, "nothing was changed, and why"),
        problem(415, "the body is no JSON"),
        _GUESSED,
        problem(503, "the store does not answer: look what is in force", "Retry-After"),
    )
    order = {JSON: ref("PolicyOrder")}
    found = {
        path: {"post": Operation(f"does this: {act} a bundle", ordered, order, secured="operator")}
        for path, act in bundles.ACTS.items()
    }
    shown = _looked("says which bundle is in force, and which were", ref("GenerationPage"), _NONE)
    return {bundles.PAGE: {"get": shown}, **found}


def admin() -> Schema:
    """Describe the admin listener."""
    probe = (
        Says(200, "yes", JSON, ref("Health")),
        Says(503, "no, and why", JSON, ref("Health")),
    )
    scraped = (Says(200, "all metrics", "text/plain", TEXT),)
    done = (
        Says(200, "it is durable", JSON, ref("ActAnswer")),
        problem(400, "the order cannot be read"),
        problem(401, "an admin credential is asked for", "WWW-Authenticate"),
        _MAY_LOOK,
        problem(404, "nobody has heard of the name; `unseen` acts all the same"),
        SLOW,
        problem(409, "several have the name; or the id has counted for another act"),
        problem(415, "the body is no JSON"),
        _GUESSED,
        problem(503, "it may not be done: order it again", "Retry-After"),
    )
    of_sessions = {"user": "of this user", "device": "on this device", "standing": "of this one"}
    of_one = {"explain": "a call's contexts, with commas: why it is answered so", "app": "its app"}
    of_history = {"user": "", "session": "", "decision": "", "issuer": "", "since": "so far back"}
    either = {"anyOf": [ref("Detail"), ref("Explanation")]}
    paths: dict[str, Mapping[str, Operation]] = {
        "/metrics": {"get": Operation("shows the metrics to Prometheus", scraped)},
        "/livez": {"get": Operation("says whether the process works", probe)},
        "/startupz": {"get": Operation("says whether the doors are open", probe)},
        "/readyz": {
            "get": Operation(
                "says whether it can decide",
                (*probe, problem(400, "`tolerate` names no condition")),
                query={"tolerate": "a condition that may be bad"},
            )
        },
        "/v1/policies": {
            "get": _looked(
                "lists the policies in force", {"type": "array", "items": ref("Policy")}, _NONE
            )
        },
        "/v1/rescore": {"get": _looked("says how far re-scoring is", ref("SharedWork"), _NONE)},
        "/v1/sessions": {
            "get": _looked(
                "lists sessions", ref("Page"), _BAD_QUERY, _NONE, **of_sessions, **_PAGED
            )
        },
        "/v1/sessions/{id}": {
            "get": _looked(
                "shows a session, or explains a call", either, _BAD_QUERY, _NONE, **of_one
            )
        },
        "/v1/history": {
            "get": _looked(
                "says what happened", ref("HistoryPage"), _BAD_QUERY, _NONE, **of_history, **_PAGED
            )
        },
        **_letter_paths(),
        **_bundle_paths(),
    }
    for path, (_, act) in operator_acts.ROUTES.items():
        order = Operation(
            f"does this: {act}", done, {JSON: ref(f"{act.capitalize()}Order")}, secured="operator"
        )
        paths[path] = {"post": order}
    schemas = {
        "Problem": problem_schema("about:blank"),
        "Health": _health(),
        **{f"{act.capitalize()}Order": _order(act) for act in Act},
        **of_types(Page, Detail, Explanation, HistoryPage, SharedWork, Policy, ActAnswer, Reason),
        **of_types(LetterPage, DeadLetter, RetryOutcome),
        **of_types(GenerationPage, PolicyActDone, PolicyOrder),
    }
    what = f"metrics, health, and what operators see and do. {CLOSES}"
    return document_of("admin", what, paths, schemas)


def _health() -> Schema:
    check = {
        "type": "object",
        "required": ["name", "state", "reason"],
        "properties": {
            "name": TEXT,
            "state": {"enum": [state.value for state in HealthState]},
            "reason": {"type": "string", "description": "why, unless it is good"},
        },
    }
    return {
        "type": "object",
        "required": ["status", "checks"],
        "properties": {
            "status": {"enum": ["ok", "failing"]},
            "checks": {"type": "array", "items": check},
        },
    }


def _token_error() -> Schema:
    return {
        "type": "object",
        "required": ["err", "description"],
        "properties": {"err": {"enum": [fault.value for fault in Fault]}, "description": TEXT},
    }


def receiver() -> Schema:
    """Describe the receiver listener."""
    refused = ref("SetError")
    says = (
        Says(202, "durable, or it was before"),
        Says(400, "the token is refused (RFC 8935, section 2.4)", JSON, refused),
        Says(401, "the transmitter is not known", JSON, refused, ("WWW-Authenticate",)),
        Says(403, "the token is another transmitter's", JSON, refused),
        Says(408, SLOW.means, JSON, refused),
        Says(413, "the body is too large", JSON, refused),
        Says(429, "many were wrong", JSON, refused, ("Retry-After",)),
        Says(503, "it cannot be kept now: send it again", headers=("Retry-After",)),
    )
    body = {"application/secevent+jwt": TEXT}
    operation = Operation("takes a Security Event Token", says, body, secured="transmitter")
    paths = {"/ssf/events": {"post": operation}}
    what = f"Security Event Tokens by push. {CLOSES} (`receiver.request_timeout`)"
    return document_of("receiver", what, paths, {"SetError": _token_error()})


def intake() -> Schema:
    """Describe the intake listener."""
    oauth = {
        "type": "object",
        "required": ["error", "error_description"],
        "properties": {
            "error": {
                "enum": [
                    *("invalid_request", "access_denied", "temporarily_unavailable"),
                    *("invalid_token", "not_found", "unprocessable"),
                ]
            },
            "error_description": TEXT,
        },
    }
    wrong = ref("OAuthError")
    later = Says(503, "not known to be done: send it again", JSON, wrong, ("Retry-After",))
    logout = (
        Says(200, "its sessions are over"),
        Says(400, "the logout token is refused", JSON, wrong),
        Says(403, "the provider may not say so", JSON, wrong),
        SLOW,
        later,
    )
    revocation = (
        Says(204, "the user's sessions are over"),
        Says(400, "the request cannot be read", JSON, wrong),
        problem(401, "the signed JWT is not believed", "WWW-Authenticate"),
        Says(403, "the provider may not say so", JSON, wrong),
        Says(404, "nothing is known of the user", JSON, wrong),
        SLOW,
        Says(422, "the subject's format is not configured", JSON, wrong),
        problem(429, "many were wrong", "Retry-After"),
        later,
    )
    taken = tuple(one for one in _TAKEN if one.status != HTTPStatus.NOT_FOUND)
    form = {
        "type": "object",
        "required": ["logout_token"],
        "properties": {"logout_token": TEXT},
    }
    paths = {
        "/v1/events": {
            "post": Operation("takes an event, or lines of them", taken, _EVENTS, secured="source")
        },
        "/v1/logout": {
            "post": Operation(
                "takes a logout token (OpenID Connect Back-Channel Logout 1.0)",
                logout,
                {"application/x-www-form-urlencoded": form},
            )
        },
        "/v1/global-token-revocation": {
            "post": Operation(
                "ends all sessions of a user (Okta's Universal Logout)",
                revocation,
                {JSON: {"type": "object"}},
                secured="provider",
            )
        },
    }
    problems = problem_schema()
    problems["properties"]["type"]["enum"].append("about:blank")
    schemas = {
        "Problem": problems,
        "Event": event_schema(),
        "Receipt": RECEIPT,
        "Refused": REFUSED,
        "OAuthError": oauth,
        **of_types(Reason),
    }
    what = f"events of sources, and logouts of providers. {CLOSES} (`intake.request_timeout`)"
    return document_of("intake", what, paths, schemas)


LISTENERS = {
    "data": data,
    "admin": admin,
    "receiver": receiver,
    "intake": intake,
    "transmitter": transmitter_api.transmitter,
}
HEAD = """\
# HTTP: the listeners

<!-- Written by docs/listeners.py: change it there. -->

Each listener has a description that programs read, in
[OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0.html): make a client of it, or import it into
your tool. A test calls every path at a running daemon, and holds statuses and bodies to it. What is
the same at all paths is not repeated: 404 for an unknown path, 405 for another method, 413, 431 and
500, with problem details, too. What each error means, and what helps: [errors](errors.md).
"""


def page() -> str:
    """Return the page with the paths of all listeners."""
    return "\n".join((HEAD, *_sections()))


def _sections() -> Iterator[str]:
    for name, describe in LISTENERS.items():
        document = describe()
        yield f"## The {name} listener\n"
        what = document["info"]["description"]
        file = f"openapi/{name}.json"
        yield f"{what[0].upper()}{what[1:]} As a file: [{file}]({file})\n"
        yield "| | does | answers |\n| --- | --- | --- |"
        for path, at in document["paths"].items():
            yield from _rows(path, at)
        yield ""


def _rows(path: str, at: Schema) -> Iterable[str]:
    operations = {method: one for method, one in at.items() if method != "parameters"}
    if len(operations) == len(METHODS):
        operations = {"any method": operations["get"]}
    for method, one in operations.items():
        says = "; ".join(
            f"{status} {response['description']}"
            for status, response in sorted(one["responses"].items())
        )
        verb = method if " " in method else method.upper()
        yield f"| {verb} `{path}` | {one['summary']} | {says} |"


def main() -> int:
    """Write the documents and the page."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, describe in LISTENERS.items():
        (DIRECTORY / f"{name}.json").write_text(text_of(describe()), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
