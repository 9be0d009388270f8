"""Takes the pictures of the console that the documents show: `make pictures`."""

from pathlib import Path
from typing import Literal

from sidecar.wire.settings.admin import Role
from tests.adapters.servers import serving
from tests.system.peers.console_browser import browsing, seated
from tests.system.peers.console_stage import Site, staged

PLACE = Path("docs/images/console")
SIZE = {"width": 1120, "height": 760}
Scheme = Literal["light", "dark"]
SHOTS: tuple[tuple[str, str, Scheme], ...] = (
    ("live", "", "light"),
    ("session", "session?session=ada-laptop&context=c1", "light"),
    ("session-dark", "session?session=ada-laptop&context=c1", "dark"),
    ("user", "user?user=ada", "light"),
    ("device", "device?device=thinkpad-7", "light"),
    ("replays", "replays", "light"),
    ("what-if", "what-if?session=ada-phone&context=c1&then=user-risk&value=high", "light"),
)


def main() -> None:
    """Write all pictures."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (
        serving() as server,
        staged(server.url, hostile=False) as site,
        browsing() as browser,
        seated(browser, site, Role.ADMIN, viewport=SIZE) as desk,
    ):
        site.show("linus", "linus-desk")
        for name, path, scheme in SHOTS:
            desk.page.emulate_media(color_scheme=scheme)
            desk.open(path)
            if name == "live":
                _happen(site)
                desk.page.wait_for_selector("#feed li:has-text('high-risk')")
            desk.page.wait_for_selector(".fresh", state="detached")
            desk.page.screenshot(path=PLACE / f"{name}.png")


def _happen(site: Site) -> None:
    site.raise_risk("ada", "LOW")
    site.raise_risk("ada")
    site.raise_risk("linus")


if __name__ == "__main__":
    main()
