"""Before and after: what a change of policies does to a report's figures, and to whom."""

from collections.abc import Iterator

from sidecar.tuning.replay.tally import Tally
from sidecar.tuning.report.report import Comparison, Difference, SetFigures, UserDifference


def comparison(
    before: SetFigures, after: SetFigures, tally_before: Tally, tally_after: Tally, top: int
) -> Comparison:
    """Return the first policy set against another."""
    return Comparison(
        before=before.name,
        after=after.name,
        figures=tuple(_figures(before, after)),
        policies=tuple(_policies(before, after)),
        users=tuple(_users(tally_before, tally_after, top)),
    )


def _figures(before: SetFigures, after: SetFigures) -> Iterator[Difference]:
    for name in (
        *("total", "users", "mean", "p50", "p95", "p99", "most"),
        *("repeated", "over_budget", "users_over_budget", "refusals"),
    ):
        one: float = getattr(before.prompts, name)
        other: float = getattr(after.prompts, name)
        yield _difference(f"prompts.{name}", one, other)
    for name in ("allow", "step_up", "deny"):
        yield _difference(
            f"verdicts.{name}", getattr(before.verdicts, name), getattr(after.verdicts, name)
        )
    if before.labels is not None and after.labels is not None:
        for name in ("detected", "detection_rate", "false_sessions", "false_rate", "false_prompts"):
            yield _difference(
                f"labels.{name}", getattr(before.labels, name), getattr(after.labels, name)
            )


def _policies(before: SetFigures, after: SetFigures) -> Iterator[Difference]:
    ones = {policy.id: policy.triggers for policy in before.policies}
    others = {policy.id: policy.triggers for policy in after.policies}
    for name in dict.fromkeys((*ones, *others)):
        yield _difference(name, ones.get(name), others.get(name))


def _difference(figure: str, before: float | None, after: float | None) -> Difference:
    change = None if before is None or after is None else round(after - before, 4)
    return Difference(figure=figure, before=before, after=after, change=change)


def _users(before: Tally, after: Tally, top: int) -> Iterator[UserDifference]:
    changes = []
    for user in before.by_user.keys() | after.by_user.keys():
        one = before.by_user[user].total() if user in before.by_user else 0
        other = after.by_user[user].total() if user in after.by_user else 0
        if one != other:
            changes.append((-abs(other - one), user, one, other))
    for _, user, one, other in sorted(changes)[:top]:
        yield UserDifference(user=user, before=one, after=other)
