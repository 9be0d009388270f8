"""Renders pages: templates in which every value is escaped, and static files with their types."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from sidecar.domain.values.durations import spelled
from sidecar.domain.values.plural import plural

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class StaticFile(NamedTuple):
    """A file that pages refer to, and its media type."""

    body: bytes
    media_type: str


class Renderer:
    """Renders templates. To make one takes some tens of milliseconds: do it in a thread."""

    def __init__(self) -> None:
        self._environment = environment = Environment(
            loader=PackageLoader("sidecar.adapters.console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_printable,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters |= {
            "moment": moment,
            "iso": iso,
            "link": link,
            "spelled": spelled,
            "plural": plural,
        }
        self._templates = {
            name: environment.get_template(name) for name in environment.list_templates()
        }
        self.files: Mapping[str, StaticFile] = {
            file.name: StaticFile(file.read_bytes(), _TYPES[file.suffix])
            for file in sorted((_HERE / "static").iterdir())
            if file.suffix in _TYPES
        }

    def render(self, name: str, values: Mapping[str, object]) -> str:
        """Return a page."""
        return self._templates[name].render(values)


def moment(seconds: float) -> str:
    """Return a moment for people; those of long ago or ahead are none that can be named."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "unknown"


def iso(seconds: float) -> str:
    """Return a moment for programs."""
    return moment(seconds).replace(" ", "T") + "Z"


def link(path: str, **fields: object) -> str:
    """Return a path with a query of those fields that are not empty."""
    given = {name: value for name, value in fields.items() if value not in {"", None, 0}}
    return f"{path}?{urlencode(given)}" if given else path


def _printable(shown: object) -> object:
    """Return what is written into a page, without characters that turn the text around them."""
    if hasattr(shown, "__html__"):
        return shown  # made by a macro, of what went through here
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(shown))
