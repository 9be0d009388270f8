"""No sender's events take the log lines of another's: played at the doors of a real daemon.

The log names the first sessions of an event and counts the others. What is one event for that is
nothing a sender can choose for somebody else's: not its time, and not its id.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from sidecar.adapters.clock import now
from sidecar.adapters.telemetry.sampled_lines import IN_FULL
from tests.adapters.servers import Server
from tests.stories.running import Client, token, unique
from tests.system.processes import Process, daemons
from tests.waiting import eventually

POLICIES = """\
policies:
  - id: at-risk
    contexts: {include: [c1]}
    conditions: {any: [{user_risk: {at_least: high}}, {session_risk: {at_least: high}}]}
    grant: mfa
"""
IDP = "a-credential-of-the-identity-provider"
CROWD = IN_FULL + 10


class Case(NamedTuple):
    """An event, what it writes of each session, and how it ends again."""

    type: str
    data: dict[str, str]
    line: str


REVOKED = Case("session-revoked", {"reason": "gone"}, "session-revoked")
MARKED = Case("risk-level-change", {"current_level": "HIGH"}, "session-marked")
CLEARED = Case("risk-level-change", {"current_level": "LOW"}, "mark-cleared")


class Scene(NamedTuple):
    """A daemon, a peer of its socket, and its identity provider on another connection."""

    daemon: Process
    peer: Client
    idp: Client

    def session(self, user: str, device: str = "") -> str:
        session = unique("session")
        more: dict[str, Any] = {"deviceid": device} if device else {}
        assert self.peer.check(token(user, session, **more))["decision"] == "allow"
        return session

    def send(self, who: Client, case: Case, subject: dict[str, str], **more: Any) -> None:
        if who is self.idp:
            more["credential"] = IDP
        reply = who.ask(op="event", type=case.type, subject=subject, data=case.data, **more)
        assert reply["ok"], reply

    def stands(self, case: Case, session: str) -> None:
        """The session has a line of its own, and not one that stands for others as well."""
        eventually(
            lambda: [
                one
                for one in self.daemon.lines(case.line)
                if one["session"] == session and "and" not in one
            ],
            bool,
            within=20,
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, valkey_server: Server) -> Iterator[Scene]:
    with valkey_server.client() as client:
        client.flushall()
    directory = tmp_path_factory.mktemp("l")
    (directory / "idp").write_text(IDP)
    source = {
        "name": "idp",
        "token_file": str(directory / "idp"),
        "may_loosen": ["risk-level-change"],
    }
    extra = {"sources": [source]}
    with (
        daemons(directory, valkey_server.url, "a", extra=extra, policies=POLICIES) as (daemon,),
        Client(str(daemon.socket)) as peer,
        Client(str(daemon.socket)) as idp,
    ):
        yield Scene(daemon, peer, idp)


@pytest.mark.parametrize("before_all", [False, True], ids=["now", "before-the-sessions"])
@pytest.mark.parametrize("case", [REVOKED, MARKED], ids=lambda case: case.line)
def test_events_of_one_moment_leave_another_senders_its_lines(
    scene: Scene, case: Case, before_all: bool
) -> None:
    long_ago, name = now() - 1, unique("event")
    crowd = [unique("mallory") for _ in range(CROWD)]
    sessions = [scene.session(user) for user in crowd]
    victim = unique("ada")
    before, after = scene.session(unique("bob")), scene.session(victim)
    moment = long_ago if before_all else now()

    scene.send(scene.idp, case, {"session": before}, time=moment, id=f"{name}-0")
    for number, user in enumerate(crowd):
        scene.send(scene.peer, case, {"user": user}, time=moment, id=f"{name}-{number}")
    if not before_all:
        # Of whom the provider speaks, the peer speaks first, of that moment and by that id.
        scene.send(scene.peer, case, {"user": victim}, time=moment, id=name)
    scene.send(scene.idp, case, {"session": after}, time=moment, id=name)

    scene.stands(case, before)
    scene.stands(case, after)
    if not before_all:
        # And each of the peer's own events has its lines as well.
        for session in sessions:
            scene.stands(case, session)


def test_a_large_event_of_one_moment_leaves_another_senders_its_line(scene: Scene) -> None:
    device, name = unique("device"), unique("event")
    for _ in range(CROWD):
        scene.session(unique("mallory"), device)
    session, other = scene.session("ada", device), scene.session("bob")
    moment = now()
    scene.send(scene.peer, REVOKED, {"device": device}, time=moment, id=name)
    scene.send(scene.idp, REVOKED, {"session": session}, time=moment, id=name)
    scene.send(scene.idp, REVOKED, {"session": other}, time=moment, id=f"{name}-1")
    scene.stands(REVOKED, other)


def test_marks_that_are_taken_away_at_one_moment_leave_another_senders_its_line(
    scene: Scene,
) -> None:
    crowd = [unique("mallory") for _ in range(CROWD)]
    victim = unique("ada")
    sessions = [scene.session(user) for user in (*crowd, victim)]
    for case in (MARKED, CLEARED):
        second = now()
        for user in crowd:
            scene.send(scene.peer, case, {"user": user}, time=second, id=unique("event"))
        scene.send(scene.idp, case, {"user": victim}, time=second, id=unique("event"))
        scene.stands(case, sessions[-1])
