import random
from itertools import islice
from typing import Any

import msgspec
import pytest

from benchmarks.recordings import recording
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.tuning.report.report import Report, SetFigures, encode
from tests.service.replaying import SETTINGS, begin, call, replay, risk
from tests.tuning.replay.recordings import BOTH, COUNTRY, POLICIES, RISK, TEN, TINY


def only(report: Report) -> SetFigures:
    (figures,) = report.sets
    return figures


def test_the_figures_of_a_small_recording_are_those_counted_by_hand() -> None:
    report = replay(TINY, BOTH)
    figures = only(report)
    assert (report.recording.occurrences, report.recording.calls) == (13, 9)
    assert (report.recording.sessions, report.recording.users) == (2, 2)
    assert [(t.policy, t.signal, t.triggers) for t in figures.triggers] == [
        ("country", "session-presented", 1),
        ("risky", "risk-level-change", 1),
    ]
    hours = {row.policy: row.triggers.index(1) for row in figures.hours}
    assert hours == {"country": 11, "risky": 15}
    assert [(d.day, d.policy, d.report_only, d.triggers) for d in figures.days] == [
        ("2026-09-22", "country", False, 1),
        ("2026-09-22", "risky", False, 1),
    ]
    assert (figures.verdicts.allow, figures.verdicts.step_up, figures.verdicts.deny) == (6, 3, 0)
    prompts = figures.prompts
    assert (prompts.total, prompts.answered, prompts.users, prompts.user_days) == (2, 2, 1, 2)
    assert [(b.prompts, b.user_days) for b in prompts.distribution] == [(0, 1), (2, 1)]
    assert (prompts.p50, prompts.p95, prompts.most, prompts.mean) == (0, 2, 2, 1.0)
    assert [(at, n) for at, n in enumerate(prompts.by_hour) if n] == [(11, 1), (15, 1)]
    assert [(d.day, d.users, d.prompts) for d in prompts.by_day] == [("2026-09-22", 2, 2)]
    assert [(u.user, u.prompts, u.days, u.most) for u in figures.worst_users] == [("ada", 2, 1, 2)]
    assert figures.never_fired == ()
    assert figures.labels is None


def test_every_time_each_recorded_call_costs_a_sign_in() -> None:
    each = """policies:
  - {id: each, contexts: [c1], session: {sign_in_frequency: {interval: every_time, grace: 5s}}}
"""
    calls = [
        call(TEN + 60),  # by the sign-in of ten: passes
        call(TEN + 64),  # within the grace
        call(TEN + 70),  # asked
        call(TEN + 100),  # answered: passes
        call(TEN + 110),  # asked again
        call(TEN + 120, "c2"),  # another context: passes
        call(TEN + 1000),  # answered, but too long ago: asked once more
    ]
    figures = only(replay([begin(TEN), *calls], each))
    assert (figures.verdicts.allow, figures.verdicts.step_up) == (4, 3)
    assert (figures.prompts.total, figures.prompts.answered) == (3, 3)


def test_the_answer_of_an_earlier_prompt_does_not_excuse_a_later_cause() -> None:
    soon = [begin(TEN), risk(TEN + 10), call(TEN + 20), risk(TEN + 30, "LOW"), risk(TEN + 50)]
    assert only(replay([*soon, call(TEN + 60)], RISK)).prompts.total == 2


def test_unanswered_prompts_are_counted_once_for_a_cause() -> None:
    figures = only(replay(TINY, BOTH, answers=False))
    # Nothing is proven: the second journey is a cause of its own.
    assert (figures.prompts.total, figures.prompts.answered) == (3, 0)
    assert figures.verdicts.step_up == 5


def test_at_marks_every_mark_is_a_prompt_and_no_call_is_judged() -> None:
    figures = only(replay(TINY, BOTH, at_mark=True))
    assert (figures.prompts.total, figures.verdicts.allow) == (2, 0)
    quiet = [begin(TEN), risk(TEN + 5)]
    assert only(replay(quiet, RISK, at_mark=True)).prompts.total == 1
    assert only(replay(quiet, RISK)).prompts.total == 0


def test_a_recorded_sign_in_counts_as_the_proof() -> None:
    again = begin(TEN + 30, auth_time=TEN + 29)
    figures = only(replay([begin(TEN), risk(TEN + 10), again, call(TEN + 60)], RISK))
    assert (figures.triggers[0].triggers, figures.prompts.total) == (1, 0)


def test_a_token_that_a_check_shows_is_a_proof_too() -> None:
    shown = call(TEN + 60, acr="mfa", auth_time=TEN + 55)
    assert only(replay([begin(TEN), risk(TEN + 10), shown], RISK)).prompts.total == 0


def test_a_session_that_begins_later_is_judged_by_what_is_known_of_its_user() -> None:
    late = [risk(TEN), begin(TEN + 100, auth_time=TEN - 50), call(TEN + 200)]
    assert only(replay(late, RISK)).prompts.total == 1
    fresh = [risk(TEN), begin(TEN + 100, auth_time=TEN + 99), call(TEN + 200)]
    assert only(replay(fresh, RISK)).prompts.total == 0


def test_a_device_that_was_reported_before_the_session_came_to_it_counts() -> None:
    compliance = """\
policies:
  - id: device
    contexts: {include: [c1]}
    conditions: {device: {compliant: false}}
    grant: compliant-device
"""
    lines: list[dict[str, Any]] = [
        begin(TEN),
        call(TEN + 10),
        {
            "type": "device-compliance-change",
            "time": TEN + 20,
            "subject": {"device": "d1"},
            "data": {"current_status": "not-compliant"},
        },
        call(TEN + 30, device="d1"),
        call(TEN + 40),
    ]
    figures = only(replay(lines, compliance))
    assert (figures.verdicts.deny, figures.prompts.refusals, figures.prompts.total) == (2, 1, 0)


def test_what_comes_soon_again_flaps() -> None:
    lines = [begin(TEN)]
    for at in range(4):
        lines += [risk(TEN + 600 * at + 100), risk(TEN + 600 * at + 300, "LOW")]
    figures = only(replay(lines, RISK, flap_within=900))
    assert [(f.session, f.policy, f.times) for f in figures.flapping] == [("s1", "risky", 3)]
    assert figures.policies[0].flaps == 3
    assert not only(replay(lines, RISK, flap_within=300)).flapping


def test_report_only_policies_are_counted_apart_and_never_ask() -> None:
    tried = RISK.replace("contexts:", "state: report-only\n    contexts:")
    figures = only(replay([begin(TEN), risk(TEN + 10), call(TEN + 20), call(TEN + 30)], tried))
    assert (figures.verdicts.allow, figures.prompts.total) == (2, 0)
    (policy,) = figures.policies
    assert (policy.state, policy.triggers, policy.prompts) == ("report-only", 1, 1)
    assert figures.triggers[0].report_only


def test_policies_that_never_fire_are_named_and_disabled_ones_are_not() -> None:
    resting = RISK.replace("risky", "resting").replace(
        "contexts:", "state: disabled\n    contexts:"
    )
    figures = only(replay([begin(TEN), call(TEN + 5)], BOTH + resting.removeprefix("policies:\n")))
    assert figures.never_fired == ("country", "risky")
    assert [policy.state for policy in figures.policies] == ["enabled", "enabled", "disabled"]


def test_pairs_say_what_two_policies_decide_together() -> None:
    block = """\
  - id: blocked
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: high}}
    grant: block
"""
    lines = [
        begin(TEN),
        risk(TEN + 10, "MEDIUM"),
        call(TEN + 20),  # risky alone
        call(TEN + 100, away=True),  # country alone: the risk is proven
        risk(TEN + 200, "HIGH"),
        call(TEN + 210),  # risky and blocked
    ]
    pairs = {(p.a, p.b): p for p in only(replay(lines, BOTH + block)).pairs}
    both = pairs["risky", "blocked"]
    assert (both.both, both.a_only, both.b_only, both.step_up, both.deny) == (1, 1, 0, 0, 1)
    assert (pairs["country", "country"].both, pairs["country", "country"].a_only) == (1, 1)
    assert pairs["country", "risky"].both == 0


def test_labels_give_detection_and_false_prompts() -> None:
    lines = [
        begin(TEN, label="legitimate"),
        call(TEN + 10, label="legitimate"),
        call(TEN + 20, away=True, label="attack"),  # challenged, and nobody answers
        begin(TEN, "s2", "bob"),
        call(TEN + 30, session="s2", away=True, label="legitimate"),  # asked for nothing
        begin(TEN, "s3", "eve"),
        call(TEN + 40, session="s3", label="attack"),  # from home: not seen
        begin(TEN, "s4", "dan"),
    ]
    figures = only(replay(lines, BOTH))
    labels = figures.labels
    assert labels is not None
    assert (labels.attacked, labels.legitimate, labels.detected) == (2, 2, 1)
    assert (labels.detection_rate, labels.false_rate, labels.false_prompts) == (0.5, 0.5, 1)
    country, risky = figures.policies
    assert (country.detected, country.detection_rate, country.false_sessions) == (1, 0.5, 1)
    assert (risky.detected, risky.false_sessions) == (0, 0)
    assert (figures.prompts.total, figures.prompts.answered) == (2, 1)


def test_a_change_of_policies_is_reported_before_and_after() -> None:
    report = replay(TINY, BOTH, COUNTRY)
    (comparison,) = report.comparisons
    found = {d.figure: (d.before, d.after, d.change) for d in comparison.figures}
    assert list(found["prompts.total"]) == [2, 1, -1]
    assert {d.figure: (d.before, d.after) for d in comparison.policies} == {
        "country": (1, 1),
        "risky": (1, None),
    }
    assert [(u.user, u.before, u.after) for u in comparison.users] == [("ada", 2, 1)]
    assert encode(replay(TINY, COUNTRY))[20:] != encode(replay(TINY, BOTH))[20:]
    assert report.sets[1].prompts == only(replay(TINY, COUNTRY)).prompts


def sample(count: int = 2500, users: int = 12) -> list[dict[str, Any]]:
    return list(islice(recording(seed=3, users=users, carriers=False), count))


def test_a_replay_gives_the_same_report_every_time() -> None:
    lines = sample()
    first = encode(replay(lines, POLICIES))
    assert first == encode(replay(lines, POLICIES))
    assert only(replay(lines, POLICIES)).prompts.total > 10


@pytest.mark.parametrize("seed", range(3))
def test_order_within_the_window_does_not_matter(seed: int) -> None:
    lines = sample(800)
    dice = random.Random(seed)
    shuffled = sorted(lines, key=lambda line: line["time"] + dice.uniform(0, 590))
    assert shuffled != lines
    assert encode(replay(shuffled, POLICIES)) == encode(replay(lines, POLICIES))


def test_a_line_that_comes_twice_counts_once_and_one_that_is_late_is_left_out() -> None:
    twice = [begin(TEN), begin(TEN), call(TEN + 5), call(TEN + 5)]
    report = replay([*twice, call(TEN + 9000), call(TEN + 4)], RISK)
    assert (report.recording.repeated, report.recording.late) == (2, 1)
    assert report.recording.occurrences == 3
    assert report.recording.ends == (TEN + 9000) * MICROSECONDS / MICROSECONDS


def test_a_session_ends_and_what_was_counted_of_it_stays() -> None:
    later = [begin(TEN + 5 * 86400, auth_time=TEN + 5 * 86400 - 9), call(TEN + 5 * 86400 + 9)]
    report = replay([*TINY, *later], BOTH)
    assert report.recording.sessions == 3
    assert only(report).prompts.total == 2


def test_routes_give_calls_their_contexts() -> None:
    lines = [begin(TEN), risk(TEN + 5)]
    routed = call(TEN + 10) | {"method": "POST", "path": "/pay/change"}
    del routed["context"]
    assert only(replay([*lines, routed], RISK)).prompts.total == 1
    routine = routed | {"method": "GET"}
    assert only(replay([*lines, routine], RISK)).verdicts.allow == 1


def test_the_report_can_be_read_back() -> None:
    report = replay(TINY, BOTH, COUNTRY, thresholds=["risky"])
    assert msgspec.json.decode(encode(report), type=Report) == report


def test_an_attack_with_an_older_token_gains_nothing_by_an_answer() -> None:
    stolen: dict[str, Any] = {"acr": "single-factor", "auth_time": int(TEN) - 60}
    recording = [
        begin(TEN - 50, acr="single-factor", auth_time=int(TEN) - 60),
        call(TEN, **stolen),
        risk(TEN + 10),
        call(TEN + 20),  # its owner is asked, and answers
        call(TEN + 60),
        call(TEN + 70, label="attack", **stolen),
        call(TEN + 80),
    ]
    figures = only(replay(recording, RISK))
    assert (figures.verdicts.allow, figures.verdicts.step_up) == (3, 2)
    assert figures.prompts.answered == 1
    assert figures.labels is not None
    assert figures.labels.detected == 1
    of_session = f"{SETTINGS}assurance: {{proof_of: session}}\n"
    lenient = only(replay(recording, RISK, settings=of_session))
    assert (lenient.verdicts.allow, lenient.verdicts.step_up) == (4, 1)


def test_a_user_whose_calls_were_recorded_with_an_old_sign_in_answers_once() -> None:
    known: dict[str, Any] = {"acr": "mfa", "auth_time": int(TEN) - 1}
    later = [call(TEN + second, **known) for second in (20, 60, 90, 300)]
    figures = only(replay([begin(TEN), risk(TEN + 10), *later], RISK))
    assert (figures.prompts.total, figures.verdicts.step_up) == (1, 1)


ISSUERS = """
tokens:
  issuers:
    - {issuer: https://home.example, audiences: [payroll]}
    - {issuer: https://partner.example, audiences: [payroll], namespace: partners}
"""
HOME, PARTNER = {"issuer": "https://home.example"}, {"issuer": "https://partner.example"}


def of(issuer: dict[str, str], occurrence: dict[str, Any]) -> dict[str, Any]:
    """Return the same at an issuer."""
    subject = {**occurrence.get("subject", {}), **issuer}
    found = {**occurrence, "subject": subject}
    return {**found, "id": f"{occurrence.get('id', occurrence['time'])} {issuer['issuer']}"}


def test_a_user_of_one_issuer_is_not_that_of_another() -> None:
    found = [of(each, begin(TEN)) for each in (HOME, PARTNER)]
    found += [of(PARTNER, risk(TEN + 10, "HIGH"))]
    found += [of(each, call(TEN + 20 + at)) for at, each in enumerate((HOME, PARTNER))]
    report = replay(found, RISK, settings=SETTINGS + ISSUERS)
    assert (report.recording.sessions, report.recording.users) == (2, 2)
    assert [one.user for one in only(report).worst_users] == ["ada (partners)"]


def test_what_names_no_issuer_concerns_users_of_that_name_at_all_of_them() -> None:
    found = [of(each, begin(TEN)) for each in (HOME, PARTNER)]
    found += [risk(TEN + 10, "HIGH")]
    found += [of(each, call(TEN + 20 + at)) for at, each in enumerate((HOME, PARTNER))]
    users = only(replay(found, RISK, settings=SETTINGS + ISSUERS)).worst_users
    assert sorted(one.user for one in users) == ["ada (https://home.example)", "ada (partners)"]


def test_policies_select_the_issuers_of_a_recording() -> None:
    partners = RISK.replace("    grant: mfa", "    issuers: [partners]\n    grant: mfa")
    found = [of(HOME, begin(TEN)), of(HOME, risk(TEN + 10, "HIGH")), of(HOME, call(TEN + 20))]
    assert only(replay(found, partners, settings=SETTINGS + ISSUERS)).prompts.total == 0
    assert only(replay(found, RISK, settings=SETTINGS + ISSUERS)).prompts.total == 1
