"""The observations of the table that apps read without asking."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation


class PublishOutcome(StrEnum):
    """The outcome for a call that was to be written to the table: a closed set."""

    WRITTEN = "written"
    FULL = "full"


class RenewalCause(StrEnum):
    """The reason why another table began, and the one before was dead: a closed set."""

    STARTED = "started"
    POLICIES = "policies"
    SETTINGS = "settings"
    KEYS = "keys"
    FULL = "full"
    CLOCK = "clock"


class CallPublished(Observation, frozen=True, kw_only=True):
    """A call was written to the shared table, or found no place in it."""

    outcome: PublishOutcome


class SharedTableRenewed(Observation, frozen=True, kw_only=True):
    """Another shared table began, with room for so many calls."""

    cause: RenewalCause
    slots: int


class SharedTableFailed(Observation, frozen=True, kw_only=True):
    """No other shared table could be made: apps ask the socket until one can."""

    detail: str
