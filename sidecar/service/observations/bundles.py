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
