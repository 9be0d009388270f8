"""The page of Shared Signals says what the code does."""

import re
from pathlib import Path

from sidecar.domain.session.risk import default_weights
from sidecar.service.observations.receiver import SetOutcome
from sidecar.shared_signals.wire.security_events import URIS, name_of
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.events.security_event_names import Fault

PAGE = (Path(__file__).parents[2] / "docs" / "shared-signals.md").read_text()


def test_its_configuration_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(receiver:\n.*?)```", PAGE, re.DOTALL)
    settings = read_settings(block, "s.yaml", {}, lambda _: "secret")
    assert [one.name for one in settings.receiver.transmitters] == ["idp", "mdm"]


def test_it_names_every_event_every_code_and_every_outcome() -> None:
    for kind in URIS:
        name = name_of(kind)
        assert f"`{name}`" in PAGE or name.startswith("opt-out-")
    for fate in (*Fault, *SetOutcome):
        assert f"`{fate.value}`" in PAGE


def test_it_reports_what_signals_weigh() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    for name, weight in default_weights().items():
        if name.startswith("ssf-"):
            heard = name if f"`{name}`" in PAGE else name.removeprefix("ssf-")
            (row,) = [row for row in rows if f"`{heard}`" in row and "weight" in row]
            assert f"weight {weight.weight:g}" in row
