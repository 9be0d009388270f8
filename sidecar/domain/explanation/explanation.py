"""Explanation of a verdict, as values: each policy, each condition, each term of the score.

`explain` makes them from the evaluator's own findings. Times are seconds since the epoch; a
`since` of None means from the start of the session.
"""

from enum import StrEnum

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.session.risk import Term


class CauseEffect(StrEnum):
    """The effect of a cause: `fresh` and `marked` ask for a proof, the others are excused.

    `fresh` came up after the latest fact, by time alone; `already-active` was there before and
    was excused when it came up; `proven` is a circumstance in which the user has signed in;
    `just-proven` was proven shortly before it came up again; `cleared` was excused by an operator.
    """

    FRESH = "fresh"
    MARKED = "marked"
    PROVEN = "proven"
    JUST_PROVEN = "just-proven"
    ACTIVE = "already-active"
    CLEARED = "cleared"


class PolicyOutcome(StrEnum):
    """The outcome of a policy for the call, or the reason for which it has none."""

    DISABLED = "disabled"
    OTHER_USER = "other-user"
    OTHER_APP = "other-app"
    OTHER_CONTEXT = "other-context"
    NOT_MET = "conditions-not-met"
    SATISFIED = "satisfied"
    CLEARED = "cleared"
    IN_GRACE = "in-grace"
    STEP_UP = "step-up"
    DENY = "deny"

    @property
    def fires(self) -> bool:
        """Return whether the policy keeps the call from passing (or, report-only, would)."""
        return self in (PolicyOutcome.STEP_UP, PolicyOutcome.DENY)

    @property
    def is_elsewhere(self) -> bool:
        """Return whether the policy is not for this call: for others, or for nobody."""
        return self in (
            PolicyOutcome.DISABLED,
            PolicyOutcome.OTHER_USER,
            PolicyOutcome.OTHER_APP,
            PolicyOutcome.OTHER_CONTEXT,
        )


class CauseExplanation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing that makes a condition hold, or keeps it from holding (then without a fate)."""

    kind: str
    value: str
    text: str
    signal: str
    since: float | None = None
    fate: CauseEffect | None = None


class ConditionExplanation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A condition: what it asks, what the session shows, and whether it holds.

    `parts` are those it is made of, for `all`, `any`, `not` and a `changed` of several things.
    """

    kind: str
    holds: bool
    asks: str
    value: str = ""
    causes: tuple[CauseExplanation, ...] = ()
    parts: "tuple[ConditionExplanation, ...]" = ()


class AssignmentMatch(msgspec.Struct, frozen=True, gc=False):
    """The match of an assignment with this user, app or context, and the reason."""

    matches: bool
    why: str


class AlternativeExplanation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One way to satisfy a grant: its controls, whether it can be satisfied, and whether it is.

    `level` is the assurance level it asks for (empty: none). `shown` is since when all that it
    asks for was shown (None: it was not), `missing` what was not.
    """

    controls: tuple[str, ...]
    satisfied: bool
    possible: bool
    level: str = ""
    shown: float | None = None
    missing: tuple[str, ...] = ()


class GrantExplanation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The grant that a policy asks for. Durations in seconds.

    `met_until`: until the sign-in is too old; `life_ends`: when the session needs a fresh one.
    `every_time`: each call needs a sign-in of its own; `spent`: when the latest one bought a call.
    """

    block: bool = False
    alternatives: tuple[AlternativeExplanation, ...] = ()
    sign_in_frequency: int | None = None
    met_until: float | None = None
    max_lifetime: int | None = None
    life_ends: float | None = None
    every_time: bool = False
    spent: float | None = None


class PolicyExplanation(msgspec.Struct, frozen=True, gc=False):
    """One policy: looked at or not, its assignments, its condition, its mark and what it asks.

    `conditions` is None where there is none, and the policy always holds. `mark` are the causes
    that ask for a sign-in later than `since`; they do not bind before `binds_from` (None: at once).
    `grace` and `min_interval` in seconds. `pending`: it asks in another context, or not yet.
    """

    policy: str
    state: str
    outcome: PolicyOutcome
    why: str
    users: AssignmentMatch
    apps: AssignmentMatch
    contexts: AssignmentMatch
    conditions: ConditionExplanation | None
    holds: bool
    causes: tuple[CauseExplanation, ...]
    mark: tuple[CauseExplanation, ...]
    since: float | None
    sticky: bool
    grant: GrantExplanation
    pending: bool = False
    description: str = ""
    grace: int = 0
    min_interval: int = 0
    binds_from: float | None = None


class ScoreExplanation(msgspec.Struct, frozen=True, gc=False):
    """The risk score, the level it gives, where levels begin, and its terms, greatest first."""

    score: float
    level: str
    medium: float
    high: float
    terms: tuple[Term, ...]


class SignInExplanation(msgspec.Struct, frozen=True, gc=False):
    """A sign-in that counts, the level it shows (empty: none that is known), its strengths."""

    auth_time: int
    acr: str
    amr: tuple[str, ...]
    level: str
    strengths: tuple[str, ...] = ()


class SessionExplanation(msgspec.Struct, frozen=True, gc=False):
    """The session as far as it is known. Empty: not known.

    `groups` and `roles` are empty, too, where the user has none; `unknown` names which of the two
    are unknown.
    """

    user: str
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    ip: str
    country: str
    network: str
    device: str
    compliance: str
    established: float
    sign_ins: tuple[SignInExplanation, ...]
    revoked: str = ""
    unknown: tuple[str, ...] = ()
    issuer: str = ""


class Explanation(msgspec.Struct, frozen=True, gc=False):
    """The reasons for the verdict on a call of `app` in `contexts` (empty: routine) at `time`.

    `reasons` are the policies that the caller is shown. `uses_proof`: the call passes if it is the
    one to spend its proof; the session's latest sign-in is taken for what its token shows.
    """

    time: float
    app: str
    contexts: tuple[str, ...]
    verdict: Verdict
    why: str
    pending: bool
    acr_values: tuple[str, ...]
    max_age: int | None
    reasons: tuple[str, ...]
    session: SessionExplanation
    score: ScoreExplanation
    policies: tuple[PolicyExplanation, ...]
    uses_proof: bool = msgspec.field(default=False, name="spends")

    @property
    def firing(self) -> tuple[str, ...]:
        """The enforced policies that keep the call from passing."""
        return tuple(
            one.policy for one in self.policies if one.outcome.fires and one.state != "report-only"
        )
