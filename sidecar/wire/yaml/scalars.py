"""Spelling of single values of the configuration: durations, sizes, CIDRs, addresses.

Each kind is a type to annotate a setting with, and a reader that turns what stands in the file
into the value. A reader raises ValueError (`Misspelt`) with the reason in words an operator
understands, and never repeats what might be a secret.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import msgspec

from sidecar.domain.values import address
from sidecar.wire.checks.url_credentials import credential_in
from sidecar.wire.names import InvalidName, name_of
from sidecar.wire.places.countries import code_of, is_assigned, meant_by
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.store.address import parse_store_address
from sidecar.wire.tokens.claim_paths import InvalidPath, parts_of

LONGEST = 315_360_000
"""Ten years in seconds: no duration is longer."""

Plain: TypeAlias = str | int | float | bool
"""What a scalar of a file is, once it is not nothing."""


INSTEAD = "instead"
"""Marks the setting that a credential goes into, which a URL must not hold."""


class Misspelt(ValueError):  # noqa: N818 - the operator must act: becomes a `Problem`
    """A value is not spelled as its kind asks; the message says how it must be."""


class HoldsCredential(Misspelt):
    """A value that is shown holds a credential; never quotes it."""

    def __init__(self, part: str) -> None:
        super().__init__(f"must not hold {part}: it stands in log and probes as it is")


class ScalarKind(StrEnum):
    """The kind of a marked setting."""

    DURATION = "duration"
    SIZE = "size"
    FILE = "file"
    CIDR = "cidr"
    COUNTRY = "country"
    ASN = "asn"
    MODE = "mode"
    BIND = "bind"
    ALGORITHM = "algorithm"
    STORE = "store"
    URL = "url"
    STRING_OR_URI = "string-or-uri"
    METHOD = "method"
    HEADER = "header"
    NAME = "name"
    CLAIM = "claim"
    ORIGIN = "origin"
    PUBLIC = "public"


def _marked(kind: ScalarKind, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(extra={"kind": kind}, extra_json_schema={"x-kind": kind.value}, **bounds)


def instead(key: str) -> msgspec.Meta:
    """Mark a URL whose credential goes into the setting `key` beside it."""
    return msgspec.Meta(extra={INSTEAD: key})


Duration = Annotated[float, _marked(ScalarKind.DURATION, gt=0, le=LONGEST)]
"""Seconds, or `90s`, `15m`, `1h30m`, `7d`, `500ms`."""
DurationOrZero = Annotated[float, _marked(ScalarKind.DURATION, ge=0, le=LONGEST)]
WholeDuration = Annotated[int, _marked(ScalarKind.DURATION, ge=0, le=LONGEST)]
Size = Annotated[int, _marked(ScalarKind.SIZE, gt=0)]
"""Bytes, or `64KiB`, `1MiB`."""
File = Annotated[str, _marked(ScalarKind.FILE)]
"""A path, relative to the directory of the configuration file."""
Files: TypeAlias = File | Annotated[tuple[File, ...], msgspec.Meta(min_length=1)]
"""One file, or several that are asked in turn."""
Cidr = Annotated[str, _marked(ScalarKind.CIDR)]
Country = Annotated[str, _marked(ScalarKind.COUNTRY)]
Asn = Annotated[int, _marked(ScalarKind.ASN, ge=0, le=2**32 - 1)]
Mode = Annotated[str, _marked(ScalarKind.MODE)]
Bind = Annotated[str, _marked(ScalarKind.BIND)]
Binds: TypeAlias = Bind | Annotated[tuple[Bind, ...], msgspec.Meta(min_length=1)]
"""One address to listen at, or a list of them."""
Algorithm = Annotated[str, _marked(ScalarKind.ALGORITHM)]
StoreUrl = Annotated[str, _marked(ScalarKind.STORE)]
Url = Annotated[str, _marked(ScalarKind.URL)]
"""Without credentials: `Annotated[Url, instead("token_file")]` says where one goes."""
StringOrUri = Annotated[str, _marked(ScalarKind.STRING_OR_URI)]
"""What a token's `iss` and `aud` are (RFC 7519, section 2); of a URI no part is a credential."""
Method = Annotated[str, _marked(ScalarKind.METHOD)]
HeaderName = Annotated[str, _marked(ScalarKind.HEADER)]
Name = Annotated[str, _marked(ScalarKind.NAME)]
"""What `wire.names` says that a name is; empty for none."""
ClaimPath = Annotated[str, _marked(ScalarKind.CLAIM)]
"""A claim, or the path to one (`wire.tokens.claim_paths`); empty for none."""
Origin = Annotated[str, _marked(ScalarKind.ORIGIN)]
"""As browsers send it (RFC 6454, section 6.1), or `*` for any."""
PublicPath = Annotated[str, _marked(ScalarKind.PUBLIC)]
"""A path, or all below one with `/*` at its end."""
PositiveInt = Annotated[int, msgspec.Meta(gt=0)]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|[smhdw])"
DURATION_PATTERN = rf"^(?:{_PART})+$".replace("(ms", "(?:ms").replace("([0", "(?:[0")
_PARTS = re.compile(_PART)
_DURATION = re.compile(DURATION_PATTERN)
_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
SIZE_PATTERN = r"^[0-9]{1,12}(?:B|KB|MB|KiB|MiB|GiB)$"
_SIZE = re.compile(SIZE_PATTERN)
MODE_PATTERN = r"^0?[0-7]{3}$"
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
_URL = re.compile(
    r"https?://(?:([^\s/?#@\[\]:]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?(?:[/?][^\s#]*)?"
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://"
    r"(?:[a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*|\[([0-9a-f:.]{2,45})\])(?::([0-9]{1,5}))?"
)
_BEYOND = re.compile(r"[.:]?(?:[/?#\s]|$)")
"""What of an origin's text may be left out without its becoming another's."""
_DEFAULT_PORTS = (("https://", ":443"), ("http://", ":80"))
_ENCODED = re.compile(r"[%?#]")
_AS = re.compile(r"(?:[Aa][Ss])?([0-9]{1,10})")
_COMMON = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY")
_WEBDAV = ("ACL", "COPY", "LOCK", "MKCALENDAR", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "UNLOCK")
_OTHERS = ("LINK", "MERGE", "PURGE", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNLINK", "UPDATE")
METHODS = frozenset({*_COMMON, *_WEBDAV, *_OTHERS})
"""A method that is not known would make a route that matches nothing, without a word."""


def duration(value: Plain) -> float:
    """Seconds: a number of them, or number and unit, added up where there are several."""
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            raise Misspelt("must be seconds, or a duration such as 90s, 15m, 1h or 7d")
        return sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(value))
    if isinstance(value, bool):
        raise Misspelt("must be a duration, not true or false")
    return value


def size(value: Plain) -> int:
    """Bytes: a whole number of them, or number and unit."""
    if isinstance(value, str) and _SIZE.fullmatch(value):
        number = value.rstrip("BKMGi")
        return int(number) * _BYTES[value[len(number) :]]
    if isinstance(value, bool) or not isinstance(value, int):
        raise Misspelt("must be a whole number of bytes, or a size such as 64KiB or 1MiB")
    return value


def text(value: Plain) -> str:
    """Text as such."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise Misspelt("must be text, not true or false; put it in quotes")
    raise Misspelt("must be text, not a number; put it in quotes")


def file(value: Plain) -> str:
    """Return a path, empty for none."""
    return text(value)


def cidr(value: Plain) -> str:
    """Return a network without host bits, or a lone address, in the spelling of addresses."""
    spelled = text(value)
    try:
        network = ipaddress.ip_network(spelled, strict=False)
    except ValueError:
        raise Misspelt("must be a CIDR such as 10.0.0.0/8 or 2001:db8::/32") from None
    mask = spelled.partition("/")[2]
    if "%" in spelled or (mask and not (mask.isascii() and mask.isdigit())):
        raise Misspelt(f"must be a CIDR; did you mean {network}?")
    if mask and ipaddress.ip_address(spelled.partition("/")[0]) != network.network_address:
        raise Misspelt(f"has host bits set; did you mean {network}?")
    try:
        return str(address.compared_as(network))
    except ValueError as error:
        raise Misspelt(str(error)) from None


def country(value: Plain) -> str:
    """Return an ISO 3166-1 alpha-2 code in upper case."""
    spelled = text(value)
    if len(spelled) != 2 or not (spelled.isascii() and spelled.isalpha()):
        code = code_of(spelled)
        hint = f"; did you mean {code}?" if code else ""
        raise Misspelt(f"must be a country's code of two letters (ISO 3166-1 alpha-2){hint}")
    code = spelled.upper()
    if not is_assigned(code):
        hint = f"; did you mean {meant_by(code)}?" if meant_by(code) else ""
        raise Misspelt(f"{code} is no country's code (ISO 3166-1 alpha-2){hint}")
    return code


def asn(value: Plain) -> int:
    """Return the number of an autonomous system, with or without `AS`."""
    if isinstance(value, str) and (found := _AS.fullmatch(value)):
        value = int(found[1])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise Misspelt("must be the number of an autonomous system, such as 64496 or AS64496")
    return value


def mode(value: Plain) -> str:
    """Return a file's mode in octal."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise Misspelt('must be text; put the mode in quotes, such as "0660"')
    spelled = text(value)
    if not re.fullmatch(MODE_PATTERN, spelled):
        raise Misspelt('must be a file\'s mode in octal, such as "0660"')
    return spelled


def bind(value: Plain) -> str:
    """`HOST:PORT` or `[IPv6]:PORT`; port 0 is any free one."""
    spelled = text(value)
    host, colon, port = spelled.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        raise Misspelt("must be host:port, such as 127.0.0.1:8181 or [::1]:8181")
    if host.startswith("[") and host.endswith("]"):
        if not _is_ipv6(host[1:-1]):
            raise Misspelt("has brackets around what is no IPv6 address")
    elif ":" in host:
        raise Misspelt("must have brackets around an IPv6 address, such as [::1]:8181")
    elif not _is_host(host):
        raise Misspelt("must begin with a host name or an address, such as 127.0.0.1:8181")
    return spelled


def _is_host(host: str) -> bool:
    if host and not host.strip("0123456789."):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
    return bool(_HOST.fullmatch(host))


def store(value: Plain) -> str:
    """Return the store's address; empty for the embedded one."""
    spelled = text(value)
    if spelled:
        parse_store_address(spelled)
    return spelled


def url(value: Plain) -> str:
    """Return an http or https URL without credentials; empty for none."""
    spelled = string_or_uri(value)
    found = _URL.fullmatch(spelled)
    if spelled and not found:
        raise Misspelt("must be an https:// URL without credentials and fragment")
    if found:
        name, address, port = found.groups()
        if not (_is_name(name) if name else _is_ipv6(address)):
            raise Misspelt("has a host that is no name or address")
        if port and not _is_port(port):
            raise Misspelt(_NO_PORT)
    return spelled


_NO_PORT = "has a port that is no number from 1 to 65535"


def _is_port(text: str) -> bool:
    return not text.startswith("0") and int(text) <= 65535


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    """Return whether a resolver can be asked for a host.

    Each part has 1 to 63 letters as it is sent.
    """
    try:
        sent = host.encode("idna")
        for label in sent.split(b"."):
            if label.startswith(b"xn--"):
                label.removeprefix(b"xn--").decode("punycode")
    except UnicodeError:
        return False
    return len(sent) <= 253


def string_or_uri(value: Plain) -> str:
    """Return any text; if it is a URI, one without credentials."""
    spelled = text(value)
    part = credential_in(spelled)
    if part:
        raise HoldsCredential(part)
    return spelled


def header(value: Plain) -> str:
    """Return the name of a header or cookie (RFC 9110, section 5.6.2); empty for none."""
    spelled = text(value)
    if spelled and not _TOKEN.fullmatch(spelled):
        raise Misspelt("must be a name without spaces and separators")
    return spelled


def name(value: Plain) -> str:
    """Return a name as all doors read it; empty for none."""
    spelled = string_or_uri(value)
    try:
        return name_of(spelled) if spelled else ""
    except InvalidName as error:
        raise Misspelt(str(error)) from None


def claim(value: Plain) -> str:
    """Return the name of a claim, or the path to one; empty for none."""
    spelled = text(value)
    try:
        return spelled if not spelled or parts_of(spelled) else ""
    except InvalidPath as error:
        raise Misspelt(str(error)) from None


def origin(value: Plain) -> str:
    """Return an origin as browsers send it, or `*` for any."""
    spelled = string_or_uri(value)
    found = _ORIGIN.fullmatch(spelled)
    if spelled == "*" or found:
        address, port = found.groups() if found else ("", "")
        if port and not _is_port(port):
            raise Misspelt(_NO_PORT)
        if address:
            _check_as_sent(address)
        for scheme, port in _DEFAULT_PORTS:
            if spelled.startswith(scheme) and spelled.endswith(port):
                bare = spelled.removesuffix(port)
                raise Misspelt(f"is never sent with the port; did you mean {bare}?")
        return spelled
    hint = ""
    if not spelled.isascii():
        hint = "; browsers send the host in punycode (`xn--...`)"
    elif (found := _ORIGIN.match(spelled.lower())) and _BEYOND.match(spelled[found.end() :]):
        hint = f"; did you mean {found[0]}?"
    raise Misspelt(f"must be an origin such as https://shop.example, without a path{hint}")


def _check_as_sent(address: str) -> None:
    """Raise `Misspelt` for an IPv6 address that browsers send otherwise (RFC 5952)."""
    if not _is_ipv6(address):
        raise Misspelt("has brackets around what is no IPv6 address")
    sent = ipaddress.IPv6Address(address).compressed
    if sent != address:
        raise Misspelt(f"is sent otherwise; did you mean [{sent}] in the host's place?")


def public(value: Plain) -> str:
    """Return a path that passes unasked, or all below one."""
    spelled = text(value)
    path = spelled.removesuffix("/*")
    if not spelled.startswith("/") or "*" in path:
        raise Misspelt("must be a path such as /health, or /static/* for all below")
    try:
        normalise(quote(path or "/"))
        is_plain = not _ENCODED.search(path)
    except (PathInvalid, UnicodeEncodeError):
        is_plain = False
    if not is_plain:
        raise Misspelt("can match no call: write the decoded path, as apps route by it")
    return spelled


READERS: Mapping[ScalarKind, Callable[[Plain], Plain]] = {
    ScalarKind.DURATION: duration,
    ScalarKind.SIZE: size,
    ScalarKind.FILE: file,
    ScalarKind.CIDR: cidr,
    ScalarKind.COUNTRY: country,
    ScalarKind.ASN: asn,
    ScalarKind.MODE: mode,
    ScalarKind.BIND: bind,
    ScalarKind.ALGORITHM: text,
    ScalarKind.STORE: store,
    ScalarKind.URL: url,
    ScalarKind.STRING_OR_URI: string_or_uri,
    ScalarKind.METHOD: text,
    ScalarKind.HEADER: header,
    ScalarKind.NAME: name,
    ScalarKind.CLAIM: claim,
    ScalarKind.ORIGIN: origin,
    ScalarKind.PUBLIC: public,
}
"""How each kind is read.

`config.settings_reader` replaces those that depend on more than the value.
"""
