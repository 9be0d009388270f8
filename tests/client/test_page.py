"""What the page of the client says works."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests import plain_http
from tests.client.servers import on_uvicorn

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "clients" / "python" / "README.md").read_text()
HANDLER, CLIENT = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(block: str) -> dict[str, Any]:
    written: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), written)
    return written


@pytest.fixture(autouse=True)
def without_a_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_SOCKET", str(tmp_path / "s.sock"))


def test_the_handler_is_protected() -> None:
    with on_uvicorn(run(HANDLER)["app"]) as url:
        assert plain_http.post(f"{url}/payments/7", timeout=20).status_code == 503


def test_the_client_lets_nobody_pay_without_a_sidecar() -> None:
    assert run(CLIENT)["may_pay"]("token", "192.0.2.1") is False


def test_each_module_that_is_named_exists() -> None:
    modules = set(re.findall(r"from stepup_client\.(\w+) import", PAGE))
    assert {"fastapi", "starlette", "asgi", "local", "pool", "on_trio"} <= modules
    for module in modules:
        assert (ROOT / "clients" / "python" / "stepup_client" / f"{module}.py").exists()


@pytest.mark.parametrize("url", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_a_link_leads_to_a_file_of_the_project_also_from_elsewhere(url: str) -> None:
    home, _, path = url.partition("/main/")
    assert home.startswith("https://github.com/stepup-sidecar/stepup-sidecar/")
    assert (ROOT / path).exists()
