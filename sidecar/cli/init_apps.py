"""The small app, and the browser's half of a step-up, that `sidecar init` writes."""

import json
from collections.abc import Mapping

from sidecar.adapters.starter_files import starter_files
from sidecar.wire.starter import Plan

FRAMEWORKS: Mapping[str, str] = {
    "fastapi": "uvicorn app:app --port {port}",
    "starlette": "uvicorn app:app --port {port}",
    "flask": "flask --app app run --port {port}",
    "django": "python app.py runserver {port}",
    "express": "PORT={port} node app.mjs",
}
"""How the app of each is started in its directory."""


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
