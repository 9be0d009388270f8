"""Says why a server of the store cannot be used, with its address and what to do about it.

redis-py keeps the cause in the text of its errors or in what it handled meanwhile, and some texts
quote whole connections. Nothing that is said here holds a password: addresses come without.
"""

import re
import ssl

from redis.exceptions import (
    AuthenticationError,
    ClusterError,
    InvalidResponse,
    MovedError,
    RedisError,
    ResponseError,
)
from redis.sentinel import MasterNotFoundError

from sidecar.domain.values.causes import first_causes, words_of

_SENTINEL = re.compile(r"\bhost=([^,]*),port=(\d+)")
_CREDENTIALS = "see store.username and store.password"
_PLAIN = "does it speak TLS? an address with redis:// asks for none"
_ENCRYPTED = "does it want TLS? an address with rediss:// speaks it"
_FILES = "see store.tls_ca_file, store.tls_cert_file and store.tls_key_file"
_AUTHORITY = "see store.tls_ca_file, and the host in store.url"


def cause_of(error: Exception, where: str) -> str:
    """Return why a server is not to be used; `where` is its address, without credentials."""
    tls = where.startswith("rediss")
    words, cure = _explained(error, tls=tls, is_cluster="+cluster" in where)
    sentence = " ".join(words.split()).rstrip(". ")
    return f"the store at {where}: {sentence}{f'; {cure}' if cure else ''}"


def _explained(error: Exception, *, tls: bool, is_cluster: bool) -> tuple[str, str]:
    """Return what is wrong, and what to do about it where that is plain."""
    for cause in first_causes(error):
        match cause:
            case MasterNotFoundError():
                return _of_sentinels(cause), "see the service and the hosts in store.url"
            case AuthenticationError():
                return f"it refuses the credentials: {cause}", _CREDENTIALS
            case MovedError() | ClusterError() if not is_cluster:
                return f"it refuses: {cause}", "a Cluster needs redis+cluster:// in store.url"
            case ResponseError():
                return f"it refuses: {cause}", _of_refusal(str(cause))
            case InvalidResponse():
                return f"it does not speak Redis' protocol: {cause}", "" if tls else _ENCRYPTED
            case RedisError():
                return _of_link(cause, tls=tls)
    return words_of(error), ""


def _of_sentinels(error: Exception) -> str:
    """Return who has not answered; the text of the error quotes the connections to them."""
    head, *silent = str(error).split("<redis.client.Redis(")
    found = (_SENTINEL.search(one) for one in silent)
    said = ", ".join(f"{one[1]}:{one[2]}" for one in found if one)
    words = head.rstrip(" :")
    return f"{words}: no answer from the sentinels {said}" if said else words


def _of_refusal(said: str) -> str:
    if "cluster support disabled" in said:
        return "a lone server needs redis:// or rediss:// in store.url"
    if "'SENTINEL'" in said:
        return "it is no sentinel: a lone server needs redis:// in store.url"
    return "see the number of the database in store.url" if "DB index" in said else ""


def _of_link(error: RedisError, *, tls: bool) -> tuple[str, str]:
    """Return why there is no link; what the system says is what redis-py handled meanwhile."""
    system = error.__context__
    if not isinstance(system, OSError):
        return str(error) or words_of(error), "" if tls else _cure_of_end(str(error))
    words = words_of(system)
    if isinstance(system, ssl.SSLCertVerificationError):
        return words, _AUTHORITY
    if isinstance(system, ssl.SSLError) and "certificate" not in words:
        return words, _PLAIN
    if tls and isinstance(system, ssl.SSLError | FileNotFoundError):
        return words, _FILES
    if isinstance(system, TimeoutError):
        shaking = "handshake" in str(system)
        return "it did not answer in time", _PLAIN if shaking else ""
    if isinstance(system, ConnectionResetError) and not tls:
        return words, _ENCRYPTED
    return words, ""


def _cure_of_end(said: str) -> str:
    return _ENCRYPTED if "closed by server" in said else ""
