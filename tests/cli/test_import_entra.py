import json
import os
from pathlib import Path

import pytest
import trio
import yaml

from tests.cli.command import sidecar

CASES = Path(__file__).parents[1] / "cases" / "entra"
WHOLE = str(CASES / "mfa-for-admins.json")
LOSSY = str(CASES / "user-risk-password-change.json")
PLACES = str(CASES / "trusted-locations.json")
CONTEXT = str(CASES / "authentication-context.json")
ROLE = "62e90394-69f5-4237-9190-012177145e10"
ID = "ca001-require-multifactor-authentication-for-admins"


async def test_policies_go_to_standard_output_and_the_report_beside_them() -> None:
    done = await sidecar("import-entra", WHOLE)
    assert done.status == 0
    assert [policy["id"] for policy in yaml.safe_load(done.out)["policies"]] == [
        ID,
        f"{ID}.routine",
    ]
    assert f"{ROLE}  # Global Administrator" in done.out
    assert done.err.startswith(f"{ID}: enabled\n")


async def test_what_is_lost_is_reported_and_its_policy_is_not_enforced() -> None:
    done = await sidecar("import-entra", LOSSY)
    assert done.status == 0
    assert "report-only, was enabled: it asks for less than it did" in done.err
    assert f"{LOSSY}: $.grantControls.builtInControls[1]: " in done.err
    assert '"passwordChange"' in done.out
    assert yaml.safe_load(done.out)["policies"][0]["state"] == "report-only"


@pytest.mark.parametrize(("file", "status"), [(WHOLE, 0), (LOSSY, 1)])
async def test_strict_makes_any_loss_a_negative_answer(file: str, status: int) -> None:
    assert (await sidecar("import-entra", file, "--strict")).status == status


async def test_several_files_of_several_kinds_are_one_import() -> None:
    done = await sidecar("import-entra", WHOLE, PLACES, CONTEXT, "--json")
    printed = json.loads(done.out)
    assert (done.status, done.err) == (0, "")
    assert len(printed["policies"]) == 7
    assert (printed["locations"], printed["strengths"]) == (3, ["company-keys"])
    assert {each["file"] for each in printed["not_carried"]} == {PLACES}


async def test_an_export_can_be_piped_in() -> None:
    done = await sidecar("import-entra", "-", "--json", given=await trio.Path(LOSSY).read_text())
    assert json.loads(done.out)["not_carried"][0]["file"] == "<stdin>"


async def test_names_stand_for_ids(tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    names.write_text(f"roles: {{{ROLE}: global-admin}}\n")
    done = await sidecar("import-entra", WHOLE, "--names", str(names))
    assert "global-admin" in done.out
    assert ROLE not in done.out


async def test_the_daemon_reads_what_was_written(tmp_path: Path) -> None:
    done = await sidecar("import-entra", PLACES, CONTEXT, "--out", str(tmp_path))
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == [
        f"wrote {tmp_path}/policies/entra.yaml",
        f"wrote {tmp_path}/settings.yaml",
    ]
    valid = await sidecar("validate", "--config", str(tmp_path / "settings.yaml"))
    assert valid.status == 0
    assert valid.out.startswith("ok: 9 policies (")


async def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    there = tmp_path / "policies" / "entra.yaml"
    there.write_text("mine")
    done = await sidecar("import-entra", WHOLE, "--out", str(tmp_path))
    assert (done.status, done.err) == (2, f"{there}: is there already, and is not overwritten\n")
    assert there.read_text() == "mine"


async def test_a_configuration_is_built_upon(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.yaml"
    config.write_text("contexts: {c3: {name: Pay}, c7: {name: People}}\n")
    done = await sidecar("import-entra", CONTEXT, "--config", str(config), "--json")
    settings = yaml.safe_load(json.loads(done.out)["settings_yaml"])
    assert list(settings) == ["assurance"]


async def test_calls_without_a_context_can_be_left_alone() -> None:
    done = await sidecar("import-entra", WHOLE, "--calls", "sensitive")
    assert [policy["id"] for policy in yaml.safe_load(done.out)["policies"]] == [ID]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{", "FILE:1: $: is no JSON: "),
        (
            '{"conditions": {"users": 3}}',
            "FILE:1: $.conditions.users: must be an object, not a number",
        ),
        ("{}", "FILE:1: $: holds no conditionalAccessPolicy"),
    ],
)
async def test_what_is_no_export_is_reported_with_its_place(
    text: str, printed: str, tmp_path: Path
) -> None:
    file = tmp_path / "e.json"
    file.write_text(text)
    done = await sidecar("import-entra", str(file))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(printed.replace("FILE", str(file)))


async def test_files_that_are_not_there_or_not_right_are_reported(tmp_path: Path) -> None:
    none, bad = tmp_path / "none", tmp_path / "bad.yaml"
    bad.write_text("users: [")
    for words in ((str(none),), (WHOLE, "--names", str(none)), (WHOLE, "--config", str(none))):
        done = await sidecar("import-entra", *words)
        assert done.status == 2
        assert done.err == f"{none}:0: (file): cannot be read: No such file or directory\n"
    for option in ("--names", "--config"):
        done = await sidecar("import-entra", WHOLE, option, str(bad))
        assert done.status == 2
        assert done.err.startswith(f"{bad}:2: ")


async def test_a_file_that_cannot_be_read_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"conditions":\n{"users": 3,\n"platforms": 4}}')
    done = await sidecar("import-entra", str(bad), WHOLE)
    assert done.status == 2
    assert done.err.splitlines()[:3] == [
        f"left out: {bad}:2: $.conditions.users: must be an object, not a number",
        f"left out: {bad}:3: $.conditions.platforms: must be an object, not a number",
        f"{ID}: enabled",
    ]
    assert yaml.safe_load(done.out)["policies"][0]["id"] == ID


async def test_what_a_directory_cannot_give_is_reported_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "good.json").write_bytes(await trio.Path(WHOLE).read_bytes())
    (tmp_path / "gone.json").symlink_to("nowhere")
    (tmp_path / "round.json").symlink_to("round.json")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "large.json").open("wb") as large:
        large.truncate(2**40)  # sparse: a reader of all of it would run out of memory
    done = await sidecar("import-entra", "--summary", str(tmp_path))
    assert done.status == 2
    unread = "(file): cannot be read"
    assert done.err.splitlines() == [
        f"left out: {tmp_path}/gone.json:0: {unread}: No such file or directory",
        f"left out: {tmp_path}/large.json:1: $: has more than 67108864 bytes",
        f"left out: {tmp_path}/round.json:0: {unread}: Too many levels of symbolic links",
    ]
    assert done.out.startswith("1 policy of 1 file:")


async def test_a_summary_counts_states_and_reasons_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for file in (WHOLE, LOSSY):
        text = await trio.Path(file).read_text()
        (tmp_path / "sub" / Path(file).name).write_text(text)
    (tmp_path / "package.json").write_text('{"name": "other"}')
    done = await sidecar("import-entra", "--summary", str(tmp_path))
    assert (done.status, done.err) == (0, "")
    printed = done.out.splitlines()
    assert printed[:4] == [
        "2 policies of 2 files:",
        "  enabled: 1 (1 was enabled)",
        "  report-only: 1 (1 was enabled)",
        "  disabled: 0",
    ]
    assert any(line.startswith("  1 weaker: grantControls.builtInControls: ") for line in printed)
    assert printed[-1] == "passed over: 1 JSON file of another kind"
