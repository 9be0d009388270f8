"""Sign-in at the console by an OpenID provider, of whole daemons, and what attackers try there."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import msgspec
import pytest

from sidecar.adapters.events.guesses import AT_ONCE
from sidecar.wire.settings.admin import OpenIdSettings
from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.adapters.console.openid_server import (
    CLIENT,
    SECRET,
    OpenIdServer,
    serving_openid,
)
from tests.adapters.servers import Server, free_ports
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

PATH = "/console/sign-in/return"
ADMIN = {"Authorization": "Bearer operator"}
_addresses = itertools.count(2)


class Site:
    """A daemon whose console takes sign-ins by a provider."""

    def __init__(self, pods: Pods, url: str, provider: OpenIdServer) -> None:
        self.pods, self.url, self.provider = pods, url, provider

    def refusals(self, reason: str) -> float:
        name = f'sidecar_console_refusals_total{{reason="{reason}"}}'
        lines = plain_http.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith(name))


@contextmanager
def staged(url: str, **changes: Any) -> Iterator[Site]:
    """A daemon beside a provider; `changes` are of the settings of its sign-in."""
    (port,) = free_ports(1)
    here = f"http://localhost:{port}"
    with serving_openid() as provider:
        provider.groups = {"alice": ["on-call"], "bob": "staff", "carol": ["painters"]}
        openid = OpenIdSettings(
            issuer=provider.issuer,
            client_id=CLIENT,
            client_secret=SECRET,
            redirect_uri=here + PATH,
            viewers=("staff",),
            operators=("on-call",),
            timeout=20.0,
        )
        openid = msgspec.structs.replace(openid, **changes)

        def change(settings: Settings, _: int) -> Settings:
            console = msgspec.structs.replace(settings.admin.console, openid=openid)
            admin = msgspec.structs.replace(
                settings.admin, bind=f"127.0.0.1:{port}", console=console
            )
            return msgspec.structs.replace(settings, admin=admin)

        with running(url, [], 1, change) as pods:
            yield Site(pods, here, provider)


@pytest.fixture(scope="module")
def daemon(valkey_server: Server) -> Iterator[Site]:
    with staged(valkey_server.url) as found:
        yield found


@pytest.fixture
def site(daemon: Site) -> Site:
    """The daemon, and its provider without faults."""
    fresh = OpenIdServer(0)
    for name in ("user", "tamper", "sign", "returned", "checks_verifier", "status", "metadata"):
        setattr(daemon.provider, name, getattr(fresh, name))
    return daemon


class Browser:
    """A browser that follows redirects by hand, from an address that no other one has."""

    def __init__(self, site: Site) -> None:
        here = f"127.0.0.{next(_addresses)}"
        transport = httpx.HTTPTransport(
            local_address=here,
            verify=plain_http.NO_CERTIFICATES,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self.http = httpx.Client(base_url=site.url, transport=transport, timeout=60)
        self.provider = site.provider

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def begin(self) -> str:
        """The address of the provider to which a sign-in leads."""
        reply = self.get("/console/sign-in/openid")
        assert reply.status_code == 303, reply.text
        address: str = reply.headers["location"]
        assert address.startswith(f"{self.provider.issuer}/authorize?")
        return address

    def at_provider(self, address: str, user: str = "alice") -> str:
        """Where the provider sends back whoever has signed in."""
        self.provider.user = user
        location: str = plain_http.get(address).headers["location"]
        return location

    def sign_in(self, user: str = "alice") -> httpx.Response:
        return self.get(
            self.at_provider(self.begin(), user),
            sec_fetch_site="cross-site",
            sec_fetch_mode="navigate",
            sec_fetch_dest="document",
        )

    @property
    def is_in(self) -> bool:
        return self.get("/console/health").status_code == 200


def test_a_person_signs_in_and_acts_by_the_name_that_their_issuer_has_for_them(
    site: Site,
) -> None:
    user, session = unique("user"), unique("seen")
    assert site.pods.clients[0].check(token(user, session))["ok"]
    browser = Browser(site)
    assert "Sign in by" in browser.get("/console/sign-in").text
    reply = browser.sign_in()
    operator = f"alice@{site.provider.issuer}"
    assert reply.status_code == 200
    assert operator in reply.text
    assert 'content="0; url=/console/"' in reply.text, "the first request with the cookie is ours"
    page = browser.get(f"/console/session?session={session}").text
    shown = re.search(r'name="token" value="([^"]+)"', page)
    assert shown is not None
    form = {"token": shown[1], "act": "revoke", "on": "session", "name": session, "reason": "t"}
    done = browser.http.post("/console/act", data=form, headers={"origin": site.url})
    assert done.status_code == 303
    found = plain_http.get(f"{site.url}/v1/sessions/{session}", headers=ADMIN).json()
    assert found["summary"]["standing"] == "revoked"
    history = plain_http.get(f"{site.url}/v1/history?user={user}", headers=ADMIN).text
    assert f"operator:{operator}" in history


def test_cookies_are_hidden_and_only_that_of_an_attempt_comes_with_other_sites_links(
    site: Site,
) -> None:
    browser = Browser(site)
    begun = browser.get("/console/sign-in/openid")
    ended = browser.get(browser.at_provider(begun.headers["location"]))
    flags = [set(one.headers["set-cookie"].split("; ")) for one in (begun, ended)]
    assert {"HttpOnly", "SameSite=lax", "Path=/console", "Max-Age=600"} <= flags[0]
    assert {"HttpOnly", "SameSite=strict", "Path=/console"} <= flags[1]
    assert SECRET not in str(begun.headers) + begun.text + ended.text


def test_roles_follow_from_a_claim_and_a_page_refuses_who_has_none(site: Site) -> None:
    operator, viewer, nobody = (Browser(site) for _ in range(3))
    assert ", operator</span>" in (operator.sign_in("alice"), operator.get("/console/"))[1].text
    assert ", viewer</span>" in (viewer.sign_in("bob"), viewer.get("/console/"))[1].text
    before = site.refusals("role")
    refused = nobody.sign_in("carol")
    assert refused.status_code == 403
    assert "carol@" in refused.text
    assert "has no role here" in refused.text
    assert "on-call" not in refused.text, "what would do is not said"
    assert "set-cookie" not in refused.headers
    assert not nobody.is_in
    assert site.refusals("role") == before + 1


def test_a_viewer_by_a_provider_may_look_and_not_act(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("bob")
    page = browser.get("/console/health").text
    shown = re.search(r'name="token" value="([^"]+)"', page)
    assert shown is not None
    form = {"token": shown[1], "act": "revoke", "on": "user", "name": "ada", "reason": "t"}
    reply = browser.http.post("/console/act", data=form, headers={"origin": site.url})
    assert reply.status_code == 403


def test_a_sign_out_ends_it(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in()
    shown = re.search(r'name="token" value="([^"]+)"', browser.get("/console/health").text)
    assert shown is not None
    stolen = browser.http.cookies["sidecar_console"]
    browser.http.post("/console/sign-out", data={"token": shown[1]}, headers={"origin": site.url})
    browser.http.cookies.set("sidecar_console", stolen, path="/console")
    assert not browser.is_in


def test_an_answer_counts_once(site: Site) -> None:
    browser = Browser(site)
    back = browser.at_provider(browser.begin())
    assert browser.get(back).status_code == 200
    before = site.refusals("state")
    replayed = browser.get(back)
    assert (replayed.status_code, "over already" in replayed.text) == (403, True)
    assert site.refusals("state") == before + 1


def test_an_answer_counts_in_the_browser_that_began_and_in_no_other(site: Site) -> None:
    attacker, victim, fresh = (Browser(site) for _ in range(3))
    back = attacker.at_provider(attacker.begin(), "bob")
    victim.begin()
    for other in (victim, fresh):
        reply = other.get(back)
        assert (reply.status_code, "did not begin" in reply.text) == (403, True)
        assert not other.is_in
    forged = {"code": "x", "state": "0" * 64, "iss": site.provider.issuer}
    assert victim.get(f"{PATH}?{urlencode(forged)}").status_code == 403


@pytest.mark.parametrize("checks_verifier", [True, False])
def test_a_code_of_another_browsers_attempt_is_of_no_use(site: Site, checks_verifier: bool) -> None:
    site.provider.checks_verifier = checks_verifier
    victim, attacker = Browser(site), Browser(site)
    stolen = parse_qs(urlsplit(victim.at_provider(victim.begin())).query)["code"][0]
    own = parse_qs(urlsplit(attacker.begin()).query)["state"][0]
    answer = {"code": stolen, "state": own, "iss": site.provider.issuer}
    assert attacker.get(f"{PATH}?{urlencode(answer)}").status_code == 403
    assert not attacker.is_in


@pytest.mark.parametrize("issuer", ["https://elsewhere.example", ""])
def test_an_answer_of_another_issuer_is_refused_before_its_code_goes_anywhere(
    site: Site, issuer: str
) -> None:
    site.provider.returned = lambda answer: {**answer, "iss": issuer}
    browser = Browser(site)
    before, asked = site.refusals("issuer"), site.provider.asked.count("/token")
    assert browser.sign_in().status_code == 403
    assert site.refusals("issuer") == before + 1
    assert site.provider.asked.count("/token") == asked
    assert not browser.is_in


@pytest.mark.parametrize("changes", [{"exp": 1}, {"aud": "another"}, {"nonce": "another"}], ids=str)
def test_an_id_token_of_another_purpose_signs_nobody_in(
    site: Site, changes: dict[str, Any]
) -> None:
    site.provider.tamper = lambda claims: {**claims, **changes}
    browser, before = Browser(site), site.refusals("claims")
    reply = browser.sign_in()
    assert (reply.status_code, "set-cookie" in reply.headers) == (403, False)
    assert site.refusals("claims") == before + 1


@pytest.mark.parametrize(
    ("error", "word"), [("access_denied", "access_denied"), ("<img src=x>", "other")]
)
def test_what_a_provider_says_no_with_is_a_word_and_never_its_text(
    site: Site, error: str, word: str
) -> None:
    site.provider.returned = lambda answer: {
        "state": answer["state"],
        "iss": answer["iss"],
        "error": error,
        "error_description": "call 555-0100 at once",
    }
    reply = Browser(site).sign_in()
    assert (reply.status_code, f"nobody in: {word}" in reply.text) == (403, True)
    assert "555" not in reply.text


@pytest.mark.parametrize(
    "path", ["/console/sign-in/openid?next=//evil.example", "/console/sign-in/openid?again"]
)
def test_a_sign_in_leads_to_the_provider_and_home_whatever_it_is_asked(
    site: Site, path: str
) -> None:
    browser = Browser(site)
    location = browser.get(path).headers["location"]
    assert location.startswith(f"{site.provider.issuer}/authorize?")
    query = parse_qs(urlsplit(location).query)
    assert query["redirect_uri"] == [site.url + PATH]
    elsewhere = browser.get("/console/sign-in/openid?next=//evil.example", host="evil.example")
    assert elsewhere.headers["location"] == f"{site.url}/console/sign-in/openid?again"
    again = browser.get("/console/sign-in/openid?again", host="evil.example")
    assert again.headers["location"].startswith(site.provider.issuer), "and never in a circle"


def test_an_answer_that_another_page_embeds_is_refused(site: Site) -> None:
    browser = Browser(site)
    back = browser.at_provider(browser.begin())
    framed = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert browser.get(back, **framed, sec_fetch_dest="iframe").status_code == 403
    assert browser.get(back, **framed, sec_fetch_dest="document").status_code == 200


def test_answers_cannot_be_guessed_more_often_than_credentials(site: Site) -> None:
    browser = Browser(site)
    statuses = [browser.get(f"{PATH}?code=x&state=y").status_code for _ in range(AT_ONCE)]
    assert set(statuses) == {403}
    eventually(
        lambda: browser.get(f"{PATH}?code=x&state=y").status_code, lambda status: status == 429
    )
    assert Browser(site).sign_in().status_code == 200, "nobody else is kept out"


def test_who_changes_their_mind_at_the_provider_does_not_guess(site: Site) -> None:
    browser = Browser(site)
    site.provider.returned = lambda answer: {
        "state": answer["state"],
        "iss": answer["iss"],
        "error": "access_denied",
    }
    statuses = {browser.sign_in().status_code for _ in range(AT_ONCE + 5)}
    site.provider.returned = dict
    statuses |= {browser.sign_in("carol").status_code for _ in range(AT_ONCE + 5)}
    assert statuses == {403}
    assert browser.sign_in().status_code == 200


def test_where_browsers_come_by_tls_cookies_never_leave_it(valkey_server: Server) -> None:
    home = "https://sidecar.example"
    with staged(valkey_server.url, redirect_uri=home + PATH) as site:
        browser = Browser(site)
        elsewhere = browser.get("/console/sign-in/openid")
        assert elsewhere.headers["location"] == f"{home}/console/sign-in/openid?again"
        proxied = {"host": "sidecar.example"}  # what a proxy that ends TLS hands on
        begun = browser.get("/console/sign-in/openid", **proxied)
        back = urlsplit(browser.at_provider(begun.headers["location"]))
        attempt = begun.headers["set-cookie"].partition(";")[0]
        ended = browser.get(f"{back.path}?{back.query}", cookie=attempt, **proxied)
        assert ended.status_code == 200
        for reply in (begun, ended):
            assert "Secure" in reply.headers["set-cookie"].split("; ")


def test_a_provider_that_does_not_answer_leaves_credentials_and_says_so(
    valkey_server: Server,
) -> None:
    with staged(valkey_server.url, timeout=0.3) as site:
        browser = Browser(site)
        begun = eventually(  # it has no more time than it is given below
            lambda: browser.get("/console/sign-in/openid"), lambda reply: reply.status_code == 303
        )
        back = browser.at_provider(begun.headers["location"])
        site.provider.gate.clear()
        before = site.refusals("unavailable")
        reply = browser.get(back)
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "who has an admin credential can sign in by it" in reply.text
        assert site.refusals("unavailable") == before + 1
        shown = re.search(r'name="token" value="([^"]+)"', browser.get("/console/sign-in").text)
        assert shown is not None
        form = {"token": shown[1], "credential": "operator"}
        headers = {"origin": site.url}
        assert browser.http.post("/console/sign-in", data=form, headers=headers).status_code == 303
        assert browser.is_in
