"""Observations of signed bundles of policies."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation
from sidecar.wire.bundles.generations import PolicyAct
from sidecar.wire.bundles.refusal import BundleFlaw


class PolicyActOutcome(StrEnum):
    """The outcome of an operator's act on the policies of the fleet, in the label `outcome`."""

    DONE = "done"
    REFUSED = "refused"  # nothing has changed
    UNKNOWN = "unknown"  # the store did not answer in time


class BundleInForce(Observation, frozen=True, kw_only=True):
    """A bundle is in force from now on; `made_at` in seconds since the epoch."""

    sequence: int
    digest: str
    term: int
    act: PolicyAct
    made_at: int
    signed_by: str
    by: str = ""
    reason: str = ""


class BundleRefused(Observation, frozen=True, kw_only=True):
    """A bundle is refused, and why."""

    sequence: int
    flaw: BundleFlaw
    detail: str


class BundleNamed(Observation, frozen=True, kw_only=True):
    """The store names a bundle for the fleet; `waits`: it is not in force here."""

    sequence: int
    waits: bool


class BundlePollOutcome(StrEnum):
    """The outcome of a look at what is published, in the label `outcome`."""

    FETCHED = "fetched"  # another bundle is at hand than before
    UNCHANGED = "unchanged"  # the newest is at hand already
    NOTHING_NEWER = "nothing-newer"  # than what is in force
    UNAVAILABLE = "unavailable"  # the source did not say, or did not give it; what is at hand stays
    REFUSED = "refused"  # it is not signed as it must be, or no bundle; nothing is at hand


class BundlePolled(Observation, frozen=True, kw_only=True):
    """The source was asked what is published; `sequence` is at hand since, 0 where nothing is."""

    outcome: BundlePollOutcome
    sequence: int


class BundleAtHand(Observation, frozen=True, kw_only=True):
    """A published bundle was fetched and verified before anybody ordered it in force."""

    sequence: int
    digest: str
    signed_by: str


class BundlePollFailed(Observation, frozen=True, kw_only=True):
    """The newest published bundle cannot be had, or is refused; once for each reason."""

    flaw: BundleFlaw
    detail: str


class PolicySetActed(Observation, frozen=True, kw_only=True):
    """An operator wanted another bundle in force."""

    act: PolicyAct
    outcome: PolicyActOutcome
    operator: str
    sequence: int
    reason: str = ""
    detail: str = ""


class BundleCacheFailed(Observation, frozen=True, kw_only=True):
    """A verified bundle could not be kept on disk: after a restart it is fetched again."""

    detail: str
