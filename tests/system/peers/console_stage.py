"""A daemon with a console, users and sessions of whom something is to be seen."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import httpx
import msgspec

from benchmarks.recordings import recording
from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Networks,
    PolicyState,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.tuning.report.report import encode
from sidecar.wire.settings.admin import OpenIdSettings, OperatorSettings, Role
from sidecar.wire.settings.settings import Settings
from tests.domain.scenes import policy
from tests.service.replaying import replay
from tests.stories.running import ISSUER, Client, Pods, running, token
from tests.tuning.replay.recordings import POLICIES as REPLAYED

CREDENTIALS = {role: f"the-credential-of-the-{role}" for role in Role}

HOSTILE = "<img src=x onerror=alert(1)>\"'&../..%2f\u202e"
"""A name that a page must show as it is, as text."""

HOSTILE_POLICY = "<b>lab</b>"

POLICIES = (
    policy(UserRisk(RiskLevel.HIGH), name="high-risk", contexts=frozenset({"c1"})),
    policy(
        Networks(Selection(frozenset({"lab"}))),
        name=HOSTILE_POLICY,
        contexts=frozenset({"c1", "c2"}),
    ),
    policy(
        Networks(Selection(frozenset({"lab"}))), name="from-the-lab", contexts=frozenset({"c2"})
    ),
    msgspec.structs.replace(
        policy(Changed((Circumstance.COUNTRY,)), name="new-country"), state=PolicyState.REPORT_ONLY
    ),
)


class Site:
    """The console of a running daemon."""

    def __init__(self, pods: Pods) -> None:
        self.pods = pods
        self.url = pods.addresses[0].admin[0]
        self.client: Client = pods.clients[0]

    def show(self, user: str, session: str, ip: str = "192.0.2.1") -> None:
        """Have a session be seen."""
        reply = self.client.check(token(user, session), "c2", ip)
        assert reply["ok"], reply

    def raise_risk(self, user: str, level: str = "HIGH") -> None:
        """Have a user's risk be reported."""
        reply = self.client.trusted(
            "risk-level-change", {"user": user}, data={"current_level": level}
        )
        assert reply["ok"], reply

    def metric(self, name: str) -> float:
        """The sum of a metric's series."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith(name))


def _with_operators(replays: Path, settings: Settings, _: int) -> Settings:
    operators = tuple(
        OperatorSettings(name=f"{role}-1", token=text, role=role)
        for role, text in CREDENTIALS.items()
    )
    openid = OpenIdSettings(issuer=ISSUER, client_id="console", redirect_uri="https://x.example/x")
    console = msgspec.structs.replace(settings.admin.console, replays=str(replays), openid=openid)
    admin = msgspec.structs.replace(settings.admin, operators=operators, console=console)
    return msgspec.structs.replace(settings, admin=admin)


@contextmanager
def staged(url: str, *, hostile: bool = True) -> Iterator[Site]:
    """A daemon on the store at `url`, with some sessions of a day; `hostile`: also such names."""
    policies = [one for one in POLICIES if hostile or one.id != HOSTILE_POLICY]
    with tempfile.TemporaryDirectory(prefix="replays-") as replays:
        _write_reports(Path(replays))
        with running(url, policies, 1, partial(_with_operators, Path(replays))) as pods:
            site = Site(pods)
            _act_out(site.client, hostile=hostile)
            yield site


def _write_reports(directory: Path) -> None:
    """Have an operator have replayed some weeks, and left something else beside it."""
    lines = islice(recording(7, users=8), 1600)
    report = replay(lines, REPLAYED, thresholds=["score=10..60"])
    (directory / "september.json").write_bytes(encode(report))
    (directory / "<i>.json").write_text("{}")
    os.utime(directory / "<i>.json", (1, 1))


def _act_out(client: Client, *, hostile: bool) -> None:
    """Have a day of signals pass: of Ada some, of others less."""
    begun = now() - 6 * 3600

    def say(hours: float, kind: str, subject: dict[str, str], **data: object) -> None:
        subject = {"issuer": ISSUER, **subject}
        reply = client.trusted(kind, subject, time=begun + hours * 3600, data=data)
        assert reply["ok"], reply

    for user, session, ip in (
        ("ada", "ada-laptop", "192.0.2.7"),
        ("ada", "ada-phone", "192.0.2.8"),
        ("grace", "grace-desk", "192.0.2.9"),
        (HOSTILE, HOSTILE, "192.0.2.10"),
    ):
        if user == HOSTILE and not hostile:
            continue
        auth = int(begun)
        say(
            0,
            "session-established",
            {"session": session, "user": user},
            acr="mfa",
            ip=ip,
            app="payroll",
            auth_time=auth,
        )
    say(0.2, "session-presented", {"session": "ada-laptop", "device": "thinkpad-7"}, ip="192.0.2.7")
    say(0.3, "device-compliance-change", {"device": "thinkpad-7"}, current_status="compliant")
    say(1, "session-presented", {"session": "ada-laptop"}, ip="192.0.2.200")
    say(
        1.5,
        "risk-signal",
        {"session": "ada-laptop"},
        name="odd-downloads",
        weight=35,
        half_life=3600,
    )
    say(2, "risk-level-change", {"user": "ada"}, current_level="MEDIUM")
    say(3.5, "risk-level-change", {"user": "ada"}, current_level="HIGH")
    say(4, "session-presented", {"session": "ada-phone"}, ip="192.0.2.200")
    say(4.5, "risk-level-change", {"user": "ada"}, current_level="MEDIUM")
    say(4.6, "device-compliance-change", {"device": "thinkpad-7"}, current_status="not-compliant")
    say(5, "risk-signal", {"user": "grace"}, name="impossible-travel", weight=60)
    say(5, "session-revoked", {"session": "grace-desk"}, reason="laptop stolen")
