"""Two releases on one store, whose facts are of two versions: nothing of either is misread."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.adapters.servers import serving
from tests.stories.running import CREDENTIAL, ISSUER, Client, token, unique
from tests.system.processes import Process, daemons, level
from tests.system.releases import LATER
from tests.waiting import eventually

POLICIES = """\
policies:
  - id: risky
    state: enabled
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: medium}}
    grant: mfa
"""


class Side(NamedTuple):
    process: Process
    client: Client

    def decision(self, user: str, session: str, context: str = "c1", **more: Any) -> str:
        return str(self.client.check(token(user, session, **more), context)["decision"])

    def says(self, type: str, subject: dict[str, str], **more: Any) -> None:  # noqa: A002
        reply = self.client.trusted(type, {**subject, "issuer": ISSUER}, **more)
        assert reply["ok"], reply

    def set_aside(self) -> float:
        return level(self.process, 'sidecar_facts_set_aside_total{reason="version"}')


class Sides(NamedTuple):
    now: Side
    later: Side


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    directory = tmp_path_factory.mktemp("two")
    (directory / "credential").write_text(CREDENTIAL)
    source = {
        "name": "idp",
        "token_file": str(directory / "credential"),
        "may": ["risk-level-change", "session-revoked"],
        "may_identify": True,
    }
    extra = {"sources": [source]}
    with (
        serving() as store,
        daemons(directory, store.url, "now", extra=extra, policies=POLICIES) as (now,),
    ):
        later = Process(directory, "later", store.url, extra, LATER)
        try:
            with Client(str(now.socket)) as a, Client(str(later.socket)) as b:
                yield Sides(Side(now, a), Side(later, b))
        finally:
            later.end()


def test_what_one_release_says_of_a_user_the_other_asks_a_sign_in_for(sides: Sides) -> None:
    for here, there in ((sides.now, sides.later), (sides.later, sides.now)):
        user = unique("ada")
        assert here.decision(user, user) == "allow"
        here.says("risk-level-change", {"user": user}, data={"current_level": "HIGH"})
        eventually(lambda here=here, user=user: here.decision(user, user), lambda d: d == "step_up")
        assert there.decision(user, user) == "step_up"
        for side in sides:  # a routine call goes on, at both
            assert side.decision(user, user, "") == "allow"


def test_a_revocation_by_one_release_ends_the_session_at_the_other(sides: Sides) -> None:
    for here, there in ((sides.now, sides.later), (sides.later, sides.now)):
        user = unique("bob")
        for side in (here, there):
            assert side.decision(user, user, "") == "allow"
        here.says("session-revoked", {"session": user})
        eventually(
            lambda side=there, user=user: side.decision(user, user, ""), lambda d: d == "deny"
        )
        assert here.decision(user, user, "") == "deny"


def test_a_mark_of_one_release_is_not_logged_as_withdrawn_by_the_other(sides: Sides) -> None:
    """Both log what they find; a mark that is logged stays until somebody signs in."""
    for here, there in ((sides.now, sides.later), (sides.later, sides.now)):
        user = unique("eve")
        assert here.decision(user, user) == "allow"
        here.says("risk-level-change", {"user": user}, data={"current_level": "HIGH"})
        eventually(lambda here=here, user=user: _logged(here, "session-marked", user), bool)
        assert there.decision(user, user) == "step_up"
        eventually(lambda there=there, user=user: _logged(there, "session-marked", user), bool)
        seen = [_logged(side, "mark-cleared", user) for side in sides]
        assert seen == [[], []]


def test_what_cannot_be_read_is_counted_and_logged_at_both(sides: Sides) -> None:
    user = unique("kim")
    for side in sides:
        side.decision(user, user)
    for side in sides:
        eventually(side.set_aside, bool)
        lines = eventually(lambda side=side: side.process.lines("facts-set-aside"), bool)
        assert {line["reason"] for line in lines} == {"version"}


def _logged(side: Side, event: str, user: str) -> list[str]:
    return [one["policy"] for one in side.process.lines(event) if one["session"] == user]
