"""Two issuers, and two whole daemons: no name at one is anything at the other."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import Device, RiskLevel, UserRisk
from sidecar.wire.settings.settings import BreakGlass, Emergency, Settings
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import ISSUER, Pods, running, token, unique
from tests.waiting import eventually

PARTNER = "https://partner.example"
POLICIES = (
    policy(UserRisk(RiskLevel.HIGH), name="risk"),
    policy(Device(compliant=False), name="device"),
    policy(None, name="blocked", contexts=frozenset({"c2"}), block=True),
)
HIGH = {"current_level": "HIGH"}


def with_a_partner(settings: Settings, _: int) -> Settings:
    (ours,) = settings.tokens.issuers
    partner = msgspec.structs.replace(ours, issuer=PARTNER)
    glass = Emergency(issuer=ISSUER, users=("break-glass",), groups=("emergency",))
    return msgspec.structs.replace(
        settings,
        tokens=msgspec.structs.replace(settings.tokens, issuers=(ours, partner)),
        break_glass=BreakGlass(accounts=(glass,)),
    )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, POLICIES, change=with_a_partner) as both:
        yield both


def decisions(pods: Pods, shown: str, context: str = "c1") -> list[str]:
    return [client.check(shown, context)["decision"] for client in pods.clients]


def everywhere(pods: Pods, kind: str, subject: dict[str, str], **more: Any) -> None:
    reply = pods.clients[0].event(kind, subject, wait="everywhere", **more)
    assert (reply["ok"], reply["settled"]) == (True, True)


def test_a_partners_strong_sign_in_clears_no_mark_of_ours(pods: Pods) -> None:
    ada, session = unique("ada"), unique("session")
    ours = token(ada, session)
    assert decisions(pods, ours) == ["allow", "allow"]
    everywhere(pods, "risk-level-change", {"user": ada, "issuer": ISSUER}, data=HIGH)
    assert decisions(pods, ours) == ["step_up", "step_up"]
    theirs = token(ada, session, age=-1, acr="phr", issuer=PARTNER)
    assert decisions(pods, theirs) == ["allow", "allow"]
    assert decisions(pods, ours) == ["step_up", "step_up"]


def test_nor_does_it_undo_a_revocation_of_ours(pods: Pods) -> None:
    ada, session = unique("ada"), unique("session")
    ours = token(ada, session)
    decisions(pods, ours)
    everywhere(pods, "session-revoked", {"user": ada, "issuer": ISSUER})
    theirs = token(ada, session, age=-1, acr="phr", issuer=PARTNER)
    assert decisions(pods, theirs) == ["allow", "allow"]
    assert decisions(pods, ours) == ["deny", "deny"]


def test_the_risk_of_a_user_of_ours_is_not_that_of_a_partners(pods: Pods) -> None:
    ada = unique("ada")
    ours, theirs = token(ada, unique("session")), token(ada, unique("session"), issuer=PARTNER)
    decisions(pods, ours), decisions(pods, theirs)
    everywhere(pods, "risk-level-change", {"user": ada, "issuer": ISSUER}, data=HIGH)
    assert decisions(pods, ours) == ["step_up", "step_up"]
    assert decisions(pods, theirs) == ["allow", "allow"]


@pytest.mark.parametrize("claims", [{}, {"groups": ["emergency"]}])
def test_no_token_of_a_partners_is_of_an_emergency_account(
    pods: Pods, claims: dict[str, Any]
) -> None:
    name = unique("ada") if claims else "break-glass"
    for issuer, decision in ((ISSUER, "allow"), (PARTNER, "deny")):
        shown = token(name, unique("session"), issuer=issuer, **claims)
        assert decisions(pods, shown, "c2") == [decision, decision]


def test_a_device_of_a_partners_is_none_of_ours(pods: Pods) -> None:
    laptop = unique("laptop")
    ours = token(unique("ada"), unique("session"), deviceid=laptop)
    theirs = token(unique("bob"), unique("session"), deviceid=laptop, issuer=PARTNER)
    assert decisions(pods, ours) == decisions(pods, theirs) == ["allow", "allow"]
    device = {"device": laptop, "issuer": PARTNER}
    everywhere(pods, "device-compliance-change", device, data={"current_status": "not-compliant"})
    assert decisions(pods, ours) == ["allow", "allow"]
    assert decisions(pods, theirs) == ["step_up", "step_up"]


@pytest.mark.parametrize("by", ["event", "token"])
def test_no_revocation_by_session_is_drawn_to_somebody_else(pods: Pods, by: str) -> None:
    one, other = pods.clients
    session, zzz = unique("session"), unique("zzz")
    ours = token(unique("ada"), session)
    assert one.check(ours)["decision"] == "allow"
    claimed = token(zzz, session)
    if by == "event":
        other.event("session-established", {"session": session, "user": zzz, "issuer": ISSUER})
    else:
        assert other.check(claimed)["decision"] == "allow"
    reply = other.event("session-revoked", {"session": session}, wait="everywhere")
    assert (reply["ok"], reply["settled"]) == (True, True)
    assert decisions(pods, ours) == ["deny", "deny"]
    assert decisions(pods, claimed) == ["deny", "deny"]


def test_who_comes_to_have_a_revoked_session_later_is_refused(pods: Pods) -> None:
    session = unique("session")
    pods.clients[1].event("session-revoked", {"session": session})
    eventually(lambda: decisions(pods, token(unique("ada"), session)), ["deny", "deny"].__eq__)


@pytest.mark.parametrize(
    ("issuer", "heard"),
    [
        ("https://other.example", "is not configured"),
        ("", "is required: the subject is known at several issuers"),
    ],
)
def test_the_socket_reports_what_is_wrong_with_an_issuer(
    pods: Pods, issuer: str, heard: str
) -> None:
    (client, _), ada = pods.clients, unique("ada")
    for each in (ISSUER, PARTNER):
        client.check(token(ada, unique("session"), issuer=each))
    subject = {"user": ada, **({"issuer": issuer} if issuer else {})}
    medium = {"current_level": "MEDIUM"}
    reply = eventually(
        lambda: client.event("risk-level-change", subject, data=medium),
        lambda got: heard in got.get("message", ""),
    )
    assert (reply["error"], reply["field"]) == ("invalid_event", "subject.issuer")
