"""The console: its pages in a browser, who may do what there, and what attackers try."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser

from sidecar.adapters.events.guesses import AT_ONCE
from sidecar.service.console.feed import EACH
from sidecar.wire.settings.admin import Role
from tests import plain_http
from tests.adapters.servers import Server
from tests.stories.running import unique
from tests.system.peers.chromium import PROGRAM
from tests.system.peers.console_browser import PAGES, Desk, browsing, seated
from tests.system.peers.console_stage import CREDENTIALS, HOSTILE, Site, staged
from tests.system.peers.programs import PEERS, installed
from tests.waiting import eventually

WIDTHS = (360, 820, 1360)
AXE: dict[Literal["light", "dark"], list[str]] = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "dark": ["color-contrast"],  # a theme changes nothing else; it is looked at on every page
}
in_browser = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def site(valkey_server: Server) -> Iterator[Site]:
    with valkey_server.client() as client:
        client.flushall()
    with staged(valkey_server.url) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def desk(browser: Browser, site: Site) -> Iterator[Desk]:
    with seated(browser, site, Role.OPERATOR) as found:
        yield found


class Visitor:
    """A program that speaks as a browser does, and as none would."""

    def __init__(self, site: Site, role: Role | None = None) -> None:
        self.site = site
        one_each = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.Client(base_url=site.url, timeout=20, limits=one_each, verify=False)
        if role is not None:
            reply = self.sign_in(CREDENTIALS[role])
            assert (reply.status_code, reply.headers["location"]) == (303, "/console/")

    def sign_in(self, credential: str, **headers: str) -> httpx.Response:
        return self.post("sign-in", self.token("sign-in"), credential=credential, **headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(f"/console/{path}", headers=named(headers))

    def post(self, path: str, token: str, **fields: str) -> httpx.Response:
        headers = {"origin": self.site.url}
        for name in ("origin", "sec_fetch_site"):
            if name in fields:
                headers[name] = fields.pop(name)
        body = {"token": token, **fields}
        return self.http.post(f"/console/{path}", data=body, headers=named(headers))

    def token(self, path: str = "health") -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.get(path).text)
        assert found is not None
        return found[1]

    def act(self, token: str | None = None, **fields: str) -> httpx.Response:
        given = {"act": "revoke", "on": "session", "reason": "ticket 4711", **fields}
        return self.post("act", self.token() if token is None else token, **given)


def named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture(scope="module")
def operator(site: Site) -> Visitor:
    return Visitor(site, Role.OPERATOR)


def standing(site: Site, session: str) -> str:
    headers = {"Authorization": f"Bearer {CREDENTIALS[Role.VIEWER]}"}
    reply = httpx.get(f"{site.url}/v1/sessions/{session}", headers=headers)
    found: str = reply.json()["summary"]["standing"]
    return found


# In a browser


@in_browser
def test_a_signal_pushed_into_the_socket_appears_without_a_reload(desk: Desk) -> None:
    user, session = unique("live"), unique("seen")
    desk.site.show(user, session)
    desk.open("")
    desk.page.wait_for_selector("main[data-streaming]")
    desk.page.evaluate("window.stayed = 'here'")
    desk.site.raise_risk(user)
    line = desk.page.wait_for_selector(f"#feed li:has-text('{session}'):has-text('high-risk')")
    assert line is not None
    desk.page.wait_for_selector(f"#waiting td:has-text('{session}')")
    assert desk.page.evaluate("window.stayed") == "here", "no navigation took place"
    desk.page.wait_for_selector("#feed li:has-text('risk-level-change was taken by idp')")
    assert desk.complaints == []


@in_browser
def test_a_sessions_page_follows_what_becomes_of_it_without_a_reload(desk: Desk) -> None:
    user, session = unique("live"), unique("seen")
    desk.site.show(user, session)
    desk.open(f"session?session={session}&context=c1")
    desk.page.wait_for_selector("main[data-streaming]")
    assert desk.page.locator("#then .verdict .mark").inner_text() == "allow"
    desk.page.evaluate("window.stayed = 'here'")
    desk.site.raise_risk(user)
    desk.page.wait_for_selector("#then .verdict .mark.step_up")
    assert desk.page.evaluate("window.stayed") == "here"
    assert desk.complaints == []


@in_browser
def test_the_slider_shows_a_session_as_it_was_with_and_without_script(
    desk: Desk, operator: Visitor
) -> None:
    desk.open("session?session=ada-laptop&context=c1")
    desk.page.evaluate("window.stayed = 'here'")
    slider = desk.page.locator("#at")
    begins = float(slider.get_attribute("min") or "0")
    moments = {0.5: "allow", 2: "step_up"}  # it moved into the lab in the first hour
    for hours, verdict in moments.items():
        at = f"{begins + hours * 3600:.3f}"
        slider.evaluate(
            "(one, at) => { one.value = at; one.dispatchEvent(new Event('input')) }", at
        )
        desk.page.wait_for_selector(f"#then .verdict .mark.{verdict}")
        page = operator.get(f"session?session=ada-laptop&context=c1&at={at}").text
        assert f'<p class="verdict"><span class="mark {verdict}">' in page
    assert desk.page.evaluate("window.stayed") == "here"
    assert "at=" in urlsplit(desk.page.url).query, "the address leads to the same moment"
    assert desk.complaints == []


@in_browser
def test_every_page_fits_each_width_and_is_accessible_in_both_themes(
    browser: Browser, site: Site
) -> None:
    script = PEERS / "node_modules" / "axe-core" / "axe.min.js"
    rules = script.read_text() if installed("axe-core") else None
    with seated(browser, site, Role.ADMIN, bypass_csp=True) as admin:
        for path in PAGES:
            look_at(admin, path, rules)
        assert admin.complaints == []
        admin.page.context.clear_cookies()
        look_at(admin, "sign-in", rules)
        assert admin.complaints == []
    if rules is None:
        pytest.skip("axe-core is not installed: all but accessibility was looked at")


def look_at(admin: Desk, path: str, rules: str | None) -> None:
    """Look at a page in both themes and at each width, with all that can be unfolded on it."""
    admin.open(path)
    admin.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    if rules is not None:
        admin.page.evaluate(rules)
    for scheme, wanted in AXE.items():
        admin.page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            admin.page.set_viewport_size({"width": width, "height": 800})
            wide = admin.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (path, scheme, width)
        if rules is not None:
            assert found_by_axe(admin, wanted) == [], (path, scheme)


def found_by_axe(desk: Desk, wanted: list[str]) -> list[Any]:
    found = desk.page.evaluate(
        "wanted => axe.run({runOnly: wanted, resultTypes: ['violations']})", wanted
    )
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]


@in_browser
def test_an_act_is_done_by_keyboard_and_stands_in_history_with_who_did_it(desk: Desk) -> None:
    session = unique("kept")
    desk.site.show(unique("user"), session)
    desk.open(f"session?session={session}")
    desk.page.locator("summary", has_text="Revoke").focus()
    desk.page.keyboard.press("Enter")
    desk.page.keyboard.press("Tab")
    desk.page.keyboard.type("ticket 4711")
    desk.page.keyboard.press("Enter")
    desk.page.wait_for_selector("p[role=status]:has-text('revoke: done')")
    assert standing(desk.site, session) == "revoked"
    desk.page.wait_for_selector("#timeline li:has-text('operator:operator-1')")
    desk.page.reload()
    assert desk.page.locator("p[role=status]").count() == 0, "it is said once"


@in_browser
def test_a_hostile_name_is_shown_as_text_and_runs_nothing(desk: Desk) -> None:
    desk.site.show(HOSTILE.replace("\u202e", ""), HOSTILE.replace("\u202e", ""))
    desk.open("sessions")
    desk.page.get_by_role("link", name="<img src=x").first.click()
    desk.page.wait_for_selector("h1:has-text('<img src=x onerror=alert(1)>')")
    assert desk.page.locator("img").count() == 0
    desk.open("")
    desk.page.wait_for_selector("main[data-streaming]")
    desk.site.raise_risk(HOSTILE.replace("\u202e", ""))
    desk.page.wait_for_selector("#feed li:has-text('<img src=x onerror=alert(1)>')")
    assert desk.page.locator("img").count() == 0
    desk.open("policies")
    desk.page.wait_for_selector("strong:has-text('<b>lab</b>')")
    assert desk.complaints == []


# Who may do what


def test_an_act_by_a_viewer_is_refused_and_not_done(site: Site) -> None:
    session = unique("kept")
    site.show(unique("user"), session)
    viewer = Visitor(site, Role.VIEWER)
    assert "You may look, and not act" in viewer.get(f"session?session={session}").text
    refused = viewer.act(name=session)
    assert refused.status_code == 403
    assert standing(site, session) == "clear"
    assert Visitor(site, Role.OPERATOR).act(name=session).status_code == 303
    assert standing(site, session) == "revoked"


def test_roles_hold_at_the_api_as_they_do_here(site: Site) -> None:
    session = unique("kept")
    site.show(unique("user"), session)
    statuses = {}
    for role, text in CREDENTIALS.items():
        headers = {"Authorization": f"Bearer {text}"}
        dropped = httpx.delete(f"{site.url}/v1/dead-letters/1-1", headers=headers)
        marked = httpx.post(
            f"{site.url}/v1/sessions/{session}/mark", json={"reason": "why"}, headers=headers
        )
        looked = httpx.get(f"{site.url}/v1/policies", headers=headers)
        statuses[role] = (looked.status_code, marked.status_code, dropped.status_code)
    assert statuses == {
        Role.VIEWER: (200, 403, 403),
        Role.OPERATOR: (200, 200, 403),
        Role.ADMIN: (200, 200, 404),
    }


@pytest.mark.parametrize("path", ["", "sessions", "session?session=ada-laptop", "events", "health"])
def test_nobody_sees_anything_without_a_sign_in(site: Site, path: str) -> None:
    reply = Visitor(site).get(path)
    assert (reply.status_code, reply.headers["location"]) == (303, "/console/sign-in")
    assert Visitor(site).get(path, sec_fetch_mode="cors").status_code == 401
    forged = Visitor(site)
    forged.http.cookies.set("sidecar_console", "a" * 43)
    assert forged.get(path).status_code == 303


def test_a_sign_out_ends_the_sign_in_itself(site: Site) -> None:
    visitor = Visitor(site, Role.ADMIN)
    stolen = visitor.http.cookies["sidecar_console"]
    assert visitor.post("sign-out", visitor.token()).status_code == 303
    thief = Visitor(site)
    thief.http.cookies.set("sidecar_console", stolen)
    assert thief.get("health").status_code == 303


# What attackers try


def test_a_cookie_is_hidden_from_scripts_and_from_other_sites(site: Site) -> None:
    reply = Visitor(site).sign_in(CREDENTIALS[Role.VIEWER])
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith("sidecar_console=")
    assert {"HttpOnly", "SameSite=strict", "Path=/console"} <= set(cookie.split("; "))
    assert CREDENTIALS[Role.VIEWER] not in str(reply.headers)


def test_pages_take_nothing_from_elsewhere_and_hold_no_script(operator: Visitor) -> None:
    for path in (*PAGES, "sign-in", "nowhere"):
        reply = operator.get(path)
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["cache-control"] == "no-store"
        assert not re.findall(
            r"<script(?! src=\"/console/static/)|<style|\son\w+=\"| style=\"", reply.text
        )
        assert not re.findall(r"(?:src|href|action)=\"(?!/console/)(?!#main)", reply.text)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
    ids=str,
)
def test_a_form_of_another_site_is_refused(
    site: Site, operator: Visitor, headers: dict[str, str]
) -> None:
    session = unique("kept")
    site.show(unique("user"), session)
    assert operator.act(name=session, **headers).status_code == 403
    assert standing(site, session) == "clear"
    assert Visitor(site).sign_in(CREDENTIALS[Role.ADMIN], **headers).status_code == 403


def test_a_form_without_the_token_of_its_own_sign_in_is_refused(
    site: Site, operator: Visitor
) -> None:
    session = unique("kept")
    site.show(unique("user"), session)
    other = Visitor(site, Role.OPERATOR)
    for token in ("", "x", other.token(), other.token() + "\u00e9"):
        assert operator.act(token, name=session).status_code == 403, token
        assert operator.post("sign-out", token).status_code == 403
    assert standing(site, session) == "clear"
    assert Visitor(site).post("sign-in", "x", credential="x").status_code == 403
    stolen = Visitor(site).token("sign-in")
    reply = Visitor(site).post("sign-in", stolen, credential=CREDENTIALS[Role.ADMIN])
    assert reply.status_code == 403, "the form was another browser's"


def test_what_another_site_embeds_or_fetches_is_refused_and_a_link_is_not(
    operator: Visitor,
) -> None:
    fetched = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}
    framed = {
        "sec_fetch_site": "cross-site",
        "sec_fetch_mode": "navigate",
        "sec_fetch_dest": "iframe",
    }
    followed = {**framed, "sec_fetch_dest": "document"}
    assert [operator.get("", **one).status_code for one in (fetched, framed, followed)] == [
        403,
        403,
        200,
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"act": "drop"},
        {"on": "policy"},
        {"name": ""},
        {"name": "../users/ada", "act": "revoke"},
        {"reason": ""},
        {"reason": "x" * 501},
        {"max_age": "1e9", "act": "mark"},
        {"acr": "none-such", "act": "mark"},
        {"contexts": "c99", "act": "mark"},
        {"issuer": "https://elsewhere.example"},
    ],
    ids=str,
)
def test_an_act_that_makes_no_sense_is_refused(operator: Visitor, fields: dict[str, str]) -> None:
    done = operator.site.metric('sidecar_operator_acts_total{act="revoke",outcome="done"}')
    assert operator.act(**{"name": "ada-laptop", **fields}).status_code in {400, 404}
    metric = operator.site.metric('sidecar_operator_acts_total{act="revoke",outcome="done"}')
    assert metric == done


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("static/../console.py", 404),
        ("static/..%2f..%2fconsole.py", 404),
        ("static/%2e%2e", 404),
        ("static/templates", 404),
        ("sessions?limit=100000", 400),
        ("sessions?cursor=AAAA", 400),
        ("sessions?cursor=%ff", 400),
        ("sessions?user=a&user=b", 400),
        ("sessions?nope=1", 400),
        ("session", 404),
        ("session?session=none", 404),
        ("session?session=ada-laptop&at=nan", 400),
        ("session?session=ada-laptop&at=1e300", 200),
        ("session?session=ada-laptop&at=-1e300", 200),
        ("session?session=ada-laptop&context=c77", 400),
        ("session?session=%00", 404),
        ("user?user=nobody-at-all", 404),
        ("user", 400),
        ("what-if?session=ada-laptop&then=user-risk&value=sky-high", 400),
        ("what-if?session=ada-phone&then=compliant&value=compliant", 400),
        ("what-if?session=ada-laptop&then=signal&value=odd:many", 400),
        ("health?" + "&".join(["a=1"] * 9), 200),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_a_page(
    operator: Visitor, path: str, status: int
) -> None:
    where = urlsplit(operator.site.url)
    with socket.create_connection((where.hostname, where.port)) as raw:
        cookie = operator.http.cookies["sidecar_console"]
        head = f"GET /console/{path} HTTP/1.1\r\nHost: x\r\nCookie: sidecar_console={cookie}\r\n"
        raw.sendall(f"{head}Connection: close\r\n\r\n".encode())
        reply = b"".join(iter(lambda: raw.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 %d " % status), reply[:300]
    assert b"something broke" not in reply


@pytest.mark.parametrize("then", ["user-risk", "session-risk", "network", "address", "signal"])
def test_a_what_if_says_what_would_be_and_changes_nothing(site: Site, then: str) -> None:
    session = unique("asked")
    site.show(unique("user"), session)
    value = {"network": "lab", "address": "192.0.2.200", "signal": "odd:20"}.get(then, "high")
    query = urlencode({"session": session, "context": "c1", "then": then, "value": value})
    reply = Visitor(site, Role.VIEWER).get(f"what-if?{query}")
    asks = then in {"user-risk", "network", "address"}
    assert f'<span class="mark {"step_up" if asks else "allow"}">' in reply.text
    assert standing(site, session) == "clear"


def test_who_looks_on_too_often_is_refused_and_who_leaves_makes_room(site: Site) -> None:
    viewer = Visitor(site, Role.VIEWER)
    with httpx.Client(base_url=site.url, cookies=viewer.http.cookies, timeout=20) as client:
        streams = [client.stream("GET", "/console/events") for _ in range(EACH + 1)]
        replies = [one.__enter__() for one in streams]
        assert [one.status_code for one in replies] == [200] * EACH + [503]
        assert replies[0].headers["content-type"].startswith("text/event-stream")
        assert httpx.get(f"{site.url}/readyz").status_code == 200, "nobody else waits for them"
        for one in streams:
            one.__exit__(None, None, None)

    def again() -> int:
        with httpx.stream(
            "GET", f"{site.url}/console/events", cookies=viewer.http.cookies
        ) as reply:
            return reply.status_code

    eventually(again, lambda status: status == 200)


def test_pages_of_the_list_have_each_session_once(operator: Visitor) -> None:
    query, found = "limit=2", list[str]()
    while query:
        page = operator.get(f"sessions?{query}").text
        found += re.findall(r'data-label="Session"><a href="([^"]+)"', page)
        following = re.search(r'rel="next" href="/console/sessions\?([^"]+)"', page)
        query = f"limit=2&{following[1]}" if following else ""
    assert len(found) == len(set(found)) > 4


def test_a_devices_page_has_what_is_said_of_it_its_sessions_and_what_happened(
    site: Site, operator: Visitor
) -> None:
    page = operator.get("device?device=thinkpad-7").text
    words = re.findall(r'said last"><bdi>([^<]+)</bdi>', page)
    assert len(words) == 1, "one source, of whose words the latest is there"
    assert "not compliant" in words[0]
    assert "idp" in words[0]
    assert "session=ada-laptop" in page
    assert page.count('<span class="mark compliance-reported">') == 2, "its timeline has both"
    linked = operator.get("session?session=ada-laptop").text
    assert "/console/device?device=thinkpad-7" in linked
    assert operator.get("device?device=nobodys").status_code == 404
    assert operator.get("device").status_code == 400
    assert operator.get("device?device=thinkpad-7&issuer=nope").status_code == 400


def test_an_act_on_a_device_is_of_the_sessions_on_it_and_stands_in_its_timeline(
    site: Site, operator: Visitor
) -> None:
    user, session, device = unique("user"), unique("seen"), unique("device")
    site.show(user, session)
    subject = {"session": session, "user": user, "device": device}
    assert site.client.trusted("session-presented", subject, data={"ip": "192.0.2.1"})["ok"]
    reply = operator.act(on="device", name=device)
    assert (reply.status_code, reply.headers["location"]) == (
        303,
        f"/console/device?device={device}",
    )
    eventually(lambda: standing(site, session), lambda found: found == "revoked")
    page = operator.get(f"device?device={device}").text
    assert "operator:operator-1" in page
    assert '<span class="mark revoked">' in page


def test_a_replays_page_draws_the_latest_report_and_shows_its_figures(operator: Visitor) -> None:
    page = operator.get("replays").text
    assert re.search(r'<option value="september.json" selected>', page)
    assert "Marks by day" in page
    assert {"enforced", "report-only"} <= set(re.findall(r"<title>([\w-]+)</title>", page))
    found = re.findall(
        r'<strong><bdi>(\w+)</bdi></strong>.*?class="number">(\d+)<', page, re.DOTALL
    )
    assert set(dict(found)) == {"country", "risky", "travel", "score"}
    assert int(dict(found)["risky"]) > 0
    assert "as it is now" in page, "the threshold has its curve"


@pytest.mark.parametrize(
    ("file", "status", "words"),
    [
        ("<i>.json", 200, "its schema is not"),
        ("nowhere.json", 404, "there is no such report"),
        ("../jwks.json", 404, "there is no such report"),
        ("/etc/passwd", 404, "there is no such report"),
        ("..", 404, "there is no such report"),
    ],
)
def test_a_file_that_is_no_report_is_shown_as_none(
    operator: Visitor, file: str, status: int, words: str
) -> None:
    reply = operator.get(f"replays?{urlencode({'file': file})}")
    assert (reply.status_code, words in reply.text, "<i>" in reply.text) == (status, True, False)


def test_its_health_names_the_sidecar_its_policies_sources_keys_and_databases(
    operator: Visitor,
) -> None:
    def named() -> bool:
        page = operator.get("health").text
        return socket.gethostname()[:64] in page and "<code>" in page

    eventually(named, bool)
    page = operator.get("health").text
    assert "other than here" not in page
    assert {"idp", "city", "https://id.example", "doors"} <= set(re.findall(r">([^<>]+)<", page))


def test_each_policy_has_how_often_it_fired_or_would_have(site: Site, operator: Visitor) -> None:
    def counts() -> dict[str, list[str]]:
        rows = re.findall(
            r"<strong><bdi>(.*?)</bdi></strong>(.*?)</tr>", operator.get("policies").text, re.DOTALL
        )
        return {name: re.findall(r'class="number">(\d+)', row) for name, row in rows}

    marked = "sidecar_marks_total{policy="
    eventually(lambda: site.metric(f'{marked}"new-country"'), lambda count: count >= 2)
    enforced, tried = counts()["from-the-lab"], counts()["new-country"]
    assert int(enforced[0]) == site.metric(f'{marked}"from-the-lab"') >= 2
    assert (int(tried[0]), int(tried[1])) == (0, site.metric(f'{marked}"new-country"'))


def test_a_detection_is_confirmed_by_a_mark(operator: Visitor) -> None:
    user, session = unique("user"), unique("kept")
    operator.site.show(user, session)
    fields = {"act": "mark", "on": "user", "name": user, "confirm_risk": "yes", "contexts": "c2"}
    assert operator.act(**fields).status_code == 303
    page = operator.get(f"session?session={session}&user={user}&context=c1").text
    assert "user-risk-high" in page
    assert "operator:operator-1" in page
    dismissed = {"act": "clear", "on": "user", "name": user, "dismiss_risk": "yes"}
    assert operator.act(**dismissed).status_code == 303
    assert standing(operator.site, session) == "clear"


def test_a_credential_cannot_be_guessed_here_more_often_than_at_the_api(site: Site) -> None:
    visitor = Visitor(site)
    before = site.metric('sidecar_door_incidents_total{door="admin",incident="wrong-credential"}')
    token = visitor.token("sign-in")

    def guess() -> int:
        return visitor.post("sign-in", token, credential="guess").status_code

    assert {guess() for _ in range(AT_ONCE)} <= {403, 429}
    eventually(guess, lambda status: status == 429)
    wrong = {"Authorization": "Bearer guess"}
    eventually(
        lambda: plain_http.get(f"{site.url}/v1/policies", headers=wrong).status_code,
        lambda status: status == 429,
    )
    after = site.metric('sidecar_door_incidents_total{door="admin",incident="wrong-credential"}')
    assert after - before >= AT_ONCE


def test_its_pictures_are_those_of_the_site() -> None:
    page = Path("docs/console.md").read_text()
    pictures = {one.name for one in Path("docs/images/console").glob("*.png")}
    assert pictures
    assert pictures == set(re.findall(r"images/console/([\w-]+\.png)", page))
