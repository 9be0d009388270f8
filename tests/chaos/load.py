"""A steady load of events and checks on sidecars that may die, and what must hold of it."""

import json
import random
import threading
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any, NamedTuple, Self

from tests.stories.running import Client, token, unique
from tests.waiting import eventually

AGAIN = 3
"""One event in so many is sent once more, to any sidecar, as a sender that is unsure would."""


class Acknowledged(NamedTuple):
    """A mark that was acknowledged: when, of which session, and its token."""

    at: float
    user: str
    session: str
    weak: str


class Load(threading.Thread):
    """Check, event and check of one session after the other, through any of the sidecars.

    `bound` is in how many seconds a mark that was acknowledged must be in force everywhere.
    """

    def __init__(self, sockets: Sequence[str], seed: int, bound: float) -> None:
        super().__init__()
        self.sockets = sockets
        self.choose = random.Random(seed)
        self.bound = bound
        self.acknowledged: list[Acknowledged] = []
        self.tried: set[str] = set()
        self.wrong: list[str] = []
        self.refused = self.checks = self.repeated = 0
        self.ending = False

    def run(self) -> None:
        while not self.ending:
            self.begin(unique("user"), unique("session"))
            self.recheck()

    def ask(self, socket: str = "", **request: Any) -> dict[str, Any] | None:
        """One request, to any sidecar where none is named; None where that one is being killed."""
        try:
            with Client(socket or self.choose.choice(self.sockets)) as client:
                reply: dict[str, Any] = client.ask(**request)
                return reply
        except (OSError, json.JSONDecodeError):
            sleep(0.02)  # the pace of trying
            return None

    def check(self, weak: str, socket: str = "") -> object:
        """The decision; None where there is none."""
        reply = self.ask(socket, op="check", token=weak, context="c1", ip="192.0.2.1")
        return None if reply is None else reply.get("decision")

    def begin(self, user: str, session: str) -> None:
        weak = token(user, session)
        if self.check(weak) != "allow":
            self.refused += 1
            return
        event: dict[str, Any] = {
            "op": "event",
            "type": "network-change",
            "id": f"mark-{session}",
            "subject": {"session": session},
            "data": {"segment": "restricted"},
        }
        self.tried.add(session)  # who is killed, or refuses, may have kept it all the same
        socket = self.choose.choice(self.sockets)
        reply = self.ask(socket, **event)
        if reply is None or not reply["ok"] or reply.get("spooled"):
            self.refused += 1
            return
        self.acknowledged.append(Acknowledged(monotonic(), user, session, weak))
        if self.check(weak, socket) == "allow":
            self.wrong.append(session)  # where it was acknowledged it is in force at once
        if self.choose.randrange(AGAIN) == 0:
            again = self.ask(**event)
            self.repeated += again is not None and again["ok"]

    def recheck(self) -> None:
        """A check of a session whose mark was acknowledged more than the bound ago."""
        settled = [one for one in self.acknowledged if monotonic() - one.at > self.bound]
        if settled:
            one = self.choose.choice(settled)
            decision = self.check(one.weak)
            self.checks += decision is not None
            if decision == "allow":
                self.wrong.append(one.session)


class Loads:
    """Some of them at once. As a context they run; what they found is asked for afterwards."""

    def __init__(self, sockets: Sequence[str], *, bound: float, count: int = 2) -> None:
        self.sockets = sockets
        self.all = [Load(sockets, seed, bound) for seed in range(count)]

    def __enter__(self) -> Self:
        for load in self.all:
            load.start()
        return self

    def __exit__(self, *_: object) -> None:
        for load in self.all:
            load.ending = True
        for load in self.all:
            load.join()

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """Marks that were acknowledged."""
        return [one for load in self.all for one in load.acknowledged]

    @property
    def tried(self) -> set[str]:
        """Sessions whose mark may exist."""
        return {session for load in self.all for session in load.tried}

    def total(self, name: str) -> int:
        """The sum of a count."""
        return sum(getattr(load, name) for load in self.all)

    def must_hold(self, sockets: Sequence[str]) -> None:
        """No check was answered against a mark in force, and each is in force at all of these."""
        assert [session for load in self.all for session in load.wrong] == []
        for socket in sockets:
            with Client(socket) as client:
                for one in self.acknowledged:
                    eventually(
                        lambda one=one, client=client: client.check(one.weak).get("decision"),
                        lambda found: found == "step_up",
                        within=30,
                    )
