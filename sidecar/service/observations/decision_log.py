"""Declares what the log of decisions observes of itself."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation


class DropCause(StrEnum):
    """The reason why decisions are not in the log: the label `cause` of its metric."""

    QUEUE = "queue-full"
    OUTPUT = "output-failed"
    REFUSED = "refused"  # by the collector, for good
    RECORD = "record-failed"  # an error of ours


class DecisionsLogged(Observation, frozen=True, kw_only=True):
    """So many records were written."""

    records: int


class DecisionsDropped(Observation, frozen=True, kw_only=True):
    """So many decisions are missing in the log, which says so as soon as it can."""

    cause: DropCause
    records: int
    detail: str


class DecisionOutputState(Observation, frozen=True, kw_only=True):
    """The output of the log takes records, or does not, for this reason."""

    up: bool
    detail: str = ""


class DecisionFileOpened(Observation, frozen=True, kw_only=True):
    """Another file of decisions was begun, for this reason; `seq` is the last of the chain."""

    file: str
    cause: str
    seq: int = 0
    digest: str = ""


class DecisionFileStuck(Observation, frozen=True, kw_only=True):
    """The file of decisions is to be rotated and cannot be: it goes on growing."""

    detail: str
