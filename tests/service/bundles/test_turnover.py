"""The turn from one bundle to the next: who judges by which, and who by none."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.service.bundles.turnover import HOLD, Turnover
from sidecar.wire.bundles.bundle import Bundle, Contents, Manifest
from sidecar.wire.bundles.generations import (
    ACTIVE,
    DROPPED,
    PROPOSE,
    SEALED,
    Generation,
    NamedGenerations,
    PolicyAct,
    encode,
    field_of,
    generations_in,
)

SECOND = 1_000_000


class Sets:
    """Policies that are swapped by their bundle's number."""

    def __init__(self) -> None:
        self.judging = 0
        self.stale: set[int] = set()

    async def prepare(self, bundle: Bundle) -> int:
        return bundle.sequence

    def is_current(self, prepared: int) -> bool:
        return prepared not in self.stale

    def swap(self, prepared: int) -> None:
        self.judging = prepared

    async def followed(self) -> None:
        pass


def bundle(number: int) -> Bundle:
    manifest = Manifest(1, number, 0, "", ())
    return Bundle(Contents(manifest, {}, f"digest-{number}"), "", "")


def generation(
    term: int, number: int, moment: int, act: PolicyAct = PolicyAct.ACTIVATE
) -> Generation:
    return Generation(term, number, f"digest-{number}", moment * SECOND, act, "ada", "why", 0)


class Sidecar:
    """One turnover, at a time that stands still, with a record of its own to read."""

    def __init__(self) -> None:
        self.now = 100.0
        self.record: dict[bytes, bytes] = {}
        self.sets = Sets()
        self.suspended: list[bool] = []
        self.turnover = Turnover(
            self.sets,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
            suspend=self.suspended.append,
        )

    def look(self) -> None:
        named = generations_in(self.record, int(self.now * SECOND))
        self.turnover.take(named, self.now)

    def have(self, number: int) -> None:
        self.turnover.hold(bundle(number), number)

    def judges(self) -> int:
        """By which bundle it judges now; 0: by none."""
        return self.sets.judging if self.turnover.passes(self.now) else 0

    def say(self, group: bytes, one: Generation) -> None:
        self.record[field_of(group, one.term)] = encode(one, one.term)

    def seal(self, term: int, moment: int) -> None:
        self.record[field_of(SEALED, term)] = encode(moment * SECOND, term)


@pytest.fixture
def sidecar() -> Sidecar:
    """One by which bundle 1 judges."""
    one = Sidecar()
    one.say(ACTIVE, generation(1, 1, 90))
    one.seal(1, 90)
    one.look()
    one.have(1)
    assert one.judges() == 1
    return one


def test_nothing_is_judged_before_any_bundle_is_in_force() -> None:
    one = Sidecar()
    one.look()
    assert one.judges() == 0
    assert "activate" in one.turnover.trouble()


def test_the_first_call_from_the_moment_on_turns_and_those_before_do_not(sidecar: Sidecar) -> None:
    sidecar.say(ACTIVE, generation(2, 2, 101))
    sidecar.seal(2, 101)
    sidecar.look()
    sidecar.have(2)
    assert sidecar.judges() == 1
    sidecar.now = 100.999
    assert sidecar.judges() == 1
    sidecar.now = 101
    assert sidecar.judges() == 2


def test_who_has_not_the_bundle_at_the_moment_judges_by_none_until_it_has(sidecar: Sidecar) -> None:
    sidecar.say(ACTIVE, generation(2, 2, 101))
    sidecar.seal(2, 101)
    sidecar.look()
    sidecar.now = 102
    assert sidecar.judges() == 0
    assert "not at hand" in sidecar.turnover.trouble()
    sidecar.have(2)
    assert sidecar.judges() == 2


def test_from_an_unsealed_moment_on_it_waits_for_the_seal(sidecar: Sidecar) -> None:
    sidecar.say(ACTIVE, generation(2, 2, 101))
    sidecar.have(2)
    sidecar.look()
    assert sidecar.judges() == 1
    sidecar.now = 101
    assert sidecar.judges() == 0
    sidecar.seal(2, 103)  # the store had acknowledged late
    sidecar.look()
    assert sidecar.judges() == 0
    sidecar.now = 103
    assert sidecar.judges() == 2


def test_while_a_proposal_stands_the_old_one_judges_only_just_after_the_store_was_asked(
    sidecar: Sidecar,
) -> None:
    sidecar.say(PROPOSE, generation(2, 2, 130))
    sidecar.look()
    assert sidecar.judges() == 1
    sidecar.now += HOLD + 0.01
    assert sidecar.judges() == 0
    sidecar.look()
    assert sidecar.judges() == 1


@pytest.mark.parametrize("ended", ["dropped", "too old"])
def test_a_proposal_that_is_over_holds_nobody_up(sidecar: Sidecar, ended: str) -> None:
    sidecar.say(PROPOSE, generation(2, 2, 130))
    if ended == "dropped":
        sidecar.record[field_of(DROPPED, 2)] = b"%016d" % 2
    else:
        sidecar.now = 130
    sidecar.look()
    sidecar.now += 10
    assert sidecar.judges() == 1


def test_what_was_prepared_beside_another_configuration_is_not_swapped_in(sidecar: Sidecar) -> None:
    sidecar.say(ACTIVE, generation(2, 2, 100))
    sidecar.seal(2, 100)
    sidecar.have(2)
    sidecar.look()
    sidecar.sets.stale.add(2)
    assert sidecar.judges() == 0
    assert [one.sequence for one in sidecar.turnover.wanted()] == [2]
    sidecar.sets.stale.clear()
    assert sidecar.judges() == 2


def test_a_forged_generation_leaves_the_old_one_in_force(sidecar: Sidecar) -> None:
    forged = generation(2, 2, 101)
    sidecar.say(ACTIVE, forged)
    sidecar.seal(2, 101)
    sidecar.look()
    sidecar.turnover.reject(forged)
    sidecar.now = 102
    assert sidecar.judges() == 1
    sidecar.say(ACTIVE, generation(3, 3, 101))
    sidecar.seal(3, 101)
    sidecar.have(3)
    sidecar.look()
    assert sidecar.judges() == 3


def test_a_store_that_has_lost_its_records_takes_no_bundle_out_of_force(sidecar: Sidecar) -> None:
    sidecar.record.clear()
    sidecar.look()
    sidecar.now += 60
    assert sidecar.judges() == 1
    assert sidecar.turnover.named.latest is not None


def test_nothing_outlives_a_turn(sidecar: Sidecar) -> None:
    sidecar.suspended.clear()
    sidecar.say(PROPOSE, generation(2, 2, 130))
    sidecar.look()
    assert sidecar.suspended == [True]
    sidecar.say(ACTIVE, generation(2, 2, 101))
    sidecar.seal(2, 101)
    sidecar.have(2)
    sidecar.look()
    sidecar.now = 101
    assert sidecar.judges() == 2
    assert sidecar.suspended == [True, False]


STEPS = st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 0.3)), max_size=40)


class Fleet:
    """Three that share a record, and an activation that reaches it late, and is acknowledged."""

    def __init__(self, late: float, *, all_have_it: bool) -> None:
        self.sidecars = [Sidecar() for _ in range(3)]
        self.record = self.sidecars[0].record
        self.sealed: int | None = None
        self._activated, self._acknowledged = 100.05 + late, 100.06 + late
        self.sidecars[0].say(ACTIVE, generation(1, 1, 90))
        self.sidecars[0].seal(1, 90)
        for number, one in enumerate(self.sidecars):
            one.record = self.record
            one.look()
            one.have(1)
            assert one.judges() == 1
            self.sidecars[0].say(PROPOSE, generation(2, 2, 130))
            one.look()  # or it would not be waited for
            if all_have_it or number:
                one.have(2)

    def step(self, now: float, who: int) -> None:
        """Let the time be this, and one of them look."""
        moment = int(100.7 * SECOND)
        if now >= self._activated and field_of(ACTIVE, 2) not in self.record:
            active = msgspec.structs.replace(generation(2, 2, 0), moment=moment)
            self.sidecars[0].say(ACTIVE, active)
        if now >= self._acknowledged and self.sealed is None:
            self.sealed = max(moment, int((now + HOLD) * SECOND))
            self.record[field_of(SEALED, 2)] = encode(self.sealed, 2)
        for one in self.sidecars:
            one.now = now
        self.sidecars[who].look()


@given(STEPS, st.floats(0.0, 3.0), st.booleans())
def test_no_sidecar_judges_by_the_old_one_from_the_sealed_moment_on(
    steps: list[tuple[int, float]], late: float, all_have_it: bool
) -> None:
    """Whenever each looks, and however late the store acknowledges the activation."""
    fleet, now = Fleet(late, all_have_it=all_have_it), 100.0
    judged: list[tuple[float, set[int]]] = []
    for who, step in steps:
        now += step
        fleet.step(now, who)
        judged.append((now, {one.judges() for one in fleet.sidecars}))
    sealed = float("inf") if fleet.sealed is None else fleet.sealed / SECOND
    assert all(by <= ({0, 2} if at >= sealed else {0, 1}) for at, by in judged)


def test_a_rollback_and_what_cannot_be_read_are_read_as_what_they_are() -> None:
    back = generation(3, 1, 95, PolicyAct.ROLLBACK)
    record = {field_of(ACTIVE, 3): encode(back, 3), field_of(ACTIVE, 4): b"of a newer version"}
    assert generations_in(record, 0) == NamedGenerations((back,), None, None, 4, unread=1)
