"""`sidecar import-entra`: Conditional Access of Microsoft Entra ID to our files."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.exit_status import DONE, MISTAKE, NEGATIVE, Stop
from sidecar.cli.socket_options import plain, print_json
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.plural import counted

if TYPE_CHECKING:
    from sidecar.entra.importer import Exported, Import
    from sidecar.entra.names import DirectoryNames
    from sidecar.wire.settings.settings import Settings

POLICIES = Path("policies", "entra.yaml")
SETTINGS = Path("settings.yaml")
MOST = 64 * 1024 * 1024 + 1
"""Bytes that are read of a file: one more than an export may have, which shows that it has more."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Translate Microsoft Graph's conditionalAccessPolicy, namedLocation and "
        "authenticationStrengthPolicy objects (one, a list, or an envelope with `value`) to a "
        "policy file and to what the configuration needs besides. What cannot be carried over is "
        "named with its JSON path; a policy that would mean something else is not enforced."
    )
    parser.epilog = """\
Without --out, the policy file goes to standard output and the report to standard error.
A file that is no export is named with the line and left out; the others are imported.
exit status: 0 done, 1 something was lost and --strict was given, 2 bad input or a file left out

examples:
  sidecar import-entra policies.json locations.json
  sidecar import-entra export.json --names names.yaml --config config/sidecar.yaml --out imported
  sidecar import-entra export.json --json --strict
  sidecar import-entra --summary baseline/
"""
    add = parser.add_argument
    add(
        "files",
        metavar="FILE.json|DIR",
        nargs="+",
        help="exports of Microsoft Graph; `-`: read it; of a directory all files *.json",
    )
    add("--names", metavar="FILE", help="YAML: what ids are called here (guid: name)")
    add("--config", metavar="FILE", help="the configuration that the policies shall live in")
    add("--out", metavar="DIR", help=f"write {POLICIES} and {SETTINGS} there; none may exist")
    add("--json", action="store_true", help="the report, and both files, as one JSON object")
    add("--summary", action="store_true", help="only how many arrive in which state, and why")
    add("--strict", action="store_true", help="exit with status 1 if anything was lost")
    add(
        "--calls",
        choices=("all", "sensitive"),
        default="all",
        help="a policy for whole apps: ask at all calls, as Entra ID does (a second policy covers "
        "those without a context), or only at those in a context (default: all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Import, write and report."""
    files, unlisted = _files(arguments.files)
    exported, left_out, foreign = _read(files)
    left_out = unlisted + left_out
    if not exported:
        none = (f"{plain(name)}: holds no object of Graph" for name in foreign)
        raise Stop(*map(plain, left_out), *none)
    for line in left_out:
        print(plain(f"left out: {line}"), file=sys.stderr)
    result = _import(exported, arguments)
    written = _write(Path(arguments.out), result) if arguments.out else ()
    if arguments.summary:
        _summarize(result, len(foreign))
    elif arguments.json:
        from sidecar.entra.report import report_json  # noqa: PLC0415 - a command starts quickly

        print_json(report_json(result))
    else:
        _print(result, written, to_files=bool(arguments.out))
    if left_out:
        return MISTAKE
    return NEGATIVE if arguments.strict and result.losses else DONE


def _files(given: list[str]) -> tuple[list[tuple[str, bool]], list[str]]:
    """Return the files to read, whether each is named itself, and directories not listed.

    A link in a directory that leads to nothing is among the files: it is reported, not passed over.
    """
    found: list[tuple[str, bool]] = []
    wrong: list[str] = []

    def unlisted(error: OSError) -> None:
        wrong.append(f"{error.filename}:0: (file): cannot be listed: {words_of(error)}")

    for name in given:
        if name == "-" or not Path(name).is_dir():
            found.append((name, True))
            continue
        inside = (
            Path(directory, file)
            for directory, _, files in os.walk(name, onerror=unlisted)
            for file in files
            if Path(file).suffix.lower() == ".json"
        )
        there = (path for path in sorted(inside) if path.is_file() or _is_broken(path))
        found += [(str(path), False) for path in there]
    return found, wrong


def _is_broken(path: Path) -> bool:
    """Return whether it is a link that leads to nothing, or round in a circle."""
    return path.is_symlink() and not path.exists()


def _read(files: list[tuple[str, bool]]) -> tuple[list["Exported"], list[str], list[str]]:
    """Return the objects.

    What is wrong, for standard error; and the files that hold nothing of Graph.
    """
    from sidecar.entra.importer import InvalidExport, read_export  # noqa: PLC0415 - likewise

    exported: list[Exported] = []
    wrong: list[str] = []
    foreign: list[str] = []
    for file, is_named in files:
        try:
            exported += read_export(_content(file), _name(file))
        except InvalidExport as error:
            if error.foreign and not is_named:
                foreign.append(file)
            else:
                wrong += map(str, error.problems)
        except Stop as unread:
            wrong += unread.lines
    return exported, wrong, foreign


def _import(exported: list["Exported"], arguments: argparse.Namespace) -> "Import":
    from sidecar.entra.importer import import_entra  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.yaml.tree import ConfigError  # noqa: PLC0415 - likewise

    try:
        return import_entra(
            exported,
            _names(arguments.names),
            _settings(arguments.config),
            routine=arguments.calls == "all",
            configured=arguments.config is not None,
        )
    except ConfigError as error:
        raise Stop(*(plain(str(problem)) for problem in error.problems)) from error


def _names(file: str | None) -> "DirectoryNames":
    from sidecar.entra.names import NO_NAMES, read_names  # noqa: PLC0415 - likewise

    if file is None:
        return NO_NAMES
    try:
        return read_names(_content(file).decode(), file)
    except UnicodeDecodeError as error:
        raise Stop(f"{plain(file)}:0: (file): is not UTF-8 text") from error


def _settings(file: str | None) -> "Settings":
    from sidecar.wire.config.settings_reader import read_settings  # noqa: PLC0415 - likewise
    from sidecar.wire.settings.settings import Settings  # noqa: PLC0415 - likewise

    if file is None:
        return Settings()
    try:
        return read_settings(_content(file).decode(), file, os.environ, _text)
    except UnicodeDecodeError as error:
        raise Stop(f"{plain(file)}:0: (file): is not UTF-8 text") from error


def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def _name(file: str) -> str:
    return "<stdin>" if file == "-" else file


def _content(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(MOST)
        with Path(file).open("rb") as opened:
            return opened.read(MOST)
    except OSError as error:
        raise Stop(f"{plain(file)}:0: (file): cannot be read: {words_of(error)}") from error


def _write(directory: Path, result: "Import") -> tuple[Path, ...]:
    files = [(directory / POLICIES, result.policies_text)]
    if result.settings_text:
        files.append((directory / SETTINGS, result.settings_text))
    there = [file for file, _ in files if file.exists()]
    if there:
        raise Stop(*(f"{file}: is there already, and is not overwritten" for file in there))
    try:
        for file, text in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Stop(f"{error.filename}: cannot be written: {words_of(error)}") from error
    return tuple(file for file, _ in files)


def _summarize(result: "Import", foreign: int) -> None:
    from sidecar.entra.report import summary_lines  # noqa: PLC0415 - a command starts quickly

    for line in summary_lines(result):
        print(plain(line))
    if foreign:
        print(f"passed over: {counted(foreign, 'JSON file')} of another kind")


def _print(result: "Import", written: tuple[Path, ...], *, to_files: bool) -> None:
    from sidecar.entra.report import report_lines  # noqa: PLC0415 - a command starts quickly

    for line in report_lines(result):
        print(plain(line), file=sys.stdout if to_files else sys.stderr)
    for file in written:
        print(f"wrote {file}")
    if not to_files:
        print(result.policies_text, end="")
        if result.settings_text:
            print("\n# For the configuration, not for this file:")
            print("".join(f"# {line}\n" for line in result.settings_text.splitlines()), end="")
