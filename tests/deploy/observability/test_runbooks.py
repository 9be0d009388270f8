"""Each alert has a runbook page: what it says can be done as it says."""

import re
import shlex
from pathlib import Path

import pytest

from sidecar.cli.main import _parser
from tests.deploy.observability.expressions import unknown_in
from tools.observability.files import RUNBOOKS
from tools.observability.rules import ALERTS, GROUPS

ROOT = Path(__file__).parents[3]
PAGES = sorted(RUNBOOKS.glob("*.md"))
RECORDED = {one.name: frozenset[str]() for group in GROUPS for one in group.recordings}
PARTS = [
    "What it means",
    "How to see it",
    "Likely causes",
    "What to do",
    "How to know that it is over",
]
SOURCE = "\n".join(path.read_text() for path in (ROOT / "sidecar").rglob("*.py"))
PATTERNS = [
    re.compile(
        re.escape(found).replace(r"\{0\.outcome\}", "[a-z]+").replace(r"\{0\.state\}", "[a-z]+")
    )
    for found in set(re.findall(r'"([a-z-]*\{0\.\w+\}[a-z-]*)"', SOURCE))
]
IN_A_POD = "kubectl exec POD --container sidecar -- "
ADMIN_PATHS = ("/metrics", "/readyz")


def commands(page: str) -> list[str]:
    """The lines of blocks, and what between backticks is a command."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    return lines + [one for one in quoted if one.startswith(("sidecar ", "kubectl ", "curl "))]


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {page.name for page in PAGES} == {alert.page for alert in ALERTS}
    for alert in ALERTS:
        assert alert.runbook.endswith(f"/docs/runbooks/{alert.page}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_it_means_why_what_to_do_and_when_it_is_over(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    for expr in re.findall(r"```promql\n(.*?)\n```", text, re.DOTALL):
        assert unknown_in(expr, RECORDED) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_of_a_page_is_one(page: Path) -> None:
    for command in commands(page.read_text()):
        words = shlex.split(command.removeprefix(IN_A_POD).partition(" | ")[0])
        match words:
            case ["sidecar", "--version"]:
                pass
            case ["sidecar", name, *rest]:
                parser, chosen = _parser(name)
                assert chosen is not None, command
                if rest != ["--help"]:
                    parser.parse_args(words[1:])
            case ["curl", "-s", url]:
                assert url.removeprefix("http://127.0.0.1:9090") in ADMIN_PATHS, command
            case ["kubectl", verb, *_]:
                known = ("get", "describe", "logs", "top", "port-forward", "rollout")
                assert verb in known, command
            case _:
                assert words == ["df", "-h"], command
        for event in re.findall(r"grep -E '([^']+)'", command):
            for name in event.split("|"):
                is_known = f'"{name}"' in SOURCE or any(one.fullmatch(name) for one in PATTERNS)
                assert is_known, name
