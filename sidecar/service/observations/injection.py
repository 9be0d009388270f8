"""Pods at the webhook: an observation like those of `observations`."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation


class InjectionOutcome(StrEnum):
    """The outcome of a review: `sidecar_injections_total{outcome}`."""

    ADDED = "added"
    LEFT = "left"  # it asks for no sidecar, or has it
    REFUSED = "refused"  # it asks for one and cannot have it, so it is not created
    INVALID = "invalid"  # what came is no review of a pod


class PodReviewed(Observation, frozen=True, kw_only=True):
    """A pod was to be created. `detail` says why it was refused."""

    outcome: InjectionOutcome
    namespace: str = ""
    detail: str = ""
