# ruff: noqa: E501, INP001 - texts of pages; a script, no package
"""Writes a page of how to begin for each gateway and each framework that `sidecar init` knows.

`python -m docs.how_to` writes them from the files that are shipped, so that what a page shows is
what the tests run.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.cli.init_apps import FRAMEWORKS
from sidecar.cli.init_gateways import GATEWAYS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".lua": "lua", ".py": "python", ".mjs": "js"}
_DIRECTORY = "shop"


class GatewayNotes(NamedTuple):
    """What is to be said of a gateway: its name, where its files go, and what is special of it."""

    title: str
    place: str
    special: tuple[str, ...]


NOTES: Mapping[str, GatewayNotes] = {
    "nginx": GatewayNotes(
        "nginx",
        "`sidecar.conf` belongs into the `http` section: `/etc/nginx/conf.d/` on Debian. It needs "
        "`ngx_http_auth_request_module` (`nginx -V` lists it).",
        (
            (
                "`auth_request` drops the body of a refusal: the client gets the sidecar's status and "
                "`WWW-Authenticate`, and a short body of the file's."
            ),
            (
                "By itself nginx makes a 500 of a check that answers 400 or 503, or not at all, and "
                "waits for a minute. The file turns that into 400 and 503, after a second."
            ),
            (
                "Write routes in the sidecar's configuration, and not as `location`: nginx's reading "
                "of a path is another one than your app's."
            ),
        ),
    ),
    "caddy": GatewayNotes(
        "Caddy",
        "Take its parts over into your `Caddyfile`.",
        (
            "By itself `forward_auth` waits for ever: the file has a time-out of a second.",
            "A refusal reaches the client whole: status, headers and body.",
        ),
    ),
    "haproxy": GatewayNotes(
        "HAProxy",
        "`haproxy.cfg` shows the parts for your `/etc/haproxy/haproxy.cfg`; `sidecar.lua` belongs "
        "to `/etc/haproxy/`.",
        (
            (
                "The check is made by Lua's HTTP client, which by itself tries again; the file has it "
                "ask once."
            ),
            "A refusal reaches the client whole.",
        ),
    ),
    "apache": GatewayNotes(
        "Apache",
        "`sidecar.conf` belongs to the configuration that is included, `sidecar.lua` to "
        "`/etc/apache2/`. It needs `mod_lua` and `mod_proxy_http`, and Lua's `socket`.",
        (
            "A path with an encoded slash gets Apache's own 404, before anybody is asked.",
            (
                "What Apache would merge or resolve in a path is refused, so the app sees what was "
                "judged."
            ),
        ),
    ),
    "envoy": GatewayNotes(
        "Envoy, by HTTP",
        "`envoy.yaml` is a whole configuration; take over the filter `ext_authz` and the cluster.",
        (
            (
                "By itself Envoy answers 403 where the check does not answer within 200 ms; the file "
                "says 503 after a second."
            ),
            "Envoy merges slashes and resolves dot segments, for the sidecar and the app alike.",
            "Of a 503 of the sidecar it passes on nothing but the status.",
        ),
    ),
    "envoy-grpc": GatewayNotes(
        "Envoy, by gRPC",
        "`envoy.yaml` is a whole configuration; take over the filter `ext_authz` and the cluster. "
        "The sidecar takes the call from the request itself, and needs no `http.gateway`.",
        (
            (
                "By itself Envoy answers 403 where the check does not answer within 200 ms; the file "
                "says 503 after a second."
            ),
            "Envoy merges slashes and resolves dot segments, for the sidecar and the app alike.",
        ),
    ),
    "traefik": GatewayNotes(
        "Traefik",
        "`traefik.yml` is the static, `dynamic.yml` the dynamic configuration: the middleware "
        "`forwardAuth` in it is what you take over.",
        (
            (
                "A sidecar that is gone is a 502, one that hangs a 504 after a second; by itself "
                "Traefik waits for half a minute."
            ),
            "Traefik merges slashes and resolves dot segments, for the sidecar and the app alike.",
        ),
    ),
    "istio": GatewayNotes(
        "Istio",
        "`mesh-config.yaml` names the sidecar as an authorizer, `policy.yaml` has the mesh ask it "
        "(`action: CUSTOM`).",
        (
            (
                "The files follow Istio's documentation. The tests validate them, and cannot run a "
                "mesh."
            ),
            "Istio's proxy is Envoy: what is said of [Envoy by gRPC](envoy-grpc.md) holds.",
        ),
    ),
}
TITLES = {
    "fastapi": "FastAPI",
    "starlette": "Starlette",
    "flask": "Flask",
    "flask-bff": "Flask, as a backend-for-frontend",
    "django": "Django",
    "express": "Express (Node.js)",
}
_WRITTEN = "<!-- Written by docs/how_to.py: change it there. -->"


def gateway_page(name: str) -> str:
    """Return the page of a gateway."""
    gateway, notes = GATEWAYS[name], NOTES[name]
    command = gateway.command.replace("{here}", f"{_DIRECTORY}/gateway")
    setting = f"http:\n  gateway: {gateway.setting}\n"
    if gateway.grpc:
        setting = 'grpc:\n  bind: "127.0.0.1:8182"\n'
    parts = [
        f"# {notes.title}\n\n{_WRITTEN}\n",
        (
            f"{notes.title} asks the sidecar before each call, and passes on only what may pass. The "
            "app needs no change. Why each line is as it is: [behind a gateway](../gateways.md).\n"
        ),
        (
            "## Have the files written\n\n"
            f"```sh\nsidecar init --issuer https://login.example.com --audience payroll "
            f"--gateway {name} --out {_DIRECTORY}\n```\n\n"
            "writes a configuration, a policy, a scenario, and the files below with your ports in "
            f"them. Then start the sidecar and {notes.title.partition(',')[0]}, each in a terminal of "
            f"its own:\n\n```sh\nsidecar run --config {_DIRECTORY}/sidecar.yaml\n{command}\n```\n"
        ),
        (
            f"## Or take them over by hand\n\n{notes.place} In the sidecar's configuration:\n\n"
            f"```yaml\n{setting}```\n"
        ),
        "## What to know\n\n" + "\n".join(f"- {one}" for one in notes.special) + "\n",
        (
            "## See that it holds\n\n"
            "1. A call without a token gets 401, and one with a token passes.\n"
            "2. `sidecar doctor --config sidecar.yaml --token-file token --gateway-url "
            "https://shop.example/account` calls through it as an attacker would: with forged headers "
            "and odd paths ([doctor](../doctor.md#the-gateway)).\n"
            "3. Stop the sidecar, then `kill -STOP` it: each call has to be refused within a second.\n"
        ),
        "## The files\n",
        *_files(ROOT / "deploy" / "gateways" / name),
    ]
    return "\n".join(parts)


def framework_page(name: str) -> str:
    """Return the page of a framework."""
    framework = FRAMEWORKS[name]
    command = framework.command.replace("{port}", "8080")
    needs = f"pip install stepup-client {' '.join(framework.packages)}"
    if framework.note:
        needs = f"# {framework.note}"
    tokens = "The page's tokens stay in the browser; a gateway before it can check them, too."
    if framework.keeps_tokens:
        tokens = (
            "The app keeps the tokens itself, and its page has only a cookie. So a gateway before "
            "it has no token to show: the app asks the sidecar."
        )
    parts = [
        f"# {TITLES[name]}\n\n{_WRITTEN}\n",
        (
            f"A small app whose sensitive handler is protected by one line. {tokens} All settings, and "
            "what the client gets: [protect an app](../apps.md).\n"
        ),
        (
            "## Begin\n\n"
            f"```sh\nsidecar init --issuer https://login.example.com --audience payroll "
            f"--framework {name} --out {_DIRECTORY}\n{needs}\n```\n\n"
            "Start the sidecar, and in another terminal, in the directory of the app, the app:\n\n"
            f"```sh\nsidecar run --config {_DIRECTORY}/sidecar.yaml\n"
            f"cd {_DIRECTORY} && {command}\n```\n"
        ),
        (
            "Register its page at your provider: "
            f"{'a client' if framework.keeps_tokens else 'a public client'} with the redirect URI "
            f"`http://127.0.0.1:8080{framework.redirect}`.\n"
        ),
        (
            "## See that it holds\n\n"
            "1. Sign in on the page, and *Pay*: the call passes.\n"
            "2. `sidecar emit --type risk-level-change --user USER --data current_level=HIGH`, with "
            "`SIDECAR_SOCKET` at the socket: *Pay* now takes you to your provider, and back.\n"
            "3. Stop the sidecar: *Pay* gets 503.\n"
        ),
        "## The app\n",
        *_files(ROOT / "examples" / "starter" / name),
    ]
    return "\n".join(parts)


def _files(directory: Path) -> Iterator[str]:
    """Return the texts of the files in a directory, each in a block of its own."""
    for file in sorted(directory.iterdir()):
        if file.is_file() and file.suffix != ".md":
            language = _LANGUAGES.get(file.suffix, "text")
            yield f"`{file.name}`\n\n```{language}\n{file.read_text(encoding='utf-8')}```\n"


def pages() -> dict[Path, str]:
    """Return the texts of all pages, by their files."""
    found = {DOCS / "gateways" / f"{name}.md": gateway_page(name) for name in GATEWAYS}
    found |= {DOCS / "frameworks" / f"{name}.md": framework_page(name) for name in FRAMEWORKS}
    return found


def main() -> int:
    """Write the pages."""
    for file, text in pages().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
