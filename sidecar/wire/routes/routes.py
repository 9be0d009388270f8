"""Routes: which authentication contexts a path asks for.

A path that servers could read in different ways is none (`readings`). Matching takes the cautious
reading: the case of letters and a slash at the end do not count, HEAD is a GET, a method or host
that is not known could be any, and all routes that match add up.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.settings.settings import Route

_HOST = re.compile(r"[a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*|\[[0-9a-f:.]{2,45}\]")
_NO_MORE = re.compile(r"[^:/@\[]+(?::[0-9]*)?|\[[^/@\[]*", re.DOTALL)
_DEVIATING = re.compile("[\u00df\u03c2\u200c\u200d]")
"""Sharp s, final sigma and the joiners (UTS 46, section 2.2): which name they make depends."""


class InvalidRoute(Exception):  # noqa: N818 - named by who must act: the operator
    """A route of the configuration cannot be used: its place in the list, the field and why."""

    def __init__(self, index: int, field: str, message: str) -> None:
        super().__init__(f"routes.{index}.{field}: {message}")
        self.index = index
        self.field = field
        self.message = message


class _Rule(NamedTuple):
    place: int
    contexts: tuple[str, ...]
    methods: frozenset[str]
    hosts: frozenset[str]
    domains: tuple[str, ...]
    template: str

    def concerns(self, method: str, host: str) -> bool:
        return (not self.methods or not method or method in self.methods) and (
            not (self.hosts or self.domains)
            or not host
            or host in self.hosts
            or host.endswith(self.domains)
        )


class _Node:
    """A point in the tree of templates: what may come next, and the routes that end here."""

    __slots__ = ("any", "here", "literals", "patterns", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.patterns: dict[re.Pattern[str], _Node] = {}
        self.any: _Node | None = None
        self.here: list[_Rule] = []
        self.rest: list[_Rule] = []

    def onward(self, segment: str) -> Iterator["_Node"]:
        node = self.literals.get(segment)
        if node is not None:
            yield node
        if self.any is not None:
            yield self.any
        for pattern, other in self.patterns.items():
            if pattern.fullmatch(segment):
                yield other


class Routes:
    """The configured routes, compiled.

    Templates: a segment `{id}` or `*` is any one segment, `v{n}` one that begins so, and `**` at
    the end is the path up to there and all below. A host `*.example.com` is any below it; one that
    is not ASCII is compared as browsers send it, in punycode.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        """Raises `InvalidRoute` for the first that cannot be used."""
        self._root = _Node()
        self._exact: dict[str, list[_Rule]] = {}
        for index, route in enumerate(routes):
            self._add(index, route)
        self._has_templates = bool(
            self._root.literals or self._root.patterns or self._root.any or self._root.rest
        )

    def match(self, method: str, host: str, path: str) -> tuple[str, ...]:
        """Return the contexts for a call, each once, in the order of the routes.

        `path` is normalised; empty: the caller names no path, and no route applies. An empty
        `method` or `host` is one that is not known. A host may have a port and a dot at its end.
        """
        fitting = sorted(self._fitting(method, host, path))
        return tuple(dict.fromkeys(name for rule in fitting for name in rule.contexts))

    def template(self, method: str, host: str, path: str) -> str:
        """Return the longest template of those that `match` finds; empty: there is none."""
        return max(
            (rule.template for rule in self._fitting(method, host, path)), key=len, default=""
        )

    def _fitting(self, method: str, host: str, path: str) -> list[_Rule]:
        if not path:
            return []
        path = path.strip("/").lower()
        found = list(self._exact.get(path, ()))
        if self._has_templates:
            found.extend(self._walk(path))
        if not found:
            return []
        method = method.upper()
        method = "GET" if method == "HEAD" else method
        host = _as_sent(bare_host(host))
        return [rule for rule in found if rule.concerns(method, host)]

    def _walk(self, path: str) -> Iterator[_Rule]:
        nodes = [self._root]
        for segment in path.split("/") if path else ():
            for node in nodes:
                yield from node.rest
            nodes = [onward for node in nodes for onward in node.onward(segment)]
            if not nodes:
                return
        for node in nodes:
            yield from node.rest
            yield from node.here

    def _add(self, index: int, route: Route) -> None:
        hosts = tuple(_route_host(index, host) for host in route.hosts)
        rule = _Rule(
            index,
            route.contexts,
            frozenset("GET" if (m := method.upper()) == "HEAD" else m for method in route.methods),
            frozenset(host for host in hosts if not host.startswith("*.")),
            tuple(host[1:] for host in hosts if host.startswith("*.")),
            route.path,
        )
        segments = template_segments(index, route.path)
        if not any("{" in segment or segment in ("*", "**") for segment in segments):
            self._exact.setdefault("/".join(segments), []).append(rule)
            return
        node = self._root
        for segment in segments:
            if segment == "**":
                node.rest.append(rule)
                return
            node = _grow(node, segment)
        node.here.append(rule)


def _grow(node: _Node, segment: str) -> _Node:
    if segment == "*" or (segment.startswith("{") and segment.endswith("}")):
        node.any = node.any or _Node()
        return node.any
    if "{" not in segment:
        return node.literals.setdefault(segment, _Node())
    before, _, after = segment.partition("{")
    pattern = re.compile(re.escape(before) + ".+" + re.escape(after.partition("}")[2]))
    return node.patterns.setdefault(pattern, _Node())


def template_segments(index: int, template: str) -> list[str]:
    """Return a template's segments in lower case, their literal parts normalised.

    Raises `InvalidRoute`. A segment with a variable has `{}` in its place.
    """
    if not template.startswith("/"):
        raise InvalidRoute(index, "path", "must begin with a slash")
    segments = template.strip("/").split("/") if template.strip("/") else []
    for at, segment in enumerate(segments):
        if segment == "**" and at < len(segments) - 1:
            raise InvalidRoute(index, "path", "may have '**' only at its end")
        if segment not in ("*", "**"):
            segments[at] = _segment(index, segment)
    return segments


def _segment(index: int, segment: str) -> str:
    before, brace, rest = segment.partition("{")
    name, closing, after = rest.partition("}")
    if "*" in segment or "{" in after or "}" in before + after or (brace and not closing):
        raise InvalidRoute(index, "path", "may have one '{name}' in a segment, or '*' as a segment")
    if brace and not name.isidentifier():
        raise InvalidRoute(index, "path", "must name its variables with letters and digits")
    if "?" in before + after or not (before or after or brace):
        raise InvalidRoute(index, "path", "may have no empty segment and no query")
    variable = "{}" if brace else ""
    return f"{_literal(index, before, whole=not brace)}{variable}{_literal(index, after)}"


def _literal(index: int, text: str, *, whole: bool = False) -> str:
    try:
        # Beside a variable a dot is no dot segment.
        literal = normalise(f"/{text}" if whole else f"/-{text}")[1 if whole else 2 :]
    except PathInvalid as error:
        raise InvalidRoute(index, "path", f"can match no call: {error}") from None
    if whole and not literal:
        raise InvalidRoute(index, "path", "may have no dot segment")
    return literal.lower()


def _route_host(index: int, text: str) -> str:
    """Return a route's host as clients send it, `*.` before it kept. Raises `InvalidRoute`."""
    host = bare_host(text)
    below = "*." if host.startswith("*.") else ""
    named = _as_sent(host.removeprefix("*."))
    if _HOST.fullmatch(named) and _NO_MORE.fullmatch(text):
        return below + named
    if host and not host.isascii():
        message = "cannot be sent as it stands: write it as browsers do (`xn--...`)"
        raise InvalidRoute(index, "hosts", message)
    raise InvalidRoute(index, "hosts", "must be host names, or '*.' and a domain")


def _as_sent(host: str) -> str:
    """Return a host as clients send it (RFC 5891: `xn--bcher-kva`); empty where that is not clear.

    The standard library has IDNA of 2003. What that of 2008 reads in another way is not clear.
    """
    if host.isascii():
        return host
    if _DEVIATING.search(host):
        return ""
    try:
        sent = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""
    return "" if ".." in sent else sent


def bare_host(host: str) -> str:
    """Return a host in lower case, without its port and a dot at its end."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].rstrip(".").lower()
