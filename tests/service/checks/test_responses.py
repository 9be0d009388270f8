"""The form of a challenge: by the app's style, and by what the client can handle."""

import base64
import json
import re
from typing import Any

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import Changed, Circumstance, Policy, Selection
from sidecar.domain.values.stamp import at
from sidecar.service.ports.calls import Answer, Call
from sidecar.wire.settings.settings import (
    App,
    AppChallenges,
    ChallengeStyle,
    ClaimsChallenges,
    Context,
    Resilience,
    Settings,
)
from tests.domain.scenes import AWAY, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

MOVED = policy(Changed((Circumstance.COUNTRY,)), name="moved")
EVERYWHERE = msgspec.structs.replace(
    MOVED, id="everywhere", contexts=Selection(frozenset({"routine", "c1"}))
)
ENTRA = msgspec.structs.replace(
    SETTINGS,
    app=App(
        challenge=ChallengeStyle.ENTRA, authorization_uri="https://login.example/oauth2/authorize"
    ),
)
CAPABLE: dict[str, Any] = {"claims_capable": True}


async def marked(settings: Settings, rule: Policy = MOVED, **token: Any) -> tuple[Pod, str]:
    tokens = Tokens()
    pod = Pod(MemoryStore(), (rule,), tokens, settings)
    name = tokens.issue("t1", **token)
    await pod.check(name)
    pod.now += 10
    return pod, name


def claims_of(answer: Answer) -> Any:
    found = re.search(r'claims="([^"]*)"', answer.challenge)
    assert found
    return json.loads(base64.b64decode(found[1]))["access_token"]


async def test_a_capable_client_of_entra_is_asked_for_the_context() -> None:
    pod, token = await marked(ENTRA, **CAPABLE)
    answer = await pod.check(token, ip=AWAY)
    assert (answer.verdict, answer.status) == (Verdict.STEP_UP, 401)
    assert 'error="insufficient_claims"' in answer.challenge
    assert claims_of(answer) == {"acrs": {"essential": True, "value": "c1"}}


async def test_of_several_contexts_the_one_that_asks_is_asked_for() -> None:
    rule = msgspec.structs.replace(MOVED, contexts=Selection(frozenset({"c2"})))
    pod, token = await marked(ENTRA, rule, **CAPABLE)
    answer = await pod.checker.check(Call(token, frozenset({"c1", "c2"}), ip=AWAY))
    assert claims_of(answer)["acrs"]["value"] == "c2"


async def test_a_client_that_cannot_handle_a_claims_challenge_is_refused_with_the_reason() -> None:
    pod, token = await marked(ENTRA)
    answer = await pod.check(token, ip=AWAY)
    assert (answer.verdict, answer.status, answer.challenge) == (Verdict.DENY, 403, "")
    assert "xms_cc" in answer.message
    assert [reason.policy for reason in answer.reasons] == ["moved"]


async def test_it_is_asked_all_the_same_where_the_configuration_knows_that_it_can() -> None:
    app = msgspec.structs.replace(ENTRA.app, claims_challenges=ClaimsChallenges.ALWAYS)
    pod, token = await marked(msgspec.structs.replace(ENTRA, app=app))
    assert (await pod.check(token, ip=AWAY)).status == 401


async def test_a_routine_call_has_no_context_to_ask_entra_for() -> None:
    pod, token = await marked(ENTRA, EVERYWHERE)
    answer = await pod.check(token, "", AWAY)
    assert 'error="insufficient_user_authentication"' in answer.challenge


async def test_a_revoked_session_of_a_capable_client_is_asked_for_a_later_token() -> None:
    pod, token = await marked(ENTRA, **CAPABLE)
    revoked = SessionRevoked(stamp=at(1005.5, "e1"), subject=Subject(user="alice"))
    await pod.intake.accept(revoked)
    answer = await pod.check(token)
    assert answer.status == 401
    assert claims_of(answer) == {"nbf": {"essential": True, "value": "1006"}}
    assert "TokenIssuedBeforeRevocationTimestamp" in answer.challenge


async def test_a_revoked_session_of_another_client_has_an_invalid_token() -> None:
    pod, token = await marked(ENTRA)
    revoked = SessionRevoked(stamp=at(1005, "e1"), subject=Subject(user="alice"))
    await pod.intake.accept(revoked)
    answer = await pod.check(token)
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.challenge


async def test_where_it_cannot_be_known_entra_is_asked_in_its_own_way() -> None:
    contexts = {"c1": Context(name="Payments", when_unknown=Resilience.STEP_UP)}
    cases: tuple[tuple[dict[str, Any], int], ...] = ((CAPABLE, 401), ({}, 403))
    for token, status in cases:
        pod, name = await marked(msgspec.structs.replace(ENTRA, contexts=contexts), **token)
        pod.now += 100
        pod.news.stale = 60.0
        answer = await pod.check(name)
        assert answer.status == status
        assert ('error="insufficient_claims"' in answer.challenge) is (status == 401)


async def test_each_app_is_asked_in_its_own_style() -> None:
    settings = msgspec.structs.replace(
        SETTINGS,
        app=App(realm="all"),
        apps={"payroll": AppChallenges(challenge=ChallengeStyle.ENTRA, realm="")},
    )
    pod, token = await marked(settings, **CAPABLE)
    assert 'Bearer realm="", ' in (await pod.check(token, ip=AWAY)).challenge
    pod, token = await marked(settings, app="reports", **CAPABLE)
    answer = await pod.check(token, ip=AWAY)
    assert answer.challenge.startswith(
        'Bearer realm="all", error="insufficient_user_authentication"'
    )


async def test_without_a_token_entras_clients_are_shown_where_to_sign_in() -> None:
    pod, _ = await marked(ENTRA)
    challenge = (await pod.check("")).challenge
    assert challenge == 'Bearer authorization_uri="https://login.example/oauth2/authorize"'
