import json
from collections import Counter
from pathlib import Path

import pytest
import trio

from sidecar.cli import emit as emitting
from sidecar.cli.exit_status import Stop
from tests.cli.command import Done, sidecar
from tests.client.sidecar import Sidecar


@pytest.fixture
async def daemon(tmp_path: Path, nursery: trio.Nursery) -> Sidecar:
    daemon = Sidecar(tmp_path / "s.sock")
    await nursery.start(daemon.run)
    return daemon


async def check(daemon: Sidecar, *words: str, token: str = "good") -> Done:
    return await sidecar("check", "--socket", str(daemon.path), *words, SIDECAR_TOKEN=token)


async def emit(daemon: Sidecar, *words: str, given: str = "", **environ: str) -> Done:
    return await sidecar("emit", *words, given=given, SIDECAR_SOCKET=str(daemon.path), **environ)


STRICT = {"PYTHONIOENCODING": "utf-8:strict"}
"""As Python reads in most languages' locales; in `C.UTF-8` it takes bytes that are no text."""


# check


async def test_an_allowed_call_ends_with_0(daemon: Sidecar) -> None:
    done = await check(daemon, "--context", "c2")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == "allow (a step-up is pending elsewhere)"


async def test_a_challenged_call_ends_with_1_and_says_why(daemon: Sidecar) -> None:
    done = await check(daemon, "--context", "c1")
    assert done.status == 1
    assert done.out == (
        "step_up\n"
        "  session: s1\n"
        "  subject: ada\n"
        "  acr_values: mfa\n"
        "  max_age: 300 s\n"
        '  WWW-Authenticate: Bearer error="insufficient_user_authentication"\n'
        "  because the user's risk is high (policy p1)\n"
    )


async def test_a_check_as_json_is_the_daemons_reply(daemon: Sidecar) -> None:
    done = await check(daemon, "--context", "c1", "--json")
    assert done.status == 1
    assert json.loads(done.out)["max_age"] == 300


async def test_a_token_that_is_not_believed_ends_with_1(daemon: Sidecar) -> None:
    done = await check(daemon, token="bad")
    assert done.status == 1
    assert "invalid_token: the token has expired" in done.out


async def test_a_token_that_is_no_text_ends_with_2(daemon: Sidecar, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"\xff")
    for name, at in ((str(file), str(file)), ("-", "<stdin>")):
        words = ("--socket", str(daemon.path), "--token-file", name)
        done = await sidecar("check", *words, given="\udcff", **STRICT)
        assert (done.status, done.err) == (2, f"{at}: not text\n")


async def test_a_call_that_makes_no_sense_ends_with_2(daemon: Sidecar) -> None:
    done = await check(daemon, "--ip", "somewhere")
    assert (done.status, done.out) == (2, "")
    assert "ip: must be an IPv4 or IPv6 address" in done.err


async def test_the_token_comes_from_a_file_or_standard_input(
    daemon: Sidecar, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("good\n")
    path = str(daemon.path)
    for name, given in ((str(file), ""), ("-", "good\n")):
        done = await sidecar("check", "--socket", path, "--token-file", name, given=given)
        assert done.status == 0
    assert [call.token for call in daemon.calls] == ["good", "good"]


async def test_without_a_token_nothing_is_asked(daemon: Sidecar, tmp_path: Path) -> None:
    for words in ((), ("--token-file", str(tmp_path / "none"))):
        assert (await check(daemon, *words, token="")).status == 2
    assert daemon.calls == []


@pytest.mark.parametrize("command", ["check", "emit"])
async def test_a_missing_socket_says_what_to_do(command: str, tmp_path: Path) -> None:
    path = str(tmp_path / "none.sock")
    words = [] if command == "check" else ["--type", "session-revoked", "--user", "ada"]
    done = await sidecar(command, *words, "--socket", path, SIDECAR_TOKEN="good")
    assert (done.status, done.out) == (2, "")
    assert f"no sidecar socket at {path}" in done.err
    assert "sidecar run" in done.err
    assert "Traceback" not in done.err


# emit


async def test_one_event_from_options(daemon: Sidecar) -> None:
    words = ["--type", "risk-signal", "--user", "ada", "--id", "e1", "--time", "2026-01-02T03:04Z"]
    words += ["--data", "name=leaked-password", "--data", "weight=40", "--data", "half_life=60"]
    assert await emit(daemon, *words) == (0, "e1\n", "")
    (signal,) = daemon.signals
    assert (signal.subject.user, signal.stamp.seconds) == ("ada", 1767323040.0)
    assert signal.name == "leaked-password"  # type: ignore[union-attr]
    assert signal.weight == 40  # type: ignore[union-attr]


async def test_data_as_json(daemon: Sidecar) -> None:
    data = '{"claims": {"groups": ["finance"]}}'
    done = await emit(daemon, "--type", "token-claims-change", "--user", "ada", "--data", data)
    assert done.status == 0
    assert daemon.signals[0].claims == (("groups", ("finance",)),)  # type: ignore[union-attr]


async def test_a_refused_event_ends_with_2_and_names_the_field(daemon: Sidecar) -> None:
    done = await emit(daemon, "--type", "risk-level-change", "--user", "ada")
    assert (done.status, done.out) == (2, "")
    assert "invalid_event: data.current_level" in done.err


async def test_a_full_daemon_is_a_negative_answer(daemon: Sidecar) -> None:
    done = await emit(daemon, "--type", "session-revoked", "--user", "busy")
    assert done.status == 1
    assert "overloaded" in done.err


async def test_waiting_for_everybody(daemon: Sidecar) -> None:
    words = ["--type", "session-revoked", "--user", "ada", "--wait"]
    assert await emit(daemon, *words, "--id", "e1") == (0, "e1 (taken everywhere)\n", "")
    slow = await emit(daemon, *words, "--id", "slow")
    assert slow == (1, "slow (not yet taken everywhere)\n", "")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ((), "name a --type, or a FILE"),
        (("x.ndjson", "--type", "session-revoked"), "not both"),
        (("--type", "session-gone"), "invalid choice: 'session-gone'"),
        (("--type", "session-revoked", "--data", "oops"), "neither KEY=VALUE nor JSON"),
        (("--type", "session-revoked", "--data", '{"a"'), "is no JSON"),
        (("--type", "session-revoked", "--time", "noon"), "must be seconds or milliseconds"),
        (("/none.ndjson",), "/none.ndjson: No such file"),
    ],
)
async def test_bad_input_ends_with_2_before_anything_is_sent(
    daemon: Sidecar, words: tuple[str, ...], printed: str
) -> None:
    done = await emit(daemon, *words)
    assert (done.status, done.out) == (2, "")
    assert printed in done.err
    assert daemon.signals == []


def line(name: str, user: str = "ada") -> str:
    event = {"type": "session-revoked", "id": name, "subject": {"user": user}}
    return json.dumps(event) + "\n"


async def test_a_file_of_events_with_a_summary(daemon: Sidecar, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("".join(line(f"e{n}") for n in range(200)) + "\n" + line("e7"))
    done = await emit(daemon, str(file))
    assert done == (0, "", "201 events: 200 accepted, 1 duplicate\n")
    ids = sorted(signal.stamp.id for signal in daemon.signals)
    assert ids == sorted([*(f"e{n}" for n in range(200)), "e7"])


async def test_each_bad_line_is_reported_with_its_number_and_the_others_count(
    daemon: Sidecar,
) -> None:
    bad = '{"type": "session-revoked", "subject": {}}\n'
    given = line("e1") + "\n" + "nonsense\n" + bad + "[1]\n" + line("e2")
    done = await emit(daemon, "-", given=given)
    assert done.status == 2
    assert "<stdin>:3: is no JSON object\n" in done.err
    assert "<stdin>:4: invalid_event: subject" in done.err
    assert "<stdin>:5: is no JSON object\n" in done.err
    assert done.err.endswith("5 events: 2 accepted, 3 refused\n")
    assert [signal.stamp.id for signal in daemon.signals] == ["e1", "e2"]


@pytest.mark.parametrize("as_file", [False, True])
async def test_a_line_that_no_daemon_could_read_is_reported_and_the_others_count(
    daemon: Sidecar, tmp_path: Path, as_file: bool
) -> None:
    odd = [line("e2").replace("ada", text) for text in ("\udcff", "\\ud800")]
    assert line("e2") not in odd
    numbers = line("e3").replace('"subject"', '"data": {"a": NaN}, "subject"')
    given = line("e1") + "".join(odd) + numbers + "\udcff\n" + line("e4")
    file = tmp_path / "events"
    file.write_bytes(given.encode(errors="surrogateescape"))
    name = str(file) if as_file else "-"
    done = await emit(daemon, name, given=given, **STRICT)
    at = name if as_file else "<stdin>"
    for number in (2, 3, 4):
        assert f"{at}:{number}: invalid_json: numbers are finite, and text" in done.err
    assert f"{at}:5: is no JSON object\n" in done.err
    assert done.err.endswith("6 events: 2 accepted, 4 refused\n")
    assert [signal.stamp.id for signal in daemon.signals] == ["e1", "e4"]


async def test_turned_away_events_end_with_1(daemon: Sidecar) -> None:
    done = await emit(daemon, "-", given=line("e1") + line("e2", "busy"))
    assert done.status == 1
    assert done.err.endswith("2 events: 1 accepted, 1 turned away\n")


async def test_replies_as_json_are_one_a_line(daemon: Sidecar) -> None:
    done = await emit(daemon, "-", "--json", given=line("e1") + line("e1"))
    replies = [json.loads(reply) for reply in done.out.splitlines()]
    assert [reply.get("duplicate", False) for reply in replies] == [False, True]


async def test_a_credential_that_is_shown_is_no_sources_here(
    daemon: Sidecar, tmp_path: Path
) -> None:
    file = tmp_path / "credential"
    file.write_text("nobody's\n")
    words = ("--type", "session-revoked", "--session", "s1", "--credential-file", str(file))
    refused = await emit(daemon, *words)
    assert refused.status == 2
    assert "not_allowed" in refused.err
    assert "nobody's" not in refused.out + refused.err
    missing = await emit(daemon, *words[:-1], str(tmp_path / "missing"))
    assert missing.status == 2
    assert "cannot be read" in missing.err


def test_an_event_that_is_nested_without_end_is_reported_with_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fates, numbers = Counter[str](), list[int]()
    lines = ["{}", "[" * 100_000, "1" * 5000, "{}"]
    assert list(emitting._events(lines, "f", numbers, fates)) == [{}, {}]  # noqa: SLF001
    assert (numbers, fates["refused"]) == ([1, 4], 2)
    assert capsys.readouterr().err == "f:2: is no JSON object\nf:3: is no JSON object\n"
    with pytest.raises(Stop, match="is no JSON"):
        emitting._json("[" * 100_000, "--data x")  # noqa: SLF001
