"""The forms of a daemon's names and facts, and its refusal to start where others' do not fit."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from sidecar.adapters import clock
from sidecar.daemon.configuration.unusable import problem_at
from sidecar.service.admin.identifier_forms import IdentifierForms
from sidecar.service.observations.observations import Telemetry
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fleet import FleetRecords
from sidecar.wire.privacy.sealed_forms import PLAIN, SealedForms
from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.tree import ConfigError


def forms_in_use(
    current: Callable[[], Settings],
    forms: SealedForms | None,
    *,
    records: FleetRecords,
    telemetry: Telemetry,
    judge: Callable[[str, bool], None],
) -> IdentifierForms:
    """Return the forms of identifiers here, which are announced and compared with the others'."""
    return IdentifierForms(
        forms.ids if forms is not None else (PLAIN,),
        records=records,
        telemetry=telemetry,
        clock=clock.now,
        life=lambda: max(current().sessions.facts_ttl, current().sessions.min_ttl),
        judge=judge,
    )


async def refuse_other_forms(file: Path, forms: IdentifierForms) -> None:
    """Raise `ConfigError` where a store that answers has what would not be read here."""
    with contextlib.suppress(Unavailable, Overloaded):  # a daemon looks again later
        trouble = await forms.trouble()
        if trouble:
            raise ConfigError((problem_at(file, "privacy.identifiers", trouble),))
