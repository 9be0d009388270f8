"""The page of the decision log: its configurations are taken, its commands do what it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.adapters.telemetry.declarations import MetricDeclaration
from sidecar.adapters.telemetry.optional_rows import DECISION_LOG
from sidecar.cli.main import main
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.decision_log.chain import Chain, digest_by, encode_mark
from sidecar.wire.decision_log.fields import FIELDS
from sidecar.wire.decision_log.records import LoggedAnswer, LoggedCall
from sidecar.wire.decision_log.verification import Fault

PAGE = (Path(__file__).parents[2] / "docs" / "decision-log.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(RECORD,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
(COMMAND,) = re.findall(r"```\n(sidecar verify-log .*?)\n```", PAGE)
KEY = "k" * 44


@pytest.mark.parametrize("text", EXAMPLES)
def test_each_configuration_is_taken(text: str) -> None:
    settings = read_settings(text, "sidecar.yaml", {}, lambda _: KEY)
    assert settings.decision_log.output != "off"


def test_its_record_has_members_of_the_reference_in_their_order() -> None:
    order = [one.name for one in FIELDS]
    members = list(json.loads(RECORD))
    assert members == sorted(members, key=order.index)


def test_the_reference_has_every_member_in_its_order() -> None:
    """Those within reasons have a dot; the chain's are added to the line."""
    written = (*LoggedCall.__struct_fields__, *LoggedAnswer.__struct_fields__, "seq", "prev")
    listed = [one.name for one in FIELDS if "." not in one.name]
    assert listed == [*written, "digest"]


def test_every_metric_line_and_fault_is_on_the_page() -> None:
    columns = [column for row in DECISION_LOG for column in row.columns]
    metrics = [one.name for one in columns if isinstance(one, MetricDeclaration)]
    assert not [name for name in (*metrics, *(fault.value for fault in Fault)) if name not in PAGE]


def test_its_command_distinguishes_a_whole_log_from_one_that_is_not(tmp_path: Path) -> None:
    digest = digest_by(KEY)
    chain = Chain(digest)
    lines = [chain.link(b'{"time":"t%d","kind":"decision"}' % n) + b"\n" for n in range(6)]
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "chain-key").write_text(KEY)
    (tmp_path / "decisions.log.1").write_bytes(b"".join(lines[:3]))
    file = tmp_path / "decisions.log"
    file.write_bytes(b"".join(lines[3:]))
    (tmp_path / "decisions.log.head").write_bytes(encode_mark(chain.end, digest))
    command = COMMAND.replace("sidecar", f"{sys.executable} -m sidecar", 1)

    def run() -> tuple[int, str]:
        done = subprocess.run(  # with the shell, for its star
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    assert run() == (0, "intact: 6 records in 2 files, 1 to 6\n")
    file.write_bytes(b"".join(lines[3:5]))
    status, said = run()
    assert status == 1
    assert "decisions.log:end: truncated: the tail is cut off: record 6 is missing" in said


def test_the_last_number_shows_a_cut_tail_where_no_mark_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = Chain(digest_by(""))
    lines = [chain.link(b'{"time":"t","kind":"decision"}') + b"\n" for _ in range(3)]
    file = tmp_path / "d.log"
    file.write_bytes(b"".join(lines[:2]))
    assert main(["verify-log", str(file)]) == 0
    assert "whether records follow is not known" in capsys.readouterr().out
    assert main(["verify-log", "--last", "3", "--json", str(file)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["faults"][0]["fault"] == "truncated"
