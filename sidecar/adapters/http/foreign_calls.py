"""Turns away what a browser sends on somebody else's behalf, and what was meant for another host.

A page in a browser of this machine, or one whose name is rebound to a loopback address, reaches a
listener of the pod as if it were the pod's own. It cannot help showing where it comes from: in
`Origin`, in `Sec-Fetch-Site`, or in a `Host` that is not this listener's.
"""

import ipaddress
from collections.abc import Iterable

from sidecar.wire.checks.reach import binds_of, host_of
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SITES = frozenset({b"none", b"same-origin"})
"""What `Sec-Fetch-Site` says of a call that no page of another origin has made (Fetch Metadata)."""


class ForeignCalls:
    """Knows by which host names a listener is called, and refuses what comes from elsewhere.

    `any_host`: it is called by names that only its certificate knows.
    """

    def __init__(self, settings: Http, *, any_host: bool = False) -> None:
        bound = {host_of(bind).lower() for bind in binds_of(settings)}
        self._hosts = _LOOPBACK | bound | {host.lower() for host in settings.hosts}
        self._any_host = any_host
        self._any_address = any(map(_is_unspecified, bound))

    def refusal(self, request: Request) -> Response | None:
        """Return why a request is refused; None where it is one of the pod's own."""
        if request.headers.get(b"origin") is not None:
            return problem(Problem.FOREIGN, "it comes from a web page: it has an Origin")
        if not {site.lower() for site in request.values(b"sec-fetch-site")} <= _OWN_SITES:
            return problem(Problem.FOREIGN, "it comes from a web page of another site")
        if request.peer and not self._any_host and not self._is_ours(request.host):
            return problem(Problem.FOREIGN, "its Host is not this listener's; see http.hosts")
        return None

    def _is_ours(self, host: bytes) -> bool:
        name = _name_of(host.decode("latin-1"))
        return name in self._hosts or (self._any_address and _is_address(name))


def _name_of(host: str) -> str:
    """Return the host without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def _is_unspecified(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_of(content_type: bytes | None, allowed: Iterable[str]) -> bool:
    """Return whether a body is said to be of one of these media types."""
    if content_type is None:
        return False
    name = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    return name in allowed
