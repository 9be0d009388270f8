"""Shared Signals in: every published example is pushed to a whole daemon, and does what it says."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import Claims, Device, RiskLevel, Signals, UserRisk
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Client, Pods, proofs_of_sessions, running, token, unique
from tests.stories.transmission import EXAMPLES, fresh, push, receiving, signed, stamped
from tests.waiting import eventually

RISC = frozenset(
    f"ssf-{name}"
    for name in (
        "account-credential-change-required",
        "credential-compromise",
        "identifier-changed",
        "recovery-activated",
        "recovery-information-changed",
    )
)
POLICIES = (
    policy(UserRisk(RiskLevel.MEDIUM), name="risk"),
    policy(Device(compliant=False), name="device"),
    policy(Signals(frozenset({"credential-change"})), name="credential"),
    policy(Signals(RISC), name="risc"),
    policy(
        Claims((("role", frozenset({"ro-admin"})),)),
        name="role",
    ),
    policy(Claims((("trusted_network", frozenset({"false"})),)), name="network"),
    policy(Claims((("token", frozenset({"some-token-value"})),)), name="token"),
    policy(
        Claims(
            (
                (
                    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/role",
                    frozenset({"ro-admin"}),
                ),
            )
        ),
        name="saml-role",
    ),
)
BASE = "https://schemas.openid.net/secevent/"
RISC_BASE = f"{BASE}risc/event-type/"


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    # A proof that comes as a SET is in no token that was issued before it.
    with running(
        valkey_server.url,
        POLICIES,
        change=lambda settings, _: proofs_of_sessions(receiving(settings)),
    ) as both:
        yield both


def allowed(answer: Any) -> bool:
    return bool(answer["decision"] == "allow")


def challenged(answer: Any) -> bool:
    return bool(answer["decision"] == "step_up")


def revoked(answer: Any) -> bool:
    return answer["status"] == 401 and any(
        reason["signal"] == "session-revoked" for reason in answer["reasons"]
    )


class Person:
    """Whom a SET is about, with a session and a device where it names them."""

    def __init__(self, sub_id: dict[str, Any]) -> None:
        members = sub_id if sub_id["format"] == "complex" else {"simple": sub_id}
        named = {kind: _name(members[kind]) for kind in members if isinstance(members[kind], dict)}
        simple = named.get("simple", "")
        is_session = sub_id["format"] in {"opaque", "jwt_id", "saml_assertion_id"}
        self.session = named.get("session") or (simple if is_session else unique("session"))
        self.user = named.get("user") or (unique("user") if is_session or not simple else simple)
        self.device = named.get("device") or unique("device")

    def token(self, **changes: Any) -> str:
        """Their token."""
        return token(self.user, self.session, deviceid=self.device, **changes)


def _name(identifier: dict[str, Any]) -> str:
    kept = ("sub", "id", "email", "phone_number", "jti", "assertion_id", "catalog_id")
    name = next(str(identifier[member]) for member in kept if member in identifier)
    return name.replace(" ", "") if "phone_number" in identifier else name


def event_of(claims: dict[str, Any]) -> str:
    return str(next(iter(claims["events"])).rpartition("/")[2])


def at_risk(a: Client, person: Person) -> None:
    """Since some seconds: what is to prove it away must lie in a later one."""
    high = {"current_level": "HIGH"}
    a.event("risk-level-change", {"user": person.user}, data=high, time=now() - 5)


def nothing(a: Client, person: Person) -> None:
    pass


Effect = tuple[Callable[[Client, Person], None], Callable[[Any], bool], Callable[[Any], bool]]
EFFECTS: dict[str, Effect] = {
    "session-revoked": (nothing, allowed, revoked),
    "sessions-revoked": (nothing, allowed, revoked),
    "account-disabled": (nothing, allowed, revoked),
    "account-purged": (nothing, allowed, revoked),
    "identifier-recycled": (nothing, allowed, revoked),
    "token-claims-change": (nothing, allowed, challenged),
    "credential-change": (nothing, allowed, challenged),
    "device-compliance-change": (nothing, allowed, challenged),
    "account-credential-change-required": (nothing, allowed, challenged),
    "identifier-changed": (nothing, allowed, challenged),
    "credential-compromise": (nothing, allowed, challenged),
    "recovery-activated": (nothing, allowed, challenged),
    "recovery-information-changed": (nothing, allowed, challenged),
    "assurance-level-change": (at_risk, challenged, allowed),
    "risk-level-change": (at_risk, challenged, allowed),
    "session-established": (nothing, allowed, allowed),
    "session-presented": (nothing, allowed, allowed),
    "account-enabled": (nothing, allowed, allowed),
    "opt-in": (nothing, allowed, allowed),
    "opt-out-initiated": (nothing, allowed, allowed),
    "opt-out-cancelled": (nothing, allowed, allowed),
    "opt-out-effective": (nothing, allowed, allowed),
}
"""What has happened before, how a sensitive call is answered then, and how after the SET."""

STREAM = ("verification", "stream-updated")
WITHOUT_EXAMPLE = (
    "account-purged",
    "account-enabled",
    "opt-in",
    "opt-out-initiated",
    "opt-out-cancelled",
    "opt-out-effective",
    "recovery-activated",
    "recovery-information-changed",
    "sessions-revoked",
)


def made_up(event: str) -> dict[str, Any]:
    """A SET of a RISC event for which the specification has no example."""
    like = next(one for one in EXAMPLES if one["title"] == "Example: Account Disabled")
    return {"title": event, "claims": {**like["claims"], "events": {RISC_BASE + event: {}}}}


ABOUT_SOMEBODY = [
    *(one for one in EXAMPLES if event_of(one["claims"]) not in STREAM),
    *map(made_up, WITHOUT_EXAMPLE),
]


def label(example: dict[str, Any]) -> str:
    return f"{event_of(example['claims'])}: {example['title']}"


def counted(pods: Pods, outcome: str, index: int = 0) -> float:
    return sample(pods, f'sidecar_security_event_tokens_total{{outcome="{outcome}"}}', index)


def sample(pods: Pods, name: str, index: int = 0) -> float:
    text = plain_http.get(f"{pods.addresses[index].admin[0]}/metrics", timeout=20).text
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


@pytest.mark.parametrize("example", ABOUT_SOMEBODY, ids=label)
def test_every_event_is_accepted_and_does_what_it_says(pods: Pods, example: Any) -> None:
    a, b = pods.clients
    claims = fresh(example)
    person = Person(claims["sub_id"])
    before, so, after = EFFECTS[event_of(claims)]
    assert allowed(b.check(person.token()))
    before(a, person)
    eventually(lambda: b.check(person.token()), so)

    answer = push(pods.addresses[0].receiver[0], signed(stamped(claims)))

    assert (answer.status_code, answer.content) == (202, b"")
    heard = eventually(lambda: b.check(person.token()), after)
    if after is challenged:
        assert heard["reasons"]


@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if event_of(one["claims"]) in STREAM], ids=label
)
def test_events_about_the_stream_are_accepted_and_counted(pods: Pods, example: Any) -> None:
    claims = fresh(example)
    for payload in claims["events"].values():
        payload.pop("state", None)  # that one we never gave
    before = counted(pods, "accepted")
    assert push(pods.addresses[0].receiver[0], signed(claims)).status_code == 202
    assert counted(pods, "accepted") == before + 1
