"""Announcements to others: each change once, under an id that follows from what it says."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.announcement import (
    ASSURANCE,
    PRESENTED,
    REVOKED,
    RISK,
    AssuranceChanged,
    Present,
    PresentedElsewhere,
    RiskChanged,
    SessionOver,
    SessionOwner,
    TopicAnnouncement,
    fades,
    news_of,
    revocation,
)
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import (
    AssuranceLowered,
    Fact,
    Revoked,
    RiskReported,
    Scope,
    SignalRaised,
)
from sidecar.domain.policy.conditional_access import Changed, Circumstance, RiskLevel
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.risk import Rating, Thresholds, Weight
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import (
    AWAY,
    FAR,
    HOME,
    WORLD,
    established,
    evaluator,
    network_of,
    policy,
    sighted,
    signed_in,
    stamp,
)

WHOM = SessionOwner("s1", "alice")
MOVED = evaluator(policy(Changed((Circumstance.COUNTRY,)), name="moved"))


def present(judge: Evaluator, facts: list[Fact], now: float) -> Present:
    state = judge.fold("x", facts)
    moment = int(now * MICROSECONDS)
    return Present(judge, state, judge.standing(state, moment), moment)


def found(
    facts: list[Fact], now: float, sent: dict[str, bytes] | None = None, judge: Evaluator = MOVED
) -> dict[str, TopicAnnouncement]:
    return {one.topic: one for one in news_of(WHOM, sent or {}, present(judge, facts, now))}


def sent_after(
    news: dict[str, TopicAnnouncement], sent: dict[str, bytes] | None = None
) -> dict[str, bytes]:
    return {**(sent or {}), **{topic: one.value for topic, one in news.items()}}


def test_a_session_that_nothing_happened_to_is_no_news() -> None:
    assert found(established(), 2000) == {}


def test_a_first_sign_in_and_a_stronger_one_are_no_news_while_nothing_was_sent() -> None:
    assert found([*established(), signed_in(1500, 1499)], 2000) == {}


def test_a_mark_voids_what_was_shown_before_it() -> None:
    news = found([*established(acr="mfa"), sighted(1500, AWAY)], 1501)[ASSURANCE]
    sent = news.announcement
    assert sent.change == AssuranceChanged(previous="mfa", current="none", rose=False)
    assert (sent.at, sent.session, sent.user) == (1500, "s1", "alice")
    assert sent.text.startswith("moved: country: PT, since ")


def test_a_proof_restores_what_was_shown_with_it() -> None:
    facts = [*established(acr="mfa"), sighted(1500, AWAY)]
    sent = sent_after(found(facts, 1501))
    facts.append(signed_in(1510, 1509, "phr"))
    news = found(facts, 1511, sent)[ASSURANCE]
    expected = AssuranceChanged(previous="none", current="phishing-resistant", rose=True)
    assert news.announcement.change == expected
    assert news.value > sent[ASSURANCE]


def test_a_sign_in_that_does_not_suffice_raises_the_level_and_no_more() -> None:
    facts = [*established(acr="mfa"), sighted(1500, AWAY)]
    sent = sent_after(found(facts, 1501))
    facts.append(signed_in(1510, 1509, "single-factor"))
    change = found(facts, 1511, sent)[ASSURANCE].announcement.change
    assert change == AssuranceChanged(previous="none", current="single-factor", rose=True)


def test_a_mark_that_goes_by_itself_gives_back_what_was_shown() -> None:
    facts = [*established(acr="mfa"), sighted(1500, AWAY)]
    sent = sent_after(found(facts, 1501))
    facts.append(sighted(1600, HOME))
    change = found(facts, 1601, sent)[ASSURANCE].announcement.change
    assert change == AssuranceChanged(previous="none", current="mfa", rose=True)


def test_a_score_that_rises_and_fades_is_reported_both_times_with_hysteresis() -> None:
    raised = SignalRaised(
        stamp=stamp(1500), scope=Scope.SESSION, name="malware", weight=80, half_life=3600
    )
    facts = [*established(), raised]
    news = found(facts, 1501)
    rise = RiskChanged(previous=RiskLevel.LOW, current=RiskLevel.HIGH)
    assert news[RISK].announcement.change == rise
    sent = sent_after(news)
    assert fades(sent)
    assert RISK not in found(facts, 1500 + 1000, sent)  # 66 points: above 70 less 10
    fall = found(facts, 1500 + 2 * 3600, sent)
    change = fall[RISK].announcement.change
    assert change == RiskChanged(previous=RiskLevel.HIGH, current=RiskLevel.LOW)
    assert not fades(sent_after(fall, sent))


def test_what_others_say_of_a_session_is_not_passed_on() -> None:
    reported = RiskReported(stamp=stamp(1500), scope=Scope.SESSION, level=RiskLevel.HIGH)
    lowered = AssuranceLowered(stamp=stamp(1500, "l"), level="none")
    world = Rating({"session-risk-high": Weight(90)}, Thresholds())
    judge = Evaluator((), WORLD._replace(rating=world), Surroundings("", network_of))
    facts = [*established(acr="mfa"), reported, lowered]
    assert judge.scene(judge.fold("x", facts), 1501 * MICROSECONDS).score == 90
    assert found(facts, 1501, judge=judge) == {}


def test_another_country_is_reported_and_another_address_there_is_not() -> None:
    facts = [*established(), sighted(1500, AWAY)]
    news = found(facts, 1501)
    assert news[PRESENTED].announcement.change == PresentedElsewhere()
    assert news[PRESENTED].announcement.text == "seen in PT, AS64497"
    sent = sent_after(news)
    assert PRESENTED not in found([*facts, sighted(1510, AWAY)], 1511, sent)
    assert PRESENTED in found([*facts, sighted(1520, FAR)], 1521, sent)


def test_of_a_revoked_session_only_that_is_reported() -> None:
    facts = [
        *established(),
        sighted(1500, AWAY),
        Revoked(stamp=stamp(1600), scope=Scope.USER, reason="left"),
    ]
    assert found(facts, 1601) == {}
    state = MOVED.fold("x", facts)
    news = revocation(WHOM, state, b"0000001600000000a", 1600 * MICROSECONDS, "left")
    assert news.topic == REVOKED
    assert news.announcement.change == SessionOver()
    assert (news.announcement.at, news.announcement.text) == (1600, "left")


def test_who_finds_the_same_announces_it_under_the_same_id() -> None:
    facts = [*established(acr="mfa"), sighted(1500, AWAY)]
    one, other = found(facts, 1501), found(facts, 1502.5)
    for topic in (ASSURANCE, PRESENTED):
        assert one[topic].announcement.id == other[topic].announcement.id
        assert one[topic].before == other[topic].before
    assert one[ASSURANCE].announcement.id != one[PRESENTED].announcement.id
    assert one[ASSURANCE].announcement.cause == one[PRESENTED].announcement.cause
    elsewhere = news_of(SessionOwner("s2", "alice"), {}, present(MOVED, facts, 1501))
    assert {one.announcement.id for one in elsewhere}.isdisjoint(
        {news.announcement.id for news in one.values()}
    )


def test_a_clock_that_is_behind_announces_later_all_the_same() -> None:
    facts = [*established(acr="mfa"), sighted(1500, AWAY)]
    sent = sent_after(found(facts, 1600))
    facts.append(signed_in(1510, 1509))
    assert found(facts, 1511, sent)[ASSURANCE].value > sent[ASSURANCE]


_FACTS = st.lists(
    st.one_of(
        st.builds(sighted, st.integers(1100, 1900), st.sampled_from([HOME, AWAY, FAR])),
        st.integers(1100, 1900).flatmap(
            lambda second: st.builds(
                signed_in,
                st.just(second),
                st.just(second - 1),
                st.sampled_from(["single-factor", "mfa", "phr"]),
            )
        ),
        st.builds(
            lambda second, level: RiskReported(stamp=stamp(second), scope=Scope.USER, level=level),
            st.integers(1100, 1900),
            st.sampled_from(RiskLevel),
        ),
    ),
    max_size=8,
    unique_by=lambda fact: fact.stamp,
)


@given(_FACTS, st.integers(0, 8))
def test_what_was_sent_is_no_news_and_what_was_sent_only_grows(facts: list[Fact], cut: int) -> None:
    facts = sorted(facts, key=lambda fact: fact.stamp)
    first = [*established(), *facts[:cut]]
    sent = sent_after(found(first, 1901))
    assert found(first, 1901, sent) == {}
    later = [*established(), *facts]
    news = found(later, 2000, sent)
    for topic, one in news.items():
        assert one.value > sent.get(topic, b"")
        assert one.before == sent.get(topic, b"")
    assert found(later, 2000, sent_after(news, sent)) == {}


@given(st.binary(max_size=24))
def test_whatever_the_store_says_was_sent_there_is_an_answer(sent: bytes) -> None:
    facts = [*established(acr="mfa"), sighted(1500, AWAY)]
    news = found(facts, 1501, {ASSURANCE: sent, RISK: sent, PRESENTED: sent})
    assert set(news) <= {ASSURANCE, RISK, PRESENTED}
