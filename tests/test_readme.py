"""What the README says can be done: its links, snippets, commands and metrics are real."""

import re
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.telemetry.metrics import Metrics, ScrapedLevel
from sidecar.cli.main import COMMANDS, main
from sidecar.demo import acts, cast
from sidecar.domain.facts.signal import RiskLevelChange
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.events.socket_lines import EventRequest, decode_line
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import Settings
from tests.client.daemon import daemon

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PRESENT, _, STATUS = README.partition("## Status")
COMMAND = re.compile(r"(?:^|`)sidecar ([a-z-]+)", re.MULTILINE)
USE = re.compile(r"^sidecar ([a-z]+ --[^#\n]+)", re.MULTILINE)
BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def snippet(language: str, holding: str = "") -> str:
    """The one block of a language that holds some text."""
    (found,) = [
        text for named, text in BLOCK.findall(README) if named == language and holding in text
    ]
    return str(found)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_link_leads_somewhere(target: str) -> None:
    assert target.startswith("https://www.rfc-editor.org/") or (ROOT / target).exists()


def test_the_policy_is_one() -> None:
    file = ROOT / "config" / "sidecar.yaml"
    settings = read_settings(file.read_text(), str(file), {}, lambda _: "")
    # Beside it stands what the configuration's contexts require at all times.
    policies = {one.id: one for one in read_policies([("README.md", snippet("yaml"))], settings)}
    assert policies["payroll-leaves-the-office"].contexts.include == frozenset({"c1"})


def test_the_line_is_an_event() -> None:
    request = decode_line(
        snippet("json").strip().encode(), now=1_800_000_000.0, skew=60.0, new_id=lambda: "e-1"
    )
    assert isinstance(request, EventRequest)
    assert isinstance(request.signal, RiskLevelChange)


def test_the_python_answers_whatever_the_sidecar_says_and_without_one(tmp_path: Path) -> None:
    lines = snippet("python").replace("/run/sidecar/sidecar.sock", str(tmp_path / "s.sock"))
    body = "\n".join(f"    {line}" for line in lines.splitlines())
    written: dict[str, Any] = {}
    exec(compile(f"def answer(token):\n{body}\n", "README.md", "exec"), written)
    answer = written["answer"]
    assert answer("good") == (503, {"Retry-After": "1"})
    with daemon(tmp_path):
        status, headers = answer("good")
        assert (status, list(headers)) == (401, ["WWW-Authenticate"])
        assert answer("bad") == (401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def test_the_commands_exist() -> None:
    named = set(COMMAND.findall(PRESENT))
    assert named
    assert named <= {command.name for command in COMMANDS}


def test_what_is_planned_is_not_there_yet() -> None:
    (planned,) = re.findall(r"^- Planned.*?(?=\n\n)", STATUS, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(?:sidecar )?([a-z-]+)`", planned)).isdisjoint(
        command.name for command in COMMANDS
    )


@pytest.mark.parametrize("line", USE.findall(README))
def test_a_commands_options_exist(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*line.split(), "--help"])
    assert ended.value.code == 0
    heard = capsys.readouterr().out
    assert all(option in heard for option in re.findall(r"--[a-z-]+", line))


def test_the_metrics_are_exposed() -> None:
    metrics = Metrics()
    for level in ScrapedLevel:
        metrics.level(level, lambda: 0)
    exposed = metrics.expose().body.decode()
    named = set(re.findall(r"`(sidecar_[a-z_]+)", README))
    assert named
    assert not {name for name in named if f"# TYPE {name} " not in exposed}


def test_the_settings_that_it_names_exist() -> None:
    defaults = Settings()
    named = re.findall(r"`([a-z]+)\.([a-z_]+)`", README)
    sections = [(s, key) for s, key in named if s in defaults.__struct_fields__]
    assert sections
    assert not [pair for pair in sections if not hasattr(getattr(defaults, pair[0]), pair[1])]


def test_the_timeline_reports_what_the_demo_reports() -> None:
    timeline = snippet("", "✓")
    for heard in (acts.ROUTINE, acts.SENSITIVE, cast.ALLOWED, cast.PENDING, cast.STEP_UP):
        assert heard in timeline
