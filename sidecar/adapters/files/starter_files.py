"""Finds the files that a new deployment begins with: of the wheel, else of the repository."""

from pathlib import Path

import sidecar

_PACKAGE = Path(sidecar.__file__).parent
_PACKED = _PACKAGE / "starter_files"
_HERE = {
    "gateways": _PACKAGE.parent / "deploy/gateways",
    "starter": _PACKAGE.parent / "examples/starter",
}


def starter_files(kind: str, name: str) -> dict[str, str]:
    """Return the texts of a gateway's files (`gateways`), or an example's (`starter`), by path."""
    packed = _PACKED / kind
    directory = (packed if packed.is_dir() else _HERE[kind]) / name
    return {
        str(file.relative_to(directory)): file.read_text(encoding="utf-8")
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.suffix not in {".md", ".pyc"}
    }
