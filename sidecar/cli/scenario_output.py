"""The outcome of scenarios, for people and as JUnit XML."""

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sidecar.cli.explanation_tree import tree
from sidecar.cli.socket_options import plain
from sidecar.tuning.scenario.coverage import Coverage
from sidecar.tuning.scenario.play import Played, PlayedCheck

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def print_played(played: Played) -> None:
    """Print a line where all went as expected; else what did not, with the explanation."""
    console = Console(highlight=False)
    scenario = played.scenario
    where = f"{scenario.file}:{scenario.line}"
    if not played.failed:
        console.print(Text.assemble(("ok    ", "green"), plain(scenario.name)), soft_wrap=True)
        return
    head = Text.assemble(("FAIL  ", "bold red"), f"{plain(scenario.name)} ({where})")
    console.print(head, soft_wrap=True)
    for checked in played.failed:
        console.print(Padding(_failure(checked, played), (0, 0, 1, 6)))


def _failure(checked: PlayedCheck, played: Played) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "expected", "got"):
        table.add_column(name, overflow="fold")
    for difference in checked.differences:
        table.add_row(
            difference.what,
            Text(plain(difference.expected), "green"),
            Text(plain(difference.got), "red"),
        )
    expected = checked.check.expected
    named = (expected.reasons or frozenset()) | (expected.would or frozenset())
    explained = tree(checked.explanation, every=False, named=named)
    return Group(Text(_where(checked, played)), table, explained)


def _where(checked: PlayedCheck, played: Played) -> str:
    scenario, check = played.scenario, checked.check
    elapsed = f"+{checked.step.time - scenario.start:g} s"
    call = ", ".join(checked.explanation.contexts) or "a routine call"
    return plain(f"{scenario.file}:{check.line}: at {elapsed}, {check.session}, {call}")


def print_coverage(coverage: Coverage) -> None:
    """Print what was never tried, and how much was."""
    console = Console(highlight=False)
    for tried in coverage.tried:
        if tried.missing:
            what = f"{tried.policy}: {tried.condition}" if tried.condition else tried.policy
            text = Text(plain(f"never tried: {what}: {tried.missing}"), "yellow")
            console.print(text, soft_wrap=True)
    console.print(f"coverage {coverage.percent:.1f} % of policies and conditions, both ways")


def junit(played: Sequence[Played]) -> bytes:
    """Return a report in the form that CI servers read.

    A suite for each file, a case for a scenario.
    """
    root = ET.Element("testsuites", name="sidecar test")
    by_file: dict[str, list[Played]] = {}
    for result in played:
        by_file.setdefault(result.scenario.file, []).append(result)
    for file, results in by_file.items():
        failures = sum(1 for result in results if result.failed)
        suite = ET.SubElement(
            root, "testsuite", name=_xml(file), tests=str(len(results)), failures=str(failures)
        )
        suite.set("errors", "0")
        for result in results:
            _case(suite, result)
    root.set("tests", str(len(played)))
    root.set("failures", str(sum(1 for result in played if result.failed)))
    found: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return found


def _case(suite: ET.Element, played: Played) -> None:
    scenario = played.scenario
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_xml(scenario.file),
        name=_xml(scenario.name),
        file=_xml(scenario.file),
        line=str(scenario.line),
        assertions=str(len(played.checks)),
        time="0",
    )
    if played.failed:
        lines = list(_lines(played.failed, played))
        failure = ET.SubElement(case, "failure", message=_xml(lines[0]), type="expectation")
        failure.text = _xml("\n".join(lines))


def _lines(failed: Iterable[PlayedCheck], played: Played) -> Iterable[str]:
    for checked in failed:
        for d in checked.differences:
            yield f"{_where(checked, played)}: {d.what}: expected {d.expected}, got {d.got}"
        yield f"  {checked.explanation.why}"


def _xml(text: str) -> str:
    """Return the text without the characters that XML 1.0 cannot carry."""
    return _NOT_XML.sub("?", text)
