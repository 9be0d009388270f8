"""`sidecar init`: what it writes runs, tests well, and overwrites nothing."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from sidecar.cli.init_apps import FRAMEWORKS
from sidecar.cli.init_gateways import GATEWAYS
from sidecar.cli.main import main

ISSUER = "https://login.example.com"
USUAL = ("init", "--offline", "--issuer", ISSUER, "--audience", "payroll")


def checked(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(out / "sidecar.yaml")
    told = [main(["validate", "--strict", "--config", config]), main(["test", "--config", config])]
    assert told == [0, 0], capsys.readouterr()


@pytest.mark.parametrize("gateway", [*GATEWAYS, "none"])
def test_what_it_writes_passes_validate_and_test(
    gateway: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / gateway
    assert main([*USUAL, "--gateway", gateway, "--out", str(out)]) == 0
    checked(out, capsys)
    assert (out / "gateway").is_dir() is (gateway != "none")


def test_without_a_terminal_it_names_the_options_that_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--out", str(tmp_path / "new")]) == 2
    assert "--issuer and --audience must be given" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_it_overwrites_nothing_unless_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*USUAL, "--out", str(tmp_path)]
    assert main(words) == 0
    policies = tmp_path / "policies" / "payments.yaml"
    policies.write_text("mine")
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert policies.read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert yaml.safe_load(policies.read_text())["policies"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_with_each_gateway_the_app_believes_just_that_one(framework: str, tmp_path: Path) -> None:
    for gateway in (*GATEWAYS, "none"):
        out = tmp_path / gateway
        words = ("--gateway", gateway, "--framework", framework, "--app-port", "8090")
        assert main([*USUAL, *words, "--client", 'a "page"', "--out", str(out)]) == 0
        (app,) = out.glob("app.*")
        proxies = "0" if gateway == "none" else "1"
        assert re.search(rf"(TRUSTED_PROXIES|trustedProxies) = {proxies}\b", app.read_text())
        assert "8080" not in app.read_text()
        assert r'clientId: "a \"page\""' in (out / "browser" / "settings.js").read_text()
        assert f'issuer: "{ISSUER}"' in (out / "browser" / "settings.js").read_text()


def test_the_wheel_and_the_image_have_all_that_it_writes_from() -> None:
    root = Path(__file__).parents[2]
    tool = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    packed = tool["hatch"]["build"]["targets"]["wheel"]["force-include"]
    recipe = (root / "Dockerfile").read_text()
    for source, target in packed.items():
        assert (root / source).is_dir()
        assert target == f"sidecar/starter_files/{Path(source).name}"
        assert f"COPY {source} {source}\n" in recipe
