import json
from typing import Any

import pytest

from sidecar.domain.facts.fact_kinds import Scope
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.operator_acts import (
    LONGEST_AGE,
    MAX_CONTEXTS,
    MAX_REASON,
    Act,
    Order,
    order_of,
    where_of,
)


def order(path: str = "/v1/sessions/s1/mark", **members: Any) -> Order:
    where = where_of(path)
    assert where is not None
    return order_of(where, json.dumps({"reason": "theft", **members}).encode())


@pytest.mark.parametrize(
    "path",
    ["/v1/sessions/s1", "/v1/sessions//mark", "/v1/apps/a/mark", "/v1/users/u/praise", "/v1/x"],
)
def test_another_path_is_no_act(path: str) -> None:
    assert where_of(path) is None


def test_an_order_is_read_from_the_path_and_the_body() -> None:
    read = order(
        "/v1/sessions/s%2F1/mark",
        issuer="https://id.example",
        user="ada",
        unseen=True,
        contexts=["c2", "c1", "c2"],
        acr="mfa",
        max_age=60,
    )
    assert (read.act, read.scope, read.name) == (Act.MARK, Scope.SESSION, "s/1")
    assert (read.contexts, read.acr, read.max_age) == (("c1", "c2"), "mfa", 60)
    assert (read.issuer, read.user, read.unseen) == ("https://id.example", "ada", True)
    assert order("/v1/users/ada/clear", dismiss_risk=True).dismiss_risk
    assert order("/v1/users/ada/mark", confirm_risk=True).confirm_risk
    assert order("/v1/devices/d/revoke").scope is Scope.DEVICE


@pytest.mark.parametrize(
    ("path", "members", "field"),
    [
        ("/v1/sessions/s1/mark", {"dismiss_risk": True}, ""),
        ("/v1/sessions/s1/clear", {"confirm_risk": True}, ""),
        ("/v1/sessions/s1/mark", {"confirm_risk": 1}, "confirm_risk"),
        ("/v1/sessions/s1/revoke", {"acr": "mfa"}, ""),
        ("/v1/users/ada/mark", {"user": "ada"}, "user"),
        ("/v1/users/%ff/mark", {}, "user"),
        ("/v1/users/%00/mark", {}, "user"),
        ("/v1/sessions/s1/mark", {"reason": None}, "reason"),
        ("/v1/sessions/s1/mark", {"reason": " "}, "reason"),
        ("/v1/sessions/s1/mark", {"reason": "x" * (MAX_REASON + 1)}, "reason"),
        ("/v1/sessions/s1/mark", {"issuer": 7}, "issuer"),
        ("/v1/sessions/s1/mark", {"unseen": "yes"}, "unseen"),
        ("/v1/sessions/s1/mark", {"contexts": []}, "contexts"),
        ("/v1/sessions/s1/mark", {"contexts": "c1"}, "contexts"),
        ("/v1/sessions/s1/mark", {"contexts": [1]}, "contexts"),
        ("/v1/sessions/s1/mark", {"contexts": ["c"] * (MAX_CONTEXTS + 1)}, "contexts"),
        ("/v1/sessions/s1/mark", {"max_age": 0}, "max_age"),
        ("/v1/sessions/s1/mark", {"max_age": True}, "max_age"),
        ("/v1/sessions/s1/mark", {"max_age": LONGEST_AGE + 1}, "max_age"),
    ],
)
def test_an_order_that_is_not_as_written_is_refused_by_its_field(
    path: str, members: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSignal) as refused:
        order(path, **members)
    assert refused.value.field == field


def test_a_body_that_is_no_object_is_refused() -> None:
    where = where_of("/v1/sessions/s1/mark")
    assert where is not None
    for body in (b"", b"[]", b'{"reason": "a", "reason": "b"}'):
        with pytest.raises(InvalidSignal, match="one JSON object"):
            order_of(where, body)


def test_the_same_id_means_the_same_however_it_waits() -> None:
    first = order(id="o1")
    assert first.content == order(id="o1", unseen=True).content == order(id="o2").content != ""
    assert first.content != order(id="o1", acr="mfa").content
    assert order().content == ""
