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


def print_explanation(explanation: Explanation, *, every: bool = True) -> None:
    """Print it. Not `every`: only the policies that are for this call."""
    Console(highlight=False).print(tree(explanation, every=every))


def tree(
    explanation: Explanation, *, every: bool = True, named: frozenset[str] | None = None
) -> RenderableType:
    """Return the explanation as a tree: verdict, session, score, policies.

    `named`: of policies whose conditions do not hold only these are shown in full.
    """
    root = Tree(_verdict(explanation))
    _session(root, explanation)
    _score(root, explanation)
    shown = [p for p in explanation.policies if every or not p.outcome.is_elsewhere]
    for policy in shown:
        if named is None or policy.outcome is not PolicyOutcome.NOT_MET or policy.policy in named:
            _policy(root, policy)
        else:
            unmet = "; ".join(_unmet(policy.conditions))
            root.add(_text(f"{policy.policy}: {policy.outcome}: {unmet}", "dim"))
    left = len(explanation.policies) - len(shown)
    if left:
        root.add(_text(f"{left} more for other users, apps or contexts", "dim"))
    return root


def points(given: float, name: str, weight: float, half_life: float) -> str:
    """Say what a term gives to a score, of which weight, and how fast it fades."""
    fades = f", halves every {spelled(half_life)}" if half_life else ""
    return f"{given:.1f} {name} (of {weight:g}{fades})"


def _text(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)


def _verdict(explanation: Explanation) -> Text:
    where = ", ".join(explanation.contexts) or "a routine call"
    head = _text(explanation.verdict, _STYLE[explanation.verdict])
    head.append(plain(f" in {where} at {to_second(explanation.time)}: {explanation.why}"), style="")
    asked = []
    if explanation.acr_values:
        asked.append(f"acr_values {' '.join(explanation.acr_values)}")
    if explanation.max_age is not None:
        asked.append(f"max_age {explanation.max_age} s")
    if asked:
        head.append(plain(f" ({', '.join(asked)})"), style="dim")
    return head


def _session(root: Tree, explanation: Explanation) -> None:
    session = explanation.session
    facts = {
        "user": session.user,
        "groups": ", ".join(session.groups) or _unknown(session, "groups"),
        "roles": ", ".join(session.roles) or _unknown(session, "roles"),
        "app": explanation.app,
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


def _score(root: Tree, explanation: Explanation) -> None:
    score = explanation.score
    bounds = f"medium from {score.medium:g}, high from {score.high:g}"
    branch = root.add(_text(f"score {in_tenths(score.score):.1f}, {score.level} ({bounds})"))
    for term in score.terms:
        branch.add(_text(points(term.points, term.name, term.weight, term.half_life)))


def _policy(root: Tree, policy: PolicyExplanation) -> None:
    fires = policy.outcome.fires
    style = "bold red" if fires else "dim" if policy.outcome.is_elsewhere else "bold"
    state = "" if policy.state == "enabled" else f" [{policy.state}]"
    head = _text(f"{policy.policy}{state}: {policy.outcome}", style)
    head.append(plain(f" - {policy.why}"), style="")
    branch = root.add(head)
    if policy.outcome is PolicyOutcome.DISABLED:
        return
    for name, match in (
        ("users", policy.users),
        ("apps", policy.apps),
        ("contexts", policy.contexts),
    ):
        branch.add(_text(f"{_tick(match.matches)} {name}: {match.why}"))
    if policy.conditions is None:
        branch.add(_text(f"{_tick(True)} no conditions"))
    else:
        _condition(branch, policy.conditions)
    for cause in policy.causes:
        branch.add(_text(f"{_fate(cause)}: {cause.text}"))
    if policy.since is not None and policy.mark and not policy.grant.block:
        branch.add(_text(f"mark: a sign-in must be later than {to_second(policy.since)}"))
    if policy.outcome is PolicyOutcome.IN_GRACE and policy.binds_from is not None:
        branch.add(
            _text(f"grace: {spelled(policy.grace)}, it binds from {to_second(policy.binds_from)}")
        )
    _grant(branch, policy)


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


def _grant(branch: Tree, policy: PolicyExplanation) -> None:
    grant = policy.grant
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


def _alternative(alternative: AlternativeExplanation) -> str:
    controls = " and ".join(alternative.controls)
    if not alternative.possible:
        return f"grant: {controls}: no sign-in helps, the device is not known to be compliant"
    if alternative.shown is not None:
        return f"grant: {controls}: shown {to_second(alternative.shown)}"
    missing = "" if len(alternative.controls) == 1 else f"{' and '.join(alternative.missing)} "
    return f"grant: {controls}: " + (
        "satisfied" if alternative.satisfied else f"{missing}not shown since"
    )
