# ruff: noqa: INP001 - hooks of mkdocs, no package
"""Makes one site of the documents: hooks of mkdocs, which mkdocs.yml names.

Pages of the repository that lie outside of `docs` are taken into the site below `project/`. A link
to another file of the repository leads to where the repository is published. So each page can be
read there and here.
"""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
TAKEN_IN = (
    *("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "clients/python/README.md"),
    *("clients/typescript/README.md", "deploy/gateways/README.md", "deploy/k8s/README.md"),
    "examples/README.md",
)
"""Pages of the repository outside of `docs`."""

FOLDERS = {"Decisions": "decisions", "Runbooks": "runbooks"}
"""Sections of the menu that have all pages of a folder, by the title that mkdocs.yml gives them."""

BELOW = "project/"
_FENCE = re.compile(r"^( *)(`{3,})([\w-]*)[^\n`]*\n.*?^\1\2 *$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\(|^\[[^\]\n]+\]: )([^)\s<>]+)", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z]+:|#")
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]*"""
    r"""|<link\b(?![^>]*\brel=["']?(?:canonical|next|prev)\b)[^>]*\bhref=["']?(?:https?:)?//[^"'\s>]*"""
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of `FOLDERS` into the menu, in the order of their names."""
    config.nav = _filled(config.nav)
    return config


def _filled(nav: Any) -> Any:
    """Return a part of the menu with the pages of its folders; leave out a section without any."""
    if isinstance(nav, list):
        return [one for one in map(_filled, nav) if one != {}]
    if not isinstance(nav, dict):
        return nav
    found = {title: _filled(below) or _pages(title) for title, below in nav.items()}
    return {title: below for title, below in found.items() if below}


def _pages(title: str) -> list[str]:
    """Return the pages of the folder that a section with this title has."""
    folder = FOLDERS[title]
    pages = sorted(path.name for path in (ROOT / "docs" / folder).glob("*.md"))
    return [f"{folder}/{name}" for name in pages]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in the pages that lie outside of `docs`."""
    for name in TAKEN_IN:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, BELOW + name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have the links of a page lead to where their targets are on the site, or are published."""
    source = f"{(config.repo_url or '').rstrip('/')}/blob/main/"
    return outside_of_code(
        markdown, lambda text: with_links(text, repository_path(page.file.src_uri), files, source)
    )


def repository_path(uri: str) -> str:
    """Return where in the repository a page of the site stands."""
    return uri.removeprefix(BELOW) if uri.startswith(BELOW) else f"docs/{uri}"


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """Change what is no block of code; of the first line of such a block leave its language."""
    parts, done = [], 0
    for fence in _FENCE.finditer(markdown):
        indent, ticks, language = fence.groups()
        _, _, rest = fence.group().partition("\n")
        parts += [change(markdown[done : fence.start()]), f"{indent}{ticks}{language}\n{rest}"]
        done = fence.end()
    return "".join((*parts, change(markdown[done:])))


def with_links(text: str, path: str, files: Files, source: str) -> str:
    """Return a text of this page with its links as the site has them."""
    here = posixpath.dirname(path)
    site = BELOW + path if not path.startswith("docs/") else path.removeprefix("docs/")

    def link(found: re.Match[str]) -> str:
        before, target = found.groups()
        if _ELSEWHERE.match(target):
            return found.group()
        name, hash_, anchor = target.partition("#")
        meant = posixpath.normpath(posixpath.join(here, name))
        page = meant.removeprefix("docs/") if meant.startswith("docs/") else BELOW + meant
        if files.get_file_from_path(page) is not None:
            return before + posixpath.relpath(page, posixpath.dirname(site)) + hash_ + anchor
        if not meant.startswith("..") and (ROOT / meant).exists():
            return before + source + meant + hash_ + anchor
        return found.group()

    return _LINK.sub(link, text)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> None:  # noqa: ARG001 - a hook
    """Refuse a page that would have its reader's browser fetch something from elsewhere."""
    found = fetched_from_elsewhere(output)
    if found:
        raise PluginError(f"{page.file.src_uri}: fetches from elsewhere: {found[0]}")


def fetched_from_elsewhere(html: str) -> list[str]:
    """Return the elements of a page that a browser fetches from another place than the site."""
    return [found.group() for found in _FETCHED.finditer(html)]
