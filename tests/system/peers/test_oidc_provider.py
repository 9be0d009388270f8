"""The whole code flow at a certified OpenID provider, before a whole daemon."""

from collections.abc import Iterator
from contextlib import closing

import httpx
import jwt
import pytest
from msgspec.structs import replace

from sidecar.demo.browser import INSUFFICIENT, Challenge, parse_challenge
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import Issuer, Settings, Tokens
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, unique
from tests.system.peers.programs import HERE, installed, node
from tests.system.peers.relying_party import CALLBACK, RelyingParty
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    not installed("oidc-provider"), reason="oidc-provider is not installed"
)
POLICIES = (
    policy(
        Networks(Selection(frozenset({"restricted"}))), name="segment", contexts=frozenset({"c1"})
    ),
)


class Person:
    """Somebody with a browser before the app."""

    def __init__(self, pods: Pods, issuer: str) -> None:
        self.name = unique("user")
        self.pods = pods
        self.browser = RelyingParty(issuer, self.name)
        self.token = self.browser.sign_in("pwd")

    @property
    def session(self) -> str:
        """The `sid` of the present token."""
        sid: str = jwt.decode(self.token, options={"verify_signature": False})["sid"]
        return sid

    def call(self, path: str) -> httpx.Response:
        """The check that a gateway makes for a call of this person."""
        headers = {"Authorization": f"Bearer {self.token}", "X-Auth-Context": ""}
        if path.startswith("/pay/"):
            headers["X-Auth-Context"] = "c1"
        return plain_http.get(
            f"{self.pods.addresses[0].http[0]}/v1/ext_authz{path}", headers=headers
        )

    def mark(self) -> None:
        data = {"segment": "restricted"}
        reply = self.pods.clients[0].event("network-change", {"session": self.session}, data=data)
        assert reply["ok"]

    def challenged(self) -> Challenge:
        answer = self.call("/pay/7")
        assert answer.status_code == 401
        challenge = parse_challenge(answer.headers["WWW-Authenticate"])
        assert challenge.error == INSUFFICIENT
        return challenge

    def step_up(self, methods: str, challenge: Challenge | None) -> str:
        self.token = self.browser.sign_in(methods, challenge)
        return self.token


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with node(HERE / "provider.mjs", CALLBACK) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def pods(issuer: str, valkey_server: Server) -> Iterator[Pods]:
    def trusting(settings: Settings, _: int) -> Settings:
        # Its keys are found by discovery, as in earnest.
        issuers = (Issuer(issuer=issuer, audiences=("payroll",), app_claim="client_id"),)
        return replace(settings, tokens=Tokens(issuers=issuers))

    with running(valkey_server.url, POLICIES, count=1, change=trusting) as pods:
        yield pods


@pytest.fixture
def person(pods: Pods, issuer: str) -> Iterator[Person]:
    person = Person(pods, issuer)
    with closing(person.browser):
        yield person


def test_a_marked_session_passes_again_after_the_sign_in_that_its_challenge_asks_for(
    person: Person,
) -> None:
    session = person.session
    assert person.call("/pay/7").status_code == 200
    person.mark()
    challenge = person.challenged()
    assert challenge.acr_values == "mfa"
    assert challenge.max_age is not None
    routine = person.call("/news")
    assert (routine.status_code, routine.headers["X-Sidecar-Step-Up"]) == (200, "pending")
    # `auth_time` has whole seconds: a proof in the mark's own second is none yet.
    answer = eventually(
        lambda: (person.step_up("pwd otp", person.challenged()), person.call("/pay/7"))[1],
        lambda answer: answer.status_code == 200,
    )
    assert answer.headers["X-Sidecar-Assurance"] == "mfa"
    assert person.session == session
    asked = person.browser.pages[-1]
    assert asked["prompt"] == "login"
    assert asked["acr_values"] == challenge.acr_values


def test_the_provider_asks_nothing_of_who_has_signed_in_as_the_challenge_asks(
    person: Person,
) -> None:
    person.call("/pay/7")
    person.step_up("pwd otp", Challenge(acr_values="mfa"))
    pages = len(person.browser.pages)
    person.step_up("pwd otp", Challenge(acr_values="mfa"))
    assert len(person.browser.pages) == pages


def test_a_newer_token_of_the_same_sign_in_clears_nothing(person: Person) -> None:
    person.call("/pay/7")
    person.mark()
    before = person.token
    assert person.step_up("pwd", None) != before
    assert person.challenged().acr_values == "mfa"


def test_a_token_that_another_key_has_signed_is_none(person: Person) -> None:
    header, payload, signature = person.token.split(".")
    flipped = ("B" if signature[9] == "A" else "A").join((signature[:9], signature[10:]))
    person.token = f"{header}.{payload}.{flipped}"
    answer = person.call("/news")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
