"""OpenID AuthZEN Authorization API 1.0: evaluation requests in, decisions and metadata out.

AuthZEN leaves open what subjects and resources are. Here a **subject** is the holder of a token,
which is in `subject.properties.token` or `context.token`; or, without one, `subject.type` is
`session` and `subject.id` a session known to the daemon. A **resource** is a call or an
authentication context:

| member | becomes |
| --- | --- |
| `resource.type` `context` | its `id` is the context |
| `resource.properties.context` | a context, or a list of them |
| `resource.properties.path`, `.uri` | the call's path (and host), for the configured routes |
| `resource.type` `route`, `path`, `uri`, `url` | its `id` is that, where no property is |
| `resource.properties.host`, `.hostname` | the call's host |
| `action.name` | the call's method, if it is one of HTTP's; else any |
| `context.ip`, `context.ip_address`, `subject.properties.ip_address` | the client's address |
| `context.user_agent` | the client's user agent |

What is not in this table is not looked at, as the specification asks of unknown members.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

import msgspec

from sidecar.domain.values import address
from sidecar.wire.http.gateway_calls import KEPT, SHORT, InvalidCall, contexts_of
from sidecar.wire.names import InvalidName, is_fit, name_of
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.routes.routes import bare_host
from sidecar.wire.tokens.jws import strict_object

MAX_EVALUATIONS = 512
"""Of one request."""

_LONGEST = {"token": 65536, "user_agent": 1024, "ip": 80, "host": 260}
_known_path = lru_cache(KEPT)(normalise)
_known_address = lru_cache(KEPT)(address.canonical)
_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)
_BY_ID = frozenset(("route", "path", "uri", "url"))
_PARTS = ("subject", "action", "resource", "context")
# A fragment has to be left out before: `[^#]*` behind `[^/?#]*` would look n times at what ends in
# one, and a body may have a megabyte.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(?:[a-z0-9._~-]{1,253}|\[[0-9a-f:.]{2,45}\])")


class InvalidEvaluation(Exception):  # noqa: N818 - named by who must act: the sender
    """The request is malformed: the field that is to blame, and why. It repeats no values."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class ByToken(msgspec.Struct, frozen=True, gc=False):
    """The holder of a token (empty: none was sent). `user`: who it must be; empty: anybody."""

    token: str
    user: str = ""


class BySession(msgspec.Struct, frozen=True, gc=False):
    """A session that the daemon knows. With a token, it must be that token's."""

    session: str
    token: str = ""


Who: TypeAlias = ByToken | BySession


class Evaluation(msgspec.Struct, frozen=True, gc=False):
    """One evaluation: may this call pass? Empty texts were not given."""

    who: Who
    contexts: tuple[str, ...] = ()
    method: str = ""
    host: str = ""
    path: str = ""
    ip: str = ""
    user_agent: str = ""


class Semantic(StrEnum):
    """The rule for how far a batch is evaluated."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"

    def ends_with(self, *, permitted: bool) -> bool:
        """Return whether this result is the last that is asked for."""
        match self:
            case Semantic.EXECUTE_ALL:
                return False
            case Semantic.DENY_ON_FIRST_DENY:
                return not permitted
            case Semantic.PERMIT_ON_FIRST_PERMIT:
                return permitted


class EvaluationBatch(msgspec.Struct, frozen=True, gc=False):
    """Several evaluations, in order; one that is malformed fails for itself alone."""

    items: tuple[Evaluation | InvalidEvaluation, ...]
    semantic: Semantic = Semantic.EXECUTE_ALL


class Result(msgspec.Struct, frozen=True, gc=False):
    """An answer to one evaluation. `context` is what else there is to know."""

    decision: bool
    context: Mapping[str, object] = {}


def decode_evaluation(body: bytes) -> Evaluation:
    """Read an Access Evaluation Request; raises `InvalidEvaluation`."""
    return _question(_object(body))


def decode_evaluations(body: bytes) -> Evaluation | EvaluationBatch:
    """Read an Access Evaluations Request; raises `InvalidEvaluation`.

    Without evaluations it is a single one, and is answered as such.
    """
    values = _object(body)
    items = values.get("evaluations")
    semantic = _semantic(values.get("options"))
    if items is None or items == []:
        return _question(values)
    if not isinstance(items, list):
        raise InvalidEvaluation("evaluations", "must be an array")
    if len(items) > MAX_EVALUATIONS:
        raise InvalidEvaluation("evaluations", f"must have at most {MAX_EVALUATIONS} items")
    defaults = {name: values[name] for name in _PARTS if name in values}
    return EvaluationBatch(tuple(_item(item, defaults) for item in items), semantic)


def encode_result(result: Result) -> bytes:
    """Return an Access Evaluation Response."""
    return msgspec.json.encode(_plain(result))


def encode_results(results: Iterable[Result]) -> bytes:
    """Return an Access Evaluations Response: the verdicts for a batch, in its order."""
    return msgspec.json.encode({"evaluations": [_plain(result) for result in results]})


def failure(status: int, message: str) -> Result:
    """Return an evaluation that failed for itself alone."""
    return Result(decision=False, context={"error": {"status": status, "message": message}})


def metadata(base: str) -> bytes:
    """Return the document at `/.well-known/authzen-configuration`.

    `base` has no slash at its end.
    """
    return msgspec.json.encode(
        {
            "policy_decision_point": base,
            "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
            "access_evaluations_endpoint": f"{base}/access/v1/evaluations",
        }
    )


def _plain(result: Result) -> dict[str, object]:
    plain: dict[str, object] = {"decision": result.decision}
    if result.context:
        plain["context"] = result.context
    return plain


def _object(body: bytes) -> dict[str, object]:
    try:
        return strict_object(body)
    except ValueError:
        message = "the body must be one JSON object without repeated members"
        raise InvalidEvaluation("", message) from None


def _semantic(options: object) -> Semantic:
    if options is None:
        return Semantic.EXECUTE_ALL
    if not isinstance(options, dict):
        raise InvalidEvaluation("options", "must be an object")
    chosen = options.get("evaluations_semantic", Semantic.EXECUTE_ALL)
    if not isinstance(chosen, str) or chosen not in set(Semantic):
        raise InvalidEvaluation(
            "options.evaluations_semantic", f"must be one of {', '.join(Semantic)}"
        )
    return Semantic(chosen)


def _item(item: object, defaults: Mapping[str, object]) -> Evaluation | InvalidEvaluation:
    if not isinstance(item, dict):
        return InvalidEvaluation("", "an evaluation is an object")
    try:
        return _question({**defaults, **item})
    except InvalidEvaluation as error:
        return error


def _question(values: Mapping[str, object]) -> Evaluation:
    subject = _part(values, "subject", "type", "id")
    action = _part(values, "action", "name")
    resource = _part(values, "resource", "type", "id")
    context = _members(values.get("context"), "context")
    about = _members(subject.get("properties"), "subject.properties")
    what = _members(resource.get("properties"), "resource.properties")
    _members(action.get("properties"), "action.properties")
    method = str(action["name"]).upper()
    host, path = _target(resource, what)
    return Evaluation(
        who=_who(subject, about, context),
        contexts=_contexts(resource, what),
        method=method if method in _METHODS else "",
        host=host,
        path=path,
        ip=_ip(context, about),
        user_agent=_text(context, "user_agent", "context.user_agent"),
    )


def _part(values: Mapping[str, object], name: str, *required: str) -> Mapping[str, object]:
    if values.get(name) is None:
        raise InvalidEvaluation(name, "is required")
    part = _members(values[name], name)
    for member in required:
        value = part.get(member)
        if not isinstance(value, str) or not value:
            raise InvalidEvaluation(f"{name}.{member}", "must be a string, and not empty")
    return part


def _members(value: object, name: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidEvaluation(name, "must be an object")
    return value


def _text(values: Mapping[str, object], name: str, field: str, limit: str = "") -> str:
    value = values.get(name)
    if value is None:
        return ""
    longest = _LONGEST[limit or name]
    if not isinstance(value, str) or len(value) > longest or not is_fit(value):
        raise InvalidEvaluation(
            field, f"must be a string of at most {longest} characters, none of them control ones"
        )
    return value


def _who(
    subject: Mapping[str, object], about: Mapping[str, object], context: Mapping[str, object]
) -> Who:
    tokens = {
        _text(about, "token", "subject.properties.token"),
        _text(context, "token", "context.token"),
    } - {""}
    if len(tokens) > 1:
        raise InvalidEvaluation("context.token", "is another than subject.properties.token")
    token = tokens.pop() if tokens else ""
    try:
        if subject["type"] == "session":
            return BySession(name_of(str(subject["id"])), token)
        return ByToken(token, name_of(str(subject["id"])) if subject["type"] == "user" else "")
    except InvalidName as error:
        raise InvalidEvaluation("subject.id", str(error)) from None


def _contexts(resource: Mapping[str, object], what: Mapping[str, object]) -> tuple[str, ...]:
    value = what.get("context")
    named = [] if value is None else value if isinstance(value, list) else [value]
    if resource["type"] == "context":
        named = [resource["id"], *named]
    texts = [name for name in named if isinstance(name, str)]
    if len(texts) != len(named):
        raise InvalidEvaluation("resource.properties.context", "must be a string or an array")
    try:
        return contexts_of(texts)
    except InvalidCall as error:
        raise InvalidEvaluation("resource", str(error)) from None


def _target(resource: Mapping[str, object], what: Mapping[str, object]) -> tuple[str, str]:
    """Return the call's host and normalised path.

    Members that contradict each other are refused.
    """
    given: list[tuple[str, str]] = []
    if _is_given(what, "path"):
        given.append(("", str(what["path"])))
    if _is_given(what, "uri"):
        given.append(_split(str(what["uri"])))
    if not given and resource["type"] in _BY_ID:
        given.append(_split(str(resource["id"])))
    hosts = {_host(host) for host, _ in given}
    hosts |= {_host(_text(what, name, f"resource.properties.{name}", "host")) for name in _HOSTS}
    hosts -= {""}
    try:
        paths = {_known_path(path) if len(path) <= SHORT else normalise(path) for _, path in given}
    except PathInvalid as error:
        raise InvalidEvaluation("resource", str(error)) from None
    if len(hosts) > 1 or len(paths) > 1:
        raise InvalidEvaluation("resource", "names more than one call")
    return "".join(hosts), "".join(paths)


_HOSTS = ("host", "hostname")


def _is_given(what: Mapping[str, object], name: str) -> bool:
    value = what.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidEvaluation(f"resource.properties.{name}", "must be a string")
    return value is not None


def _split(uri: str) -> tuple[str, str]:
    absolute = None if "#" in uri else _ABSOLUTE.fullmatch(uri)
    if absolute is None:
        return "", uri
    # User information is no host: `https://public.example@private.example/`.
    return absolute[1].rpartition("@")[2], absolute[2] or "/"


def _host(raw: str) -> str:
    host = bare_host(raw)
    if host and not _HOST.fullmatch(host):
        raise InvalidEvaluation("resource", "the host is not a host")
    return host


def _ip(context: Mapping[str, object], about: Mapping[str, object]) -> str:
    given = (
        _text(context, "ip", "context.ip"),
        _text(context, "ip_address", "context.ip_address", "ip"),
        _text(about, "ip_address", "subject.properties.ip_address", "ip"),
    )
    ip = next((one for one in given if one), "")
    canonical = _known_address(ip) if ip else ""
    if ip and not canonical:
        raise InvalidEvaluation("context.ip", "must be an IPv4 or IPv6 address")
    return canonical
