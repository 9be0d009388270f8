"""Signed bundles on three real sidecars: activated under load, refused, and rolled back."""

import json
from pathlib import Path

import pytest

from tests.adapters.servers import Server
from tests.system.bundling import Asking, Operator, fleet
from tests.system.processes import level
from tests.waiting import eventually


@pytest.fixture
def operator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Operator:
    monkeypatch.setenv("SIDECAR_ADMIN__TOKEN", "operator")
    return Operator(tmp_path, capsys)


def test_a_bundle_is_activated_on_three_sidecars_and_no_check_is_answered_by_a_mixture(
    operator: Operator, valkey_server: Server
) -> None:
    with valkey_server.client() as client:
        client.flushall()
    for number in (1, 2):
        operator.sign(operator.build(number))
    operator.build(3)  # and nobody signs it
    with fleet(operator, valkey_server.url, "a", "b", "c") as sidecars:
        first = sidecars[0]
        assert "policies" in first.readiness()
        status, said = operator.order(first, "activate", "1")
        assert status == 0, said
        assert all("policies" not in one.readiness() for one in sidecars)
        with Asking(sidecars) as asking:
            eventually(asking.seen, lambda seen: seen > 20, within=60)
            status, said = operator.order(first, "activate", "2", "--json")
            assert status == 0, said
            moment = json.loads(said)["moment"]
            refused, said = operator.order(first, "activate", "3")
            assert refused == 1
            assert "unsigned" in said
            seen = asking.seen()
            eventually(asking.seen, lambda now: now > seen + 20, within=60)
        for judged in asking.judged.values():
            assert {one.generation for one in judged} <= {0, 1, 2}
            assert {one.generation for one in judged if one.sent >= moment} <= {0, 2}
            assert {one.generation for one in judged if one.answered < moment} <= {0, 1}
            assert {1, 2} <= {one.generation for one in judged}
        assert operator.order(sidecars[1], "activate", "1")[0] == 1  # it is older
        assert operator.order(sidecars[1], "rollback")[0] == 0
        with Asking(sidecars) as asking:
            eventually(asking.seen, lambda seen: seen > 2, within=60)
        assert {one.generation for judged in asking.judged.values() for one in judged} == {1}
        assert all(level(one, "sidecar_policy_bundle_sequence") == 1 for one in sidecars)


@pytest.mark.long
def test_each_of_many_turns_is_at_one_moment(operator: Operator, valkey_server: Server) -> None:
    """Forward and back under load: each check is judged by what was in force when it was sent."""
    with valkey_server.client() as client:
        client.flushall()
    rounds = 12
    for number in range(1, rounds + 1):
        operator.sign(operator.build(number))
    moments: list[tuple[float, int]] = []
    with fleet(operator, valkey_server.url, "a", "b", "c") as sidecars, Asking(sidecars) as asking:
        for number in range(1, rounds + 1):
            acts = [("activate", str(number))] + [("rollback",)] * (number % 3 == 0)
            for act in acts:
                seen = asking.seen()
                status, said = operator.order(sidecars[number % 3], *act, "--json")
                assert status == 0, said
                done = json.loads(said)
                moments.append((done["moment"], done["sequence"]))
                eventually(asking.seen, lambda now, seen=seen: now > seen + 20, within=60)
    for judged in asking.judged.values():
        for one in judged:
            during = {number for moment, number in moments if one.sent < moment <= one.answered}
            before = [number for moment, number in moments if moment <= one.sent]
            assert one.generation in {0, *before[-1:], *during}
