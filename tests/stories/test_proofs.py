"""Proof in more than one form, before a whole daemon: what clears a mark, and what sets it anew."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from azure.core import PipelineClient
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest, HttpResponse

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import App, ChallengeStyle, ContextProof, Settings
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, proofs_of_sessions, running, token, unique
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)


def of_entra(settings: Settings, _: int) -> Settings:
    (issuer,) = settings.tokens.issuers
    issuer = msgspec.structs.replace(issuer, acrs_proof=ContextProof.ISSUED_AT)
    return msgspec.structs.replace(
        settings,
        app=App(
            id="payroll",
            challenge=ChallengeStyle.ENTRA,
            authorization_uri="https://login.example/oauth2/v2.0/authorize",
        ),
        tokens=msgspec.structs.replace(settings.tokens, issuers=(issuer,)),
    )


def by_session(settings: Settings, number: int) -> Settings:
    """The first pod takes a proof for all tokens of the session, the second for the token's own."""
    return settings if number else proofs_of_sessions(settings)


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, change=by_session) as both:
        yield both


@pytest.fixture(scope="module")
def entra(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, 1, of_entra) as one:
        yield one


def mark(pods: Pods, session: str) -> None:
    reply = pods.clients[0].event(
        "network-change", {"session": session}, data={"segment": "restricted"}
    )
    assert reply["ok"], reply


def decision(answer: Any) -> Any:
    return answer.get("decision", answer)


def test_a_rise_of_assurance_reported_by_an_event_clears_and_a_fall_asks_again(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert decision(a.check(weak)) == "allow"
    mark(pods, session)
    assert decision(a.check(weak)) == "step_up"
    eventually(lambda: b.check(weak), lambda answer: answer["decision"] == "step_up")
    marked = now()
    eventually(now, lambda at: int(at) > int(marked))  # a proof counts from the next second on

    level = {"namespace": "urn:example:levels", "current_level": "mfa"}
    a.trusted(
        "assurance-level-change",
        {"session": session},
        data={**level, "change_direction": "increase"},
    )
    eventually(lambda: a.check(weak), lambda answer: answer["decision"] == "allow")
    assert decision(b.check(weak)) == "step_up", "this token shows no rise"
    assert decision(b.check(token(user, session, age=0, acr="mfa"))) == "allow"

    lower = {**level, "current_level": "single-factor", "change_direction": "decrease"}
    b.event("assurance-level-change", {"session": session}, data=lower)
    eventually(lambda: a.check(weak), lambda answer: answer["decision"] == "step_up")


class Credential:
    """Entra in small: gives the token it has until claims are asked for, and then one with them."""

    def __init__(self, user: str, session: str) -> None:
        self.asked: list[Any] = []
        self._who = (user, session)
        self._known = token(user, session, xms_cc=["cp1"])

    def get_token(self, *scopes: str, claims: Any = None, **_: Any) -> AccessToken:
        if claims is not None:
            self.asked.append(json.loads(claims)["access_token"])
            acrs = self.asked[-1].get("acrs")
            enforced: dict[str, Any] = {"acrs": [acrs["value"]]} if acrs else {}
            self._known = token(*self._who, xms_cc=["cp1"], **enforced)
        return AccessToken(self._known, int(now()) + 3600)


def call(pods: Pods, credential: Credential, context: str = "c1") -> HttpResponse:
    (url,) = pods.addresses[0].http
    bearer = BearerTokenCredentialPolicy(credential, "api://payroll/.default")
    with PipelineClient[HttpRequest, HttpResponse](url, policies=[bearer]) as client:
        headers = {"X-Auth-Context": context} if context else {}
        target = "/v1/check" if context else "/v1/ext_authz/routine"
        request = HttpRequest("GET", f"{url}{target}", headers=headers)
        return client.send_request(request, enforce_https=False)


def test_azures_own_client_answers_a_step_up_with_a_token_for_the_context(entra: Pods) -> None:
    user, session = unique("user"), unique("session")
    credential = Credential(user, session)
    assert call(entra, credential).status_code == 200
    mark(entra, session)
    marked = now()
    eventually(now, lambda at: int(at) > int(marked))
    assert call(entra, credential).status_code == 200
    assert credential.asked == [{"acrs": {"essential": True, "value": "c1"}}]


def test_azures_own_client_answers_a_revocation_with_a_later_token(entra: Pods) -> None:
    user, session = unique("user"), unique("session")
    credential = Credential(user, session)
    assert call(entra, credential).status_code == 200
    before = int(now())
    entra.clients[0].event("session-revoked", {"session": session})
    refused = call(entra, credential)
    assert refused.status_code == 401, "a new token is no new sign-in"
    (asked,) = credential.asked
    assert asked["nbf"]["essential"] is True
    assert before < int(asked["nbf"]["value"]) <= int(now()) + 1


def test_a_client_that_does_not_declare_it_is_refused_with_the_reason(entra: Pods) -> None:
    user, session = unique("user"), unique("session")
    plain = token(user, session)
    assert decision(entra.clients[0].check(plain)) == "allow"
    mark(entra, session)
    answer = entra.clients[0].check(plain)
    assert (answer["decision"], answer["status"]) == ("deny", 403)
    assert "cp1" in answer["message"]
