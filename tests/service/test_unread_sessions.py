"""`when_unknown: step_up`: while the store is away a call is judged by its own token."""

import msgspec
import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import RiskLevelChange, SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import (
    Assignment,
    Device,
    EveryTime,
    Grant,
    Locations,
    Policy,
    Principals,
    RiskLevel,
    Selection,
    SessionControls,
    UserRisk,
)
from sidecar.domain.values.stamp import at
from sidecar.service.records.spooled_facts import key_of
from sidecar.wire.policies.context_policies import context_policies
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import Context, Requires, Resilience
from tests.domain.scenes import AWAY, HOME, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

SETTINGS_OF_C3 = msgspec.structs.replace(
    SETTINGS,
    contexts={
        "c1": Context(name="Payments"),
        "c2": Context(name="Reports", when_unknown=Resilience.ALLOW),
        "c3": Context(
            name="Administration",
            when_unknown=Resilience.STEP_UP,
            requires=Requires(assurance="phishing-resistant"),
        ),
        "c4": Context(name="Archive", when_unknown=Resilience.STEP_UP),
    },
)
ANYWHERE = frozenset({"c3", "c4"})
CONTRACTORS = Assignment(include=Principals(groups=frozenset({"contractors"})))


def away(*policies: Policy) -> tuple[Pod, Tokens]:
    """Return a pod whose store does not answer, and which knows no session."""
    store, tokens = MemoryStore(), Tokens()
    known = (*policies, *context_policies(SETTINGS_OF_C3))
    pod = Pod(store, known, tokens, SETTINGS_OF_C3)
    pod.now = 2000.0
    store.away = True
    return pod, tokens


async def test_a_bare_password_does_not_meet_a_context_that_requires_more() -> None:
    pod, tokens = away()
    for acr in ("single-factor", "", "mfa"):
        answer = await pod.check(tokens.issue(f"t{acr}", auth_time=1995, acr=acr), "c3")
        assert (answer.verdict, answer.status) == (Verdict.STEP_UP, 401)
        assert answer.acr_values.split()[0] == "phr"
        assert [reason.policy for reason in answer.reasons] == ["context-c3"]
    strong = tokens.issue("strong", auth_time=1995, acr="phr")
    answer = await pod.check(strong, "c3")
    assert (answer.verdict, answer.assurance) == (Verdict.ALLOW, "phishing-resistant")


async def test_a_strong_sign_in_that_is_not_fresh_is_asked_for_a_strong_one() -> None:
    pod, tokens = away()
    answer = await pod.check(tokens.issue("old", auth_time=1900, acr="phr"), "c3")
    assert (answer.verdict, answer.max_age) == (Verdict.STEP_UP, 60)
    assert answer.acr_values.split()[0] == "phr", "a password would be asked again at once"
    assert 'acr_values="phr' in answer.challenge
    plain = await pod.check("old", "c4")
    assert (plain.verdict, plain.max_age, plain.acr_values) == (Verdict.STEP_UP, 60, "")
    assert (await pod.check(tokens.issue("new", auth_time=1990), "c4")).verdict is Verdict.ALLOW


async def test_a_sign_in_without_its_time_is_not_fresh() -> None:
    pod, tokens = away()
    assert (await pod.check(tokens.issue("t", auth_time=0), "c4")).verdict is Verdict.STEP_UP


async def test_block_policies_hold_by_what_the_token_says() -> None:
    blocked = policy(None, name="blocked", block=True, contexts=ANYWHERE)
    blocked = msgspec.structs.replace(blocked, users=CONTRACTORS)
    pod, tokens = away(blocked)
    name = tokens.issue("t", auth_time=1995, acr="phr")
    assert (await pod.check(name, "c3")).verdict is Verdict.ALLOW
    tokens.known["u"] = msgspec.structs.replace(
        tokens.known[name], groups=frozenset({"contractors"})
    )
    for context in ("c3", "c4"):
        answer = await pod.check("u", context)
        assert (answer.verdict, answer.status) == (Verdict.DENY, 403)
        assert [reason.policy for reason in answer.reasons] == ["blocked"]


async def test_conditions_see_the_address_and_the_device_of_the_call() -> None:
    abroad = policy(
        Locations(Selection(exclude=frozenset({"home"}))),
        name="abroad",
        block=True,
        contexts=frozenset({"c4"}),
    )
    unknown = policy(Device(known=False), name="unknown", block=True, contexts=frozenset({"c2"}))
    pod, tokens = away(abroad, unknown)
    name = tokens.issue("t", auth_time=1995)
    assert (await pod.check(name, "c4", ip=HOME)).verdict is Verdict.ALLOW
    assert (await pod.check(name, "c4", ip=AWAY)).verdict is Verdict.DENY
    assert (await pod.check(name, "c2")).verdict is Verdict.DENY
    on = tokens.issue("on", auth_time=1995, device="d1")
    assert (await pod.check(on, "c2")).verdict is Verdict.ALLOW


async def test_a_compliant_device_that_nobody_can_vouch_for_is_none() -> None:
    compliant = msgspec.structs.replace(
        policy(None, name="managed", contexts=ANYWHERE),
        grant=Grant((frozenset({"compliant-device"}),)),
    )
    pod, tokens = away(compliant)
    name = tokens.issue("t", auth_time=1995, device="d1")
    assert (await pod.check(name, "c4")).verdict is Verdict.DENY


REVOCATIONS = [Subject(session="s1"), Subject(user="alice"), Subject(device="d1")]


@pytest.mark.parametrize("subject", REVOCATIONS[1:])
async def test_a_revocation_that_is_known_by_another_session_binds(subject: Subject) -> None:
    pod, tokens = away()
    pod.store.away = False
    await pod.check(tokens.issue("other", session="s2", auth_time=1900, device="d1"), "")
    await pod.intake.accept(SessionRevoked(stamp=at(1996, "x"), subject=subject))
    pod.store.away = True
    before = tokens.issue("before", auth_time=1995, acr="phr", device="d1")
    after = tokens.issue("after", auth_time=1998, acr="phr", device="d1")
    for context in ("", "c2", "c3", "c4"):
        answer = await pod.check(before, context)
        assert (answer.verdict, answer.status) == (Verdict.DENY, 401)
        assert (await pod.check(after, context)).verdict is Verdict.ALLOW


@pytest.mark.parametrize("subject", REVOCATIONS[:2])
async def test_a_revocation_that_waits_in_the_spool_binds(subject: Subject) -> None:
    pod, tokens = away()
    revoked = SessionRevoked(stamp=at(1996, "x"), subject=subject)
    name = tokens.issue("t", auth_time=1995, acr="phr")
    assert (await pod.check(name, "c3")).verdict is Verdict.ALLOW
    pod.pending.add(key_of(revoked), pod.intake.learn_locally(revoked))
    for context in ("", "c2", "c3", "c4"):
        assert (await pod.check(name, context)).verdict is Verdict.DENY


async def test_a_risk_that_is_known_of_the_user_binds() -> None:
    risky = policy(UserRisk(RiskLevel.HIGH), name="risky", contexts=ANYWHERE)
    pod, tokens = away(risky)
    pod.store.away = False
    await pod.check(tokens.issue("other", session="s2", auth_time=1900), "")
    high = RiskLevelChange(stamp=at(1996, "r"), subject=Subject(user="alice"), level=RiskLevel.HIGH)
    await pod.intake.accept(high)
    pod.store.away = True
    name = tokens.issue("t", auth_time=1995)
    answer = await pod.check(name, "c4")
    assert [reason.policy for reason in answer.reasons] == ["risky"]
    assert (answer.verdict, answer.acr_values) == (Verdict.STEP_UP, "mfa")


async def test_a_proof_for_each_call_is_asked_for_as_ever() -> None:
    each = msgspec.structs.replace(
        policy(None, name="each", contexts=ANYWHERE),
        session=SessionControls(every_time=EveryTime(0, 20)),
    )
    pod, tokens = away(each)
    stale = await pod.check(tokens.issue("t", auth_time=1950, acr="mfa"), "c4")
    assert [reason.policy for reason in stale.reasons] == ["each"]


async def test_nothing_of_it_is_kept_nor_known_afterwards() -> None:
    pod, tokens = away()
    await pod.check(tokens.issue("t", auth_time=1995, acr="phr"), "c3")
    assert (len(pod.view), pod.view.has_unsaved) == (0, False)
    pod.store.away = False
    await pod.check("t", "c3")
    assert len(pod.view) == 1


@pytest.mark.parametrize(
    ("when_unknown", "status"), [(Resilience.DENY, 403), (Resilience.UNAVAILABLE, 503)]
)
async def test_where_nothing_may_pass_nothing_is_judged(
    when_unknown: Resilience, status: int
) -> None:
    pod, tokens = away()
    settings = msgspec.structs.replace(
        SETTINGS_OF_C3, contexts={"c3": Context(name="A", when_unknown=when_unknown)}
    )
    pod.checker.replace(settings, Routes(()))
    answer = await pod.check(tokens.issue("t", auth_time=1995, acr="phr"), "c3")
    assert answer.status == status


async def test_a_view_that_is_too_old_is_no_better_than_none() -> None:
    pod, tokens = away()
    pod.store.away = False
    weak = tokens.issue("weak", auth_time=1995)
    strong = tokens.issue("strong", auth_time=1900, acr="phr")
    for name in (weak, strong):
        await pod.check(name, "")
    pod.news.stale = 60
    for name, asked in ((weak, "phr phrh"), (strong, "phr phrh")):
        answer = await pod.check(name, "c3")
        assert (answer.verdict, answer.acr_values) == (Verdict.STEP_UP, asked)
    fresh = tokens.issue("fresh", auth_time=1998, acr="phr")
    assert (await pod.check(fresh, "c3")).verdict is Verdict.ALLOW
    assert (await pod.check(weak, "c3")).verdict is Verdict.STEP_UP


@pytest.mark.parametrize("context", ["", "c1", "c4"])
async def test_a_sign_in_that_is_dated_ahead_is_remembered_until_its_session_can_be_read(
    context: str,
) -> None:
    pod, tokens = away()
    ahead = tokens.issue("ahead", auth_time=2020, acr="phr")
    for _ in range(3):
        await pod.check(ahead, context)
    pod.now = 2001
    pod.store.away = False
    await pod.settle()
    assert sum(key.startswith(b"auth:") for r in pod.store.records.values() for key in r) == 1
    await pod.intake.accept(SessionRevoked(stamp=at(2001, "x"), subject=Subject(user="alice")))
    for second in (2002, 2025):
        pod.now = second
        assert (await pod.check(ahead, "c1")).verdict is Verdict.DENY
