"""Addresses and their places as they are written: few bytes, and one object for many facts."""

import functools
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

import msgspec

from sidecar.domain.values.location import Place

Where: TypeAlias = tuple[str, Place]
"""An address, and its place."""

_NAMES: Mapping[str, str] = {
    "country": "c",
    "region": "r",
    "city": "t",
    "asn": "a",
    "organization": "o",
    "latitude": "y",
    "longitude": "x",
    "accuracy_km": "k",
    "anonymizer": "n",
    "meaningless": "m",
    "build": "b",
    "carrier": "e",
}
"""What the members of a place are called where it is written. What a place does not say is not."""

_MEMBERS = {_NAMES[field.name]: field.name for field in msgspec.structs.fields(Place)}
_UNSAID = msgspec.structs.astuple(Place())

NOWHERE: Where = ("", Place())

_Address: TypeAlias = int | str | bytes
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_WIDE = 16


@functools.lru_cache(maxsize=4096)
def written_where(ip: str, place: Place) -> msgspec.Raw:
    """Return an address with its place in MessagePack; many facts of many sessions have the same.

    The address is a number or bytes where that says the same, else the text.
    """
    said = {
        short: value
        for short, value, unsaid in zip(
            _MEMBERS, msgspec.structs.astuple(place), _UNSAID, strict=True
        )
        if value != unsaid
    }
    return msgspec.Raw(_encode((_address(ip), said) if said else _address(ip)))


@functools.lru_cache(maxsize=4096)
def read_where(written: bytes) -> Where:
    """Undo `written_where`. Raises `ValueError`, `msgspec.MsgspecError` for anything else."""
    found = _decode(written)
    if not isinstance(found, list):
        return _text(found), NOWHERE[1]
    address, said = found
    if not isinstance(said, dict) or not said.keys() <= _MEMBERS.keys():
        raise ValueError("no place")
    place = {_MEMBERS[short]: value for short, value in said.items()}
    return _text(address), msgspec.convert(place, Place)


def _address(ip: str) -> _Address:
    try:
        address = ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, IPv6Address):
        fits = address.scope_id is None and str(address) == ip
        return address.packed if fits else ip
    return int(address) if str(address) == ip else ip


def _text(address: object) -> str:
    match address:
        case int():
            return str(IPv4Address(address))
        case bytes():
            if len(address) != _WIDE:
                raise ValueError("no address")
            return str(IPv6Address(address))
        case str():
            return address
        case _:
            raise ValueError("no address")
