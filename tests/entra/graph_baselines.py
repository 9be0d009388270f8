"""Public baselines of Conditional Access: how their policies arrive here, and why so.

`python -m tests.entra.graph_baselines DIR` writes docs/entra-baselines.md. DIR holds a clone of
each repository as OWNER/NAME, with the commit that is named below:

    git clone https://github.com/OWNER/NAME DIR/OWNER/NAME

Nothing of them is kept here but what was counted. With ENTRA_BASELINES=DIR the tests hold the page
against them, and all that arrives enabled against the interpreter of Graph's documentation.
"""

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.domain.policy.conditional_access import PolicyState
from sidecar.entra.importer import Exported, Import, InvalidExport, import_entra, read_export
from sidecar.entra.names import NO_NAMES
from sidecar.entra.report import reasons_of
from sidecar.wire.settings.settings import Settings
from tests.entra.graph_worlds import (
    differences_of,
    held,
    objects_in,
    switched_on,
)

PAGE = Path(__file__).parents[2] / "docs" / "entra-baselines.md"
SIGN_INS = 40
"""So many of each policy are judged twice."""


class Baseline(NamedTuple):
    """A repository of policies, at a commit."""

    repository: str
    commit: str


BASELINES = (
    Baseline("AlexFilipin/ConditionalAccess", "1fef982c7c33665a8c5736ec8d7ca51a2748913d"),
    Baseline(
        "Cloudshield-io/Conditional-Access-Framework", "9c19eee251e1871faa9422464026ed4ad48c0a83"
    ),
    Baseline(
        "Clutch2View/nis2-conditional-access-policies", "37a430a0894ad2f0ba6dcaf503a3ff29c0218b9e"
    ),
    Baseline("Jhope188/ConditionalAccessPolicies", "90468a725c5f7cbf8847e11169d82a5db517fde1"),
    Baseline(
        "UniFy-Endpoint/Conditional-Access-Baseline", "52c3235be1aa1fd9a8c35dc87149d16848972d9a"
    ),
    Baseline("aollivierre/ConditionalAccess", "258e2d1eaa48c3e487e0daf2584d42f7aa02c9fc"),
    Baseline("denis-beuermann/ConditionalAccess", "6679e928d149eb1ffcc81afe1a3f883d71338191"),
    Baseline(
        "goodworkaround/conditional-access-starter-pack",
        "9309393e308bfcefb1d01fabcfebdf1340d20809",
    ),
    Baseline("j0eyv/ConditionalAccessBaseline", "67c82f5d55e3d55adff970446af13cf0a2a5d94a"),
    Baseline("jra431/ConditionalAccessBaseline", "a952014817546b6372fd1c6abeea6fc277c68cb8"),
    Baseline(
        "philippkohn/ConditionalAccessforZeroTrustResources",
        "37674738329af57f8e20de40f8aaeb964157c183",
    ),
)
HEAD = """\
# Public baselines of Entra ID

<!-- Written by `python -m tests.entra.graph_baselines DIR`; see there. -->

How the policies of public baselines arrive by [`sidecar import-entra`](import-entra.md) as they
come, all files `*.json` of a repository at once, with no names file and no configuration. *switched
on*: how many would arrive enabled if all were enabled in Entra ID; many baselines ship theirs
disabled, or for reporting. Those were held against an interpreter of Graph's documentation with
{sign_ins} drawn sign-ins for each: none means something else.
"""


class Arrival(NamedTuple):
    """What came of a baseline: the import, and the files that were left out or hold nothing."""

    result: Import
    left_out: tuple[str, ...]
    foreign: int
    raw: tuple[dict[str, Any], ...]


def files_of(directory: Path, baseline: Baseline) -> Iterator[tuple[str, bytes]]:
    """The files `*.json` of a baseline's commit, in order."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", baseline.commit],
        cwd=directory / baseline.repository,
        check=True,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = (each for each in archive if each.isfile() and each.name.endswith(".json"))
        for member in sorted(members, key=lambda each: each.name):
            content = archive.extractfile(member)
            assert content is not None
            yield member.name, content.read()


def arrival_of(directory: Path, baseline: Baseline) -> Arrival:
    """Import a baseline as the command does."""
    exported: list[Exported] = []
    left_out: list[str] = []
    foreign = 0
    raw: list[dict[str, Any]] = []
    for name, content in files_of(directory, baseline):
        try:
            exported += read_export(content, name)
        except InvalidExport as error:
            foreign += error.foreign
            left_out += [] if error.foreign else map(str, error.problems)
        else:
            text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
            raw += objects_in(json.loads(text))
    result = import_entra(exported, NO_NAMES, Settings(), configured=False)
    return Arrival(result, tuple(left_out), foreign, tuple(raw))


def page(directory: Path) -> str:
    """The page, made of the baselines in a directory."""
    arrivals = {each: arrival_of(directory, each) for each in BASELINES}
    rows = [_row(each, came) for each, came in arrivals.items()]
    parts = [line for each, came in arrivals.items() for line in _section(each, came)]
    table = [
        "| baseline | policies | enabled | report-only | disabled | files left out | switched on |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    return "\n".join([HEAD.format(sign_ins=SIGN_INS), *table, *parts, ""])


def _row(baseline: Baseline, came: Arrival) -> str:
    states = Counter(one.policy.state for one in came.result.imported)
    counts = [
        states[state]
        for state in (PolicyState.ENABLED, PolicyState.REPORT_ONLY, PolicyState.DISABLED)
    ]
    on = held(switched_on(came.raw))
    found = list(differences_of(on, sign_ins=SIGN_INS))
    if found:
        raise AssertionError("\n".join(found[:5]))
    cells = [len(came.result.imported), *counts, len(came.left_out), len(on.enabled)]
    name = f"[{baseline.repository}](#{_anchor(baseline)}) at {baseline.commit[:7]}"
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _anchor(baseline: Baseline) -> str:
    return baseline.repository.lower().replace("/", "")


def _section(baseline: Baseline, came: Arrival) -> Iterator[str]:
    yield from ("", f"## {baseline.repository}", "")
    was = Counter((one.was, one.policy.state) for one in came.result.imported)
    for (before, after), count in sorted(was.items()):
        yield f"- {count} that {_were(count)} {before.value}: {after.value}"
    for line in came.left_out:
        yield f"- left out: `{line}`"
    if came.foreign:
        yield f"- {came.foreign} files of other kinds were passed over"
    reasons = Counter(reason for one in came.result.imported for reason in reasons_of(one))
    if reasons:
        yield from ("", "| policies | effect | where | why |", "| --- | --- | --- | --- |")
    for (effect, where, why), count in sorted(reasons.items(), key=lambda of: (-of[1], of[0])):
        yield f"| {count} | {effect} | `{where}` | {why} |"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


if __name__ == "__main__":
    PAGE.write_text(page(Path(sys.argv[1])))
