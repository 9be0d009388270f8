"""Announcements: how a session stands now against what other systems were last sent of it.

Each *topic* of a session is announced by itself: its assurance, whether it is revoked, the level of
its risk score, and where it is used from. What was sent of a topic last is a text that only grows
(a moment, then the value), so that sidecars which announce at the same time agree on what came
last.

An announcement's `id` follows from what it says and from what was sent before it: sidecars that
find the same announce it under the same id, however often they do.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.evaluation.decision import explain, open_marks
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.policy.conditional_access import Circumstance, RiskLevel
from sidecar.domain.session.risk import level_after, terms_of, total
from sidecar.domain.session.standing import Demand, Standing
from sidecar.domain.session.state import PLACE, State
from sidecar.domain.values.assurance import is_later
from sidecar.domain.values.stamp import MICROSECONDS

ASSURANCE = "!assurance"
REVOKED = "!revoked"
RISK = "!risk"
PRESENTED = "!presented"
TOPICS = (ASSURANCE, RISK, PRESENTED)
"""The topics that have a claim of their own; a revocation has the one under which it is logged."""

REPORTED = "session-risk-"
"""How the contributions begin that others' reports of a session's risk make to its score."""

NOTHING_SHOWN = "none"
"""The level of a session none of whose sign-ins counts."""

_DIGITS = 16
_LONGEST_TEXT = 500


class AssuranceChanged(msgspec.Struct, frozen=True, tag="assurance", kw_only=True, gc=False):
    """The best level of assurance that counts is another: a mark voids what was shown before."""

    previous: str
    current: str
    rose: bool


class SessionOver(msgspec.Struct, frozen=True, tag="revoked", gc=False):
    """The session was revoked."""


class RiskChanged(msgspec.Struct, frozen=True, tag="risk", kw_only=True, gc=False):
    """The level of the session's score is another."""

    previous: RiskLevel
    current: RiskLevel


class PresentedElsewhere(msgspec.Struct, frozen=True, tag="presented", kw_only=True, gc=False):
    """The session is used from another country or network operator than before."""

    user_agent: str = ""


Change: TypeAlias = AssuranceChanged | SessionOver | RiskChanged | PresentedElsewhere


class Announcement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing to announce: `at` is in whole seconds since the epoch; `device` may be empty.

    `issuer` is the namespace of these names.
    `cause` names what brought it about, the same for all that came of it. `text` is for
    administrators: which policies, which signals.
    """

    id: str
    cause: str
    at: int
    session: str
    user: str
    device: str = ""
    text: str = ""
    change: Change
    issuer: str = ""


class TopicAnnouncement(NamedTuple):
    """An announcement under its topic; `value` is then the last that was sent of the topic.

    `before` is what had been sent until then: who claims it first sends what comes after it.
    """

    topic: str
    before: bytes
    value: bytes
    announcement: Announcement

    @property
    def follows(self) -> int:
        """The moment (microseconds) of what it follows; -1: its own moment gives its place."""
        if self.topic not in (ASSURANCE, RISK):
            return -1
        return _moment_of(self.before)


class SessionOwner(NamedTuple):
    """The session and its user, by their identifiers, and whose names these are."""

    session: str
    user: str
    issuer: str = ""


class Present(NamedTuple):
    """A session as it is at `now` (microseconds), and how policies judge it."""

    evaluator: Evaluator
    state: State
    standing: Standing
    now: int


def news_of(
    whom: SessionOwner, sent: Mapping[str, bytes], present: Present
) -> list[TopicAnnouncement]:
    """Return what is worth announcing now, given what was last sent of each topic."""
    if present.standing.revoked is not None:
        return []  # that it is over is all there is to say of it
    look = _Look(whom, sent, *present)
    return [*look.assurance(), *look.risk(), *look.presented()]


def revocation(
    whom: SessionOwner, state: State, value: bytes, since: int, text: str
) -> TopicAnnouncement:
    """Return the news that a session was revoked at `since` (microseconds).

    `value` as it is logged.
    """
    name = _name(whom, REVOKED, value)
    announcement = Announcement(
        id=name,
        cause=_cause(state, name),
        at=since // MICROSECONDS,
        session=whom.session,
        user=whom.user,
        issuer=whom.issuer,
        device=state.device,
        text=text[:_LONGEST_TEXT],
        change=SessionOver(),
    )
    return TopicAnnouncement(REVOKED, b"", value, announcement)


def fades(sent: Mapping[str, bytes]) -> bool:
    """Return whether time alone may bring news: a level of risk that was sent may be left."""
    return _said_before(sent.get(RISK, b""), "LOW") != "LOW"


def counting_level(evaluator: Evaluator, state: State, standing: Standing, now: float) -> str:
    """Return the best level that counts at `now` (seconds) of sign-ins since the last open mark."""
    moments = [demand.since for demand in open_marks(standing, now) if demand.since is not None]
    second = max(moments) // MICROSECONDS if moments else None
    return _best(evaluator, state, second)


def _best(evaluator: Evaluator, state: State, second: int | None) -> str:
    """Return the best level shown in a later second than this.

    What others lowered is not passed on.
    """
    ladder = evaluator.world.ladder
    ranks = (
        ladder.shown(auth).rank
        for auth in state.sign_ins
        if is_later(auth.auth_time, second, evaluator.skew)
    )
    return ladder.name(max(ranks, default=0)) or NOTHING_SHOWN


class _Look(NamedTuple):
    whom: SessionOwner
    known: Mapping[str, bytes]
    evaluator: Evaluator
    state: State
    standing: Standing
    now: int

    def assurance(self) -> Iterator[TopicAnnouncement]:
        ladder = self.evaluator.world.ladder
        before = self.known.get(ASSURANCE, b"")
        previous = _said_before(before, _best(self.evaluator, self.state, None))
        seconds = self.now / MICROSECONDS
        current = counting_level(self.evaluator, self.state, self.standing, seconds)
        if current == previous:
            return
        rose = (ladder.rank_of_level(current) or 0) > (ladder.rank_of_level(previous) or 0)
        change = AssuranceChanged(previous=previous, current=current, rose=rose)
        demands = open_marks(self.standing, seconds)
        at = self.now // MICROSECONDS if rose else _latest(demands, self.now) // MICROSECONDS
        text = "; ".join(f"{d.policy}: {explain(d)}" for d in demands)
        yield self._news(ASSURANCE, current, change, at, text)

    def risk(self) -> Iterator[TopicAnnouncement]:
        before = self.known.get(RISK, b"")
        previous = RiskLevel.__members__.get(_said_before(before, "LOW"), RiskLevel.LOW)
        world = self.evaluator.world
        rating = world.rating
        terms = terms_of(self.state, self.now, rating, world.sources)
        # What others report of the session is not passed on: two that did would keep
        # each other's level up.
        score = total(tuple(term for term in terms if not term.name.startswith(REPORTED)))
        current = level_after(previous, score, rating.thresholds)
        if current is not previous:
            change = RiskChanged(previous=previous, current=current)
            text = f"score {score:.0f}"
            at = self.now // MICROSECONDS
            yield self._news(RISK, current.name, change, at, text)

    def presented(self) -> Iterator[TopicAnnouncement]:
        held = self.state.circumstances.get(PLACE)
        before = self.known.get(PRESENTED, b"")
        if held is None or not self.state.left or held.since is None:
            return  # never seen elsewhere
        if before >= _moment(held.since):
            return
        agent = self.state.circumstances.get(Circumstance.USER_AGENT)
        change = PresentedElsewhere(user_agent=agent.value if agent else "")
        place = self.state.location
        where = place.country or "an unknown country"
        text = f"seen in {where}" + (f", AS{place.asn}" if place.asn else "")
        at = held.since // MICROSECONDS
        value = _moment(held.since) + b"."
        name = _name(self.whom, PRESENTED, value)
        yield TopicAnnouncement(
            PRESENTED, before, value, self._announcement(name, change, at, text)
        )

    def _news(
        self, topic: str, current: str, change: Change, at: int, text: str
    ) -> TopicAnnouncement:
        before = self.known.get(topic, b"")
        # A moment no earlier than the last: two clocks may disagree.
        moment = max(self.now, _moment_of(before) + 1)
        value = _moment(moment) + current.encode() + b"."
        name = _name(self.whom, topic, before + b"|" + current.encode())
        return TopicAnnouncement(topic, before, value, self._announcement(name, change, at, text))

    def _announcement(self, name: str, change: Change, at: int, text: str) -> Announcement:
        return Announcement(
            id=name,
            cause=_cause(self.state, name),
            at=at,
            session=self.whom.session,
            user=self.whom.user,
            issuer=self.whom.issuer,
            device=self.state.device,
            text=text[:_LONGEST_TEXT],
            change=change,
        )


def _latest(demands: list[Demand], now: int) -> int:
    return max((d.since for d in demands if d.since is not None), default=now)


def _moment(microseconds: int) -> bytes:
    return f"{microseconds:0{_DIGITS}d}".encode()


def _moment_of(value: bytes) -> int:
    return int(value[:_DIGITS]) if value[:_DIGITS].isdigit() else 0


def _said_before(value: bytes, otherwise: str) -> str:
    return value[_DIGITS:-1].decode("utf-8", "replace") if value else otherwise


def _name(whom: SessionOwner, topic: str, value: bytes) -> str:
    names = (name.encode("utf-8", "surrogatepass") for name in (*whom, topic))
    return _digest(b"\0".join((*names, value)))


def _cause(state: State, otherwise: str) -> str:
    return _digest(state.last.encode().encode()) if state.last.id else otherwise


def _digest(raw: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.blake2b(raw, digest_size=16).digest())[:22].decode()
