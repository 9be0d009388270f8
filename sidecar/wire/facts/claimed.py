"""Writes what a token claims of its user in one value: claims, groups and roles."""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.fact_kinds import ClaimsSeen, Fact, MembershipsShown, Scope
from sidecar.domain.facts.memberships import TokenMemberships
from sidecar.domain.values.stamp import Stamp
from sidecar.wire.facts.codes import CLAIMS, UNKNOWN

_Word: TypeAlias = int | str


class _Membership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: _Word
    listed: bool
    signed_in_ago: int
    issued_ago: int
    names: tuple[str, ...] | None = None
    unknown: _Word = 0


class _Claimed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    scope: int | None
    issued_ago: int = 0
    claims: tuple[tuple[_Word, tuple[str, ...]], ...] = ()
    memberships: tuple[_Membership, ...] | None = None


_SCOPES = {0: Scope.SESSION, 1: Scope.USER, 2: Scope.DEVICE}
_NUMBERS = {scope: number for number, scope in _SCOPES.items()}
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Claimed)


def encode_claimed(stamp: Stamp, facts: Iterable[Fact]) -> bytes:
    """Return facts of one stamp and source, at most one of each kind; others are passed over."""
    parts: list[object] = [None]
    memberships: list[object] | None = None
    second = stamp.second
    for fact in facts:
        match fact:
            case ClaimsSeen(scope=scope, claims=claims, issued_at=issued_at):
                named = [(CLAIMS.written(name), values) for name, values in claims]
                parts = [_NUMBERS[scope], second - issued_at, named]
            case MembershipsShown():
                memberships = [_written(second, *one) for one in fact.memberships]
    if memberships is not None:
        parts += [0, (), memberships] if len(parts) == 1 else [memberships]
    return _encode(parts)


def _written(second: int, kind: str, shown: TokenMemberships) -> list[object]:
    ago = second - shown.signed_in, second - shown.issued_at
    parts: list[object] = [CLAIMS.written(kind), shown.listed, *ago]
    unknown = UNKNOWN.written(shown.unknown)
    if unknown != 0:
        parts += [shown.names, unknown]
    elif shown.names is not None:
        parts.append(shown.names)
    return parts


def decode_claimed(stamp: Stamp, source: str, written: bytes) -> list[Fact]:
    """Undo `encode_claimed`. Raises `ValueError`, `msgspec.MsgspecError` for anything else."""
    claimed, second = _decoder.decode(written), stamp.second
    if claimed.scope is None and claimed.memberships is None:
        raise ValueError("no facts")
    facts: list[Fact] = []
    if claimed.scope is not None:
        scope = _SCOPES.get(claimed.scope)
        if scope is None:
            raise ValueError("a scope that only a later version knows")
        claims = tuple([(CLAIMS.read(name), values) for name, values in claimed.claims])
        at = second - claimed.issued_ago
        facts.append(
            ClaimsSeen(stamp=stamp, source=source, scope=scope, claims=claims, issued_at=at)
        )
    if claimed.memberships is not None:
        memberships = tuple([_read(second, one) for one in claimed.memberships])
        facts.append(MembershipsShown(stamp=stamp, source=source, memberships=memberships))
    return facts


def _read(second: int, one: _Membership) -> tuple[str, TokenMemberships]:
    signed_in, issued_at = second - one.signed_in_ago, second - one.issued_ago
    unknown = UNKNOWN.read(one.unknown)
    return CLAIMS.read(one.kind), TokenMemberships(
        one.names, one.listed, signed_in, issued_at, unknown
    )
