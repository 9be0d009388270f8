"""The small app, and the browser's half of a step-up, that `sidecar init` writes."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.adapters.starter_files import starter_files
from sidecar.wire.starter import Plan


class Framework(NamedTuple):
    """How a small app in a framework is started in its directory.

    `command` begins with a program of Python's where there are `packages`, which it needs.
    """

    command: str
    packages: tuple[str, ...] = ()
    note: str = ""


FRAMEWORKS: Mapping[str, Framework] = {
    # By itself uvicorn takes the client's address from whoever calls on the same machine.
    "fastapi": Framework(
        "uvicorn app:app --port {port} --no-proxy-headers", ("fastapi", "uvicorn")
    ),
    "starlette": Framework(
        "uvicorn app:app --port {port} --no-proxy-headers", ("starlette", "uvicorn")
    ),
    "flask": Framework("flask --app app run --port {port}", ("flask",)),
    "django": Framework("python app.py runserver {port}", ("django",)),
    "express": Framework(
        "PORT={port} node app.mjs",
        note="it needs, in its directory: npm install express PATH_TO/clients/typescript (built)",
    ),
}


def app_files(framework: str, plan: Plan, *, behind: bool) -> dict[str, str]:
    """Return the texts of the app's files by name; `behind` a gateway, it believes that one."""
    if framework not in FRAMEWORKS:
        return {}
    texts = starter_files("starter", framework)
    if behind:
        for before in ("TRUSTED_PROXIES = ", "trustedProxies = "):
            texts = {file: text.replace(f"{before}0", f"{before}1") for file, text in texts.items()}
    return {file: plan.ports.fit(text) for file, text in texts.items()}


def browser_files(issuer: str, client: str) -> dict[str, str]:
    """Return the texts of the page's files, by their paths."""
    texts = starter_files("starter", "browser")
    told = (("https://login.example.com", issuer), ("payroll", client))
    for example, value in told:
        words = json.dumps(value, ensure_ascii=False)
        texts["settings.js"] = texts["settings.js"].replace(f'"{example}"', words)
    return {f"browser/{file}": text for file, text in texts.items()}
