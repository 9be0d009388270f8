"""The entries that are yet to be logged and counted of a session: each once, by one sidecar.

A session's record keeps for each policy what was last logged: the moment of the mark and whether
it was set (`a`) or cleared (`b`). Every sidecar can see what is missing there; the one whose join
makes the field grow is the one that logs. So nothing is logged twice, and what a sidecar that died
left is logged by another.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sidecar.domain.evaluation.announcement import REVOKED, TOPICS, TopicAnnouncement
from sidecar.domain.evaluation.decision import explain
from sidecar.domain.session.standing import (
    OF_THE_DAEMON,
    OPERATOR,
    SET_ASIDE,
    Demand,
    Standing,
)
from sidecar.domain.session.state import Activation, State
from sidecar.domain.sources.origin import Origins, together
from sidecar.domain.values.assurance import is_later
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.observations.observations import (
    Cleared,
    ClearReason,
    Marked,
    Observation,
    RevokedSession,
)

_SET = b"a"
_CLEARED = b"b"
_DIGITS = 16


class AuditEntry(NamedTuple):
    """One thing to log: the field of the record that must grow, its value, and what to say.

    `observation` is for our own log and metrics, `news` for others; either may be None. `prompt` is
    the moment (microseconds) of a mark that asks for a sign-in.
    """

    policy: str
    value: bytes
    observation: Observation | None
    news: TopicAnnouncement | None = None
    prompt: int | None = None

    @property
    def news_id(self) -> str:
        """The id of its news; empty where it has none."""
        return self.news.announcement.id if self.news is not None else ""

    @property
    def claimed(self) -> bytes:
        """The value to claim: this entry's own, or for a topic of announcements the one before it.

        A topic's values hold the time at which somebody looked, and so differ between sidecars.
        """
        news = self.news
        return news.before if news is not None and news.topic in TOPICS else self.value


class Whose(NamedTuple):
    """The session and subject that an entry names, in plain text, and whose names these are."""

    session: str
    subject: str
    issuer: str = ""


class RecordedEntries(NamedTuple):
    """The values logged of a session so far, by policy, and the policies that there are now."""

    whose: Whose
    logged: Mapping[str, bytes]
    policies: Iterable[str]


def pending_entries(
    before: RecordedEntries, state: State, standing: Standing, now: float
) -> list[AuditEntry]:
    """Return what is missing, given how the session stands at `now` (seconds)."""
    whose, logged, policies = before
    missing: list[AuditEntry] = []
    waiting: set[str] = set()
    newest: dict[str, bytes] = {}  # a policy may ask twice, for a mark and as a life has ended
    for demand in (*standing.demands, *standing.tried):
        if demand.is_met(now):
            continue
        waiting.add(demand.policy)
        if not demand.is_mark:
            continue  # what is always required there is no news of this session
        moment = demand.since if demand.since is not None else state.established
        value = _value(moment, _SET)
        if newest.get(demand.policy, logged.get(demand.policy, b"")) < value:
            newest[demand.policy] = value
            asks = not (demand.report_only or demand.block or demand.unsatisfiable)
            prompt = moment if asks else None
            marked = _marked(whose, demand, now)
            missing.append(AuditEntry(demand.policy, value, marked, prompt=prompt))
    if standing.revoked is not None:
        waiting.add(REVOKED)
        value = _value(standing.revoked.since or 0, _SET)
        if logged.get(REVOKED, b"") < value:
            revoked = RevokedSession(
                session=whose.session,
                subject=whose.subject,
                issuer=whose.issuer,
                reason=standing.revoked.value,
                since=(standing.revoked.since or 0) / MICROSECONDS,
                by=standing.revoked.by or _at(standing.revoked.since),
            )
            missing.append(AuditEntry(REVOKED, value, revoked))
    known = set(policies)
    for policy, value in logged.items():
        is_topic = policy.startswith("!")  # no policy's name does
        if policy not in waiting and not is_topic and value.endswith(_SET):
            reason = _why_cleared(state, policy, value, known=policy in known)
            if reason is ClearReason.WITHDRAWN and SET_ASIDE in waiting:
                continue  # what it was set for may be just what cannot be read here
            missing.append(_cleared(whose, state, policy, value, reason))
    return missing


def marked_policies(logged: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the policies whose mark was logged last, and not that it was cleared."""
    for policy, value in logged.items():
        is_topic = policy.startswith("!")
        if not is_topic and policy not in OF_THE_DAEMON and value.endswith(_SET):
            yield policy


def _value(moment: int, kind: bytes) -> bytes:
    return f"{moment:0{_DIGITS}d}".encode() + kind


def _marked(whose: Whose, demand: Demand, now: float) -> Marked:
    since = demand.since
    return Marked(
        session=whose.session,
        subject=whose.subject,
        issuer=whose.issuer,
        policy=demand.policy,
        signal=demand.signal,
        text=explain(demand),
        since=(since or 0) / MICROSECONDS,
        contexts=tuple(sorted(demand.contexts.include or ())),
        report_only=demand.report_only,
        signal_to_mark_seconds=None if since is None else max(0.0, now - since / MICROSECONDS),
        by=together(
            cause.by or _at(since, cause.source) for cause in demand.causes if cause.since == since
        ),
    )


def _at(moment: int | None, source: str = "") -> Origins:
    """Return what stands in for an event that is not known.

    Who said it, and when; none from the start.
    """
    return ((source, f"@{moment}"),) if moment is not None else ()


def _why_cleared(state: State, policy: str, value: bytes, *, known: bool) -> ClearReason:
    moment = int(value[:_DIGITS])
    if not known and policy not in OF_THE_DAEMON:
        return ClearReason.POLICY
    if any(
        is_later(second, moment // MICROSECONDS)
        for second in (*(a.auth_time for a in state.sign_ins), *state.shown_contexts.values())
    ):
        return ClearReason.PROOF
    return ClearReason.OPERATOR if moment < state.cleared else ClearReason.WITHDRAWN


def _cleared(
    whose: Whose, state: State, policy: str, value: bytes, reason: ClearReason
) -> AuditEntry:
    moment = int(value[:_DIGITS])
    activation = state.activations.get(policy, Activation())
    by = activation.by if reason is ClearReason.PROOF else activation.ended
    if reason is ClearReason.OPERATOR:
        by = _at(state.cleared, OPERATOR)
    cleared = Cleared(
        session=whose.session,
        subject=whose.subject,
        issuer=whose.issuer,
        policy=policy,
        reason=reason,
        since=moment / MICROSECONDS,
        by=by or _at(moment),
    )
    return AuditEntry(policy, _value(moment, _CLEARED), cleared)
