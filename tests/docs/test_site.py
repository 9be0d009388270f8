"""The site of the documents: its pictures, its menu, and that it fetches nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from docs import pictures, site

ROOT = Path(__file__).parents[2]
MENU = (ROOT / "mkdocs.yml").read_text()
NAMED = set(re.findall(r"^ +- (\S+\.md)$", MENU, re.MULTILINE))


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_current(name: str) -> None:
    picture = pictures.DIRECTORY / f"{name}.svg"
    assert picture.read_text() == pictures.PICTURES[name](), "run `python docs/pictures.py`"


def test_the_continuous_build_builds_the_site_strictly() -> None:
    assert re.search(r"^make site", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text()


def test_pages_from_outside_of_docs_are_in_the_menu() -> None:
    assert {name for name in NAMED if name.startswith(site.BELOW)} == {
        site.BELOW + name for name in site.TAKEN_IN
    }


def test_every_page_is_in_the_menu() -> None:
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    listed = {page for page in pages if page.partition("/")[0] in site.FOLDERS.values()}
    assert {name for name in NAMED if not name.startswith(site.BELOW)} == pages - listed
    sections = set(re.findall(r"^ +- (\w+): \[\]", MENU, re.MULTILINE))
    assert {site.FOLDERS[one] for one in sections} >= {one.partition("/")[0] for one in listed}


@pytest.mark.parametrize(
    ("html", "fetches"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ("<script async src=//cdn.example/x.js></script>", True),
        ('<link rel="stylesheet" href="https://fonts.example/x.css">', True),
        ('<img alt="x" src="http://x.example/x.png">', True),
        ('<script src="assets/x.js"></script>', False),
        ('<link rel="canonical" href="https://docs.example/">', False),
        ('<a href="https://www.rfc-editor.org/rfc/rfc9470">RFC 9470</a>', False),
    ],
)
def test_what_a_browser_would_fetch_from_elsewhere_is_found(html: str, *, fetches: bool) -> None:
    assert bool(site.fetched_from_elsewhere(html)) is fetches


def test_a_block_of_code_is_left_as_it_is_but_for_the_notes_of_its_first_line() -> None:
    page = "a\n```yaml file=x.yaml\na: [b](c)\n```\nb\n"
    assert site.outside_of_code(page, str.upper) == "A\n```yaml\na: [b](c)\n```\nB\n"
