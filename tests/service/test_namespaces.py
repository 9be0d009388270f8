"""The same text at two issuers is two things; who has a session is a set."""

from typing import Any

import msgspec
import pytest
import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.admin.inspection import InvalidQuery, SessionQuery
from sidecar.service.ports.calls import Call
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.settings.sources import SourceSettings
from sidecar.wire.store.event_keys import event_field
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod
from tests.service.memory import Tokens as Known
from tests.service.two_issuers import OURS, THEIRS, issuers

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")


def pod(*policies: Any, beside: Pod | None = None, settings: Any = None, name: str = "a") -> Pod:
    return Pod(
        MemoryStore() if beside is None else beside.store,
        policies or [RISKY],
        Known() if beside is None else beside.tokens,
        issuers(OURS, THEIRS) if settings is None else settings,
        name,
    )


def issue(where: Pod, issuer: str, user: str = "ada", session: str = "s1", **more: Any) -> str:
    name = f"{issuer} {user} {session} {len(where.tokens.known)}"
    return where.tokens.issue(
        name, issuer=issuer, namespace=issuer, user=user, session=session, **more
    )


def high(subject: Subject, level: RiskLevel = RiskLevel.HIGH, when: float = 1001) -> Signal:
    return RiskLevelChange(stamp=at(when, f"r{when}"), subject=subject, level=level)


async def test_a_strong_sign_in_at_another_issuer_clears_nothing_here() -> None:
    here = pod()
    ours = issue(here, OURS)
    assert (await here.check(ours)).verdict is Verdict.ALLOW
    await here.intake.accept(high(Subject(user="ada", issuer=OURS)))
    assert (await here.check(ours)).verdict is Verdict.STEP_UP
    here.now = 1010
    theirs = issue(here, THEIRS, acr="phishing-resistant", auth_time=1009)
    assert (await here.check(theirs)).verdict is Verdict.ALLOW
    assert (await here.check(ours)).verdict is Verdict.STEP_UP


async def test_nor_does_it_bring_back_who_was_revoked() -> None:
    here = pod()
    ours = issue(here, OURS)
    await here.check(ours)
    await here.intake.accept(SessionRevoked(stamp=at(1001, "x"), subject=Subject(user="ada")))
    here.now = 1010
    await here.check(issue(here, THEIRS, acr="phishing-resistant", auth_time=1009))
    assert (await here.check(ours)).verdict is Verdict.DENY


async def test_the_risk_of_a_user_is_that_of_one_issuers_user() -> None:
    here = pod()
    ours, theirs = issue(here, OURS), issue(here, THEIRS)
    await here.check(ours)
    await here.check(theirs)
    await here.intake.accept(high(Subject(user="ada", issuer=OURS)))
    assert (await here.check(ours)).verdict is Verdict.STEP_UP
    assert (await here.check(theirs)).verdict is Verdict.ALLOW


async def test_issuers_of_one_namespace_share_their_users() -> None:
    here = pod(settings=issuers(OURS, THEIRS, namespace="staff"))
    token = here.tokens.issue("t", issuer=THEIRS, namespace="staff", user="ada")
    await here.check(token)
    await here.intake.accept(high(Subject(user="ada", issuer=OURS)))
    assert (await here.check(token)).verdict is Verdict.STEP_UP


@pytest.mark.parametrize(
    "signal",
    [
        high(Subject(user="ada")),
        SessionRevoked(stamp=at(1001, "x"), subject=Subject(user="ada")),
        SessionRevoked(stamp=at(1001, "x"), subject=Subject(session="s1")),
    ],
)
async def test_a_tightening_that_names_no_issuer_concerns_all(signal: Signal) -> None:
    here = pod()
    ours, theirs = issue(here, OURS), issue(here, THEIRS)
    await here.check(ours)
    await here.check(theirs)
    await here.settle()
    await here.intake.accept(signal)
    assert (await here.check(ours)).verdict is not Verdict.ALLOW
    assert (await here.check(theirs)).verdict is not Verdict.ALLOW


AMBIGUOUS = [
    high(Subject(user="ada"), RiskLevel.LOW),
    high(Subject(user="ada"), RiskLevel.MEDIUM),
    high(Subject(session="s1"), RiskLevel.LOW),
    DeviceComplianceChange(stamp=at(1001, "c"), subject=Subject(device="d1"), compliant=True),
    NetworkChange(stamp=at(1001, "n"), subject=Subject(session="s1"), segment="office"),
    SessionPresented(stamp=at(1001, "p"), subject=Subject(session="s1"), ip="192.0.2.1"),
    SessionEstablished(stamp=at(1001, "e"), subject=Subject(session="s1", user="ada")),
    AssuranceLevelChange(
        stamp=at(1001, "a"), subject=Subject(session="s1"), namespace="", level="phr"
    ),
    RiskSignal(
        stamp=at(1001, "s"), subject=Subject(user="ada"), name="odd", weight=0, half_life=60
    ),
]


@pytest.mark.parametrize("signal", AMBIGUOUS)
async def test_what_could_loosen_is_refused_where_a_name_is_known_at_several(
    signal: Signal,
) -> None:
    here = pod()
    for issuer in (OURS, THEIRS):
        await here.check(issue(here, issuer, device="d1"))
    await here.settle()
    before = {key: dict(record) for key, record in here.store.records.items()}
    with pytest.raises(InvalidSignal, match="known at several issuers") as refused:
        await here.intake.accept(signal)
    assert refused.value.field == "subject.issuer"
    assert here.store.records == before


@pytest.mark.parametrize("signal", AMBIGUOUS)
async def test_and_where_it_is_known_at_none_of_several(signal: Signal) -> None:
    with pytest.raises(InvalidSignal, match="at none of several issuers"):
        await pod().intake.accept(signal)


@pytest.mark.parametrize("signal", AMBIGUOUS)
async def test_it_goes_to_the_one_where_the_name_is_known(signal: Signal) -> None:
    here = pod()
    await here.check(issue(here, THEIRS, device="d1"))
    await here.settle()
    assert not (await here.intake.accept(signal)).duplicate
    event = event_field(signal.stamp.id)
    assert any(event in fields for fields in here.store.records.values())


@pytest.mark.parametrize("issuer", ["https://k.example", "i.example", "I"])
async def test_an_issuer_that_is_not_configured_is_an_error(issuer: str) -> None:
    with pytest.raises(InvalidSignal, match="is not configured") as refused:
        await pod().intake.accept(high(Subject(user="ada", issuer=issuer)))
    assert refused.value.field == "subject.issuer"


async def test_where_no_issuer_is_configured_no_event_may_name_one() -> None:
    with pytest.raises(InvalidSignal, match="no issuer is"):
        await pod(settings=SETTINGS).intake.accept(high(Subject(user="ada", issuer=OURS)))


async def test_a_source_speaks_for_the_users_of_its_issuers_alone() -> None:
    here = pod()
    partner = SourceSettings(name="partner", issuers=(THEIRS,))
    here.settings = msgspec.structs.replace(here.settings, sources=(partner,))
    ours, theirs = issue(here, OURS), issue(here, THEIRS)
    await here.check(ours)
    await here.check(theirs)
    partners = msgspec.structs.replace(high(Subject(user="ada")), source="partner")
    await here.intake.accept(partners)
    assert (await here.check(ours)).verdict is Verdict.ALLOW
    assert (await here.check(theirs)).verdict is Verdict.STEP_UP
    other = msgspec.structs.replace(partners, subject=Subject(user="ada", issuer=OURS))
    with pytest.raises(InvalidSignal, match="none for whose users this source may speak"):
        await here.intake.accept(other)


async def test_a_device_of_another_issuer_is_another_device() -> None:
    here = pod(policy(name="all"))
    await here.check(issue(here, OURS, device="d1"))
    await here.check(issue(here, THEIRS, user="bob", session="s2", device="d1"))
    report = DeviceComplianceChange(
        stamp=at(1001, "c"), subject=Subject(device="d1", issuer=THEIRS), compliant=True
    )
    await here.intake.accept(report)
    ours, theirs = here.view.find(OURS, "ada", "s1"), here.view.find(THEIRS, "bob", "s2")
    assert ours is not None
    assert not ours.state.compliance
    assert theirs is not None
    assert theirs.state.compliance


# Who has a session


def established(user: str, event: str = "established") -> Signal:
    return SessionEstablished(
        stamp=at(1000.5, event), subject=Subject(user=user, session="s1", issuer=OURS)
    )


def revoked(**subject: str) -> Signal:
    return SessionRevoked(
        stamp=at(1005, "x"), subject=Subject(**{"session": "s1", "issuer": OURS, **subject})
    )


@pytest.mark.parametrize("user", ["zzz", "aaa"])
async def test_nobody_draws_a_revocation_to_another_by_claiming_the_session(user: str) -> None:
    one = pod()
    other = pod(beside=one)
    token = issue(one, OURS)
    assert (await one.check(token)).verdict is Verdict.ALLOW
    await one.settle()
    await other.intake.accept(established(user))
    await other.intake.accept(revoked())
    for each in (one, other):
        assert (await each.check(token)).verdict is Verdict.DENY


@pytest.mark.parametrize("first", [True, False])
async def test_nor_by_a_token_of_another_user_with_the_same_sid(first: bool) -> None:
    here = pod()
    users = ("ada", "zoe") if first else ("zoe", "ada")
    tokens = [issue(here, OURS, user=user) for user in users]
    for token in tokens:
        await here.check(token)
    await here.settle()
    await here.intake.accept(revoked())
    assert [(await here.check(token)).verdict for token in tokens] == [Verdict.DENY] * 2


async def test_who_comes_to_have_a_session_later_finds_what_was_said_of_it() -> None:
    one = pod()
    other = pod(beside=one)
    await other.intake.accept(established("zzz"))
    await other.intake.accept(revoked())
    assert (await one.check(issue(one, OURS))).verdict is Verdict.DENY


async def test_a_session_that_is_shown_elsewhere_meanwhile_finds_it_too() -> None:
    one = pod()
    other = pod(beside=one)
    token = issue(one, OURS)
    await one.check(token)  # and nobody knows of it yet
    await other.intake.accept(revoked())
    await one.settle()
    assert (await one.check(token)).verdict is Verdict.DENY


async def test_a_revocation_that_names_a_user_is_of_that_users_session_alone() -> None:
    here = pod()
    ada, zoe = issue(here, OURS), issue(here, OURS, user="zoe")
    for token in (ada, zoe):
        await here.check(token)
    await here.settle()
    await here.intake.accept(revoked(user="zoe"))
    assert (await here.check(ada)).verdict is Verdict.ALLOW
    assert (await here.check(zoe)).verdict is Verdict.DENY


async def test_a_revocation_of_a_user_who_is_not_known_to_have_it_waits_for_them_alone() -> None:
    here = pod()
    await here.intake.accept(revoked(user="zoe"))
    assert (await here.check(issue(here, OURS))).verdict is Verdict.ALLOW
    assert (await here.check(issue(here, OURS, user="zoe"))).verdict is Verdict.DENY


async def test_no_number_of_claims_pushes_out_whom_a_token_has_shown() -> None:
    here = pod()
    token = issue(here, OURS)
    await here.check(token)
    await here.settle()
    for number in range(200):
        await here.intake.accept(established(f"zz{number:03}", f"t{number}"))
    await pod(beside=here).intake.accept(revoked())
    assert (await here.check(token)).verdict is Verdict.DENY


async def test_a_revocation_is_acknowledged_where_every_owners_session_has_it() -> None:
    one = pod()
    other = pod(beside=one, name="b")
    token = issue(one, OURS)
    await one.check(token)
    await one.settle()
    await other.intake.accept(established("zzz"))
    one.news.deaf = True
    async with trio.open_nursery() as nursery:
        for each in (one, other):
            await nursery.start(each.acknowledger.run)
            await nursery.start(each.acknowledger.answer)
        await other.intake.accept(revoked())
        assert (await one.check(token)).verdict is Verdict.ALLOW
        one.news.deaf = False
        assert (await other.acknowledger.acknowledged("x", 5)).is_everywhere
        assert (await one.check(token)).verdict is Verdict.DENY
        nursery.cancel_scope.cancel()


async def test_by_its_name_alone_a_session_is_judged_as_the_strictest_that_bears_it() -> None:
    here = pod()
    for issuer in (OURS, THEIRS):
        await here.check(issue(here, issuer))
    await here.settle()
    await here.intake.accept(high(Subject(user="ada", issuer=THEIRS)))
    answer = await here.checker.check_session("s1", Call("", frozenset({"c1"}), ip="192.0.2.1"))
    assert answer is not None
    assert answer.verdict is Verdict.STEP_UP


async def test_inspection_shows_whose_names_and_all_who_have_a_session() -> None:
    here = pod()
    for issuer in (OURS, THEIRS):
        await here.check(issue(here, issuer))
    await here.settle()
    await here.intake.accept(high(Subject(user="ada", issuer=THEIRS)))
    page = await here.inspector.sessions(SessionQuery(user="ada"))
    assert sorted(one.issuer for one in page.sessions) == [OURS, THEIRS]
    page = await here.inspector.sessions(SessionQuery(user="ada", issuer=OURS))
    assert [one.issuer for one in page.sessions] == [OURS]
    detail = await here.inspector.session("s1")
    assert detail is not None
    assert detail.summary.issuer == THEIRS
    assert [one.issuer for one in detail.others] == [OURS]
    with pytest.raises(InvalidQuery, match="issuer"):
        await here.inspector.sessions(SessionQuery(user="ada", issuer="https://k.example"))
