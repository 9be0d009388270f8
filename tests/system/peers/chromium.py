"""A headless Chromium, driven by its DevTools protocol."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests import plain_http
from tests.waiting import eventually

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60.0
"""Seconds that a busy machine may take."""
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "about:blank",
)


class Tab:
    """The one tab of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._connection.send(
            json.dumps({"id": self._number, "method": method, "params": parameters})
        )
        while True:
            heard: dict[str, Any] = json.loads(self._connection.recv(PATIENCE))
            if heard.get("id") == self._number:
                return heard

    def open(self, address: str) -> None:
        self._call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """What a script comes to; None while a page is being left or opened."""
        heard = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return heard.get("result", {}).get("result", {}).get("value")

    def result(self, expression: str) -> Any:
        """What a promise of a script comes to."""
        heard = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in heard["result"], heard
        return heard["result"]["result"].get("value")

    def begin_pages_with(self, script: str) -> None:
        """Run a script in each page that is opened from now on, before any of its own."""
        self._call("Page.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def await_value(self, expression: str, wanted: Any = True) -> None:
        eventually(lambda: self.value(expression), lambda found: found == wanted, PATIENCE, 0.02)

    def click(self, selector: str) -> None:
        found = f"document.querySelector({selector!r}) !== null"
        self.await_value(f"document.readyState === 'complete' && {found}")
        self.value(f"document.querySelector({selector!r}).click()")

    def fill_in(self, name: str, text: str) -> None:
        found = f"document.querySelector('[name={name}]')"
        self.await_value(f"{found} !== null")
        self.value(f"{found}.value = {text!r}")


@contextmanager
def browsing(profile: Path) -> Iterator[Tab]:
    """A browser with a profile of its own, killed at the end with all of its processes."""
    process = subprocess.Popen(
        [str(PROGRAM), f"--user-data-dir={profile}", *OPTIONS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        heard = profile / "DevToolsActivePort"
        eventually(lambda: heard.exists() and heard.read_text(), bool, PATIENCE)
        port = heard.read_text().split()[0]

        def pages() -> list[str]:
            found = plain_http.get(f"http://127.0.0.1:{port}/json/list").json()
            return [one["webSocketDebuggerUrl"] for one in found if one["type"] == "page"]

        (page,) = eventually(pages, bool, PATIENCE)
        with connect(page, max_size=None) as connection:
            yield Tab(connection)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
