"""A person signs in at the console by a certified OpenID provider, in a browser."""

from collections.abc import Iterator

import msgspec
import pytest
from playwright.sync_api import ConsoleMessage

from sidecar.wire.settings.admin import OpenIdSettings
from sidecar.wire.settings.settings import Settings
from tests.adapters.servers import Server, free_ports
from tests.stories.running import running
from tests.system.peers.chromium import PATIENCE, PROGRAM
from tests.system.peers.console_browser import browsing
from tests.system.peers.programs import HERE, installed, node

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not installed("oidc-provider"), reason="oidc-provider is not installed"),
]


@pytest.fixture
def console(valkey_server: Server) -> Iterator[tuple[str, str]]:
    """The address of a console, and the issuer that signs in there."""
    (port,) = free_ports(1)
    here = f"http://127.0.0.1:{port}/console/sign-in/return"
    with node(HERE / "provider.mjs", here) as issuer:
        openid = OpenIdSettings(
            issuer=issuer,
            client_id="app",
            redirect_uri=here,
            roles_claim="sub",
            operators=("ada",),
        )

        def change(settings: Settings, _: int) -> Settings:
            console = msgspec.structs.replace(settings.admin.console, openid=openid)
            admin = msgspec.structs.replace(
                settings.admin, bind=f"127.0.0.1:{port}", console=console
            )
            return msgspec.structs.replace(settings, admin=admin)

        with running(valkey_server.url, [], 1, change):
            yield f"http://127.0.0.1:{port}/console/", issuer


def test_a_browser_comes_back_from_the_provider_signed_in_and_by_keyboard_alone(
    console: tuple[str, str],
) -> None:
    address, issuer = console
    with browsing() as browser:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        complaints: list[str] = []

        def hear(said: ConsoleMessage) -> None:
            if str(said.type) != "verbose" and said.location["url"].startswith(address):
                complaints.append(said.text)

        page.on("console", hear)
        page.goto(address)
        page.locator("a", has_text="Sign in by").focus()
        page.keyboard.press("Enter")
        page.fill("[name=user]", "ada")
        page.fill("[name=methods]", "pwd otp")
        page.keyboard.press("Enter")
        page.wait_for_selector("#feed")
        assert page.locator(".out span").inner_text() == f"ada@{issuer}, operator"
        assert page.url == address
        assert complaints == []
        context.close()
