"""The stage of the story: a provider, and the daemon on an embedded store, in one process.

All that they need lies in one directory of ours, and both listen on free ports of the loopback
address; nothing of the environment (`SIDECAR_...`) reaches the daemon.
"""

import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import trio
import yaml

from sidecar.adapters import clock
from sidecar.daemon import lifecycle
from sidecar.demo.provider import Provider
from sidecar.demo.requests import Client
from sidecar.service.ports.calls import Unavailable

APP = "payroll"
CLIENT = Client("payroll-web", "https://payroll.example/callback")
SENSITIVE = "c1"
SOURCES: Mapping[str, Mapping[str, object]] = {
    "idp": {
        "may": ["risk-level-change", "session-revoked"],
        "may_loosen": ["risk-level-change"],
    },
    "mdm": {
        "may": ["device-compliance-change"],
        "may_loosen": ["device-compliance-change"],
    },
    "nac": {"may": ["network-change"], "may_loosen": ["network-change"]},
    "app": {"may": ["session-presented"], "may_watch": True},
}
"""Who says what in the story, each by a credential of its own, and what its word may do."""
_PATIENCE = 5.0


class DemoStage(NamedTuple):
    """The places of the stage's parts; `checks` and `admin` are URLs without a slash at the end."""

    directory: Path
    socket: Path
    checks: str
    admin: str
    admin_token: Path
    provider: Provider

    def credential(self, source: str) -> str:
        """Return what a source of the demo shows."""
        return _credential_file(self.directory, source).read_text()


@asynccontextmanager
async def staged(directory: Path, say: Callable[[str], None]) -> AsyncIterator[DemoStage]:
    """Set the stage in `directory`, which exists; `say` is called with what is under way.

    Raises what `lifecycle.serve` raises; inside an exception group, where that happens later on.
    """
    async with trio.open_nursery() as outer:
        provider = Provider(CLIENT, APP, clock=clock.now)
        say("starting a small OpenID provider")
        await outer.start(provider.run)
        say("writing configuration, policies and a small geography database")
        config = await trio.to_thread.run_sync(prepare, directory, provider.issuer)
        say("starting the daemon and its embedded store")
        draining = trio.Event()
        async with trio.open_nursery() as inner:
            addresses = await inner.start(_serve, config, draining)
            yield DemoStage(
                directory=directory,
                socket=Path(addresses.socket),
                checks=addresses.http[0].rstrip("/"),
                admin=addresses.admin[0].rstrip("/"),
                admin_token=directory / "admin.token",
                provider=provider,
            )
            draining.set()
            inner.cancel_scope.deadline = trio.current_time() + _PATIENCE
        outer.cancel_scope.cancel()


async def _serve(
    config: Path, draining: trio.Event, *, task_status: trio.TaskStatus[lifecycle.Addresses]
) -> None:
    await lifecycle.serve(config, {}, draining=draining, task_status=task_status)


def prepare(directory: Path, issuer: str) -> Path:
    """Write all files into `directory`; returns the configuration's path.

    Raises `Unavailable` without the packages that only the demo needs.
    """
    try:
        from sidecar.demo import geography  # noqa: PLC0415 - needs an optional package
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the package {error.name} is missing: install stepup-sidecar[demo]"
        ) from error
    token = directory / "admin.token"
    write_secret(token, secrets.token_urlsafe(24))
    for source in SOURCES:
        write_secret(_credential_file(directory, source), secrets.token_urlsafe(24))
    shutil.copytree(Path(str(resources.files("sidecar.demo"))) / "policies", directory / "policies")
    databases = {name: str(file) for name, file in geography.build(directory)._asdict().items()}
    path = directory / "sidecar.yaml"
    content = yaml.safe_dump(_configuration(directory, issuer, databases), sort_keys=False)
    path.write_text(f"# The configuration of the running demo.\n{content}")
    return path


def _credential_file(directory: Path, source: str) -> Path:
    return directory / f"{source}.credential"


def write_secret(path: Path, secret: str) -> None:
    """Put `secret` into a file that nobody else may read; whoever reads it sees a whole one."""
    aside = path.with_suffix(".new")
    aside.touch(mode=0o600)
    aside.write_text(secret)
    aside.replace(path)


def _configuration(
    directory: Path, issuer: str, databases: Mapping[str, str]
) -> Mapping[str, object]:
    return {
        "app": {"id": APP, "realm": APP},
        "socket": {"path": str(directory / "sidecar.sock"), "mode": "0600"},
        "http": {"bind": "127.0.0.1:0", "gateway": "caddy"},
        "admin": {"bind": "127.0.0.1:0", "token_file": str(directory / "admin.token")},
        "sources": [
            {"name": name, "token_file": str(_credential_file(directory, name)), **powers}
            for name, powers in SOURCES.items()
        ],
        "tokens": {"issuers": [{"issuer": issuer, "audiences": [APP]}]},
        "contexts": {SENSITIVE: {"name": "Change of bank details"}},
        "routes": [{"path": "/bank-details", "methods": ["PUT"], "contexts": [SENSITIVE]}],
        "networks": [{"name": "restricted", "cidrs": ["203.0.113.192/26"]}],
        "geography": dict(databases),
        "policies": {"path": str(directory / "policies")},
        "log": {"level": "warning", "format": "console"},
    }
