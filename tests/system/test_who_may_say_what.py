"""Who may say what, held from outside: two real processes, two issuers, four kinds of source.

Each test is an attack that once worked, played at the door where it was seen.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
import redis

from tests import plain_http
from tests.adapters.identity import Signer, key_set
from tests.adapters.servers import Server
from tests.stories.running import ISSUER, SIGNER, Client, unique
from tests.system.processes import Process, daemons
from tests.waiting import eventually

PARTNER = "https://partner.example"
PARTNER_SIGNER = Signer("ES256", number=7)
MDM, IDP = "a-credential-of-the-mdm", "a-credential-of-the-idp"

POLICIES = """\
policies:
  - id: risky-user
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: medium}}
    grant: phishing-resistant
  - id: restricted-segment
    contexts: {include: [c1]}
    conditions: {networks: {include: [restricted]}}
    grant: mfa
  - id: detected
    contexts: {include: [c1]}
    conditions: {signals: {include: [edr.malware], at_least: 20}}
    grant: mfa
  - id: sick-device
    contexts: {include: [c1]}
    conditions: {device: {compliant: false}}
    grant: block
  - id: finance-is-strong
    users: {include: {groups: [finance]}}
    contexts: {include: [c2]}
    grant: phishing-resistant
  - id: healthy-device
    contexts: {include: [c3]}
    grant: compliant-device
"""


class Fleet(NamedTuple):
    """Two pods on one store, with a client of each."""

    a: Process
    b: Process
    at_a: Client
    at_b: Client


def token(
    user: str,
    session: str,
    *,
    age: float = 600,
    acr: str = "single-factor",
    issuer: str = ISSUER,
    **more: Any,
) -> str:
    """A token of a sign-in `age` seconds ago; a claim that is None is left out."""
    now = time.time()  # noqa: TID251 - a token's own time
    claims = {
        "iss": issuer,
        "aud": "payroll",
        "azp": "payroll",
        "sub": user,
        "sid": session,
        "iat": int(now),
        "exp": int(now) + 3600,
        "auth_time": int(now - age),
        "acr": acr,
        "amr": None,
        **more,
    }
    return (SIGNER if issuer == ISSUER else PARTNER_SIGNER).token(**claims)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, valkey_server: Server) -> Iterator[Fleet]:
    """Two daemons, with an identity provider and a device management as sources."""
    directory = tmp_path_factory.mktemp("t")
    (directory / "partner.json").write_bytes(key_set(PARTNER_SIGNER))
    (directory / "mdm").write_text(MDM)
    (directory / "idp").write_text(IDP)
    issuers = [
        {"issuer": ISSUER, "audiences": ["payroll"], "jwks_file": str(directory / "jwks.json")},
        {
            "issuer": PARTNER,
            "audiences": ["payroll"],
            "jwks_file": str(directory / "partner.json"),
        },
    ]
    extra = {
        "tokens": {"issuers": issuers},
        "contexts": {"c1": {"name": "Pay"}, "c2": {"name": "Books"}, "c3": {"name": "Vault"}},
        "break_glass": {"accounts": [{"issuer": ISSUER, "groups": ["emergency"]}]},
        "sources": [
            {
                "name": "mdm",
                "token_file": str(directory / "mdm"),
                "may": ["device-compliance-change"],
                "may_loosen": ["device-compliance-change"],
                "issuers": [ISSUER],
            },
            {
                "name": "idp",
                "token_file": str(directory / "idp"),
                "may_loosen": ["risk-level-change"],
                "may_prove": True,
                "issuers": [ISSUER],
            },
        ],
    }
    with (
        daemons(directory, valkey_server.url, "a", "b", extra=extra, policies=POLICIES) as (a, b),
        Client(str(a.socket)) as at_a,
        Client(str(b.socket)) as at_b,
    ):
        yield Fleet(a, b, at_a, at_b)


def decision(client: Client, shown: str, context: str = "c1") -> str:
    return str(client.check(shown, context)["decision"])


def longest_life(server: Server) -> float:
    """The seconds for which the store keeps a record, at most."""
    with redis.Redis.from_url(server.url) as store:
        return max((store.pttl(key) for key in store.scan_iter(count=1000)), default=0) / 1000


def refusal(client: Client, shown: str) -> str:
    """Why a token is refused that its issuer signed; empty where it is not."""
    answer = client.check(shown, "")
    return str(answer["www_authenticate"].partition('error="')[2].partition('"')[0])


def http_of(pod: Process) -> httpx.Client:
    """A client of a pod's data listener, over its unix socket."""
    transport = httpx.HTTPTransport(
        uds=str(pod.socket.with_suffix(".http")), verify=plain_http.NO_CERTIFICATES
    )
    return httpx.Client(transport=transport, base_url="http://localhost")


def everywhere(fleet: Fleet, shown: str, wanted: str, context: str = "c1") -> None:
    for client in (fleet.at_a, fleet.at_b):
        eventually(lambda c=client: decision(c, shown, context), lambda one: one == wanted)


def said(client: Client, kind: str, subject: dict[str, str], data: Any, **more: Any) -> Any:
    return client.event(kind, subject, data=data, wait="everywhere", **more)


def test_a_peer_does_not_prove_a_session(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert decision(fleet.at_a, weak) == "allow"
    assert decision(fleet.at_b, weak) == "allow"
    said(
        fleet.at_a,
        "risk-level-change",
        {"user": user, "issuer": ISSUER},
        {"current_level": "HIGH"},
        credential=IDP,
    )
    everywhere(fleet, weak, "step_up")
    for data in (
        {"current_level": "phr"},
        {"current_level": "phr", "change_direction": "increase"},
    ):
        reply = said(fleet.at_b, "assurance-level-change", {"session": session}, data)
        assert (reply["ok"], reply["error"]) == (False, "not_allowed")
    now = int(time.time())  # noqa: TID251
    reply = said(
        fleet.at_b,
        "session-established",
        {"session": session, "user": user},
        {"acr": "phr", "auth_time": now + 30},
    )
    assert (reply["ok"], reply["error"]) == (False, "not_allowed")
    everywhere(fleet, weak, "step_up")


def test_a_peer_does_not_take_back_the_providers_risk_also_from_the_future(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert decision(fleet.at_a, weak) == "allow"
    now = time.time()  # noqa: TID251
    said(fleet.at_b, "risk-level-change", {"user": user}, {"current_level": "LOW"}, time=now + 50)
    said(
        fleet.at_a,
        "risk-level-change",
        {"user": user, "issuer": ISSUER},
        {"current_level": "HIGH"},
        credential=IDP,
    )
    everywhere(fleet, weak, "step_up")
    said(fleet.at_b, "risk-level-change", {"user": user}, {"current_level": "LOW"})
    everywhere(fleet, weak, "step_up")
    said(
        fleet.at_a,
        "risk-level-change",
        {"user": user, "issuer": ISSUER},
        {"current_level": "LOW"},
        credential=IDP,
    )
    everywhere(fleet, weak, "allow")


def test_a_peer_takes_back_what_it_said_itself(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert decision(fleet.at_a, weak) == "allow"
    said(fleet.at_a, "network-change", {"session": session}, {"segment": "restricted"})
    everywhere(fleet, weak, "step_up")
    said(fleet.at_b, "network-change", {"session": session}, {"segment": "office"})
    everywhere(fleet, weak, "allow")


def test_a_detection_keeps_the_greatest_weight_that_a_source_gives_it(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert decision(fleet.at_a, weak) == "allow"
    signal = {"name": "edr.malware", "weight": 80, "half_life": 3600}
    said(fleet.at_a, "risk-signal", {"session": session, "issuer": ISSUER}, signal, credential=IDP)
    everywhere(fleet, weak, "step_up")
    said(fleet.at_b, "risk-signal", {"session": session}, signal | {"weight": 0})
    everywhere(fleet, weak, "step_up")


def test_a_device_is_compliant_by_the_word_of_device_management_alone(fleet: Fleet) -> None:
    user, session, device = unique("user"), unique("session"), unique("device")
    weak = token(user, session, deviceid=device)
    assert decision(fleet.at_a, weak, "c3") == "deny"
    subject = {"device": device, "issuer": ISSUER}
    reply = said(fleet.at_a, "device-compliance-change", subject, {"current_status": "compliant"})
    assert (reply["ok"], reply["error"]) == (False, "not_allowed")
    assert "may_loosen" in reply["message"]
    said(
        fleet.at_a,
        "device-compliance-change",
        subject,
        {"current_status": "compliant"},
        credential=MDM,
    )
    everywhere(fleet, weak, "allow", "c3")
    said(fleet.at_b, "device-compliance-change", subject, {"current_status": "not-compliant"})
    everywhere(fleet, weak, "deny", "c3")
    # Its own word a peer may take back; then device management's counts again.
    reply = said(fleet.at_a, "device-compliance-change", subject, {"current_status": "compliant"})
    assert reply["ok"]
    everywhere(fleet, weak, "allow", "c3")


def test_taking_back_ones_own_word_makes_no_device_compliant(fleet: Fleet) -> None:
    device = unique("device")
    weak = token(unique("user"), unique("session"), deviceid=device)
    assert decision(fleet.at_a, weak, "c3") == "deny"
    subject = {"device": device, "issuer": ISSUER}
    for status in ("not-compliant", "compliant"):
        said(fleet.at_a, "device-compliance-change", subject, {"current_status": status})
    everywhere(fleet, weak, "deny", "c3")


def test_a_peer_has_no_session_kept_for_centuries(fleet: Fleet, valkey_server: Server) -> None:
    user, session, far = unique("user"), unique("session"), 9_999_999_999
    subject = {"session": session, "user": user, "issuer": ISSUER}
    before = longest_life(valkey_server)
    said(fleet.at_a, "session-established", subject, {"exp": far})
    assert longest_life(valkey_server) <= max(before, 31 * 86400)
    known, shown = unique("session"), unique("user")
    assert decision(fleet.at_a, token(shown, known)) == "allow"
    reply = said(
        fleet.at_a,
        "session-established",
        {"session": known, "user": shown, "issuer": ISSUER},
        {"exp": far},
    )
    assert (reply["ok"], reply["error"]) == (False, "not_allowed")


def test_a_peer_makes_nobody_break_glass(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    weak = token(user, session, groups=["finance"])
    everywhere(fleet, weak, "step_up", "c2")
    for subject in ({"session": session}, {"user": user, "issuer": ISSUER}):
        for credential in ({}, {"credential": IDP}):
            reply = said(
                fleet.at_a,
                "token-claims-change",
                subject,
                {"claims": {"groups": ["emergency"]}},
                **credential,
            )
            assert (reply["ok"], reply["error"]) == (False, "not_allowed")
    everywhere(fleet, weak, "step_up", "c2")


def test_a_source_says_only_what_it_may(fleet: Fleet) -> None:
    reply = said(
        fleet.at_a,
        "session-revoked",
        {"user": unique("user"), "issuer": ISSUER},
        {},
        credential=MDM,
    )
    assert (reply["ok"], reply["error"]) == (False, "not_allowed")
    reply = said(fleet.at_a, "session-revoked", {"user": unique("user")}, {}, credential="wrong")
    assert (reply["ok"], reply["error"]) == (False, "not_allowed")


def test_a_peer_does_not_move_a_session_to_another_device(fleet: Fleet) -> None:
    user, session, device = unique("user"), unique("session"), unique("device")
    weak = token(user, session, deviceid=device)
    assert decision(fleet.at_a, weak) == "allow"
    said(
        fleet.at_a,
        "device-compliance-change",
        {"device": device, "issuer": ISSUER},
        {"current_status": "not-compliant"},
        credential=MDM,
    )
    everywhere(fleet, weak, "deny")
    reply = said(
        fleet.at_b,
        "session-presented",
        {"session": session, "device": unique("other")},
        {"ip": "192.0.2.1"},
    )
    assert (reply["ok"], reply["error"]) == (False, "not_allowed")
    everywhere(fleet, weak, "deny")


def test_an_event_id_counts_once_for_its_source_alone(fleet: Fleet) -> None:
    user, session, event = unique("user"), unique("session"), unique("event")
    weak = token(user, session)
    assert decision(fleet.at_a, weak) == "allow"
    low, high = {"current_level": "LOW"}, {"current_level": "HIGH"}
    subject = {"user": user, "issuer": ISSUER}
    assert said(fleet.at_b, "risk-level-change", subject, low, id=event)["ok"]
    reply = said(fleet.at_a, "risk-level-change", subject, high, id=event, credential=IDP)
    assert reply["ok"]
    assert not reply.get("duplicate")
    everywhere(fleet, weak, "step_up")
    again = said(fleet.at_b, "risk-level-change", subject, high, id=event, credential=IDP)
    assert again["ok"]
    assert again["duplicate"]
    other = said(fleet.at_b, "risk-level-change", subject, low, id=event, credential=IDP)
    assert (other["ok"], other["error"], other["field"]) == (False, "invalid_event", "id")


def test_another_issuer_speaks_for_nobody_here(fleet: Fleet) -> None:
    user, session = unique("ada"), unique("session")
    weak = token(user, session, groups=["finance"])
    assert decision(fleet.at_a, weak) == "allow"
    said(
        fleet.at_a,
        "risk-level-change",
        {"user": user, "issuer": ISSUER},
        {"current_level": "HIGH"},
        credential=IDP,
    )
    everywhere(fleet, weak, "step_up")
    theirs = token(user, session, age=-1, acr="phr", issuer=PARTNER, groups=["emergency"])
    assert decision(fleet.at_a, theirs) == "allow"
    everywhere(fleet, weak, "step_up")
    everywhere(fleet, weak, "step_up", "c2")
    said(fleet.at_a, "session-revoked", {"session": session, "user": user, "issuer": ISSUER}, {})
    assert refusal(fleet.at_b, weak) == "invalid_token"
    again = token(user, session, age=-1, acr="phr", issuer=PARTNER)
    assert decision(fleet.at_b, again) == "allow"
    assert refusal(fleet.at_a, weak) == "invalid_token"
    assert refusal(fleet.at_b, weak) == "invalid_token"


def test_the_partners_emergency_group_is_not_ours(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    groups = ["finance", "emergency"]
    theirs = token(user, session, issuer=PARTNER, groups=groups)
    assert decision(fleet.at_a, theirs, "c2") == "step_up"
    ours = token(user, session, groups=groups)
    assert decision(fleet.at_a, ours, "c2") == "allow"


def test_a_revocation_by_session_reaches_all_its_owners(fleet: Fleet) -> None:
    ada, session = unique("ada"), unique("session")
    hers = token(ada, session)
    assert decision(fleet.at_a, hers) == "allow"
    said(fleet.at_b, "session-established", {"session": session, "user": "zzz"}, {})
    said(fleet.at_b, "session-revoked", {"session": session}, {})
    assert refusal(fleet.at_a, hers) == "invalid_token"
    assert refusal(fleet.at_b, hers) == "invalid_token"


def test_an_old_token_does_not_ride_on_its_owners_step_up(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    old = token(user, session)
    assert decision(fleet.at_a, old) == "allow"
    said(fleet.at_a, "network-change", {"session": session}, {"segment": "restricted"})
    everywhere(fleet, old, "step_up")
    eventually(
        lambda: decision(fleet.at_a, token(user, session, age=0, acr="phr")),
        lambda one: one == "allow",
        within=5,
        every=0.3,
    )
    new = token(user, session, age=0, acr="phr")
    everywhere(fleet, new, "allow")
    everywhere(fleet, old, "step_up")
    with http_of(fleet.a) as client:
        for shown, level in ((old, "single-factor"), (new, "phishing-resistant")):
            answer = client.get("/v1/ext_authz/x", headers={"Authorization": f"Bearer {shown}"})
            assert answer.headers["X-Sidecar-Assurance"] == level


def test_a_sign_in_dated_ahead_does_not_void_what_comes_until_then(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    ahead = token(user, session, age=-20, acr="phr")
    assert decision(fleet.at_a, ahead) == "allow"
    said(fleet.at_b, "session-revoked", {"session": session}, {})
    assert refusal(fleet.at_a, ahead) == "invalid_token"
    assert refusal(fleet.at_b, ahead) == "invalid_token"


def test_a_token_without_groups_sheds_no_policy(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    with_groups = token(user, session, groups=["finance"])
    assert decision(fleet.at_a, with_groups, "c2") == "step_up"
    assert decision(fleet.at_a, token(user, session), "c2") == "step_up"
    assert decision(fleet.at_a, with_groups, "c2") == "step_up"
    # Somebody of whom nobody has said any group is in none that is known: the policy holds.
    assert decision(fleet.at_a, token(unique("user"), unique("session")), "c2") == "step_up"
    nobody = token(unique("user"), unique("session"), groups=[])
    assert decision(fleet.at_a, nobody, "c2") == "allow"


def test_a_session_without_sid_keeps_its_mark_over_a_password(fleet: Fleet) -> None:
    user = unique("user")
    first = token(user, "", age=600, sid=None)
    assert decision(fleet.at_a, first) == "allow"
    found = fleet.at_a.check(first)["session"]
    said(fleet.at_a, "network-change", {"session": found}, {"segment": "restricted"})
    assert decision(fleet.at_a, token(user, "", age=0, sid=None)) == "step_up"


def test_a_token_without_auth_time_is_refused_by_that_name(fleet: Fleet) -> None:
    user, session = unique("user"), unique("session")
    timeless = token(user, session, auth_time=None, acr="phr", groups=["finance"])
    assert fleet.at_a.check(timeless, "")["decision"] == "allow"
    answer = fleet.at_a.check(timeless, "c2")
    assert answer["decision"] == "step_up"
    assert {reason["policy"] for reason in answer["reasons"]} & {"token-without-auth-time"}


def test_a_name_with_c1_controls_is_refused_at_every_door(fleet: Fleet) -> None:
    odd = "ada\x85x"
    assert fleet.at_a.check(token(odd, unique("session")))["error"] == "invalid_token"
    reply = said(fleet.at_a, "session-revoked", {"user": odd}, {})
    assert (reply["ok"], reply["error"]) == (False, "invalid_event")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json", "Origin": "https://evil.example"},
        {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_events_over_http_are_closed_to_browsers(fleet: Fleet, headers: dict[str, str]) -> None:
    body = b'{"type":"session-revoked","subject":{"user":"nobody-in-particular"},"data":{}}'
    with http_of(fleet.a) as client:
        good = client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
        assert good.status_code == 202, good.text
        refused = client.post("/v1/events", content=body, headers=headers)
        assert refused.status_code in {403, 415}, refused.text
