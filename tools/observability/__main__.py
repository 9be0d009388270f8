"""Writes deploy/observability, and of docs/alerts.md and the runbooks what is generated."""

import sys

from tools.observability.files import written

if __name__ == "__main__":
    for path, text in written().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sys.exit(0)
