import pytest

from sidecar.service.admin.health import CONDITIONS, DRAINING, Condition, Health, HealthState


def all_good() -> Health:
    health = Health()
    for name in CONDITIONS:
        health.good(name)
    return health


def test_a_condition_that_nobody_reports_keeps_it_from_being_ready() -> None:
    health = Health()
    for name in CONDITIONS[1:]:
        health.good(name)
    assert not health.ready().ok
    assert health.live().ok
    assert health.ready().checks[0] == Condition(CONDITIONS[0], HealthState.BAD, "not up yet")


def test_ready_with_every_condition_met() -> None:
    assert all_good().ready().ok


@pytest.mark.parametrize("name", CONDITIONS)
def test_one_bad_condition_makes_it_unready_but_does_not_undo_the_start(name: str) -> None:
    health = all_good()
    health.bad(name, "gone")
    assert not health.ready().ok
    assert health.started().ok
    assert health.conditions[name].reason == "gone"
    health.good(name)
    assert health.ready().ok


def test_a_start_is_over_when_the_doors_are_open_whatever_is_missing_outside() -> None:
    health = Health()
    assert not health.started().ok
    health.good("doors")
    assert health.started().ok
    assert not health.ready().ok
    health.bad("doors", "closed again")
    assert health.started().ok


def test_the_loss_of_what_was_met_once_is_tolerated_where_that_is_asked() -> None:
    health = Health()
    for name in set(CONDITIONS) - {"store"}:
        health.good(name)
    assert not health.ready(["store"]).ok  # it was never there
    health.good("store")
    health.bad("store", "gone")
    assert not health.ready().ok
    assert not health.ready(["view"]).ok
    assert health.ready(["store"]).ok
    assert Condition("store", HealthState.BAD, "gone") in health.ready(["store"]).checks
    health.drain()
    assert not health.ready(["store", DRAINING]).ok


def test_each_change_of_readiness_is_reported_once() -> None:
    reports: list[bool] = []
    health = Health(on_change=lambda report: reports.append(report.ok))
    for name in CONDITIONS:
        assert reports == []
        health.good(name)
    health.limping("keys", "no keys of one")
    health.bad("store", "gone")
    health.bad("view", "gone")
    health.good("view")
    health.good("store")
    health.drain()
    assert reports == [True, False, True, False]


def test_limping_is_shown_and_ready() -> None:
    health = all_good()
    health.limping("store", "answers from the view")
    assert health.ready().ok
    assert Condition("store", HealthState.LIMPING, "answers from the view") in health.ready().checks


def test_a_reason_that_changes_with_time_is_given_as_it_is_when_it_is_asked_for() -> None:
    health = all_good()
    reasons = iter(["since 1 s", "since 2 s", "since 3 s"])
    health.limping("view", lambda: next(reasons))
    assert health.conditions["view"].reason == "since 2 s"
    assert Condition("view", HealthState.LIMPING, "since 3 s") in health.ready().checks
    health.good("view")
    assert health.conditions["view"] == Condition("view", HealthState.GOOD)


def test_draining_is_for_good() -> None:
    health = all_good()
    health.drain()
    health.good("store")
    assert not health.ready().ok
    assert health.started().ok
    assert [c.name for c in health.ready().checks if c.state is HealthState.BAD] == [DRAINING]


def test_an_unknown_condition_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Health().good("stroe")


def test_a_reload_may_bring_conditions_and_take_others_away() -> None:
    health = Health((*CONDITIONS, "gone"))
    for name in CONDITIONS:
        health.good(name)
    health.bad("gone", "for ever")
    assert not health.ready().ok
    health.have((*CONDITIONS, "new"))
    assert health.ready().ok
    assert health.conditions.keys() == {*CONDITIONS, "new"}
    health.limping("new", "not quite")
    health.drain()
    health.have(CONDITIONS)
    assert health.conditions.keys() == {*CONDITIONS, DRAINING}
    with pytest.raises(KeyError):
        health.good("new")
