"""A browser with the console's pages in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from sidecar.wire.settings.admin import Role
from tests.system.peers.chromium import PATIENCE, PROGRAM
from tests.system.peers.console_stage import CREDENTIALS, Site

PAGES = (
    "",
    "sessions",
    "session?session=ada-laptop&context=c1",
    "user?user=ada",
    "device?device=thinkpad-7",
    "policies",
    "what-if?session=ada-laptop&context=c1&then=user-risk&value=high",
    "replays",
    "health",
)
"""Every page that a signed-in operator has, as what follows `/console/`."""


@contextmanager
def browsing() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Desk:
    """An operator's window; `complaints` is what the browser had to say against its pages."""

    def __init__(self, context: BrowserContext, site: Site) -> None:
        self.site = site
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, said: ConsoleMessage) -> None:
        if str(said.type) != "verbose":
            self.complaints.append(said.text)

    def open(self, path: str) -> None:
        """Open a page of the console."""
        self.page.goto(f"{self.site.url}/console/{path}")

    def sign_in(self, role: Role) -> None:
        """Sign in by the form, as a person does."""
        self.open("sign-in")
        self.page.fill("#credential", CREDENTIALS[role])
        self.page.click("main button")
        self.page.wait_for_selector("#feed")


@contextmanager
def seated(browser: Browser, site: Site, role: Role, **options: object) -> Iterator[Desk]:
    """A window of somebody who has signed in."""
    context = browser.new_context(**options)  # type: ignore[arg-type] # playwright's own names
    try:
        desk = Desk(context, site)
        desk.sign_in(role)
        yield desk
    finally:
        context.close()
