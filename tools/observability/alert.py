"""An alert as it is declared: its expression, its words, and the series that show it at work."""

from collections.abc import Mapping
from typing import NamedTuple

RUNBOOKS = "https://github.com/stepup-sidecar/stepup-sidecar/blob/main/docs/runbooks"
CRITICAL, WARNING, INFO = SEVERITIES = ("critical", "warning", "info")
ONE = "namespace, job, instance"
"""The labels of one sidecar, as a scrape gives them."""
FLEET = "namespace, job"
"""The labels of all sidecars of one app."""


class Level(NamedTuple):
    """The values of a gauge in a test: while all is well, and while the cause is there."""

    calm: float
    planted: float


class Count(NamedTuple):
    """The growth of a counter in a test, for each minute: while all is well, and with the cause."""

    calm: float
    planted: float


class Age(NamedTuple):
    """A moment in a test: so many seconds ago while all is well; it stays where it is after."""

    calm: float


Planted = Mapping[str, Level | Count | Age]
"""Series by their names and labels, but for those of `LABELS`."""

LABELS = 'namespace="shop",job="payroll"'


class Alert(NamedTuple):
    """An alert.

    `wait`: how long the expression must hold. `planted`: what a test shows it. `minutes`: how long
    a test leaves the cause there, and `after`: how long the alert may take to be over then.
    """

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str
    planted: Planted
    minutes: int = 60
    after: int = 75

    @property
    def page(self) -> str:
        """Return the name of its runbook page."""
        return f"{self.name}.md"

    @property
    def runbook(self) -> str:
        """Return the address of its runbook page."""
        return f"{RUNBOOKS}/{self.page}"


class Recording(NamedTuple):
    """A recording rule."""

    name: str
    expr: str


class Group(NamedTuple):
    """A group of rules, which Prometheus evaluates together."""

    name: str
    alerts: tuple[Alert, ...] = ()
    recordings: tuple[Recording, ...] = ()


def rising(metric: str, window: str, by: str, more_than: float = 0) -> str:
    """Return the expression that holds where counters rose by more than so much in a window."""
    return f"sum by ({by}) (increase({metric}[{window}])) > {more_than:g}"
