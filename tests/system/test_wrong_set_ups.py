"""Wrong set-ups, each with the line that its operator must read; the daemon itself, in process."""

import json
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sidecar.adapters.socket_files import SocketFile
from sidecar.adapters.spool_files import SpoolFiles
from sidecar.daemon import process
from tests.adapters.identity import key_set
from tests.adapters.servers import Server
from tests.stories.running import ISSUER, SIGNER

LONG = "x" * 120


class Place(NamedTuple):
    """Where a case is set up: a directory, and a port that somebody listens on."""

    home: Path
    taken: int
    held: ExitStack


class Case(NamedTuple):
    """What is configured besides, what is done before, and the line without the file's name."""

    config: Mapping[str, Any]
    told: str
    prepare: Callable[[Place], object] = lambda place: None
    environ: Mapping[str, str] = {}
    file: str = "FILE"


def hold(path: str) -> Callable[[Place], object]:
    return lambda place: place.held.enter_context(SocketFile(str(place.home / path), 0o600))


def write(path: str, text: str = "not what is expected") -> Callable[[Place], object]:
    return lambda place: (place.home / path).write_text(text)


def hold_spool(place: Place) -> None:
    files = SpoolFiles(str(place.home / "spool"), 1 << 20)
    place.held.callback(files.close)


IN_USE = r"127.0.0.1:\d+: .*[Aa]ddress already in use; another process listens there, or .*"
NO_GROUP = "there is no group 'no-such-group' in /etc/group here; give its number"
RECEIVER = {"bind": "127.0.0.1:0", "transmitters": []}
CASES: dict[str, Case] = {
    "admin port taken": Case({"admin": {"bind": "127.0.0.1:{taken}"}}, f"admin.bind: {IN_USE}"),
    "http port taken": Case({"http": {"bind": "127.0.0.1:{taken}"}}, f"http.bind: {IN_USE}"),
    "grpc port taken": Case({"grpc": {"bind": "127.0.0.1:{taken}"}}, f"grpc.bind: {IN_USE}"),
    "not our address": Case(
        {"http": {"bind": "192.0.2.1:8181"}},
        "http.bind: 192.0.2.1:8181: .*; this machine does not have that address",
    ),
    "host unknown": Case(
        {"http": {"bind": "host.invalid:8181"}},
        "http.bind: host.invalid:8181: the host name is not known: .*",
    ),
    "socket path too long": Case(
        {"socket": {"path": f"{{home}}/{LONG}.sock"}},
        r"socket.path: has \d+ bytes; a socket's path may have 103",
    ),
    "socket directory missing": Case(
        {"socket": {"path": "{home}/run/s.sock"}},
        "socket.path: .*/run/s.sock: there is no directory .*/run; create it, or mount it",
    ),
    "socket directory is a file": Case(
        {"socket": {"path": "{home}/run/s.sock"}},
        "socket.path: .*/run/s.sock: Not a directory",
        write("run"),
    ),
    "socket path is a file": Case(
        {}, "socket.path: .*/s.sock exists and is no socket", write("s.sock")
    ),
    "another daemon's socket": Case(
        {},
        "socket.path: .*/s.sock is locked by a running process, maybe another sidecar",
        hold("s.sock"),
    ),
    "socket group unknown": Case(
        {"socket": {"path": "{home}/s.sock", "group": "no-such-group"}},
        f"socket.group: {NO_GROUP}",
    ),
    "http socket group unknown": Case(
        {"http": {"bind": "127.0.0.1:0", "unix": "{home}/h.sock", "unix_group": "no-such-group"}},
        f"http.unix_group: {NO_GROUP}",
    ),
    "http socket directory missing": Case(
        {"http": {"bind": "127.0.0.1:0", "unix": "{home}/run/h.sock"}},
        "http.unix: .*/run/h.sock: there is no directory .*/run; .*",
    ),
    "spool of another daemon": Case(
        {"spool": {"dir": "{home}/spool"}},
        "spool.dir: .*/spool/lock is locked by a running process",
        hold_spool,
    ),
    "geography missing": Case(
        {"geography": {"city": "{home}/city.mmdb"}},
        "geography.city: .*/city.mmdb: No such file or directory",
    ),
    "geography of another kind": Case(
        {"geography": {"city": "{home}/city.mmdb"}},
        "geography.city: .*/city.mmdb: it is damaged, or not an MMDB file",
        write("city.mmdb"),
    ),
    "receiver's certificate missing": Case(
        {
            "receiver": {
                "bind": "127.0.0.1:0",
                "tls_cert_file": "{home}/tls.pem",
                "tls_key_file": "{home}/tls.pem",
                "transmitters": [
                    {
                        "name": "idp",
                        "issuer": ISSUER,
                        "audiences": ["payroll"],
                        "jwks_file": "{home}/jwks.json",
                        "events": ["session-revoked"],
                    }
                ],
            }
        },
        "receiver.tls_cert_file: .*/tls.pem with .*/tls.pem: No such file or directory",
    ),
    "source's token file missing": Case(
        {"sources": [{"name": "mdm", "token_file": "{home}/mdm", "may": ["risk-signal"]}]},
        r"sources\[0\].token_file: .*/mdm cannot be read: No such file or directory",
    ),
    "policies missing": Case(
        {"policies": {"path": "{home}/nowhere"}},
        "policies.path: there is no such directory; .*",
        file=".*/nowhere",
    ),
    "authorities missing": Case(
        {"tokens": {"issuers": [{"issuer": "https://id.invalid", "audiences": ["payroll"]}]}},
        r"\(file\): .*/ca.pem cannot be used: No such file or directory",
        environ={"SSL_CERT_FILE": "{home}/ca.pem"},
        file="SSL_CERT_FILE",
    ),
    "admin token by file and by value": Case(
        {"admin": {"bind": "127.0.0.1:0", "token_file": "{home}/gone"}},
        "admin.token_file: .*/gone cannot be read: No such file or directory",
    ),
    "embedded store without a directory": Case(
        {"store": {"embedded_dir": "{home}/gone"}},
        r"no directory for the embedded store \(No such file or directory\): set "
        "store.embedded_dir .*",
    ),
}


def filled(value: Any, values: Mapping[str, object]) -> Any:
    """A value with what is in braces filled in, wherever it stands in it."""
    match value:
        case str():
            return value.format(**values)
        case dict():
            return {name: filled(one, values) for name, one in value.items()}
        case list():
            return [filled(one, values) for one in value]
        case _:
            return value


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("w")
    (home / "policies").mkdir()
    (home / "policies" / "none.yaml").write_text("policies: []\n")
    (home / "jwks.json").write_bytes(key_set(SIGNER))
    with ExitStack() as held:
        taken = held.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        yield Place(home, taken.getsockname()[1], held)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_wrong_set_up_ends_with_one_line_that_names_its_key(
    place: Place,
    case: Case,
    valkey_server: Server,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = place.home / "sidecar.yaml"
    issuer = {"issuer": ISSUER, "audiences": ["payroll"], "jwks_file": "{home}/jwks.json"}
    usual = {
        "app": {"id": "payroll"},
        "log": {"level": "error"},
        "socket": {"path": "{home}/s.sock"},
        "http": {"bind": "127.0.0.1:0"},
        "admin": {"bind": "127.0.0.1:0"},
        "store": {"url": valkey_server.url},
        "policies": {"path": "{home}/policies"},
        "tokens": {"issuers": [issuer]},
    }
    values = {"home": str(place.home), "taken": place.taken}
    config.write_text(json.dumps(filled({**usual, **case.config}, values), indent=1))
    for name, value in case.environ.items():
        monkeypatch.setenv(name, filled(value, values))
    case.prepare(place)
    assert process.main(str(config)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    head = "sidecar: " if case.told.startswith("no directory") else case.file + r":\d+: "
    assert re.fullmatch(f"{head}{case.told}", line.replace(str(config), "FILE")), line
    assert "Errno" not in line


def test_a_mistake_of_ours_is_one_sentence_and_its_traceback_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def build(file: Path, environ: Mapping[str, str]) -> Any:
        raise KeyError("hush")

    assert process.main("none.yaml", build) == 1
    logged, told = capfd.readouterr().err.splitlines()
    line = json.loads(logged)
    assert (line["level"], line["event"], line["error"]) == ("error", "ended-by-error", "KeyError")
    assert any("test_wrong_set_ups.py" in frame for frame in line["traceback"])
    assert told == (
        "sidecar: ended by a mistake of its own: KeyError (its traceback is in the line "
        "`ended-by-error`); please report it"
    )
