"""Daemons whose identifiers are keyed: all works as ever, and nobody's name is written down."""

import itertools
import json
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Device,
    Networks,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.wire.privacy.privacy_keys import PrivacyKey
from sidecar.wire.privacy.pseudonyms import PseudonymKind, pseudonym
from sidecar.wire.settings.privacy import Identifiers, Privacy
from sidecar.wire.settings.settings import Log, Settings, SpoolSettings
from sidecar.wire.settings.transmitter import Recipient as RecipientSettings
from sidecar.wire.settings.transmitter import Transmitter
from sidecar.wire.store.keys import StoreKeys, digest, digest_bytes
from sidecar.wire.yaml.tree import ConfigError
from tests import plain_http
from tests.adapters.recipients import key_file, secret_file
from tests.adapters.servers import Server, impatient
from tests.domain.scenes import policy
from tests.stories.logging_out import configured, logout, revoke, signed
from tests.stories.running import ISSUER, Pods, running, token, unique
from tests.stories.transmission import EXAMPLES, fresh, push, receiving
from tests.stories.transmission import signed as set_of
from tests.waiting import eventually

OLD, NEW = "o" * 44, "n" * 44
POLICIES = (
    policy(Changed((Circumstance.IP,)), name="moved"),
    policy(Networks(Selection(frozenset({"restricted", "lab"}))), name="segment"),
    policy(Device(compliant=False), name="device"),
    policy(UserRisk(RiskLevel.MEDIUM), "phishing-resistant", name="risk"),
)
USER, SESSION, DEVICE = "ada.lovelace@example.com", "session-of-ada", "laptop-of-ada"
BERLIN, LISBON, AGENT = "192.0.2.17", "198.51.100.77", "Mozilla/5.0 (Ada)"
REASON = "her husband reported it stolen"
PERSONAL = (USER, "ada.lovelace", SESSION, DEVICE, BERLIN, LISBON, AGENT, REASON, "stolen")


def keyed(*keys: str, read_plain: bool = False) -> Privacy:
    return Privacy(identifiers=Identifiers.KEYED, keys=keys, read_plain=read_plain)


def with_privacy(*privacies: Privacy) -> Callable[[Settings, int], Settings]:
    return lambda settings, index: msgspec.structs.replace(settings, privacy=privacies[index])


def dumped(server: Server) -> bytes:
    """All that the server holds: names of keys, and whatever type they have."""
    with server.client() as client:
        parts: list[bytes] = []
        for key in client.scan_iter(count=1000):
            parts.append(key)
            match client.type(key):
                case b"hash":
                    parts += [part for pair in client.hgetall(key).items() for part in pair]
                case b"zset":
                    parts += client.zrange(key, 0, -1)
                case b"stream":
                    parts += [v for _, entry in client.xrange(key) for v in entry.values()]
                case b"string":
                    parts.append(client.get(key))
                case b"none":
                    continue  # it has just expired
                case other:
                    raise AssertionError(other)
    return b"\n".join(parts)


@pytest.fixture
def emptied(valkey_server: Server) -> Iterator[Server]:
    """The server, empty; and afterwards, too: other tests' daemons could not read what is there."""
    with valkey_server.client() as client:
        client.flushall()
    yield valkey_server
    with valkey_server.client() as client:
        client.flushall()


def named_in(heard: bytes) -> list[str]:
    """What of a person is in there: also as the unkeyed digests that keys have otherwise.

    An index has a session's digest in bytes, and a fact an address.
    """
    digests = (digest(ISSUER, USER), digest(ISSUER, SESSION), digest(ISSUER, DEVICE))
    found = [one for one in (*PERSONAL, *digests) if one.encode() in heard]
    in_bytes = {SESSION: digest_bytes(digest(ISSUER, SESSION)) or b""}
    in_bytes |= {ip: b"\xce" + ip_address(ip).packed for ip in (BERLIN, LISBON)}
    return found + [one for one, written in in_bytes.items() if written in heard]


def test_two_keyed_daemons_agree_and_neither_store_nor_log_names_anybody(
    emptied: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = Log(level="debug", checks=True, explain=True)

    def change(settings: Settings, index: int) -> Settings:
        settings = configured(receiving(settings, events=("session-revoked",)), index)
        return msgspec.structs.replace(settings, privacy=keyed(NEW), log=loud)

    with running(emptied.url, POLICIES, change=change) as pods:
        act(pods)
        say_from_outside(pods)
        admin, operator = pods.addresses[0].admin[0], {"Authorization": "Bearer operator"}
        for path in (f"users/{USER}/mark", f"users/{USER}/clear", "users/nobody/revoke"):
            body = {"reason": REASON, "id": path.rpartition("/")[2]}
            plain_http.post(f"{admin}/v1/{path}", json=body, headers=operator)
        heard = dumped(emptied)
        for one in pods.addresses:
            for path in ("/metrics", "/readyz"):
                assert named_in(plain_http.get(f"{one.admin[0]}{path}").content) == []
        shown = plain_http.get(f"{admin}/v1/sessions?user={USER}", headers=operator)
    assert named_in(heard) == []
    assert b":{u" in heard
    assert SESSION in shown.text, "an operator asks by name, and is answered in names"
    log = capfd.readouterr().err
    assert named_in(log.encode()) == []
    key = PrivacyKey(NEW.encode())
    lines = [json.loads(line) for line in log.splitlines()]
    marked = [line for line in lines if line["event"] == "session-marked"]
    assert marked
    for line in marked:
        assert line["subject"] == pseudonym(key, PseudonymKind.USER, ISSUER, USER)
        assert line["session"] == pseudonym(key, PseudonymKind.SESSION, ISSUER, SESSION)
        assert "reason" not in line
    acted = [line for line in lines if line["event"] == "operator-act"]
    done = ("done", "done", "not_seen")
    assert [line["outcome"] for line in acted] == ["invalid", "invalid", *done]
    assert acted[2]["user"] == pseudonym(key, PseudonymKind.USER, ISSUER, USER)
    assert not any({"reason", "detail"} & line.keys() for line in acted)
    outside = {"security-event-token", "logout", "event-invalid", "token-refused"}
    assert {"session-revoked", "checked", *outside} <= {line["event"] for line in lines}


def test_in_plain_form_all_of_that_is_there_to_be_found(emptied: Server) -> None:
    """So the tests above do look where names would be."""
    with running(emptied.url, POLICIES) as pods:
        act(pods)
        assert set(PERSONAL) - set(named_in(dumped(emptied))) == set()


def pass_by(server: Server, *, life_of: Privacy | None = None) -> None:
    """Let half a minute pass by, after which those that ended count for dead; or a record's life.

    `life_of`: that of the records which such a sidecar wrote.
    """
    key = StoreKeys("su").forms_record()
    with server.client() as client:
        gone = [field for field in client.hkeys(key) if field.startswith(b"reads:")]
        if life_of is not None:
            gone.append(f"wrote:{PrivacyKey(life_of.keys[0].encode()).id}".encode())
        client.hdel(key, *gone)


def test_a_spool_on_disk_names_nobody(tmp_path: Path) -> None:
    def change(settings: Settings, _: int) -> Settings:
        nowhere = impatient("redis://127.0.0.1:1", retries=0)
        spool = SpoolSettings(dir=str(tmp_path / "spool"))
        return msgspec.structs.replace(settings, store=nowhere, spool=spool, privacy=keyed(NEW))

    with running("redis://127.0.0.1:1", POLICIES, count=1, change=change) as pods:
        reply = pods.clients[0].trusted("session-revoked", {"user": USER}, data={"reason": REASON})
        assert reply["spooled"] is True, reply
        files = [one for one in (tmp_path / "spool").rglob("*") if one.is_file()]
        heard = b"".join(one.read_bytes() for one in files)
    assert heard
    assert named_in(heard) == []


def test_what_is_kept_to_be_reported_to_others_names_nobody(
    emptied: Server, tmp_path: Path
) -> None:
    credentials = secret_file(tmp_path, "a-credential-of-iga")
    recipient = RecipientSettings(
        name="iga", audience=("https://iga.example",), credentials_file=credentials
    )
    transmitter = Transmitter(
        issuer="https://sidecars.example",
        bind="127.0.0.1:0",
        key_files=(key_file(tmp_path),),
        recipients=(recipient,),
        deliver=False,
    )

    def change(settings: Settings, _: int) -> Settings:
        return msgspec.structs.replace(settings, privacy=keyed(NEW), transmitter=transmitter)

    with running(emptied.url, POLICIES, change=change) as pods, emptied.client() as client:
        act(pods)
        eventually(lambda: client.xlen("su:{transmitter}:recorded"), bool)
        assert named_in(dumped(emptied)) == []


def test_no_step_of_a_rotation_loses_a_mark_or_a_revocation(emptied: Server) -> None:
    old, new = keyed(OLD), keyed(NEW)
    steps = [old, keyed(OLD, NEW), keyed(NEW, OLD), new]
    marked, revoked = token("bob", "of-bob"), token("eve", "of-eve")
    with running(emptied.url, POLICIES, count=1, change=with_privacy(old)) as pods:
        (pod,) = pods.clients
        for one in (marked, revoked):
            assert pod.check(one, ip=BERLIN)["decision"] == "allow"
        assert pod.event("network-change", {"session": "of-bob"}, data={"segment": "lab"})["ok"]
        assert pod.event("session-revoked", {"session": "of-eve"})["ok"]
    for step, (before, after) in enumerate(itertools.pairwise(steps)):
        change = with_privacy(before, after)
        pass_by(emptied, life_of=old if after is new else None)
        with running(emptied.url, POLICIES, change=change) as pods:
            fresh = token(f"user-{step}", f"fresh-{step}")
            a, b = pods.clients
            assert [pod.check(fresh, ip=BERLIN)["decision"] for pod in (a, b)] == ["allow"] * 2
            subject, data = {"session": f"fresh-{step}"}, {"segment": "lab"}
            heard = {"data": data, "wait": "everywhere", "timeout": 5}
            for pod, other in ((a, b), (b, a)):
                reply = pod.event("network-change", subject, **heard)
                assert (reply["settled"], reply["have"]) == (True, 2), (step, reply)
                assert other.check(fresh, ip=BERLIN)["decision"] == "step_up"
            for pod in (a, b):
                assert pod.check(marked, ip=BERLIN)["decision"] == "step_up", step
                assert pod.check(revoked, ip=BERLIN)["decision"] == "deny", step
    assert PrivacyKey(OLD.encode()).id.encode() in dumped(emptied), "until it expires"


def test_a_store_goes_from_plain_to_keyed_without_losing_a_revocation(emptied: Server) -> None:
    plain, reads = Privacy(), Privacy(keys=(NEW,))
    steps = [plain, reads, keyed(NEW, read_plain=True)]
    revoked = token(USER, SESSION)
    with running(emptied.url, POLICIES, count=1, change=with_privacy(plain)) as pods:
        (pod,) = pods.clients
        assert pod.check(revoked, ip=BERLIN)["decision"] == "allow"
        assert pod.event("session-revoked", {"session": SESSION})["ok"]
    for before, after in itertools.pairwise(steps):
        pass_by(emptied)
        with running(emptied.url, POLICIES, change=with_privacy(before, after)) as pods:
            for pod in pods.clients:
                assert pod.check(revoked, ip=BERLIN)["decision"] == "deny"


def act(pods: Pods) -> None:
    """A session that is marked by an event into the other pod, that moves, and that is revoked."""
    a, b = pods.clients
    weak = token(USER, SESSION)
    asked = {"token": weak, "context": "c1", "user_agent": AGENT}
    assert b.ask(op="check", ip=BERLIN, **asked)["decision"] == "allow"
    presented = {"user": USER, "session": SESSION, "device": DEVICE}
    assert a.trusted("session-presented", presented, data={"ip": BERLIN})["ok"] is True
    assert b.check(weak, ip=LISBON)["decision"] == "step_up"
    assert a.check(weak, ip=LISBON)["decision"] == "step_up"
    heard = {"reason": REASON}
    reply = a.trusted("session-revoked", {"user": USER}, data=heard, wait="everywhere", timeout=5)
    assert (reply.get("settled"), reply.get("have")) == (True, 2), reply
    assert eventually(lambda: b.check(weak)["decision"], lambda found: found == "deny")


def say_from_outside(pods: Pods) -> None:
    """What transmitters and providers say of somebody, and what is wrong in what is said."""
    address, (a, _) = pods.addresses[0], pods.clients
    claims = fresh(next(one for one in EXAMPLES if "session-revoked" in str(one["claims"])))
    (payload,) = claims["events"].values()
    payload.update(reason_admin={"en": REASON}, initiating_entity=USER)
    subjects: tuple[dict[str, object], ...] = (
        {"format": "email", "email": USER},
        {"format": "complex", "user": {"format": "email", "email": USER}, USER: 1},
        {"format": "email", "email": f"{USER}\0"},
        {"format": "iss_sub", "iss": "https://else.example", "sub": USER},
    )
    for subject in subjects:
        push(address.receiver[0], set_of({**claims, "jti": unique("jti"), "sub_id": subject}))
    for text in (signed(sub=USER, sid=SESSION), signed(sub=USER, nonce="n"), signed(sub=[USER])):
        logout(pods, text)
    revoke(pods, {"sub_id": {"format": "email", "email": USER}})
    revoke(pods, {"sub_id": {"format": "email", "email": [USER]}})
    for more in ({"contexts": [USER]}, {"issuer": USER}):
        url, order = f"{address.admin[0]}/v1/users/{USER}/mark", {"reason": REASON, **more}
        answer = plain_http.post(url, json=order, headers={"Authorization": "Bearer operator"})
        assert answer.status_code == 400, answer.text
    for wrong in ({"type": USER}, {"time": USER}, {"subject": {"user": [USER]}}, {"wait": USER}):
        event = {"type": "session-revoked", "subject": {"user": USER}, **wrong}
        assert a.ask(op="event", **event)["ok"] is False
    for shown in (
        token(USER, SESSION, issuer=f"https://{USER}"),
        token(USER, SESSION, nbf=SESSION),
        token(USER, SESSION, deviceid=[DEVICE]),
        token(f"{USER}\0", SESSION),
    ):
        assert a.check(shown)["ok"] is False


@pytest.mark.parametrize(
    ("there", "newcomer", "why"),
    [
        (Privacy(), keyed(NEW), "the form plain until"),
        (keyed(OLD), Privacy(), f"the form {PrivacyKey(OLD.encode()).id} until"),
        (keyed(OLD), keyed(NEW), f"the form {PrivacyKey(OLD.encode()).id} until"),
        (keyed(OLD), keyed(NEW, OLD), f"do not read the form {PrivacyKey(NEW.encode()).id}"),
    ],
    ids=["plain, keyed", "keyed, plain", "another key", "a key that the others lack"],
)
def test_a_sidecar_that_others_would_not_understand_does_not_start(
    emptied: Server, there: Privacy, newcomer: Privacy, why: str
) -> None:
    def is_heard() -> bool:
        with emptied.client() as client:
            return bool(client.hlen(StoreKeys("su").forms_record()))

    with running(emptied.url, POLICIES, count=1, change=with_privacy(there)) as pods:
        eventually(is_heard, bool)
        with (
            pytest.raises(ExceptionGroup) as group,
            running(emptied.url, POLICIES, count=1, change=with_privacy(newcomer)),
        ):
            pass
        (refused,) = group.value.exceptions
        assert isinstance(refused, ConfigError)
        assert why in str(refused)
        assert "privacy.identifiers" in str(refused)
        url = f"{pods.addresses[0].admin[0]}/readyz"
        assert plain_http.get(url).status_code == 200, "who is set up wrongly troubles nobody else"
        assert PrivacyKey(NEW.encode()).id.encode() not in dumped(emptied)
