import argparse
import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar import __version__
from sidecar.cli import dead_letters, ssf
from sidecar.cli.main import COMMANDS
from tests.cli.command import on_a_terminal, sidecar


async def test_the_version() -> None:
    assert await sidecar("--version") == (0, f"sidecar {__version__}\n", "")


async def test_help_names_every_command_and_what_it_does() -> None:
    done = await sidecar("--help")
    assert done.status == 0
    for command in COMMANDS:
        assert f"    {command.name} " in done.out
        assert command.does in done.out
    assert "exit status" in done.out


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
async def test_each_command_explains_itself_with_examples(name: str) -> None:
    done = await sidecar(name, "--help")
    assert done.status == 0
    assert f"usage: sidecar {name} " in done.out
    assert "examples:\n  " in done.out
    assert f"sidecar {name}" in done.out.partition("examples:")[2]
    assert re.search(r"^exit status: 0 .*\b2 ", done.out, re.MULTILINE)


@pytest.mark.parametrize("module", [dead_letters, ssf])
def test_each_action_of_a_command_explains_itself_with_an_example(module: Any) -> None:
    parser = argparse.ArgumentParser(f"sidecar {module.__name__.rpartition('.')[2]}")
    parser.prog = parser.prog.replace("_", "-")
    module.configure(parser)
    found = [one.choices for one in parser._actions if isinstance(one.choices, dict)]  # noqa: SLF001
    assert len(found[0]) >= 4
    for name, action in found[0].items():
        printed = action.format_help()
        assert action.description
        assert f"examples:\n  {parser.prog} {name}" in printed
        assert "exit status: 0 done" in printed


NAMED = ("what-if", "--config", "config/sidecar.yaml", "--user", "adä", "--context", "c1")


async def test_an_output_that_lacks_letters_is_reported_and_a_terminal_shows_escapes() -> None:
    done = await sidecar(*NAMED, PYTHONIOENCODING="ascii")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("sidecar: standard output is ascii, which lacks letters")
    shown = await on_a_terminal(80, *NAMED, PYTHONIOENCODING="ascii")
    assert "user ad\\xe4" in shown.out
    assert "Traceback" not in shown.err


async def test_an_output_that_is_full_is_reported() -> None:
    async with await trio.open_file("/dev/full", "wb") as full:
        done = await trio.run_process(
            [sys.executable, "-m", "sidecar", "schema", "policy"],
            stdout=full.fileno(),
            capture_stderr=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        2,
        b"sidecar: standard output: No space left on device\n",
    )


@pytest.mark.parametrize(
    "words", [("emit",), ("replay",), ("run", "--config"), ("test",), ("doctor", "--token-file")]
)
async def test_a_file_whose_name_would_steer_the_terminal_is_named_in_escapes(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    done = await sidecar(*words, str(tmp_path / "a\x1b[2J\u202eb"))
    assert done.status == 2
    assert done.err.replace("\n", "").isprintable()


async def test_no_command_is_bad_usage_with_the_help() -> None:
    done = await sidecar()
    assert (done.status, done.out) == (2, "")
    assert "COMMAND" in done.err


async def test_a_misspelt_command_is_bad_usage_with_a_suggestion() -> None:
    done = await sidecar("sesions")
    assert (done.status, done.out) == (2, "")
    assert "no command 'sesions'; did you mean 'sessions'?" in done.err


async def test_an_unknown_option_is_bad_usage() -> None:
    done = await sidecar("check", "--tokn-file", "x")
    assert done.status == 2
    assert "--tokn-file" in done.err


async def test_help_loads_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from sidecar.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(sys.modules))"
    )
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    loaded = set(ast.literal_eval(done.stdout.decode().splitlines()[-1]))
    assert loaded & {"trio", "msgspec", "httpx", "rich", "redis", "yaml"} == set()
    assert {name for name in loaded if name.startswith("sidecar.cli.")} == {
        "sidecar.cli.main",
        "sidecar.cli.exit_status",
    }


async def test_a_daemon_without_a_configuration_says_where_to_get_one(tmp_path: Path) -> None:
    done = await sidecar("run", "--config", str(tmp_path / "none.yaml"))
    assert done.status == 2
    assert f"{tmp_path}/none.yaml: there is no such file" in done.err
    assert "sidecar demo" in done.err
