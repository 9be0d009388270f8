"""What deploy/gateways says of itself; that it works, tests/system/gateways shows."""

import re
from pathlib import Path

import pytest
import yaml

from sidecar.wire.grpc.ext_authz import PASSED_ON
from sidecar.wire.settings.settings import Gateway
from tests.system.gateways.programs import GATEWAYS

HERE = Path(__file__).parents[2] / "deploy" / "gateways"
README = (HERE / "README.md").read_text()
SHIPPED = sorted(path.name for path in HERE.iterdir() if path.is_dir())


def text_of(name: str) -> str:
    return "\n".join(path.read_text() for path in sorted((HERE / name).iterdir()))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_gateway_is_run_or_says_that_it_is_not(name: str) -> None:
    (row,) = re.findall(rf"^\|.*\]\({name}\).*$", README, re.MULTILINE)
    assert ("**not run**" in row) is (name not in GATEWAYS)
    assert ("not been run" in re.sub(r"[*\s]+", " ", text_of(name))) is (name not in GATEWAYS)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_gateways_file_names_the_setting_that_its_sidecar_needs(name: str) -> None:
    text = text_of(name)
    settings = re.findall(r"http: \{gateway: ([a-z]+)", text)
    assert settings or 'grpc: {bind: "127.0.0.1:8182"}' in text
    assert set(settings) <= set(Gateway)


def test_what_is_not_run_is_yaml_at_least() -> None:
    files = [path for path in (HERE / "istio").iterdir() if path.suffix != ".md"]
    assert len(files) == 2
    for file in files:
        assert all(yaml.safe_load_all(file.read_text()))


def test_traefik_strips_and_sets_each_header_that_the_app_believes() -> None:
    middlewares = yaml.safe_load((HERE / "traefik" / "dynamic.yml").read_text())["http"][
        "middlewares"
    ]
    ours = {name.decode() for name in PASSED_ON}
    stripped = middlewares["strip"]["headers"]["customRequestHeaders"]
    heard = middlewares["sidecar"]["forwardAuth"]["authResponseHeaders"]
    assert {name.lower() for name in heard} == ours
    assert {name.lower() for name, value in stripped.items() if value == ""} >= ours


def test_traefik_upgrades_to_a_websocket_only_and_has_no_route_for_connect() -> None:
    http = yaml.safe_load((HERE / "traefik" / "dynamic.yml").read_text())["http"]
    websocket, others = http["routers"]["websocket"], http["routers"]["app"]
    fields = {name: one["headers"] for name, one in http["middlewares"].items() if "headers" in one}
    assert "HeaderRegexp(`Upgrade`, `^(?i:websocket)$`)" in websocket["rule"]
    assert websocket["priority"] > others["priority"]
    assert "Method(`GET`)" in websocket["rule"]
    assert "!Method(`CONNECT`)" in others["rule"]
    assert websocket["middlewares"] == ["strip", "only-websocket", "sidecar"]
    assert others["middlewares"] == ["strip", "no-upgrade", "sidecar"]
    kept = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert fields["only-websocket"]["customRequestHeaders"] == kept
    assert fields["no-upgrade"]["customRequestHeaders"] == dict.fromkeys(kept, "")
    assert fields["strip"]["customRequestHeaders"]["HTTP2-Settings"] == ""


def test_every_file_passes_to_the_check_what_a_client_shows_with_its_token() -> None:
    for name in set(SHIPPED) - {"caddy", "istio"}:  # these pass all headers
        text = text_of(name).lower()
        for shown in ("authorization", "dpop", "accept", "sec-fetch-mode", "sec-fetch-dest"):
            assert re.search(rf"\b{shown}\b", text), (name, shown)


def test_a_stream_may_be_silent_for_five_minutes_in_every_file() -> None:
    """Envoy would also end one that is not silent, after 15 s."""
    patience = {
        "nginx": ["proxy_read_timeout 5m;"],
        "haproxy": ["timeout tunnel 5m", "timeout server 5m"],
        "apache": ["timeout=300"],
        "envoy": ["timeout: 0s, idle_timeout: 300s"],
        "envoy-grpc": ["timeout: 0s, idle_timeout: 300s"],
    }
    for name, settings in patience.items():
        text = text_of(name)
        assert all(setting in text for setting in settings), name
