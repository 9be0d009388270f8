"""The pages of identity providers: their entries are valid, and read the tokens beside them."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from docs import generate
from sidecar.cli.main import main
from sidecar.domain.values.assurance import Ladder
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.tokens.claims import ClaimNeed, token_of, validity_of

ROOT = Path(__file__).parents[2]
PAGES = sorted(generate.PROVIDERS.parent.glob("*.md"))
PROVIDERS = [page for page in PAGES if page != generate.PROVIDERS]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LEVEL = re.compile(r"\(a sign-in of the level `([\w-]+)`")
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for named, text in BLOCK.findall(page.read_text()) if named == language]


@pytest.mark.parametrize("page", PROVIDERS, ids=lambda page: page.stem)
def test_the_entry_of_a_provider_reads_its_tokens_as_the_page_says(page: Path) -> None:
    (text,), (shown,) = blocks(page, "yaml"), blocks(page, "json")
    settings = read_settings(text, page.name, {}, str)
    (issuer,) = settings.tokens.issuers
    claims = json.loads(shown)
    assert claims["iss"] == issuer.issuer
    token = token_of(claims, issuer, frozenset({"groups"}))
    assert token.audiences == issuer.audiences
    assert token.authentication.auth_time == 1_800_000_000
    assert validity_of(claims, issuer).ends > claims["iat"]
    heard = LEVEL.search(page.read_text())
    ladder = Ladder(settings.assurance.levels)
    level = ladder.name(ladder.shown(token.authentication).rank)
    assert level == (heard[1] if heard else "")
    missing = {one.need for one in token.missing}
    assert (ClaimNeed.SESSION in missing) == ("without a session" in page.read_text())
    if not heard:
        assert token.contexts == ("c1",)
        assert token.claims_capable
    assert token.groups or token.roles or page.stem in {"google", "oidc-provider"}


@pytest.mark.parametrize("page", PROVIDERS, ids=lambda page: page.stem)
def test_init_writes_the_beginning_of_a_pages_entry(page: Path, tmp_path: Path) -> None:
    (command,), (text,) = blocks(page, "sh"), blocks(page, "yaml")
    program, *words = shlex.split(command)
    assert program == "sidecar"
    assert main([*words, "--offline", "--out", str(tmp_path)]) == 0
    written, shown = yaml.safe_load((tmp_path / "sidecar.yaml").read_text()), yaml.safe_load(text)
    begun, whole = (one["tokens"]["issuers"][0] for one in (written, shown))
    assert whole.items() >= begun.items()
    heard = {one["name"]: one["acr"] for one in written.get("assurance", {}).get("levels", ())}
    levels = {one["name"]: one.get("acr") for one in shown.get("assurance", {}).get("levels", ())}
    assert not heard or {name: heard[name] for name in levels} == levels


@pytest.mark.parametrize("page", PROVIDERS, ids=lambda page: page.stem)
def test_a_page_says_what_to_switch_on_and_what_holds_it(page: Path) -> None:
    text = page.read_text()
    for name in ("`aud`", "`sid`", "`auth_time`", "`acr`", "`amr`", "groups"):
        assert name in text
    assert "\n## Step-up\n" in text
    assert "\n## Logout\n" in text
    is_run = "run by the tests" in text
    assert ("From its documentation as of 2026-11-30" in text) != is_run
    row = next(
        line for line in generate.PROVIDERS.read_text().splitlines() if f"({page.name})" in line
    )
    assert row.endswith("| a test against the package |" if is_run else "| its documentation |")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_table_of_built_in_levels_is_current() -> None:
    assert generate.providers_page() == generate.PROVIDERS.read_text(), (
        "run `python docs/generate.py`"
    )


def test_the_page_of_oidc_provider_shows_what_its_test_runs() -> None:
    program = (ROOT / "tests/system/peers/provider.mjs").read_text()
    page = generate.PROVIDERS.parent / "oidc-provider.md"
    shown = blocks(page, "js")
    assert len(shown) == 2
    assert all(text in program for text in shown)
