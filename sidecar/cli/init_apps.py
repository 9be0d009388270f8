"""The small app, and the browser's half of a step-up, that `sidecar init` writes."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.adapters.files.starter_files import starter_files
from sidecar.wire.starter import StarterPlan


class Framework(NamedTuple):
    """A framework, and the start of a small app of it in the app's directory.

    `command` begins with a program of Python's where there are `packages`, which it needs. An app
    that keeps the tokens asks the sidecar itself: a gateway before it has no token to show.
    """

    command: str
    packages: tuple[str, ...] = ()
    note: str = ""
    keeps_tokens: bool = False

    @property
    def redirect(self) -> str:
        """Return the path that the provider sends browsers back to."""
        return "/callback" if self.keeps_tokens else "/"


FRAMEWORKS: Mapping[str, Framework] = {
    # By itself uvicorn takes the client's address from whoever calls on the same machine.
    "fastapi": Framework(
        "uvicorn app:app --port {port} --no-proxy-headers", ("fastapi", "uvicorn")
    ),
    "starlette": Framework(
        "uvicorn app:app --port {port} --no-proxy-headers", ("starlette", "uvicorn")
    ),
    "flask": Framework("flask --app app run --port {port}", ("flask",)),
    "flask-bff": Framework(
        "flask --app app run --port {port}", ("flask", "httpx"), keeps_tokens=True
    ),
    "django": Framework("python app.py runserver {port}", ("django",)),
    "express": Framework(
        "PORT={port} node app.mjs",
        note="it needs, in its directory: npm install express PATH_TO/clients/typescript (built)",
    ),
}


def app_files(framework: str, plan: StarterPlan, client: str, *, behind: bool) -> dict[str, str]:
    """Return the texts of the app's files and its page's, by their paths.

    `behind` a gateway, it believes that one. `client` is the app's name at the provider.
    """
    texts = {f"browser/{file}": text for file, text in starter_files("starter", "browser").items()}
    if framework in FRAMEWORKS:
        texts |= starter_files("starter", framework)
    if behind:
        for before in ("TRUSTED_PROXIES = ", "trustedProxies = "):
            texts = {file: text.replace(f"{before}0", f"{before}1") for file, text in texts.items()}
    texts = {file: plan.ports.fit(text) for file, text in texts.items()}
    for file in texts:
        if file.rpartition("/")[2].startswith("settings."):
            texts[file] = _filled_in(texts[file], plan.issuer, client)
    return texts


def _filled_in(text: str, issuer: str, client: str) -> str:
    """Put issuer and client into settings, in JavaScript's and Python's way of writing a text."""
    for example, value in (("https://login.example.com", issuer), ("payroll", client)):
        text = text.replace(f'"{example}"', json.dumps(value, ensure_ascii=False))
    return text
