"""Conditions as generated functions: what makes them hold, without the causes.

Most policies hold for few sessions. So it is asked of all first which of them hold, by functions
that are generated once for a set of policies, and only then by which causes (`conditions`).

What is generated is a Python function for each condition: the tests of its parts, joined by `and`,
`or` and `not`. Nothing of a policy is ever written into the source: the tests are closures, and
stand in it by numbers that the namespace maps to them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from sidecar.domain.policy.conditional_access import All, AnyOf, Not, key_of
from sidecar.domain.session.scene import (
    ALWAYS,
    ConditionCheck,
    Finding,
    Found,
    Holds,
    Needs,
    Scene,
    Test,
)
from sidecar.domain.session.state import Cause

_JOINED = {key_of(All): " and ", key_of(AnyOf): " or "}
_ALL, _INVERTED = key_of(All), key_of(Not)


def holds_of(checks: Sequence[ConditionCheck | None]) -> tuple[Holds, ...]:
    """Return for each condition (None: there is none) the function that says whether it holds."""
    tests: dict[int, int] = {}
    namespace: dict[str, object] = {}
    lines: list[str] = []
    for at, check in enumerate(checks):
        if check is not None:
            lines += [
                f"def holds{at}(scene, needs):",
                f"    return {_code(check, tests, namespace)}",
            ]
    exec(compile("\n".join(lines), "<conditions>", "exec"), namespace)  # noqa: S102 - numbers only
    return tuple(_named(namespace, at, check) for at, check in enumerate(checks))


def _named(namespace: dict[str, object], at: int, check: ConditionCheck | None) -> Holds:
    if check is None:
        return _always
    function: Holds = namespace[f"holds{at}"]  # type: ignore[assignment]
    return function


def _always(_scene: Scene, _needs: Needs) -> bool:
    return True


def _code(check: ConditionCheck, tests: dict[int, int], namespace: dict[str, object]) -> str:
    if check.kind == _INVERTED:
        return f"not {_code(check.parts[0], tests, namespace)}"
    joined = _JOINED.get(check.kind)
    if joined is not None:
        parts = [_code(part, tests, namespace) for part in check.parts]
        # An empty `all` holds, and an empty `any` does not.
        return f"({joined.join(parts)})" if parts else str(joined == " and ")
    holds = check.holds or _by_test(check.test)
    number = tests.setdefault(id(holds), len(tests))
    namespace[f"test{number}"] = holds
    return f"test{number}(scene, needs)"


def _by_test(test: Test) -> Holds:
    def holds(scene: Scene, needs: Needs) -> bool:
        return test(scene, needs).holds

    return holds


def is_quick(check: ConditionCheck | None) -> bool:
    """Return whether to find by which causes it holds takes little longer than whether it does."""
    if check is None or check.quick:
        return True
    joined = check.kind in _JOINED or check.kind == _INVERTED
    return joined and all(map(is_quick, check.parts))


class FoundCauses:
    """Makes of conditions the functions that find by which causes they hold, if they do.

    Only those parts are asked for causes that decide. `numbered` are the parts that several
    conditions have: in a scene, each of them is asked once for the same needs.
    """

    __slots__ = ("_numbered",)

    def __init__(self, checks: Iterable[ConditionCheck | None]) -> None:
        counted = Counter(leaf for check in checks if check is not None for leaf in _leaves(check))
        several = (leaf for leaf, count in counted.items() if count > 1)
        self._numbered = {leaf: -1 - number for number, leaf in enumerate(several)}

    def of(self, check: ConditionCheck | None, *, wanted: bool = True) -> Found:
        """Return what finds the causes for which a condition holds, or does not where `wanted` so.

        Where parts are joined, a `not` goes to each of them, and turns `and` into `or`.
        """
        if check is None:
            return _found_always
        if check.kind == _INVERTED:
            return self.of(check.parts[0], wanted=not wanted)
        if check.kind in _JOINED:
            parts = tuple(self.of(part, wanted=wanted) for part in check.parts)
            if len(parts) == 1:
                return parts[0]
            return _found_of_all(parts) if (check.kind == _ALL) is wanted else _found_of_any(parts)
        number = self._numbered.get((id(check.test), wanted))
        found = _found_by(check, wanted=wanted)
        return found if number is None else _once(found, number)


def _leaves(check: ConditionCheck, *, wanted: bool = True) -> Iterator[tuple[int, bool]]:
    if check.kind == _INVERTED:
        yield from _leaves(check.parts[0], wanted=not wanted)
    elif check.kind in _JOINED:
        for part in check.parts:
            yield from _leaves(part, wanted=wanted)
    else:
        yield id(check.test), wanted


def _found_always(_scene: Scene, _needs: Needs) -> tuple[Cause, ...]:
    return (ALWAYS,)


def _found_of_all(parts: tuple[Found, ...]) -> Found:
    def found(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        causes: tuple[Cause, ...] = ()
        for part in parts:
            more = part(scene, needs)
            if more is None:
                return None
            causes += more
        return causes

    return found


def _found_of_any(parts: tuple[Found, ...]) -> Found:
    def found(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        causes: tuple[Cause, ...] | None = None
        for part in parts:
            more = part(scene, needs)
            if more is not None:
                causes = more if causes is None else causes + more
        return causes

    return found


def _found_by(check: ConditionCheck, *, wanted: bool) -> Found:
    test, holds = check.test, check.holds
    if check.found is not None:
        return check.found[0 if wanted else 1]
    if holds is None or check.quick:

        def tested(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
            finding = test(scene, needs)
            return finding.causes if finding.holds is wanted else None

        return tested

    def found(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        return test(scene, needs).causes if holds(scene, needs) is wanted else None

    return found


def _once(found: Found, number: int) -> Found:
    def once(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        known, key = scene.found, (number, id(needs))
        if key in known:
            return known[key]
        causes = known[key] = found(scene, needs)
        return causes

    return once


def remembered(found: Found, number: int) -> Test:
    """Return the test of a rule's condition, which is asked once in a scene for the same needs.

    `number` names the condition; needs must be interned by whoever asks, and be kept alive.
    """
    once = _once(found, number)

    def test(scene: Scene, needs: Needs) -> Finding:
        causes = once(scene, needs)
        return Finding(causes is not None, causes or ())

    return test
