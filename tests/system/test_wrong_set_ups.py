"""Wrong set-ups, each with the line that its operator must read; the daemon itself, in process."""

import json
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trio
import trustme

from sidecar.adapters import clock
from sidecar.adapters.files.spool_segments import SpoolFiles
from sidecar.adapters.listening.socket_files import SocketFile
from sidecar.daemon import process
from sidecar.daemon.lifecycle import Addresses
from sidecar.daemon.lifecycle import serve as daemon_serve
from tests import plain_http
from tests.adapters.identity import Answer, Signer, key_set, serve
from tests.adapters.servers import Server, free_ports, serving
from tests.adapters.strangers import handshake, replying, say_http, say_nothing
from tests.stories.running import ISSUER, SIGNER
from tests.waiting import until

LONG = "x" * 120


class Place(NamedTuple):
    """Where a case is set up: a directory, and a port that somebody listens on."""

    home: Path
    taken: int
    held: ExitStack


class Case(NamedTuple):
    """What is configured besides, what is done before, and the line without the file's name."""

    config: Mapping[str, Any]
    heard: str
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
        {"admin": {"bind": "192.0.2.1:8181"}},
        "admin.bind: 192.0.2.1:8181: .*; this machine does not have that address",
    ),
    "host unknown": Case(
        {"admin": {"bind": "host.invalid:8181"}},
        "admin.bind: host.invalid:8181: the host name is not known: .*",
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
    "keys missing": Case(
        {
            "tokens": {
                "issuers": [
                    {"issuer": ISSUER, "audiences": ["payroll"], "jwks_file": "{home}/gone.json"}
                ]
            }
        },
        r"tokens.issuers\[0\].jwks_file: .*/gone.json cannot be read: No such file or directory",
    ),
    "keys that are none": Case(
        {},
        r"tokens.issuers\[0\].jwks_file: .*/jwks.json holds no keys: .*",
        write("jwks.json", '{"keys": []}'),
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
    head = "sidecar: " if case.heard.startswith("no directory") else case.file + r":\d+: "
    assert re.fullmatch(f"{head}{case.heard}", line.replace(str(config), "FILE")), line
    assert "Errno" not in line


def test_a_mistake_of_ours_is_one_sentence_and_its_traceback_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def build(file: Path, environ: Mapping[str, str]) -> Any:
        raise KeyError("hush")

    assert process.main("none.yaml", build) == 1
    logged, heard = capfd.readouterr().err.splitlines()
    line = json.loads(logged)
    assert (line["level"], line["event"], line["error"]) == ("error", "ended-by-error", "KeyError")
    assert any("test_wrong_set_ups.py" in frame for frame in line["traceback"])
    assert heard == (
        "sidecar: ended by a mistake of its own: KeyError (its traceback is in the line "
        "`ended-by-error`); please report it"
    )


class Issuers(NamedTuple):
    """What the issuers of a configuration are at, by name of the case."""

    urls: Mapping[str, str]
    heard: Mapping[str, str]


NO_TRUST = "its certificate is not trusted: "


@pytest.fixture
async def issuers(nursery: trio.Nursery, tmp_path: Path, monkeypatch: Any) -> Any:
    """Issuers whose keys cannot be had, each for a cause of its own."""
    ours, strange = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (gone,) = free_ports(1)
    failing, other, slash, no_keys, no_json = [await serve(nursery) for _ in range(5)]
    failing.paths["/.well-known/openid-configuration"] = Answer(b"", status=503)
    for provider, document in (
        (other, {"issuer": "https://else.example", "jwks_uri": "https://else.example/k"}),
        (slash, {"issuer": f"{slash.url}/", "jwks_uri": f"{slash.url}/k"}),
        (no_keys, {"issuer": no_keys.url}),
    ):
        body = json.dumps(document).encode()
        provider.paths["/.well-known/openid-configuration"] = Answer(body)
    no_json.paths["/.well-known/openid-configuration"] = Answer(b"<html>")
    with (
        replying(handshake(strange, "127.0.0.1")) as private,
        replying(handshake(ours, "id.example")) as misnamed,
        replying(say_nothing) as mute,
        replying(say_http) as plain,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:tiger5@127.0.0.1:{gone}")
        monkeypatch.setenv("NO_PROXY", "nowhere.invalid")
        yield Issuers(
            {
                "unknown host": "https://nowhere.invalid",
                "refused": f"http://127.0.0.1:{gone}",
                "private authority": f"https://127.0.0.1:{private}",
                "wrong name": f"https://127.0.0.1:{misnamed}",
                "no TLS": f"https://127.0.0.1:{plain}",
                "silent": f"http://127.0.0.1:{mute}",
                "proxy away": "https://proxied.invalid",
                "failing": failing.url,
                "another's": other.url,
                "slash": slash.url,
                "no keys": no_keys.url,
                "no JSON": no_json.url,
            },
            {
                "unknown host": "{url}/.*: the host name is not known: .*",
                "refused": "{url}/.*: Error connecting to .*: Connection refused",
                "private authority": f"{{url}}/.*: {NO_TRUST}.*; trust its .* by SSL_CERT_FILE",
                "wrong name": f"{{url}}/.*: {NO_TRUST}.*not valid for '127.0.0.1'.*",
                "no TLS": r"{url}/.*: no TLS could be agreed on: .*; does it speak TLS\?",
                "silent": "{url}: did not answer in time",
                "proxy away": f"{{url}}/.*: by the proxy http://127.0.0.1:{gone}: .* refused",
                "failing": "{url}/.well-known/openid-configuration: the answer has status 503",
                "another's": "{url}/.*: the metadata are of the issuer 'https://else.example', and "
                "'{url}' is configured",
                "slash": "{url}/.*: .*'{url}/', and '{url}' is configured; they differ by the .*",
                "no keys": "{url}/.*: the metadata has no jwks_uri",
                "no JSON": "{url}/.*: is not a plain JSON object",
            },
        )


class Log:
    """The log of a daemon in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.text = ""

    def lines(self, event: str) -> list[dict[str, Any]]:
        self.text += self._capfd.readouterr().err
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if line["event"] == event]

    async def until(self, event: str, wanted: Callable[[list[dict[str, Any]]], bool]) -> Any:
        return await until(lambda: self.lines(event), wanted)


def written(home: Path, store: str, **changes: Any) -> Path:
    """A configuration file for a daemon there."""
    (home / "policies").mkdir()
    (home / "policies" / "none.yaml").write_text("policies: []\n")
    (home / "jwks.json").write_bytes(key_set(SIGNER))
    issuer = {"issuer": ISSUER, "audiences": ["payroll"], "jwks_file": str(home / "jwks.json")}
    usual: dict[str, Any] = {
        "app": {"id": "payroll"},
        "socket": {"path": str(home / "s.sock")},
        "http": {"enabled": False},
        "admin": {"bind": "127.0.0.1:0"},
        "store": {"url": store, "timeout": "500ms", "connect_timeout": "500ms", "retries": 0},
        "policies": {"path": str(home / "policies")},
        "tokens": {"issuers": [issuer]},
    }
    file = home / "sidecar.yaml"
    file.write_text(json.dumps({**usual, **changes}, indent=1))
    return file


async def asked(path: Path, **request: Any) -> Any:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(json.dumps(request).encode() + b"\n")
        return json.loads(await stream.receive_some(65536))


async def reasons(admin: str) -> dict[str, str]:
    async with httpx.AsyncClient(trust_env=False, verify=plain_http.NO_CERTIFICATES) as client:
        body = (await client.get(f"{admin}/readyz")).json()
    return {one["name"]: one.get("reason", "") for one in body["checks"]}


async def test_keys_that_cannot_be_had_are_reported_with_address_and_cause(
    nursery: trio.Nursery,
    issuers: Issuers,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_server: Server,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path_factory.mktemp("i")
    named = [{"issuer": url, "audiences": ["payroll"]} for url in issuers.urls.values()]
    tokens = {"issuers": named, "jwks_timeout": "2s"}
    file = written(home, valkey_server.url, tokens=tokens)
    log = Log(capfd)
    addresses: Addresses = await nursery.start(partial(daemon_serve, file, {}))
    heard = await log.until(
        "keys-not-refreshed",
        lambda found: {line["issuer"] for line in found} == {*issuers.urls.values()},
    )
    details = {line["issuer"]: line["detail"] for line in heard}
    ready = (await reasons(addresses.admin[0]))["keys"]
    nursery.cancel_scope.cancel()
    for name, url in issuers.urls.items():
        assert re.fullmatch(issuers.heard[name].format(url=re.escape(url)), details[url]), name
        assert f"no keys of {url}: " in ready
    assert "tiger5" not in log.text


async def test_a_store_that_refuses_us_is_reported_by_log_probe_and_event(
    nursery: trio.Nursery,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path_factory.mktemp("s")
    (port,) = free_ports(1)
    where = f"the store at redis://127.0.0.1:{port}: it refuses the credentials: .*"
    log = Log(capfd)
    with serving("--requirepass", "tiger5", port=port):
        file = written(home, f"redis://:tiger6@127.0.0.1:{port}")
        addresses: Addresses = await nursery.start(partial(daemon_serve, file, {}))
        (down, *_) = await log.until("store-down", bool)
        event = {"type": "session-revoked", "subject": {"session": "s1"}}
        reply = await asked(Path(addresses.socket), op="event", **event)
        (failed, *_) = await log.until("event-failed", bool)
        ready = (await reasons(addresses.admin[0]))["store"]
        nursery.cancel_scope.cancel()
    assert reply["error"] == "unavailable"
    for heard in (down["detail"], failed["detail"], ready):
        assert re.fullmatch(where, heard), heard
    assert "tiger" not in log.text


async def test_a_token_that_is_refused_is_reported_with_what_was_expected(
    nursery: trio.Nursery,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_server: Server,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path_factory.mktemp("t")
    file = written(home, valkey_server.url)
    file.write_text(file.read_text().replace('"audiences"', '"algorithms": ["ES256"], "audiences"'))
    log = Log(capfd)
    addresses: Addresses = await nursery.start(partial(daemon_serve, file, {}))
    now = int(clock.now())
    good: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "payroll",
        "exp": now + 60,
        "iat": now,
        "auth_time": now,
    }
    tokens = {
        "wrong-audience": SIGNER.token(**{**good, "aud": "shop"}),
        "unknown-issuer": SIGNER.token(**{**good, "iss": f"{ISSUER}/"}),
        "unknown-key": Signer("ES256", kid="lost").token(**good),
        "algorithm-not-allowed": Signer("PS256").token(**good),
        "expired": SIGNER.token(**{**good, "exp": now - 60}),
        "bad-signature": Signer("ES256", number=1).token(**good),
    }
    for token in (*tokens.values(), *tokens.values()):
        assert (await asked(Path(addresses.socket), op="check", token=token))["ok"] is False
    found = await log.until("token-refused", lambda lines: len(lines) >= len(tokens))
    lines = {line["reason"]: line for line in found}
    written_lines = len(log.lines("token-refused"))
    nursery.cancel_scope.cancel()
    assert written_lines == len(tokens)
    for reason, heard in {
        "wrong-audience": "its aud is 'shop'; expected is 'payroll'",
        "unknown-issuer": f"its iss is '{ISSUER}/'; configured is '{ISSUER}'; they differ by .*",
        "unknown-key": "its kid is 'lost' for 'ES256'; held are 'k1'",
        "algorithm-not-allowed": "its alg is 'PS256'; allowed is .*",
        "expired": r"its exp is \d+ s ago, leeway .*",
        "bad-signature": "its kid is 'k1', and no key of that name signed it",
    }.items():
        assert re.fullmatch(f"[^:]*: {heard}", lines[reason]["detail"]), lines[reason]
        assert lines[reason]["level"] == ("info" if reason == "expired" else "warning")
    assert not any(token.split(".")[2] in log.text for token in tokens.values())
