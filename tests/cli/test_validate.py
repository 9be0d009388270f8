from pathlib import Path

import pytest

from tests.cli.command import sidecar

CONFIG = """\
app: {id: payroll}
contexts: {c1: {name: Payroll}}
routes: [{path: /pay/**, contexts: [c1]}]
"""
POLICY = """\
policies:
  - id: home
    state: enabled
    contexts: {include: [c1]}
    conditions: {changed: [country]}
    grant: {operator: OR, controls: [mfa]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "home.yaml").write_text(POLICY)
    file = tmp_path / "sidecar.yaml"
    file.write_text(CONFIG)
    return file


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def test_what_is_right_is_counted(config: Path) -> None:
    done = await sidecar("validate", "--config", str(config))
    assert done == (0, "ok: 1 policy (1 enabled), 1 context, 1 route, 0 issuers\n", "")


async def test_every_problem_is_told_with_its_line(config: Path) -> None:
    write(config, CONFIG + "sokcet: {}\nhttp: {max_connections: many}\n")
    done = await sidecar("validate", "--config", str(config))
    assert (done.status, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith(f"{config}:4: sokcet: ")
    assert "socket" in first
    assert second.startswith(f"{config}:5: http.max_connections: ")


async def test_a_problem_in_a_policy_is_told_with_its_line(config: Path) -> None:
    policy = config.parent / "policies" / "home.yaml"
    write(policy, POLICY.replace("[country]", "[planet]"))
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    assert done.err.startswith(f"{policy}:5: policies[0].conditions.changed")


async def test_the_environment_counts_as_it_would_for_the_daemon(config: Path) -> None:
    done = await sidecar("validate", SIDECAR_CONFIG=str(config), SIDECAR_LOG__LEVEL="loud")
    assert done.status == 2
    assert "SIDECAR_LOG__LEVEL" in done.err


async def test_a_geography_database_that_cannot_be_read_is_told(config: Path) -> None:
    write(config.parent / "city.mmdb", "not a database")
    write(config, CONFIG + "geography: {city: city.mmdb}\n")
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    assert "geography.city" in done.err


async def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    done = await sidecar("validate", "--config", str(tmp_path / "none.yaml"))
    assert done.status == 2
    assert f"{tmp_path}/none.yaml" in done.err
    assert "Traceback" not in done.err
