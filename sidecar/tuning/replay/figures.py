"""From what a replay counted to its report."""

import datetime as dt
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from sidecar.domain.policy.conditional_access import Policy, PolicyState, SessionControls
from sidecar.tuning.replay.comparison import comparison
from sidecar.tuning.replay.replay import CountOptions, ReplayOutcome
from sidecar.tuning.replay.run import PolicySet
from sidecar.tuning.replay.tally import Activity, Tally
from sidecar.tuning.replay.thresholds import Value
from sidecar.tuning.report.report import (
    SCHEMA,
    Bin,
    Curve,
    Day,
    DayTriggers,
    Flap,
    HourFigures,
    Labels,
    Pair,
    Point,
    PolicyFigures,
    Prompts,
    Recording,
    Report,
    SetFigures,
    SignalFigures,
    UserFigures,
    UserModel,
    Verdicts,
)


def report_of(
    recording: Recording,
    model: UserModel,
    outcomes: Sequence[ReplayOutcome],
    activity: Activity,
    counting: CountOptions,
) -> Report:
    """Return the report; the first policy set is compared with each other one."""
    labelled = recording.labelled > 0
    sets = tuple(_set(one, activity, counting, labelled=labelled) for one in outcomes)
    return Report(
        schema=SCHEMA,
        recording=recording,
        model=model,
        sets=sets,
        comparisons=tuple(
            comparison(sets[0], figures, outcomes[0].tally, outcome.tally, counting.top)
            for figures, outcome in zip(sets[1:], outcomes[1:], strict=True)
        ),
    )


def _set(
    outcome: ReplayOutcome, activity: Activity, counting: CountOptions, *, labelled: bool
) -> SetFigures:
    tally = outcome.tally
    policies = tuple(_policies(outcome, labelled=labelled))
    always = {policy.id for policy in outcome.policies.policies if _always_holds(policy)}
    return SetFigures(
        name=outcome.policies.name,
        policies=policies,
        never_fired=tuple(
            p.id
            for p in policies
            if not p.triggers and p.state != PolicyState.DISABLED.value and p.id not in always
        ),
        triggers=tuple(
            SignalFigures(policy=policy, signal=signal, report_only=tried, triggers=count)
            for (policy, signal, tried), count in sorted(
                tally.triggers.items(), key=lambda item: (-item[1], item[0])
            )
        ),
        hours=tuple(_hours(tally)),
        days=tuple(_days(tally)),
        verdicts=Verdicts(
            allow=tally.verdicts["allow"],
            step_up=tally.verdicts["step_up"],
            deny=tally.verdicts["deny"],
            revoked=tally.verdicts["revoked"],
        ),
        prompts=_prompts(tally, activity, counting),
        worst_users=_worst_users(tally, counting.top),
        flapping=tuple(
            Flap(session=session, user=user, policy=policy, times=times)
            for (session, user, policy), times in _most(tally.flapping, counting.top)
        ),
        pairs=tuple(_pairs(tally, outcome.policies)),
        curves=tuple(_curves(outcome, labelled=labelled)),
        labels=_labels(tally) if labelled else None,
    )


def _always_holds(policy: Policy) -> bool:
    """Return whether nothing brings a policy about: what is always required is no mark."""
    return policy.conditions is None and policy.session == SessionControls()


def _policies(outcome: ReplayOutcome, *, labelled: bool) -> Iterator[PolicyFigures]:
    tally = outcome.tally
    triggers: Counter[str] = Counter()
    for (name, _, _), count in tally.triggers.items():
        triggers[name] += count
    for policy in outcome.policies.policies:
        name = policy.id
        detected, false = tally.detected[name], tally.false_by_policy[name]
        yield PolicyFigures(
            id=name,
            state=policy.state.value,
            triggers=triggers[name],
            sessions=tally.marked.get(name, 0),
            prompts=tally.prompts_by_policy[name],
            refusals=tally.refusals_by_policy[name],
            flaps=tally.flaps[name],
            detected=detected if labelled else None,
            detection_rate=_rate(detected, tally.attacked) if labelled else None,
            false_sessions=false if labelled else None,
            false_rate=_rate(false, tally.legitimate) if labelled else None,
        )


def _hours(tally: Tally) -> Iterator[HourFigures]:
    for policy, tried in sorted({(policy, tried) for policy, tried, _ in tally.hours}):
        counts = tuple(tally.hours[policy, tried, hour] for hour in range(24))
        yield HourFigures(policy=policy, report_only=tried, triggers=counts)


def _days(tally: Tally) -> Iterator[DayTriggers]:
    for (day, policy, tried), count in sorted(tally.by_day.items()):
        date = dt.date.fromordinal(day).isoformat()
        yield DayTriggers(day=date, policy=policy, report_only=tried, triggers=count)


def _prompts(tally: Tally, activity: Activity, counting: CountOptions) -> Prompts:
    user_days = sum(len(days) for days in activity.days.values())
    counts: Counter[int] = Counter()
    for days in tally.by_user.values():
        counts.update(days.values())
    counts[0] = max(0, user_days - counts.total())
    over = {
        user: sum(count > counting.budget for count in days.values())
        for user, days in tally.by_user.items()
    }
    total = counts.total()
    return Prompts(
        total=tally.prompts,
        answered=tally.answered_prompts,
        refusals=tally.refusals,
        users=len(tally.by_user),
        user_days=total,
        mean=round(tally.prompts / total, 4) if total else 0.0,
        p50=_percentile(counts, 0.50),
        p95=_percentile(counts, 0.95),
        p99=_percentile(counts, 0.99),
        most=max(counts, default=0),
        repeated=tally.repeated,
        over_budget=sum(over.values()),
        users_over_budget=sum(days > 0 for days in over.values()),
        distribution=tuple(
            Bin(prompts=prompts, user_days=days) for prompts, days in sorted(counts.items())
        ),
        by_hour=tuple(tally.by_hour),
        by_day=tuple(_by_day(tally, activity)),
    )


def _percentile(counts: Counter[int], share: float) -> int:
    """Return the least value that at least `share` of all are not above (nearest rank)."""
    wanted = math.ceil(share * counts.total())
    below = 0
    for value in sorted(counts):
        below += counts[value]
        if below >= wanted:
            return value
    return 0


def _by_day(tally: Tally, activity: Activity) -> Iterator[Day]:
    users: Counter[int] = Counter()
    prompts: Counter[int] = Counter()
    for days in activity.days.values():
        users.update(days)
    for counted in tally.by_user.values():
        prompts.update(counted)
    for day in sorted(users.keys() | prompts.keys()):
        date = dt.date.fromordinal(day).isoformat()
        yield Day(day=date, users=users[day], prompts=prompts[day])


def _worst_users(tally: Tally, top: int) -> tuple[UserFigures, ...]:
    users = (
        UserFigures(user=user, prompts=days.total(), days=len(days), most=max(days.values()))
        for user, days in tally.by_user.items()
    )
    return tuple(sorted(users, key=lambda u: (-u.prompts, -u.most, u.user))[:top])


def _most(
    counter: Counter[tuple[str, str, str]], top: int
) -> list[tuple[tuple[str, str, str], int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:top]


def _pairs(tally: Tally, policies: PolicySet) -> Iterator[Pair]:
    """Yield the matrix, from how often which policies asked together."""
    asked: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    denied: Counter[tuple[str, str]] = Counter()
    for combination, count in tally.decisions.items():
        refusing = dict(combination)
        names = sorted(refusing)
        asked.update(dict.fromkeys(names, count))
        if len(names) == 1:
            alone[names[0]] += count
        for a, b in itertools.combinations_with_replacement(names, 2):
            both[a, b] += count
            if refusing[a] or refusing[b]:
                denied[a, b] += count
    order = {policy.id: at for at, policy in enumerate(policies.policies)}
    names = sorted(asked, key=lambda name: (order.get(name, len(order)), name))
    for a, b in itertools.combinations_with_replacement(names, 2):
        key = (a, b) if a <= b else (b, a)
        yield Pair(
            a=a,
            b=b,
            both=both[key],
            a_only=alone[a] if a == b else asked[a] - both[key],
            b_only=alone[b] if a == b else asked[b] - both[key],
            step_up=both[key] - denied[key],
            deny=denied[key],
        )


def _curves(outcome: ReplayOutcome, *, labelled: bool) -> Iterator[Curve]:
    tally = outcome.tally
    for place, (curve, counted) in enumerate(
        zip(outcome.policies.curves, outcome.curves, strict=True)
    ):
        points = []
        for at, variant in enumerate(outcome.policies.variants):
            if variant.curve != place:
                continue
            share = counted.at(at)
            points.append(
                Point(
                    value=_plain(variant.value),
                    is_current=variant.value == curve.current,
                    prompts=share.prompts,
                    change=share.prompts - counted.present.prompts,
                    refusals=share.refusals,
                    triggers=share.triggers,
                    detected=share.detected if labelled else None,
                    detection_rate=_rate(share.detected, tally.attacked) if labelled else None,
                    false_sessions=share.false_sessions if labelled else None,
                    false_rate=_rate(share.false_sessions, tally.legitimate) if labelled else None,
                )
            )
        yield Curve(
            policy=curve.policy,
            kind=curve.kind,
            report_only=curve.report_only,
            current=_plain(curve.current),
            points=tuple(points),
        )


def _plain(value: Value) -> float | str:
    return str(value) if isinstance(value, str) else value


def _labels(tally: Tally) -> Labels:
    return Labels(
        attacked=tally.attacked,
        legitimate=tally.legitimate,
        detected=tally.detected[""],
        detection_rate=_rate(tally.detected[""], tally.attacked),
        false_sessions=tally.false_sessions,
        false_rate=_rate(tally.false_sessions, tally.legitimate),
        false_prompts=tally.false_prompts,
    )


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
