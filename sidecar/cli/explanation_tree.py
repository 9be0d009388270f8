"""An explanation as a tree for people, with nothing in it that steers the terminal."""

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.text import Text
from rich.tree import Tree

from sidecar.cli.socket_options import plain
from sidecar.domain.explanation.explanation import (
    AlternativeExplanation,
    CauseExplanation,
    ConditionExplanation,
    Explanation,
    PolicyExplanation,
    PolicyOutcome,
    SessionExplanation,
)
from sidecar.domain.session.risk import in_tenths
from sidecar.domain.values.durations import spelled
from sidecar.domain.values.moments import to_second

_STYLE = {"allow": "bold green", "step_up": "bold yellow", "deny": "bold red"}
_ELSEWHERE = frozenset(
    {
        PolicyOutcome.DISABLED,
        PolicyOutcome.OTHER_USER,
        PolicyOutcome.OTHER_APP,
        PolicyOutcome.OTHER_CONTEXT,
    }
)


def print_explanation(told: Explanation, *, every: bool = True) -> None:
    """Print it. Not `every`: only the policies that are for this call."""
    Console(highlight=False).print(tree(told, every=every))


def tree(
    told: Explanation, *, every: bool = True, named: frozenset[str] | None = None
) -> RenderableType:
    """Return the explanation as a tree: verdict, session, score, policies.

    `named`: of policies whose conditions do not hold only these are told in full, others in a line.
    """
    root = Tree(_verdict(told))
    _session(root, told)
    _score(root, told)
    shown = [p for p in told.policies if every or p.outcome not in _ELSEWHERE]
    for policy in shown:
        if named is None or policy.outcome is not PolicyOutcome.NOT_MET or policy.policy in named:
            _policy(root, policy)
        else:
            unmet = "; ".join(_unmet(policy.conditions))
            root.add(_text(f"{policy.policy}: {policy.outcome}: {unmet}", "dim"))
    left = len(told.policies) - len(shown)
    if left:
        root.add(_text(f"{left} more for other users, apps or contexts", "dim"))
    return root


def points(given: float, name: str, weight: float, half_life: float) -> str:
    """Say what a term gives to a score, of which weight, and how fast it fades."""
    fades = f", halves every {spelled(half_life)}" if half_life else ""
    return f"{given:.1f} {name} (of {weight:g}{fades})"


def _text(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)


def _verdict(told: Explanation) -> Text:
    where = ", ".join(told.contexts) or "a routine call"
    head = _text(told.verdict, _STYLE[told.verdict])
    head.append(plain(f" in {where} at {to_second(told.time)}: {told.why}"), style="")
    asked = []
    if told.acr_values:
        asked.append(f"acr_values {' '.join(told.acr_values)}")
    if told.max_age is not None:
        asked.append(f"max_age {told.max_age} s")
    if asked:
        head.append(plain(f" ({', '.join(asked)})"), style="dim")
    return head


def _session(root: Tree, told: Explanation) -> None:
    session = told.session
    facts = {
        "user": session.user,
        "groups": ", ".join(session.groups) or _unknown(session, "groups"),
        "roles": ", ".join(session.roles) or _unknown(session, "roles"),
        "app": told.app,
        "ip": session.ip,
        "country": session.country,
        "network": session.network,
        "device": f"{session.device} ({session.compliance or 'unreported'})"
        if session.device
        else "",
        "revoked": session.revoked,
    }
    line = "; ".join(f"{name} {value}" for name, value in facts.items() if value)
    branch = root.add(_text(f"session: {line or 'nothing is known of it'}"))
    for sign_in in session.sign_ins:
        shown = " ".join(part for part in (sign_in.acr, "+".join(sign_in.amr)) if part) or "none"
        counts = ", ".join((sign_in.level or "no known level", *sign_in.strengths))
        branch.add(_text(f"signed in {to_second(sign_in.auth_time)}, {shown}: {counts}"))


def _unknown(session: SessionExplanation, kind: str) -> str:
    return "unknown" if kind in session.unknown else ""


def _score(root: Tree, told: Explanation) -> None:
    score = told.score
    bounds = f"medium from {score.medium:g}, high from {score.high:g}"
    branch = root.add(_text(f"score {in_tenths(score.score):.1f}, {score.level} ({bounds})"))
    for term in score.terms:
        branch.add(_text(points(term.points, term.name, term.weight, term.half_life)))


def _policy(root: Tree, told: PolicyExplanation) -> None:
    fires = told.outcome.fires
    style = "bold red" if fires else "dim" if told.outcome in _ELSEWHERE else "bold"
    state = "" if told.state == "enabled" else f" [{told.state}]"
    head = _text(f"{told.policy}{state}: {told.outcome}", style)
    head.append(plain(f" - {told.why}"), style="")
    branch = root.add(head)
    if told.outcome is PolicyOutcome.DISABLED:
        return
    for name, match in (("users", told.users), ("apps", told.apps), ("contexts", told.contexts)):
        branch.add(_text(f"{_tick(match.matches)} {name}: {match.why}"))
    if told.conditions is None:
        branch.add(_text(f"{_tick(True)} no conditions"))
    else:
        _condition(branch, told.conditions)
    for cause in told.causes:
        branch.add(_text(f"{_fate(cause)}: {cause.text}"))
    if told.since is not None and told.mark and not told.grant.block:
        branch.add(_text(f"mark: a sign-in must be later than {to_second(told.since)}"))
    if told.outcome is PolicyOutcome.IN_GRACE and told.binds_from is not None:
        branch.add(
            _text(f"grace: {spelled(told.grace)}, it binds from {to_second(told.binds_from)}")
        )
    _grant(branch, told)


def _unmet(node: ConditionExplanation | None) -> Iterator[str]:
    """Yield the conditions without parts that keep a policy from holding."""
    if node is None or node.holds:
        return
    if node.parts and node.kind != "not":
        for part in node.parts:
            yield from _unmet(part)
    else:
        asks = node.parts[0] if node.kind == "not" else node
        negated = "not " if node.kind == "not" else ""
        value = f": {asks.value}" if asks.value else ""
        yield f"{negated}{asks.kind} ({asks.asks}){value}"


def _fate(cause: CauseExplanation) -> str:
    return f"cause, {cause.fate}" if cause.fate else "cause"


def _tick(holds: bool) -> str:  # noqa: FBT001 - a mark for a truth
    return "+" if holds else "-"


def _condition(branch: Tree, node: ConditionExplanation) -> None:
    value = f": {node.value}" if node.value else ""
    text = f"{_tick(node.holds)} {node.kind} ({node.asks}){value}"
    below = branch.add(_text(text, "green" if node.holds else ""))
    for part in node.parts:
        _condition(below, part)


def _grant(branch: Tree, told: PolicyExplanation) -> None:
    grant = told.grant
    if grant.block:
        branch.add(_text("grant: block"))
    for alternative in grant.alternatives:
        if alternative.controls:
            branch.add(_text(f"{_tick(alternative.satisfied)} {_alternative(alternative)}"))
    if grant.sign_in_frequency is not None:
        until = f", met until {to_second(grant.met_until)}" if grant.met_until else ""
        branch.add(_text(f"sign-in frequency {spelled(grant.sign_in_frequency)}{until}"))
    if grant.every_time:
        spent = f", the latest bought one {to_second(grant.spent)}" if grant.spent else ""
        branch.add(_text(f"each call needs a sign-in of its own{spent}"))
    if grant.max_lifetime is not None:
        ends = f", ends {to_second(grant.life_ends)}" if grant.life_ends is not None else ""
        branch.add(_text(f"session lifetime {spelled(grant.max_lifetime)}{ends}"))


def _alternative(told: AlternativeExplanation) -> str:
    controls = " and ".join(told.controls)
    if not told.possible:
        return f"grant: {controls}: no sign-in helps, the device is not known to be compliant"
    if told.shown is not None:
        return f"grant: {controls}: shown {to_second(told.shown)}"
    missing = "" if len(told.controls) == 1 else f"{' and '.join(told.missing)} "
    return f"grant: {controls}: " + ("satisfied" if told.satisfied else f"{missing}not shown since")
