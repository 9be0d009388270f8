"""The health of all parts, as the console shows it: conditions, sources, keys, databases, fleet."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from sidecar.domain.policy.conditional_access import Policy
from sidecar.service.admin.health import Condition, Health
from sidecar.service.audit.rescore_all import AllSessionsRescorer
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fleet import FleetMember
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.rescore_records import Progress


class SeriesValue(NamedTuple):
    """The value of a series: its labels, and how much was counted."""

    labels: Mapping[str, str]
    value: float


class IssuerKeys(msgspec.Struct, frozen=True):
    """An issuer: whether its tokens can be decided, and what is wrong with its keys, in words."""

    issuer: str
    decides: bool
    trouble: str = ""


class Parts(NamedTuple):
    """The daemon's knowledge of its parts, each as a function that neither blocks nor raises.

    `counted` gives the series of a counter by its name, `databases` when each was built (seconds),
    `sessions` and `marks` those of this sidecar's view, `policy_set` the digest of its policies.
    """

    counted: Callable[[str], Iterable[SeriesValue]]
    keys: Callable[[], tuple[IssuerKeys, ...]]
    databases: Callable[[], Mapping[str, int]]
    sessions: Callable[[], int]
    marks: Callable[[], int]
    policies: Callable[[], tuple[Policy, ...]]
    policy_set: Callable[[], str]


class SourceHealth(msgspec.Struct, frozen=True):
    """A source: by what it is known, and what it may say (empty: every type).

    `refused`: how often it wanted more than it may.
    """

    name: str
    known_by: str
    may: tuple[str, ...]
    refused: int


class PolicyCount(msgspec.Struct, frozen=True):
    """A policy, and how often it fired as this sidecar has counted since its start.

    `marks` it set, `would_mark` what it would have set while it was report-only. Of checks a
    report-only policy `asked` something, and would have had some answered otherwise (`checks`).
    """

    policy: Policy
    marks: int = 0
    would_mark: int = 0
    asked: int = 0
    checks: int = 0


class AllParts(msgspec.Struct, frozen=True):
    """All parts. `fleet` None: the store is away, for `trouble`."""

    conditions: tuple[Condition, ...]
    ready: bool
    sessions: int
    marks: int
    policy_set: str
    sources: tuple[SourceHealth, ...]
    keys: tuple[IssuerKeys, ...]
    databases: tuple[tuple[str, int], ...]
    fleet: tuple[FleetMember, ...] | None
    rescore: Progress | None
    trouble: str = ""


class Fleet(Protocol):
    """Says which sidecars live."""

    async def sidecars(self) -> list[FleetMember]:
        """Return them, in the order of their names. Raises `Unavailable`, `Overloaded`."""


class Overview:
    """Shows all parts of this sidecar, and the fleet as far as the store knows it."""

    def __init__(
        self,
        *,
        health: Health,
        parts: Parts,
        fleet: Fleet,
        rescore_all: AllSessionsRescorer,
        settings: Callable[[], Settings],
    ) -> None:
        self._health = health
        self._parts = parts
        self._fleet = fleet
        self._rescore_all = rescore_all
        self._settings = settings

    async def all_parts(self) -> AllParts:
        """Return all of them, also while the store is away."""
        parts = self._parts
        fleet: tuple[FleetMember, ...] | None = None
        rescore, trouble = None, ""
        try:
            fleet = tuple(await self._fleet.sidecars())
            rescore = await self._rescore_all.status()
        except (Unavailable, Overloaded) as error:
            trouble = str(error)
        report = self._health.ready()
        return AllParts(
            conditions=report.checks,
            ready=report.ok,
            sessions=parts.sessions(),
            marks=parts.marks(),
            policy_set=parts.policy_set(),
            sources=tuple(self._sources()),
            keys=parts.keys(),
            databases=tuple(sorted(parts.databases().items())),
            fleet=fleet,
            rescore=rescore,
            trouble=trouble,
        )

    def _sources(self) -> Iterable[SourceHealth]:
        refused: dict[str, float] = {}
        for labels, value in self._parts.counted("sidecar_not_allowed_total"):
            source = labels.get("source", "")
            refused[source] = refused.get(source, 0) + value
        for one in self._settings().sources:
            ways = {
                "uid": ", ".join(map(str, one.uids)),
                "credential": one.token_file,
                "transmitter": one.transmitter,
            }
            known_by = "; ".join(f"{way} {text}".strip() for way, text in ways.items() if text)
            yield SourceHealth(one.name, known_by, one.may or (), int(refused.get(one.name, 0)))

    def policies(self) -> tuple[PolicyCount, ...]:
        """Return the policies in force, each with how often it fired."""
        found = {policy.id: PolicyCount(policy) for policy in self._parts.policies()}
        for labels, value in self._parts.counted("sidecar_marks_total"):
            if (one := found.get(labels.get("policy", ""))) is not None:
                tried = labels.get("state") == "report-only"
                found[one.policy.id] = msgspec.structs.replace(
                    one,
                    marks=one.marks + (0 if tried else int(value)),
                    would_mark=one.would_mark + (int(value) if tried else 0),
                )
        for labels, value in self._parts.counted("sidecar_report_only_total"):
            if (one := found.get(labels.get("policy", ""))) is not None:
                differs = labels.get("decision") != labels.get("answered")
                found[one.policy.id] = msgspec.structs.replace(
                    one,
                    asked=one.asked + int(value),
                    checks=one.checks + (int(value) if differs else 0),
                )
        return tuple(found.values())
