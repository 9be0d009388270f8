"""Writes what a call shows around a session in one value: where, on what, with which sign-in.

A sign-in repeats what came with it; where that is what the other facts of the value say, a bit
stands for it. Moments are seconds before the second of the stamp.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    DeviceBound,
    Fact,
    ShownWith,
    Sighted,
    SignedIn,
)
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.wire.facts.codes import ACR, AMR
from sidecar.wire.facts.sightings import NOWHERE, Where, read_where, written_where

_SIGHTED, _BOUND, _SIGNED_IN, _AGENT = 1, 2, 4, 8
_FACTS = _SIGHTED | _BOUND | _SIGNED_IN | _AGENT
"""Bits for the facts that a value has."""

_SAME_PLACE, _SAME_DEVICE, _SAME_AGENT = 16, 32, 64
"""Bits for what came with the sign-in and is what these facts say."""

_MADE_THERE, _EVERYWHERE = 128, 256


class WrittenSignIn(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A sign-in as it is written: `ago` seconds before the stamp it is written with."""

    ago: int
    acr: int | str = 0
    amr: tuple[int | str, ...] = ()
    at_most: str = ""

    def read(self, stamp: Stamp) -> Authentication:
        """Return the sign-in. Raises `ValueError` for what only a later version knows."""
        amr = tuple([AMR.read(one) for one in self.amr]) if self.amr else ()
        second = stamp.time // MICROSECONDS
        return Authentication(second - self.ago, ACR.read(self.acr), amr, self.at_most)


_NIL = b"\xc0"
NOTHING = msgspec.Raw(_NIL)
"""What is written where there is no address."""


class _Shown(msgspec.Struct, frozen=True, array_like=True, gc=False):
    has: int
    where: msgspec.Raw = NOTHING
    device: str = ""
    signed_in: WrittenSignIn | None = None
    agent: str = ""
    key: str = ""
    came_from: msgspec.Raw = NOTHING
    came_on: str = ""
    came_by: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Shown)


def trimmed(parts: list[object]) -> list[object]:
    """Take the empty parts off the end: whoever reads takes what is missing for empty."""
    while not parts[-1] and len(parts) > 1:
        del parts[-1]
    return parts


def written_sign_in(stamp: Stamp, shown: Authentication) -> list[object]:
    """Return the parts of a sign-in as `WrittenSignIn` has them."""
    parts: list[object] = [stamp.second - shown.auth_time, ACR.written(shown.acr)]
    if shown.amr or shown.at_most:
        parts += [[AMR.written(one) for one in shown.amr], shown.at_most]
    return trimmed(parts)


class _Around(NamedTuple):
    has: int
    where: Where
    device: str
    agent: str
    signed_in: SignedIn | None


def _around(facts: Iterable[Fact]) -> _Around:
    has, where, device, agent = 0, NOWHERE, "", ""
    signed_in: SignedIn | None = None
    for fact in facts:
        match fact:
            case Sighted(ip=ip, place=place):
                has, where = has | _SIGHTED, (ip, place)
            case DeviceBound(device=device):
                has |= _BOUND
            case AgentSeen(user_agent=agent):
                has |= _AGENT
            case SignedIn():
                has, signed_in = has | _SIGNED_IN, fact
    return _Around(has, where, device, agent, signed_in)


def encode_shown(stamp: Stamp, facts: Iterable[Fact]) -> bytes:
    """Return facts of one stamp and source, at most one of each kind; others are passed over."""
    around = has, where, device, agent, signed_in = _around(facts)
    parts: list[object] = [has, None, device, None, agent]
    if has & _SIGHTED:
        parts[1] = written_where(*where)
    if signed_in is not None:
        same, came = _came(around, signed_in)
        parts[0] = has | same
        parts[3] = written_sign_in(stamp, signed_in.authentication)
        parts += came
    return _encode(trimmed(parts))


def _came(around: _Around, signed_in: SignedIn) -> tuple[int, list[object]]:
    """Return what came with a sign-in: bits, and what no bit stands for."""
    came, has = signed_in.shown_with, around.has
    came_from, same = (came.ip, came.place), 0
    parts: list[object] = [came.key, None, came.device, came.user_agent]
    if has & _SIGHTED and came_from == around.where:
        same |= _SAME_PLACE
    elif came_from != NOWHERE:
        parts[1] = written_where(*came_from)
    if has & _BOUND and came.device == around.device:
        same, parts[2] = same | _SAME_DEVICE, ""
    if has & _AGENT and came.user_agent == around.agent:
        same, parts[3] = same | _SAME_AGENT, ""
    same |= _MADE_THERE * came.made_there | _EVERYWHERE * signed_in.everywhere
    return same, parts


def decode_shown(stamp: Stamp, source: str, written: bytes) -> list[Fact]:
    """Undo `encode_shown`. Raises `ValueError`, `msgspec.MsgspecError` for anything else."""
    shown = _decoder.decode(written)
    if not shown.has & _FACTS or shown.has >= 2 * _EVERYWHERE:
        raise ValueError("no facts, or such as only a later version knows")
    has, facts = shown.has, list[Fact]()
    where = NOWHERE
    if has & _SIGHTED:
        where = read_where(bytes(shown.where))
        facts.append(Sighted(stamp=stamp, source=source, ip=where[0], place=where[1]))
    if has & _AGENT:
        facts.append(AgentSeen(stamp=stamp, source=source, user_agent=shown.agent))
    if has & _BOUND:
        facts.append(DeviceBound(stamp=stamp, source=source, device=shown.device))
    if has & _SIGNED_IN:
        if shown.signed_in is None:
            raise ValueError("a sign-in that is not there")
        facts.append(
            SignedIn(
                stamp=stamp,
                source=source,
                authentication=shown.signed_in.read(stamp),
                everywhere=has & _EVERYWHERE != 0,
                shown_with=_came_with(shown, where),
            )
        )
    return facts


def _came_with(shown: _Shown, where: Where) -> ShownWith:
    has = shown.has
    if not has & _SAME_PLACE:
        written = _NIL if shown.came_from is NOTHING else bytes(shown.came_from)
        where = NOWHERE if written == _NIL else read_where(written)
    return ShownWith(
        where[0],
        where[1],
        shown.device if has & _SAME_DEVICE else shown.came_on,
        shown.key,
        shown.agent if has & _SAME_AGENT else shown.came_by,
        has & _MADE_THERE != 0,
    )
