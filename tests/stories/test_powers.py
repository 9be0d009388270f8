"""The table of powers, each cell at the door where its speaker speaks, on running daemons.

Before a word is said, somebody else has said what it would loosen, so that the session is marked,
refused, or in a policy's reach. What is refused or joined leaves it so.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.facts.fact_kinds import SIGNALS
from sidecar.domain.policy.conditional_access import (
    Claims,
    Networks,
    Policy,
    RiskLevel,
    Selection,
    Signals,
    UserRisk,
)
from sidecar.domain.sources.powers import Cell, Effect, Speaker, cells
from sidecar.shared_signals.wire.security_events import CAEP
from sidecar.wire.settings.app import ProofOf
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver, SubjectMatch, SubjectSettings
from sidecar.wire.settings.settings import Assurance, BreakGlass, Settings
from sidecar.wire.settings.sources import SourceSettings
from tests.adapters.identity import Signer, key_set
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import CREDENTIAL, ISSUER, Pods, running, token, unique
from tests.stories.transmission import push, signed
from tests.waiting import eventually, into_next_second

SETS = Signer("ES256")
AUTHORIZATION = "Bearer of-the-transmitters"
POWERLESS, MIGHTY = "a-credential-without-powers", "a-credential-with-all-powers"
LOCAL, BY_UID, WITHOUT_POWERS = range(3)
"""The pods: where peers are local, where their uid is a mighty source, and one without powers."""

POLICIES: tuple[Policy, ...] = (
    policy(UserRisk(RiskLevel.HIGH), name="risk"),
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
    policy(Signals(frozenset({"odd"})), name="signal"),
    policy(Claims((("clearance", frozenset({"low"})),)), name="clearance"),
)
EVENTS = tuple(kind for kind in SIGNALS if kind not in {"network-change", "risk-signal"})


def mighty(name: str, **known_by: Any) -> SourceSettings:
    return SourceSettings(
        name=name,
        may_loosen=SIGNALS,
        may_prove=True,
        may_identify=True,
        over=("idp", "local:payroll"),
        **known_by,
    )


def change(settings: Settings, pod: int) -> Settings:
    directory = Path(settings.socket.path).parent
    for name, secret in (("weak", POWERLESS), ("strong", MIGHTY)):
        (directory / name).write_text(secret)
    (directory / "sets.json").write_bytes(key_set(SETS))
    (directory / "push").write_text(AUTHORIZATION)
    powers = [
        *settings.sources,
        SourceSettings(name="weak", token_file=str(directory / "weak")),
        mighty("strong", token_file=str(directory / "strong")),
        mighty("strong-set", transmitter="strong-set", issuers=(ISSUER,)),
        SourceSettings(name="weak-set", transmitter="weak-set", issuers=(ISSUER,)),
        mighty("agent", uids=(os.getuid() if pod == BY_UID else 4_000_000,)),
        SourceSettings(
            name="bystander", uids=(os.getuid() if pod == WITHOUT_POWERS else 4_000_001,)
        ),
    ]
    transmitters = tuple(
        KnownTransmitter(
            name=name,
            issuer=f"https://{name}.example",
            audiences=("us",),
            jwks_file=str(directory / "sets.json"),
            authorization_file=str(directory / "push"),
            events=EVENTS,
            subjects=SubjectSettings(
                user=(SubjectMatch(format="opaque"),),
                device=(SubjectMatch(format="opaque"),),
                session=(SubjectMatch(format="opaque"),),
            ),
        )
        for name in ("weak-set", "strong-set")
    )
    return msgspec.structs.replace(
        settings,
        sources=tuple(powers),
        receiver=Receiver(bind="127.0.0.1:0", transmitters=transmitters),
        # What an event proves it proves for the session, and for no token in particular.
        assurance=Assurance(proof_of=ProofOf.SESSION),
        break_glass=BreakGlass(groups=("emergency",)),
    )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, 3, change) as three:
        yield three


class Scene:
    """A session that somebody else has said something of, and how its sensitive call fares."""

    def __init__(self, pods: Pods) -> None:
        self.pods = pods
        self.names = {kind: unique(kind) for kind in ("user", "session", "device")}
        self.token = token(self.names["user"], self.names["session"])
        for client in pods.clients:  # each has seen the token
            assert client.check(self.token)["decision"] == "allow"

    def decision(self) -> str:
        answer = self.pods.clients[LOCAL].check(self.token)
        return str(answer["decision"])

    def heard(self, kind: str, *about: str, credential: str = CREDENTIAL, **data: Any) -> None:
        reply = self.pods.clients[LOCAL].event(
            kind, self.subject(*about), data=data, credential=credential
        )
        assert reply["ok"], reply

    def subject(self, *about: str) -> dict[str, str]:
        return {kind: self.names[kind] for kind in about}


class Said(NamedTuple):
    """A word at a door: whom it is about, what was said before by another, and its data."""

    about: tuple[str, ...]
    data: dict[str, Any]
    before: Callable[[Scene], None] = lambda _scene: None
    shows: bool = False
    """Whether the session is marked before, so that what becomes of the word can be seen."""


def at_risk(scene: Scene) -> None:
    scene.heard("risk-level-change", "user", current_level="HIGH")


def restricted(scene: Scene) -> None:
    scene.heard("network-change", "session", segment="restricted")


def on_device(scene: Scene) -> None:
    scene.heard("session-presented", "session", "device", ip="192.0.2.1")
    scene.names["device"] = unique("other")


SAID: dict[str, Said] = {
    "established": Said(("session", "user"), {"ip": "192.0.2.1"}),
    "established-sign-in": Said(
        ("session", "user"), {"acr": "phr", "auth_time": 0}, at_risk, shows=True
    ),
    "established-device": Said(("session", "user", "device"), {"ip": "192.0.2.1"}, on_device),
    "established-exp": Said(("session", "user"), {"ip": "192.0.2.1", "exp": 9_999_999_999}),
    "presented": Said(("session",), {"ip": "192.0.2.1"}),
    "presented-device": Said(("session", "device"), {"ip": "192.0.2.1"}, on_device),
    "revoked": Said(("session",), {"reason": "left"}),
    "segment": Said(("session",), {"segment": "office"}, restricted, shows=True),
    "not-compliant": Said(("device",), {"current_status": "not-compliant"}),
    "compliant": Said(("device",), {"current_status": "compliant"}),
    "own-compliant": Said(("device",), {"current_status": "compliant"}),
    "risk-high": Said(("user",), {"current_level": "HIGH"}),
    "risk-lower": Said(("user",), {"current_level": "LOW"}, at_risk, shows=True),
    "credential": Said(("user",), {"credential_type": "password", "change_type": "update"}),
    "assurance-falls": Said(
        ("session",),
        {"namespace": "n", "current_level": "single-factor", "change_direction": "decrease"},
    ),
    "assurance-rises": Said(
        ("session",), {"namespace": "n", "current_level": "phr"}, at_risk, shows=True
    ),
    "claims": Said(
        ("session",),
        {"claims": {"clearance": "high"}},
        lambda scene: scene.heard("token-claims-change", "session", claims={"clearance": "low"}),
        shows=True,
    ),
    "identity": Said(("session",), {"claims": {"groups": ["emergency"]}}, at_risk, shows=True),
    "risk-signal": Said(
        ("session",),
        {"name": "odd", "weight": 0, "half_life": 0},
        lambda scene: scene.heard("risk-signal", "session", name="odd", weight=80, half_life=3600),
        shows=True,
    ),
}


def say(pods: Pods, cell: Cell, scene: Scene, said: Said) -> tuple[bool, str]:
    """Say a word at the door of its speaker; whether it was taken, and else why not."""
    word, about = cell.word, scene.subject(*said.about)
    data = dict(said.data)
    if "auth_time" in data:
        data["auth_time"] = int(now())
    if cell.speaker is Speaker.TRANSMITTER:
        return say_as_set(pods, cell, about, data)
    pod, shown = LOCAL, {}
    match cell.speaker:
        case Speaker.UID:
            pod = BY_UID if cell.empowered else WITHOUT_POWERS
        case Speaker.CREDENTIAL:
            shown = {"credential": MIGHTY if cell.empowered else POWERLESS}
        case _:
            pass
    if word.name == "own-compliant":
        before = {"current_status": "not-compliant"}
        assert pods.clients[pod].event(word.type, about, data=before, **shown)["ok"]
    reply = pods.clients[pod].event(word.type, about, data=data, **shown)
    assert reply["ok"] or (reply["error"], reply["field"]) == ("not_allowed", word.field)
    return reply["ok"], reply.get("message", "")


def say_as_set(
    pods: Pods, cell: Cell, about: dict[str, str], data: dict[str, Any]
) -> tuple[bool, str]:
    """Say it as a signed Security Event Token."""
    transmitter = "strong-set" if cell.empowered else "weak-set"
    kinds = [dict(data)]
    if cell.word.name == "own-compliant":
        kinds.insert(0, {"current_status": "not-compliant"})
    for payload in kinds:
        payload.pop("auth_time", None)
        payload["event_timestamp"] = now()
        if cell.word.type == "risk-level-change":
            payload["principal"] = "USER"
        members = {kind: {"format": "opaque", "id": name} for kind, name in about.items()}
        claims = {
            "iss": f"https://{transmitter}.example",
            "jti": unique("jti"),
            "iat": int(now()),
            "aud": "us",
            "sub_id": {"format": "complex", **members},
            "events": {CAEP + cell.word.type: payload},
        }
        answer = push(
            pods.addresses[LOCAL].receiver[0], signed(claims, SETS), Authorization=AUTHORIZATION
        )
    assert answer.status_code in {202, 400}, answer.text
    if answer.status_code == 400:
        assert answer.json()["err"] == "access_denied", answer.text
        return False, answer.json()["description"]
    return True, ""


def can_be_said(cell: Cell) -> bool:
    """Whether this speaker has a door for it."""
    if cell.speaker in {Speaker.TOKEN, Speaker.OPERATOR} or cell.effect is Effect.UNSAID:
        return False
    by_set = cell.speaker is Speaker.TRANSMITTER
    return not (by_set and (cell.word.type not in EVENTS or cell.word.name == "established-exp"))


def name_of(cell: Cell) -> str:
    power = "with-power" if cell.empowered else "as-it-is"
    return f"{cell.word.name}-{cell.speaker.name.lower()}-{power}"


@pytest.mark.parametrize("cell", [one for one in cells() if can_be_said(one)], ids=name_of)
def test_a_word_has_the_effect_that_the_table_reports(pods: Pods, cell: Cell) -> None:
    scene, said = Scene(pods), SAID[cell.word.name]
    said.before(scene)
    if said.shows:
        assert scene.decision() == "step_up"
        if cell.empowered and cell.word.name in {"established-sign-in", "assurance-rises"}:
            into_next_second()
    taken, why = say(pods, cell, scene, said)
    if cell.effect is Effect.REFUSED:
        assert not taken
        assert cell.why.removeprefix("it takes ") in why, "the message names the setting"
    else:
        assert taken, why
    if said.shows and not (cell.speaker is Speaker.TRANSMITTER and "auth_time" in said.data):
        # CAEP's session-established does not say when its user signed in: that clears nothing.
        loosened = cell.effect is Effect.TAKEN
        if loosened:
            eventually(scene.decision, lambda decision: decision == "allow")
        assert scene.decision() == ("allow" if loosened else "step_up")
