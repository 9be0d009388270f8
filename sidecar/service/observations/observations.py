"""Declares what services, doors and the daemon observe, as frozen records.

A record holds what an operator may read: never a token, never a payload. `session` and `subject`
go to the log only; no metric has them as labels. How a kind of observation is counted and logged is
its row in `sidecar.adapters.telemetry.table`; properties here are what such a row reads.
"""

from enum import StrEnum
from typing import ClassVar, Protocol

import msgspec

from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.policy.conditional_access import PolicyState
from sidecar.domain.sources.origin import Origins
from sidecar.domain.sources.shedding import Bottleneck, Need
from sidecar.service.ports.calls import Reason
from sidecar.wire.http.unasked import Exemption
from sidecar.wire.tokens.claims import ClaimNeed


class Observation(msgspec.Struct, frozen=True):
    """Something that happened and is counted or logged."""


class EventOutcome(StrEnum):
    """The outcome of an event at the door: the label `outcome` of `sidecar_events_total`."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    NOT_ALLOWED = "not_allowed"
    OVERLOADED = "overloaded"
    SPOOLED = "spooled"
    FAILED = "failed"


REFUSED = (EventOutcome.INVALID, EventOutcome.OVERLOADED, EventOutcome.FAILED)
"""The fates of events that were not taken, but for those that their source may not say."""


class ClearReason(StrEnum):
    """The reason for the end of a mark: the label `reason` of `sidecar_marks_cleared_total`."""

    PROOF = "proof"
    WITHDRAWN = "withdrawn"
    POLICY = "policy"
    OPERATOR = "operator"
    EXPIRED = "expired"


class LinkStatus(StrEnum):
    """The state of the link by which this sidecar hears the others' news."""

    LOST = "lost"
    RESTORED = "restored"


class KeysOutcome(StrEnum):
    """The end of a refresh of keys. `FAILED`, `REFUSED`: old ones stay. `STALE`: they are gone."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    STALE = "stale"


class SpoolTrouble(StrEnum):
    """A trouble of the spool: the label `trouble` of `sidecar_spool_troubles_total`."""

    OPEN = "open"  # its directory cannot be used
    WRITE = "write"  # the disk does not take what is written
    READ = "read"  # nor give back what was
    FULL = "full"
    TORN = "torn"  # a write was not finished: it was never acknowledged
    DAMAGED = "damaged"  # what was acknowledged may be lost


class DeadReason(StrEnum):
    """The reason why an event was given up: the label `reason` of `sidecar_dead_letters_total`."""

    REFUSED = "refused"  # the store refuses it, and always will
    FAILED = "failed"  # what it did cannot be worked out: an error of ours
    DAMAGED = "damaged"  # its entry cannot be read, or is of another version


class SetAsideReason(StrEnum):
    """The reason why facts of a record were set aside: the label `reason` of their counter."""

    VERSION = "version"  # another version wrote them
    DAMAGED = "damaged"  # this version cannot have written them like that


class ReloadOutcome(StrEnum):
    """The outcome of a changed file; `refused`: the old version stays."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Marked(Observation, frozen=True, kw_only=True):
    """A policy marked a session, or (`report_only`) would have.

    `since` is in seconds since the epoch (0: from the session's start); `contexts` empty: all;
    `by` the events that brought it;
    `signal_to_mark_seconds` from the event's arrival to the mark's being in the store, None where
    no event brought it. `again`: here as in others, a sidecar that died may have logged it.
    """

    session: str
    subject: str
    policy: str
    signal: str
    text: str
    since: float
    contexts: tuple[str, ...] = ()
    report_only: bool = False
    signal_to_mark_seconds: float | None = None
    issuer: str = ""
    by: Origins = ()
    again: bool = False
    trace: str = ""

    @property
    def state(self) -> PolicyState:
        """Return the state of the policy."""
        return PolicyState.REPORT_ONLY if self.report_only else PolicyState.ENABLED


class Cleared(Observation, frozen=True, kw_only=True):
    """A mark of this policy binds a session no longer.

    `since`: when it was set (seconds); `by`: the events that withdrew it, or that a proof answers.
    """

    session: str
    subject: str
    policy: str
    reason: ClearReason
    text: str = ""
    issuer: str = ""
    since: float = 0.0
    by: Origins = ()
    again: bool = False
    trace: str = ""


class RevokedSession(Observation, frozen=True, kw_only=True):
    """A session is over until a later sign-in: by the events `by`, at `since` (seconds)."""

    session: str
    subject: str
    reason: str = ""
    issuer: str = ""
    since: float = 0.0
    by: Origins = ()
    again: bool = False
    trace: str = ""


class ReportedOnly(Observation, frozen=True, kw_only=True):
    """A report-only policy asked something of a check.

    Were it enforced, the answer would have been `decision`, not `answered`; the two may be the
    same, where others asked, too.
    """

    session: str
    subject: str
    policy: str
    decision: str
    answered: str
    context: str = ""
    issuer: str = ""


class BreakGlassUsed(Observation, frozen=True, kw_only=True):
    """A call of an emergency account was answered, to which no policy applies: with `decision`."""

    session: str
    subject: str
    decision: str
    context: str = ""
    issuer: str = ""


class PromptBudgetExceeded(Observation, frozen=True, kw_only=True):
    """A user was asked `prompts` times within `seconds`, more than the `budget`; observed once."""

    subject: str
    prompts: int
    budget: int
    seconds: float
    issuer: str = ""


class EventTaken(Observation, frozen=True, kw_only=True):
    """An event met its fate at a door. `type` and `id` are as sent; `detail` says what was wrong.

    `source` is who said it, `label` what the event calls its source. `detail` names a field and a
    rule, never a value of the payload.
    """

    type: str
    outcome: EventOutcome
    id: str = ""
    source: str = ""
    label: str = ""
    detail: str = ""

    @property
    def is_refused(self) -> bool:
        """Return whether the event was not taken, although its source may say it."""
        return self.outcome in REFUSED


class EventNotAllowed(Observation, frozen=True, kw_only=True):
    """A source wanted more than it may: `key` of its `sources` entry would allow it."""

    source: str
    type: str
    key: str
    detail: str


class EventShed(Observation, frozen=True, kw_only=True):
    """An event was refused as there are too many: how much it was `needed`, what was full."""

    type: str
    needed: Need
    of: Bottleneck


class Rescored(Observation, frozen=True, kw_only=True):
    """Live sessions were scored anew; `cause` is an event type or what was reloaded."""

    cause: str
    sessions: int


class Checked(Observation, frozen=True, kw_only=True):
    """A check was answered; logged only where `log.checks` asks for it, why with `log.explain`."""

    verdict: str
    context: str
    session: str
    subject: str
    status: int
    seconds: float
    reasons: tuple[Reason, ...] = ()
    explanation: Explanation | None = None
    issuer: str = ""
    id: str = ""
    trace: str = ""


class Reloaded(Observation, frozen=True, kw_only=True):
    """A changed file was taken up or refused; `what` is "config", "policies", "geography", ...

    `keys` are those of the configuration that are in force otherwise than before.
    """

    what: str
    outcome: ReloadOutcome
    detail: str = ""
    keys: tuple[str, ...] = ()


class ConfigurationRead(Observation, frozen=True, kw_only=True):
    """The configuration was read; `policy_set` is a digest of the policies that are in force."""

    successful: bool
    policy_set: str = ""


class RestartRequired(Observation, frozen=True, kw_only=True):
    """These keys of the configuration have changed since the start and wait for the next one."""

    keys: tuple[str, ...]

    @property
    def waits(self) -> bool:
        """Return whether anything waits for a restart."""
        return bool(self.keys)


class ConfigurationWarned(Observation, frozen=True, kw_only=True):
    """The configuration in force allows what makes the deployment weak (`checks.weaknesses`)."""

    code: str
    field: str
    message: str


class SecretRead(Observation, frozen=True, kw_only=True):
    """A secret's file cannot be read, for this reason; or, with none, it can again."""

    field: str
    reason: str = ""

    @property
    def failing(self) -> bool:
        """Return whether the file holds no secret."""
        return bool(self.reason)


def spans(slots: tuple[tuple[int, int], ...]) -> list[str]:
    """Return ranges of slots as text."""
    return [f"{first}-{last}" for first, last in slots]


class StoreUp(Observation, frozen=True, kw_only=True):
    """The store answers, or does not."""

    up: bool
    detail: str = ""


class StoreLoss(StrEnum):
    """The sign by which a loss of the store was noticed: label `kind` of the metric of losses."""

    EMPTIED = "emptied"  # a server has another epoch than before, or none
    RESTORED = "restored"  # what this sidecar wrote is not there any more: an older copy
    EVICTED = "evicted"  # a full server threw out keys
    VANISHED = "vanished"  # a record that this sidecar holds is gone before its time
    REPORTED = "told"  # another sidecar noticed it


class StoreLost(Observation, frozen=True, kw_only=True):
    """A loss of the store: what these slots held before `floor` (seconds) may be gone."""

    loss: StoreLoss
    floor: float
    slots: tuple[tuple[int, int], ...]

    @property
    def spans(self) -> list[str]:
        """Return the slots as a line has them."""
        return spans(self.slots)


class StoreWrittenBack(Observation, frozen=True, kw_only=True):
    """After a loss, so many records were given back what they lacked."""

    records: int


class StoreEvicts(Observation, frozen=True, kw_only=True):
    """The eviction policy of a server of the store that is full; empty: unknown."""

    policy: str
    slots: tuple[tuple[int, int], ...]

    @property
    def spans(self) -> list[str]:
        """Return the slots as a line has them."""
        return spans(self.slots)


class FormsDisagree(Observation, frozen=True, kw_only=True):
    """Sidecars on one store write names in forms that others of them do not read."""

    detail: str


class LinkState(Observation, frozen=True, kw_only=True):
    """The stream of news from the other sidecars broke or came back."""

    state: LinkStatus
    detail: str = ""

    @property
    def up(self) -> bool:
        """Return whether the stream works."""
        return self.state is LinkStatus.RESTORED


class ProofUse(StrEnum):
    """The outcome of the attempt to use a proof for a call that needs one of its own."""

    BOUGHT = "bought"
    SPENT_BEFORE = "spent-before"
    UNAVAILABLE = "unavailable"


class ProofSpent(Observation, frozen=True, kw_only=True):
    """A call needed a proof of its own, and the store was asked whether it is spent."""

    outcome: ProofUse


class PassedUnasked(Observation, frozen=True, kw_only=True):
    """A call passed at a gateway's door without being asked about, as configured."""

    reason: Exemption


class CredentialRefused(Observation, frozen=True, kw_only=True):
    """Somebody showed a credential at this door that is wrong, or one too many.

    `address`: where from, or as which uid.
    """

    incident: ClassVar[str] = "wrong-credential"

    door: str
    address: str


class TokenRefused(Observation, frozen=True, kw_only=True):
    """A token was not believed; `reason` is a kebab-case code of a closed set.

    `issuer` is the configured one that it is of, where it is; `detail` says what was expected of
    it, and holds no more of it than names.
    """

    reason: str
    issuer: str = ""
    detail: str = ""


class ClaimMissing(Observation, frozen=True, kw_only=True):
    """A verified token lacks a claim. `need`, of a closed set, is what the claim is needed for."""

    issuer: str
    claim: str
    need: ClaimNeed


class Introspected(Observation, frozen=True, kw_only=True):
    """An issuer was asked about a token, or was not as it failed just now (`skipped`).

    `issuer` is one of the configured ones, `outcome` of a closed set; `detail` says why there was
    no answer.
    """

    issuer: str
    outcome: str
    seconds: float
    detail: str = ""

    @property
    def was_asked(self) -> bool:
        """Return whether the issuer was asked at all."""
        return self.outcome != "skipped"


class KeysRefreshed(Observation, frozen=True, kw_only=True):
    """An issuer's keys were fetched, or could not be; `issuer` is one of the configured ones."""

    issuer: str
    outcome: KeysOutcome
    detail: str = ""

    @property
    def done(self) -> bool:
        """Return whether they were fetched."""
        return self.outcome is KeysOutcome.DONE


class AcrUnoffered(Observation, frozen=True, kw_only=True):
    """The `acr` values that policies ask an issuer for and it does not offer; none: all is well.

    Of each of `asked`, space-separated as in a challenge, it offers none. `offered` is all that its
    metadata list.
    """

    issuer: str
    policies: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Return how many values are not offered."""
        return len(self.asked)


class GeographyLoaded(Observation, frozen=True, kw_only=True):
    """These geography databases are in use, each built at so many seconds since the epoch."""

    builds: tuple[tuple[str, float], ...]


class GeographyFailed(Observation, frozen=True, kw_only=True):
    """An address could not be looked up, as the database is broken there."""

    database: str
    detail: str = ""


class QueueRejected(Observation, frozen=True, kw_only=True):
    """A bounded queue was full."""

    queue: str


class ViewEvicted(Observation, frozen=True, kw_only=True):
    """Sessions were put out of the view to make room; they are read again when they come."""

    sessions: int


class SpoolIncident(Observation, frozen=True, kw_only=True):
    """Something began to be wrong with the spool; `detail` is for the operator."""

    trouble: SpoolTrouble
    detail: str


class SpoolReplayed(Observation, frozen=True, kw_only=True):
    """Events that had waited were handed to the store, which knew `duplicates` of them already."""

    events: int
    duplicates: int
    left: int


class Buried(Observation, frozen=True, kw_only=True):
    """An event was given up after `tries`, and is kept as a dead letter. `error`: no payload."""

    type: str
    event: str
    reason: DeadReason
    error: str
    tries: int


class FactsSetAside(Observation, frozen=True, kw_only=True):
    """Facts, or other words of records, cannot be read: they are set aside.

    `group`: that of the first. Beside groups of facts there are `history`, `backlog` and `policies`
    (which bundle is in force). What may loosen is asked for anew; `docs/dead-letters.md` says how.
    """

    reason: SetAsideReason
    facts: int
    group: str


class WorkClaimed(Observation, frozen=True, kw_only=True):
    """Work that another sidecar had taken and not finished was claimed here."""

    entries: int


class DoorIncident(Observation, frozen=True, kw_only=True):
    """A client at a door was refused or cut off; `incident` is one of the door's closed set.

    `error`: what a library met with it and did not expect.
    """

    door: str
    incident: str
    error: Exception | None = None


class WorkerFailed(Observation, frozen=True, kw_only=True):
    """A worker loop or a door met an error of ours, counted it and went on."""

    where: str
    error: BaseException


class LoopStalled(Observation, frozen=True, kw_only=True):
    """The event loop went through what was ready for so long, and noticed nothing else."""

    seconds: float


class DaemonEvent(Observation, frozen=True, kw_only=True):
    """Something of the daemon's own life worth a line: `event` is kebab-case, `fields` plain.

    `warning`: somebody should look.
    """

    event: str
    fields: dict[str, str | int | float | bool] = {}
    warning: bool = False


class Telemetry(Protocol):
    """The sink of observations. Neither call blocks or raises."""

    def record(self, observation: Observation) -> None:
        """Count it and, where worth a line, log it."""

    def checked(self, verdict: str, context: str, seconds: float) -> None:
        """Count a check and how long it took; on the hot path. `context` as in `Answer`."""
