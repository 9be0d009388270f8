"""The files that are written, with what they hold."""

from pathlib import Path

from tools.observability import panels
from tools.observability.authors import AUTHORS
from tools.observability.fleet import FLEET
from tools.observability.operators import OPERATORS
from tools.observability.page import with_rule, with_table
from tools.observability.rules import HEAD, TEST_HEAD, rendered, rule_tests, rules

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "deploy" / "observability"
PROMETHEUS = OBSERVABILITY / "prometheus"
GRAFANA = OBSERVABILITY / "grafana"
DASHBOARDS = {"operators": OPERATORS, "policies": AUTHORS, "fleet": FLEET}


DOCS = ROOT / "docs"
RUNBOOKS = DOCS / "runbooks"


def written() -> dict[Path, str]:
    """Return the text of each file."""
    dashboards = {
        GRAFANA / f"{name}.json": panels.rendered(one) for name, one in DASHBOARDS.items()
    }
    alerts = DOCS / "alerts.md"
    pages = {
        page: with_rule(page.read_text(encoding="utf-8"), page.stem)
        for page in sorted(RUNBOOKS.glob("Sidecar*.md"))
    }
    return {
        alerts: with_table(alerts.read_text(encoding="utf-8")),
        **pages,
        PROMETHEUS / "rules.yaml": rendered(HEAD, rules()),
        PROMETHEUS / "rules_test.yaml": rendered(TEST_HEAD, rule_tests()),
        **dashboards,
    }
