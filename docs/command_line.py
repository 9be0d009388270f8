# ruff: noqa: INP001 - a script, no package
"""Writes the page of the command line from what the commands say of themselves.

`python -m docs.command_line` writes it; a test sees to it that it is current.
"""

import argparse
import importlib
import os
import re
import sys
from pathlib import Path

from sidecar.cli.main import COMMANDS, Command

PAGE = Path(__file__).parent / "reference" / "command-line.md"
WIDTH = "92"
HEAD = """\
# Command line

<!-- Written by docs/command_line.py from sidecar/cli: change it there. -->

`sidecar COMMAND --help` says the same. The exit status is **0** where it is done, **1** for a
negative answer (a failed test, a call that may not pass), and **2** for bad usage, configuration or
input, with `FILE:LINE: field: what is wrong` on standard error.

| command | does |
| --- | --- |
"""


def page() -> str:
    """Return the page."""
    rows = [f"| [`sidecar {one.name}`](#sidecar-{one.name}) | {one.does} |" for one in COMMANDS]
    parts = [HEAD + "\n".join(rows)]
    parts += [f"## sidecar {one.name}\n\n```text\n{_help(one)}\n```" for one in COMMANDS]
    return "\n\n".join(parts) + "\n"


def _help(command: Command) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH  # argparse asks for the terminal's
    try:
        parser = argparse.ArgumentParser(
            prog=f"sidecar {command.name}", formatter_class=argparse.RawDescriptionHelpFormatter
        )
        importlib.import_module(f"sidecar.cli.{command.module}").configure(parser)
        text = parser.format_help()
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).strip()


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
