"""`sidecar init`: what it writes runs, tests well, and overwrites nothing."""

import re
import shlex
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sidecar.cli.init_apps import FRAMEWORKS
from sidecar.cli.init_gateways import GATEWAYS
from sidecar.cli.main import main
from tests.system.gateways.programs import GATEWAYS as PROGRAMS
from tests.system.gateways.programs import program

ISSUER = "https://login.example.com"
USUAL = ("init", "--offline", "--issuer", ISSUER, "--audience", "payroll")


def checked(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(out / "sidecar.yaml")
    printed = [
        main(["validate", "--strict", "--config", config]),
        main(["test", "--config", config]),
    ]
    assert printed == [0, 0], capsys.readouterr()


CHECKS = {
    "nginx": ["nginx", "-t", "-p", "{here}", "-e", "error.log", "-c", "nginx.conf"],
    "caddy": ["caddy", "validate", "--config", "{here}/Caddyfile", "--adapter", "caddyfile"],
    "haproxy": ["haproxy", "-c", "-f", "{here}/haproxy.cfg"],
    "apache": ["apache2", "-t", "-f", "{here}/apache2.conf"],
    "envoy": ["envoy", "--mode", "validate", "-c", "{here}/envoy.yaml"],
    "envoy-grpc": ["envoy", "--mode", "validate", "-c", "{here}/envoy.yaml"],
}
"""What gateways have to look at their own files with; Traefik has nothing."""


@pytest.fixture
def trying() -> Iterator[Path]:
    """A directory with a name that configurations and shells have to quote, and a short path."""
    with tempfile.TemporaryDirectory(prefix="a Zürcher's ") as name:
        yield Path(name)


@pytest.mark.parametrize("gateway", [*GATEWAYS, "none"])
def test_what_it_writes_passes_validate_and_test_and_the_gateways_own_check(
    gateway: str, trying: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = trying / gateway
    assert main([*USUAL, "--gateway", gateway, "--out", str(out)]) == 0
    checked(out, capsys)
    assert (out / "gateway").is_dir() is (gateway != "none")
    for file in out.glob("gateway/*"):
        # Each path of the shipped ones has become one of these.
        assert not re.search(r"/etc/(haproxy|apache2|traefik)", file.read_text())
        if file.suffix in {".yaml", ".yml"}:
            assert list(yaml.safe_load_all(file.read_text()))
    if gateway in CHECKS and PROGRAMS[gateway].installed:
        name, *arguments = (one.replace("{here}", f"{out}/gateway") for one in CHECKS[gateway])
        done = subprocess.run([str(program(name)), *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_terminal_it_names_the_options_that_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--out", str(tmp_path / "new")]) == 2
    assert "--issuer and --audience must be given" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("more", "printed"),
    [
        (["--issuer", "http://login.example.com"], "--issuer: http://login.example.com must be"),
        (["--issuer", "ftp://login.example.com"], "must be https://"),
        (["--issuer", "https://"], "must be https://"),
        (["--issuer", "https://[::1"], "must be https://"),
        (["--issuer", "https://login.example.com/?tenant=1"], "must have no query"),
        (["--issuer", "https://login.example.com/#a"], "must have no query and no fragment"),
        (["--issuer", ""], "--issuer must be given"),
        (["--audience", ""], "--audience must be given"),
        (["--audience", "   "], "--audience must be given"),
        (["--audience", "pay\nroll"], r"--audience: has a character that is no text: 'pay\nroll'"),
        (["--app", "pay\x7froll"], "--app: has a character"),
        (["--client", "pay\udcffroll"], "--client: has a character"),
        (["--out", "pay\udcffroll"], "--out: has a character"),
        (["--out", "a" * 120], "too long for the path of a unix socket"),
        (["--out", "a$HOME", "--gateway", "haproxy"], "cannot name a path"),
        (["--port", "8080", "--gateway", "nginx"], "--port: 8080 is --app-port's already"),
        (
            ["--admin-port", "8182", "--gateway", "envoy-grpc"],
            "--sidecar-port and one: 8182 is --admin-port's",
        ),
        (
            ["--admin-port", "8183", "--gateway", "traefik"],
            "--sidecar-port and two: 8183 is --admin-port's",
        ),
        (["--sidecar-port", "65535", "--gateway", "istio"], "65536 is no port"),
        (["--framework", "flask-bff", "--gateway", "envoy"], "flask-bff keeps the tokens"),
        (["--acr", "mfa=a b"], "assurance.levels[1].acr: 'a b' cannot be asked for"),
        (["--acr", "mfa=x", "--acr", "single-factor=x"], "shows level 'single-factor' already"),
    ],
)
def test_what_would_make_no_good_configuration_is_reported_and_nothing_is_written(
    more: list[str],
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*USUAL, *more]) == 2
    assert printed in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["Bücher & Söhne", "null", "-1", "https://api.example/", 'a"b', "{x: y}", "#"]
)
def test_whatever_an_app_is_called_it_stands_in_the_files_as_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*USUAL, f"--audience={name}", "--out", str(tmp_path)]) == 0
    checked(tmp_path, capsys)
    written = yaml.safe_load((tmp_path / "sidecar.yaml").read_text())
    assert written["app"]["id"] == name
    assert written["tokens"]["issuers"][0]["audiences"] == [name]


def test_values_of_acr_that_are_reported_are_levels_that_the_scenario_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--acr=single-factor=silver", "--acr=mfa=gold", "--acr=mfa=urn:x:2"]
    assert main([*USUAL, *words, "--out", str(tmp_path)]) == 0
    checked(tmp_path, capsys)
    levels = yaml.safe_load((tmp_path / "sidecar.yaml").read_text())["assurance"]["levels"]
    assert {one["name"]: one["acr"] for one in levels}["mfa"] == ["gold", "urn:x:2"]
    assert "acr: silver" in (tmp_path / "scenarios" / "payments.yaml").read_text()


def test_the_commands_that_it_prints_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    odd = "-a b's ü"
    words = ["--gateway=nginx", "--framework=fastapi", f"--out={odd}"]
    assert main([*USUAL, *words]) == 0
    printed = re.findall(r"^  (\S.*)$", capsys.readouterr().out, re.MULTILINE)
    run, serve, proxy, emit, doctor = (shlex.split(line) for line in printed)
    python = [sys.executable, "-m"]
    assert run == [*python, "sidecar", "run", "--config", f"./{odd}/sidecar.yaml"]
    assert serve[:3] == ["cd", f"./{odd}", "&&"]
    assert serve[3:6] == [*python, "uvicorn"]
    assert Path(proxy[0]).name == "nginx"
    assert Path(proxy[2]) == tmp_path / odd / "gateway"
    assert emit[:5] == [*python, "sidecar", "emit", "--socket"]
    assert emit[5] == f"./{odd}/sidecar.sock"
    assert main(["validate", *doctor[4:6]]) == 0


@pytest.mark.parametrize("words", [["--port", "abc"], ["--port", "0"], ["--acr", "mfa="]])
def test_an_option_that_cannot_be_is_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*USUAL, *words])
    assert ended.value.code == 2
    assert f"argument {words[0]}: '{words[1]}' is no" in capsys.readouterr().err


def test_it_overwrites_nothing_unless_it_is_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*USUAL, "--out", str(tmp_path)]
    assert main(words) == 0
    policies = tmp_path / "policies" / "payments.yaml"
    policies.write_text("mine")
    (tmp_path / "sidecar.yaml").unlink()
    (tmp_path / "sidecar.yaml").symlink_to(tmp_path / "elsewhere")
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert "--force" in printed
    assert f"{tmp_path} has sidecar.yaml, policies/payments.yaml, " in printed
    assert policies.read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert not (tmp_path / "elsewhere").exists()
    assert "\noverwritten: browser/index.html, " in capsys.readouterr().out
    assert yaml.safe_load(policies.read_text())["policies"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_with_each_gateway_the_app_believes_just_that_one(framework: str, tmp_path: Path) -> None:
    gateways = ("none",) if FRAMEWORKS[framework].keeps_tokens else (*GATEWAYS, "none")
    for gateway in gateways:
        out = tmp_path / gateway
        words = ("--gateway", gateway, "--framework", framework, "--app-port", "8090")
        assert main([*USUAL, *words, "--client", 'a "page"', "--out", str(out)]) == 0
        (app,) = out.glob("app.*")
        proxies = "0" if gateway == "none" else "1"
        assert re.search(rf"(TRUSTED_PROXIES|trustedProxies) = {proxies}\b", app.read_text())
        assert "8080" not in app.read_text()
        settings = out / "browser" / "settings.js"
        if FRAMEWORKS[framework].keeps_tokens:
            settings = out / "settings.py"
        printed = settings.read_text()
        assert re.search(r'(clientId: |CLIENT_ID = )"a \\"page\\""', printed)
        assert re.search(rf'(issuer: |ISSUER = )"{ISSUER}"', printed)


def test_a_port_that_somebody_listens_at_is_noted_with_its_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        words = ["--framework", "flask", "--app-port", str(port), "--out", str(tmp_path)]
        assert main([*USUAL, *words]) == 0
        words = ["--sidecar-port", str(port), "--out", str(tmp_path), "--force"]
        note = f"note: somebody listens at port {port} now; --app-port names another"
        assert note in capsys.readouterr().out
        assert main([*USUAL, *words]) == 0
    assert str(port) not in capsys.readouterr().out, "without a gateway nobody listens there"


@pytest.mark.parametrize("command", ["run", "doctor", "transmit"])
def test_a_command_without_its_configuration_speaks_of_init_or_of_what_it_wrote(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIDECAR_CONFIG", raising=False)
    assert main([command]) == 2
    assert "`sidecar init` writes a first one" in capsys.readouterr().err
    assert main([*USUAL]) == 0
    assert main([command]) == 2
    printed = capsys.readouterr().err
    assert "config/sidecar.yaml: there is no such file" in printed
    assert "There is sidecar/sidecar.yaml: name it with --config." in printed


def test_the_wheel_and_the_image_have_all_that_it_writes_from() -> None:
    root = Path(__file__).parents[2]
    tool = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    packed = tool["hatch"]["build"]["targets"]["wheel"]["force-include"]
    recipe = (root / "Dockerfile").read_text()
    for source, target in packed.items():
        assert (root / source).is_dir()
        assert target == f"sidecar/starter_files/{Path(source).name}"
        assert f"COPY {source} {source}\n" in recipe
