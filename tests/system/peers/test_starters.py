"""The small apps that `sidecar init` writes, each run as it is written, before one daemon.

Their half of a step-up is held by calls with real tokens, and the page's by a browser: for a page
that has the token itself by test_first_hour.py, for a backend-for-frontend here.
"""

import contextlib
import http.client
import io
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import time  # noqa: TID251 - the second that a proof must be later than
from typing import NamedTuple

import httpx
import pytest
from stepup_client.local import LocalClient

from sidecar.cli.init_apps import FRAMEWORKS
from sidecar.cli.main import main
from sidecar.demo.browser import INSUFFICIENT, parse_challenge
from tests import plain_http
from tests.adapters.servers import free_ports
from tests.stories.running import unique
from tests.system.gateways.programs import GATEWAYS as PROGRAMS
from tests.system.peers.chromium import PROGRAM, Tab, browsing
from tests.system.peers.programs import HERE, PEERS, installed, node
from tests.system.peers.relying_party import CALLBACK, RelyingParty
from tests.system.peers.starting import (
    PATH,
    PATIENCE,
    Person,
    await_page,
    empty_directory,
    shell,
)
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    not installed("oidc-provider"), reason="oidc-provider is not installed"
)
BFF = "flask-bff"
BEARER = 'Bearer realm="payroll"'
CLIENT = PEERS / "typescript"
browser = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")


class Apps(NamedTuple):
    """Where the apps are, by framework; the provider; a client of the daemon that they all ask."""

    urls: dict[str, str]
    issuer: str
    sidecar: LocalClient

    def mark(self, user: str) -> None:
        """Have somebody be at risk, and wait for the first second in which a proof counts."""
        for level in ("LOW", "HIGH"):  # a cause that was proven and has gone may come again
            risk = {"type": "risk-level-change", "data": {"current_level": level}}
            self.sidecar.event({**risk, "subject": {"user": user}}, wait_everywhere=True)
        marked = int(time())
        eventually(lambda: int(time()), lambda now: now > marked)


@pytest.fixture(scope="module")
def apps() -> Iterator[Apps]:
    frameworks = [name for name in FRAMEWORKS if name != "express" or CLIENT.is_dir()]
    admin, *ports = free_ports(1 + len(frameworks))
    urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(frameworks, ports, strict=True)}
    with ExitStack() as stack:
        pages = [CALLBACK, f"{urls[BFF]}/callback", f"{urls['flask']}/"]
        issuer = stack.enter_context(node(HERE / "provider.mjs", *pages))
        directory = stack.enter_context(empty_directory())
        asked = f"--issuer {issuer} --audience payroll --client app --admin-port {admin}"
        run, *_ = heard_by(f"{asked} --out {directory / 'daemon'}")
        (directory / "daemon").chmod(0o777)  # of root, where the tests run as root
        stack.enter_context(shell(directory, run))
        socket = {"SIDECAR_SOCKET": str(directory / "daemon" / "sidecar.sock")}
        for name, port in zip(frameworks, ports, strict=True):
            words = f"{asked} --app-port {port} --framework {name} --out {directory / name}"
            _, serve, *_ = heard_by(words)
            if name == "express":
                install(directory / name)
            stack.enter_context(shell(directory, serve, socket))
        await_page(f"http://127.0.0.1:{admin}/readyz")
        sidecar = stack.enter_context(LocalClient(socket["SIDECAR_SOCKET"]))
        yield Apps(urls, issuer, sidecar)


def heard_by(words: str) -> list[str]:
    """The commands that `sidecar init`, of this very process, says somebody with a short PATH."""
    heard = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(heard):
        patch.setenv("PATH", PATH)
        assert main(["init", *words.split()]) == 0
    return re.findall(r"^  (\S.*)$", heard.getvalue(), re.MULTILINE)


def install(directory: Path) -> None:
    """What `npm install` makes of directories: links."""
    modules = directory / "node_modules"
    modules.mkdir()
    (modules / "express").symlink_to(CLIENT / "node_modules" / "express")
    (modules / "stepup-sidecar").symlink_to(CLIENT)


def url_of(apps: Apps, framework: str) -> str:
    if framework not in apps.urls:
        pytest.skip("the client for Node.js is not built")
    await_page(apps.urls[framework])
    return apps.urls[framework]


@pytest.mark.parametrize("gateway", PROGRAMS)
def test_a_gateway_starts_by_what_init_prints_and_asks_before_each_call(
    gateway: str, apps: Apps, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not PROGRAMS[gateway].installed:
        pytest.skip(f"{gateway} is not installed")
    app = httpx.URL(url_of(apps, "flask")).port
    port, admin, check, *_ = free_ports(5)  # and the two after it
    ports = f"--port {port} --app-port {app} --sidecar-port {check} --admin-port {admin}"
    words = f"--issuer {apps.issuer} --audience payroll --gateway {gateway} {ports}"
    heard = heard_by(f"{words} --framework flask --out {directory / 'it'}")
    run, _, start, _, doctor = heard
    (directory / "it").chmod(0o777)  # of root, where the tests run as root
    (directory / "it" / "gateway").chmod(0o777)
    with shell(directory, run), shell(directory, start) as process:
        await_page(f"http://127.0.0.1:{port}/", process)
        refused = plain_http.post(f"http://127.0.0.1:{port}/payments/7")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, BEARER)
        with closing(RelyingParty(apps.issuer, unique("user"))) as person:
            shown = {"Authorization": f"Bearer {person.sign_in('pwd')}"}
        assert (
            plain_http.post(f"http://127.0.0.1:{port}/payments/7", headers=shown).status_code == 200
        )
        # In this process: python -m sidecar doctor ...
        assert main(shlex.split(doctor)[3:]) == 0, capsys.readouterr().out


OUTSIDE = (
    *("/sidecar.yaml", "/app.py", "/settings.py", "/policies/payments.yaml"),
    *("/static/../sidecar.yaml", "/static/%2e%2e/sidecar.yaml", "/static/..%2fsidecar.yaml"),
    *("/static//etc/passwd", "/static/%2fetc/passwd", "/static/browser/../../app.py"),
)
"""What lies beside the page's files: no spelling of it is served."""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_app_serves_the_pages_files_and_none_beside_them(framework: str, apps: Apps) -> None:
    address = httpx.URL(url_of(apps, framework))
    for target in OUTSIDE:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE)
        connection.request("GET", target)  # as it is: httpx would resolve it
        status = connection.getresponse().status
        connection.close()
        assert status in {301, 302, 308, 400, 403, 404}, target


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != BFF])
def test_an_app_has_a_page_and_challenges_until_a_stronger_sign_in(
    framework: str, apps: Apps
) -> None:
    url, user = url_of(apps, framework), unique("user")
    page = plain_http.get(url)
    assert page.headers["Content-Type"].startswith("text/html")
    for file in ("page.js", "settings.js", "step-up.js"):
        script = plain_http.get(f"{url}/static/{file}")
        assert (script.status_code, "javascript" in script.headers["Content-Type"]) == (200, True)
    assert f'issuer: "{apps.issuer}"' in plain_http.get(f"{url}/static/settings.js").text
    with closing(RelyingParty(apps.issuer, user)) as person:

        def calls(token: str) -> tuple[httpx.Response, httpx.Response]:
            shown = {"Authorization": f"Bearer {token}"} if token else {}
            return (
                plain_http.get(f"{url}/accounts", headers=shown),
                plain_http.post(f"{url}/payments/7", headers=shown),
            )

        assert [one.headers["WWW-Authenticate"] for one in calls("")] == [BEARER, BEARER]
        weak = person.sign_in("pwd")
        assert [one.json() for one in calls(weak)] == [{"subject": user}, {"paid": 7}]
        apps.mark(user)
        routine, paid = calls(weak)
        assert (routine.status_code, paid.status_code) == (200, 401)
        challenge = parse_challenge(paid.headers["WWW-Authenticate"])
        assert (challenge.error, challenge.acr_values) == (INSUFFICIENT, "mfa")
        assert calls(person.sign_in("pwd otp", challenge))[1].json() == {"paid": 7}


@pytest.fixture
def directory() -> Iterator[Path]:
    with empty_directory() as directory:
        yield directory


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with browsing(tmp_path / "profile") as tab:
        yield tab


PAID = '200 {"paid":'
RECORDING = """
window.calls = [];
const send = window.fetch;
window.fetch = (path, options) => {
  const ours = options?.method === "POST" && String(path).startsWith("/");
  if (ours) window.calls.push([path, options]);
  return send(path, options);
};
"""


def paying(body: str) -> str:
    """A script that pays with a body, by the page's own module and settings."""
    return f"""
    Promise.all([import("/static/step-up.js"), import("/static/settings.js")]).then(([m, s]) => {{
      const stepUp = new m.StepUp(s.default);
      const init = {{ method: "POST", body: {body}, headers: {{ "X-Note": "one" }} }};
      stepUp.fetch("/payments/7", init).catch((error) => (window.refused = String(error)));
      stepUp.fetch("/payments/8", init).catch((error) => (window.refused = String(error)));
    }})"""


@browser
def test_a_page_with_the_token_repeats_a_body_and_makes_no_call_for_somebody_else(
    apps: Apps, tab: Tab
) -> None:
    url = url_of(apps, "flask")
    tab.begin_pages_with(RECORDING)
    person = Person(tab, f"{url}/")
    tab.await_value("document.readyState", "complete")
    tab.result(paying("new FormData()"))
    tab.await_value("window.refused", "TypeError: only text can be repeated")
    tab.result(paying("'a: 1'"))
    person.sign_in("pwd")
    # One of the two, once, as it was; the other was refused while the page was left.
    tab.await_value("document.querySelector('output')?.textContent.trim().slice(0, 12)", PAID)
    ((path, sent),) = tab.value("window.calls")
    assert tab.value("document.querySelector('output').textContent.trim()") == (
        f"{PAID}{path.removeprefix('/payments/')}}}"
    )
    assert (sent["body"], sent["headers"]["x-note"]) == ("a: 1", "one")
    assert sent["headers"]["Authorization"].startswith("Bearer ey")
    assert tab.value("location.href") == f"{url}/"

    apps.mark(person.name)
    tab.click("#pay")
    person.sign_in("pwd otp", unique("bob"))
    person.sees("Error: the call was not repeated: another_user")
    assert tab.value("window.calls") == []
    assert tab.value("sessionStorage['step-up:pending']") is None


HEADERS = [
    ("Bearer", {}),
    ('Bearer realm="a, b", error="invalid_token"', {"realm": "a, b", "error": "invalid_token"}),
    (
        'bearer error="x", ACR_VALUES="mfa phr", max_age=5',
        {"acr_values": "mfa phr", "max_age": "5"},
    ),
    ('Bearer error="a \\"b\\" c"', {"error": 'a "b" c'}),
    ('DPoP algs="ES256", error="x"', {"algs": "ES256", "error": "x"}),
    ('Basic realm="x", Bearer max_age="1"', {"max_age": "1"}),
    ('Bearer max_age="1", max_age="9"', {"max_age": "1"}),
    ('Bearer max_age="' + "1" * 20_000, {}),
    ('Basic realm="Bearer"', None),
    ("Bearerish x=1", None),
    ("", None),
]


@browser
def test_the_module_reads_challenges_of_all_forms(apps: Apps, tab: Tab) -> None:
    tab.open(url_of(apps, "flask"))
    tab.await_value("document.readyState", "complete")
    read = f"""import("/static/step-up.js").then(({{ challengeOf }}) =>
      {json.dumps([header for header, _ in HEADERS])}.map((challenge) =>
        ({{ status: 401, headers: {{ "WWW-Authenticate": challenge }} }})).map((init) =>
          challengeOf(new Response("", init))))"""
    for (header, heard), found in zip(HEADERS, tab.result(read), strict=True):
        assert (found is None) == (heard is None), header
        assert (heard or {}).items() <= (found or {}).items(), header


@browser
def test_a_backend_for_frontend_keeps_the_token_and_its_page_repeats_the_call_once(
    apps: Apps, tab: Tab
) -> None:
    url = url_of(apps, BFF)
    person = Person(tab, url)
    tab.click("#pay")
    person.sign_in("pwd")
    person.sees('200 {"paid":7}')
    apps.mark(person.name)
    tab.click("#pay")
    # The provider's page is for who comes from a challenge: whoever goes back has proven nothing.
    tab.await_value("document.querySelector('[name=methods]') !== null")
    tab.open(url)
    tab.await_value("location.pathname + document.querySelector('output')?.textContent", "/")
    tab.click("#read")
    person.sees(f'200 {{"subject":"{person.name}"}}')
    tab.click("#pay")
    person.sign_in("pwd otp")
    person.sees('200 {"paid":7}')
    assert tab.value("location.pathname + location.search") == "/"
    assert tab.value("document.cookie") == ""
    assert "ey" not in tab.value("JSON.stringify(sessionStorage)")

    # Somebody else signs in at the provider: the call was not theirs.
    apps.mark(person.name)
    tab.click("#pay")
    person.sign_in("pwd otp", unique("bob"))
    person.sees("Error: the call was not repeated: another_user")


@contextlib.contextmanager
def signed_in(apps: Apps, url: str, user: str) -> Iterator[httpx.Client]:
    """A browser that has signed in at the backend-for-frontend."""
    with httpx.Client(
        base_url=url, headers={"Origin": url}, verify=plain_http.NO_CERTIFICATES
    ) as client:
        away = client.get("/sign-in", params={"return_to": "/?a=1"})
        back = through_provider(apps, away.headers["Location"], user)
        assert client.get(back).headers["Location"] == "/?a=1"
        yield client


def through_provider(apps: Apps, location: str, user: str) -> str:
    """Where the provider sends a browser after a sign-in."""
    with httpx.Client(base_url=apps.issuer, verify=plain_http.NO_CERTIFICATES) as provider:
        answer = provider.get(location)
        while "/callback?" not in answer.headers["Location"]:
            location = answer.headers["Location"]
            if "/interaction/" in location:
                answer = provider.post(location, data={"user": user, "methods": "pwd"})
            else:
                answer = provider.get(location)
        return answer.headers["Location"]


def test_a_backend_for_frontend_takes_nothing_from_elsewhere(apps: Apps) -> None:
    url, user = url_of(apps, BFF), unique("user")
    with signed_in(apps, url, user) as client:
        assert client.get("/accounts").json() == {"subject": user}
        assert client.post("/payments/7").json() == {"paid": 7}
        for other in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            assert client.post("/payments/7", headers=other).status_code == 403
            assert client.post("/sign-out", headers=other).status_code == 403
        del client.headers["Origin"]
        assert client.post("/payments/7").status_code == 403
        two = {"Origin": url, "Authorization": "Bearer another"}
        assert client.post("/payments/7", headers=two).status_code == 400

        # Addresses that only look like paths, or that would lead out of here.
        for unfit in ("//evil.example", "https://evil.example", "/\\evil.example", "a", "", "/%0a"):
            assert client.get("/sign-in", params={"return_to": unfit}).status_code == 400
        assert client.get("/sign-in", params={"return_to": f"/{'a' * 600}"}).status_code == 400
        for asked in ({"max_age": "soon"}, {"acr_values": "a\nb"}, {"acr_values": "a" * 257}):
            assert client.get("/sign-in", params=asked).status_code == 400


def test_a_backend_for_frontend_takes_only_the_answer_to_its_own_question(apps: Apps) -> None:
    url, user = url_of(apps, BFF), unique("user")
    with (
        httpx.Client(base_url=url, verify=plain_http.NO_CERTIFICATES) as client,
        httpx.Client(base_url=url, verify=plain_http.NO_CERTIFICATES) as other,
    ):
        away = client.get("/sign-in", params={"acr_values": "mfa", "max_age": "0"})
        asked = httpx.URL(away.headers["Location"]).params
        assert (asked["acr_values"], asked["max_age"]) == ("mfa", "0")
        assert asked["code_challenge_method"] == "S256"
        assert not {"", None} & {asked.get(one) for one in ("state", "nonce", "code_challenge")}
        assert client.get("/callback", params={"state": "made-up", "code": "a"}).status_code == 400
        named = {"state": asked["state"], "code": "a", "iss": "https://evil.example"}
        assert client.get("/callback", params=named).status_code == 400, "another provider's"
        assert client.get("/callback", params=named).status_code == 400, "it is over"

        away = client.get("/sign-in")
        back = through_provider(apps, away.headers["Location"], user)
        assert other.get(back).status_code == 400, "another browser's"
        assert other.get("/accounts").status_code == 401
        assert client.get(back).headers["Location"] == "/"
        before = client.cookies["session"]
        assert client.get("/accounts").json() == {"subject": user}
        assert client.get(back).status_code == 400, "it is over"

        away = client.get("/sign-in", params={"return_to": "/a?b=1"})
        state = httpx.URL(away.headers["Location"]).params["state"]
        failed = {"state": state, "iss": apps.issuer, "error": "access_denied"}
        answer = client.get("/callback", params=failed)
        assert answer.headers["Location"] == "/a?b=1&error=access_denied"
        assert client.post("/sign-out", headers={"Origin": url}).status_code == 200
        client.cookies.set("session", before, domain="127.0.0.1")
        assert client.get("/accounts").status_code == 401, "an old cookie names nothing"
        assert not re.search("eyJ[^.]*\\.eyJ", before), "no token is in the cookie"
