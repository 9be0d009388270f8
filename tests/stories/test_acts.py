"""An operator's acts at whole daemons' admin listeners, over real HTTP and by the command."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.cli.main import main
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.wire.settings.admin import OperatorSettings
from sidecar.wire.settings.settings import Context, Settings
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import ISSUER, Client, Pods, running, token, unique
from tests.waiting import eventually

PARTNER = "https://partner.example"
POLICIES = (
    policy(UserRisk(RiskLevel.HIGH), name="risk"),
    policy(UserRisk(RiskLevel.HIGH), name="blocked", contexts=frozenset({"c2"}), block=True),
)
WHY = {"reason": "ticket 4711"}
BEARER = {"Authorization": "Bearer operator"}


def with_a_partner(settings: Settings, _: int) -> Settings:
    (ours,) = settings.tokens.issuers
    partner = msgspec.structs.replace(ours, issuer=PARTNER)
    operators = (
        OperatorSettings(name="ada", token="of-ada"),
        OperatorSettings(name="board", token="of-a-dashboard", acts=False),
    )
    return msgspec.structs.replace(
        settings,
        admin=msgspec.structs.replace(settings.admin, operators=operators),
        tokens=msgspec.structs.replace(settings.tokens, issuers=(ours, partner)),
        contexts={**settings.contexts, "c2": Context(name="Reports", alias="reports")},
    )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, POLICIES, change=with_a_partner) as both:
        yield both


@pytest.fixture(autouse=True)
def credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_ADMIN__TOKEN", "operator")


def act(pods: Pods, path: str, body: Any = None, pod: int = 0, **more: Any) -> httpx.Response:
    url = f"{pods.addresses[pod].admin[0]}/v1/{path}"
    more.setdefault("headers", BEARER)
    more["headers"] = {"Content-Type": "application/json", **more["headers"]}
    content = json.dumps(WHY if body is None else body)
    return plain_http.post(url, content=content, timeout=20, **more)


def command(pods: Pods, *words: str, pod: int = 0) -> int:
    return main([*words, "--url", pods.addresses[pod].admin[0]])


def decisions(pods: Pods, shown: str, context: str = "c1") -> list[str]:
    return [client.check(shown, context)["decision"] for client in pods.clients]


def metric(pods: Pods, name: str) -> float:
    lines = [
        line
        for one in pods.addresses
        for line in plain_http.get(f"{one.admin[0]}/metrics").text.splitlines()
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_user_is_revoked_everywhere_once_the_command_says_so(
    pods: Pods, capsys: pytest.CaptureFixture[str]
) -> None:
    user, other = unique("user"), unique("user")
    mine = [token(user, unique("session")) for _ in range(2)]
    theirs = token(other, unique("session"))
    for one in (*mine, theirs):
        assert decisions(pods, one) == ["allow", "allow"]
    assert command(pods, "revoke", "--user", user, "--wait") == 0
    assert re.fullmatch(r"revoked on all 2 sidecars in \d+ ms\n", capsys.readouterr().out)
    for one in (*mine, token(user, unique("session"))):  # an older sign-in, shown only now
        assert decisions(pods, one) == ["deny", "deny"]
    assert decisions(pods, theirs) == ["allow", "allow"]
    eventually(  # a sign-in in a later second
        lambda: decisions(pods, token(user, unique("session"), age=0)),
        lambda found: found == ["allow", "allow"],
        every=0.2,
    )


@pytest.mark.parametrize("kind", ["session", "device"])
def test_one_session_or_all_on_a_device_are_revoked(pods: Pods, kind: str) -> None:
    names = {name: unique(name) for name in ("user", "session", "device")}
    mine = token(names["user"], names["session"], deviceid=names["device"])
    kept = token(names["user"], unique("session"), deviceid=unique("device"))
    for one in (mine, kept):
        assert decisions(pods, one) == ["allow", "allow"]
    path = f"{kind}s/{names[kind]}/revoke"
    answer = act(pods, path, {**WHY, "wait": "everywhere"}, pod=1)
    assert answer.status_code == 200, answer.text
    heard = answer.json()
    assert (heard["sessions"], heard["settled"], heard["have"], heard["live"]) == (1, True, 2, 2)
    assert (heard["issuer"], heard["by"], heard["name"]) == (ISSUER, "admin", names[kind])
    assert decisions(pods, mine) == ["deny", "deny"]
    assert decisions(pods, kept) == ["allow", "allow"]


def test_its_reason_and_its_source_stand_in_the_sessions_timeline(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    assert decisions(pods, token(user, session)) == ["allow", "allow"]
    assert act(pods, f"users/{user}/revoke").status_code == 200
    shown = plain_http.get(f"{pods.addresses[1].admin[0]}/v1/sessions/{session}", headers=BEARER)
    (heard,) = (one["text"] for one in shown.json()["timeline"] if one["kind"] == "revoked")
    assert heard == "the user was revoked: ticket 4711 (said by operator:admin)"


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic operator"}]
)
def test_who_shows_no_admin_credential_does_nothing(pods: Pods, headers: dict[str, str]) -> None:
    user = unique("user")
    shown = token(user, unique("session"))
    assert decisions(pods, shown) == ["allow", "allow"]
    assert act(pods, f"users/{user}/revoke", headers=headers).status_code == 401
    assert decisions(pods, shown) == ["allow", "allow"]


def test_an_act_is_its_operators_and_who_may_only_look_does_none(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session)
    assert decisions(pods, shown) == ["allow", "allow"]
    looks = {"Authorization": "Bearer of-a-dashboard"}
    assert (
        plain_http.get(f"{pods.addresses[0].admin[0]}/v1/sessions", headers=looks).status_code
        == 200
    )
    for path in (f"users/{user}/revoke", "dead-letters/1-0/retry"):
        answer = act(pods, path, headers=looks)
        assert answer.status_code == 403, answer.text
        assert "board" in answer.json()["detail"]
    assert decisions(pods, shown) == ["allow", "allow"]
    answer = act(pods, f"users/{user}/revoke", headers={"Authorization": "Bearer of-ada"})
    assert (answer.status_code, answer.json()["by"]) == (200, "ada")
    heard = [one["text"] for one in session_of(pods, session)["timeline"]]
    assert "the user was revoked: ticket 4711 (said by operator:ada)" in heard


def test_a_name_at_several_issuers_is_ambiguous_until_one_is_named(
    pods: Pods, capsys: pytest.CaptureFixture[str]
) -> None:
    user, session = unique("user"), unique("session")
    ours, theirs = token(user, session), token(user, session, issuer=PARTNER)
    assert decisions(pods, ours) == decisions(pods, theirs) == ["allow", "allow"]
    for path in (f"users/{user}", f"sessions/{session}"):
        answer = act(pods, f"{path}/revoke")
        assert answer.status_code == 409, answer.text
        assert ISSUER in answer.json()["detail"]
        assert PARTNER in answer.json()["detail"]
    assert command(pods, "revoke", "--user", user) == 1
    assert PARTNER in capsys.readouterr().err
    assert decisions(pods, ours) == decisions(pods, theirs) == ["allow", "allow"]
    assert command(pods, "revoke", "--session", session, "--issuer", PARTNER, "--wait") == 0
    assert decisions(pods, ours) == ["allow", "allow"]
    assert decisions(pods, theirs) == ["deny", "deny"]


def test_a_session_that_several_users_have_is_narrowed_by_its_user(pods: Pods) -> None:
    one, other, session = unique("user"), unique("user"), unique("session")
    shown = {name: token(name, session) for name in (one, other)}
    for text in shown.values():
        assert decisions(pods, text) == ["allow", "allow"]
    answer = act(pods, f"sessions/{session}/revoke")
    assert answer.status_code == 409, answer.text
    assert one in answer.json()["detail"]
    body = {**WHY, "user": one, "wait": "everywhere"}
    assert act(pods, f"sessions/{session}/revoke", body).json()["settled"] is True
    assert decisions(pods, shown[one]) == ["deny", "deny"]
    assert decisions(pods, shown[other]) == ["allow", "allow"]


@pytest.mark.parametrize("kind", ["user", "session", "device"])
def test_a_name_that_nobody_has_heard_of_is_not_acted_on_unless_it_is_said_so(
    pods: Pods, kind: str
) -> None:
    name = unique(kind)
    path = f"{kind}s/{name}/revoke"
    answer = act(pods, path)
    assert answer.status_code == 404, answer.text
    assert act(pods, path, {**WHY, "unseen": True}).status_code == 409, "at which issuer?"
    body = {**WHY, "unseen": True, "issuer": ISSUER, "wait": "everywhere"}
    assert act(pods, path, body).json()["sessions"] == 0
    names = {"user": unique("user"), "session": unique("session"), "device": unique("device")}
    names[kind] = name
    shown = token(names["user"], names["session"], deviceid=names["device"])
    assert decisions(pods, shown) == ["deny", "deny"]


def test_an_act_counts_once_under_its_id_and_for_nothing_else(pods: Pods) -> None:
    user, other = unique("user"), unique("user")
    for name in (user, other):
        assert decisions(pods, token(name, unique("session"))) == ["allow", "allow"]
    body = {**WHY, "id": unique("act")}
    assert "duplicate" not in act(pods, f"users/{user}/revoke", body).json()
    assert act(pods, f"users/{user}/revoke", body, pod=1).json()["duplicate"] is True
    for path, changed in (
        (f"users/{other}/revoke", body),
        (f"users/{user}/revoke", {**body, "reason": "another"}),
    ):
        for pod in (0, 1):
            answer = act(pods, path, changed, pod=pod)
            assert answer.status_code == 409, answer.text
    assert decisions(pods, token(other, unique("session"))) == ["allow", "allow"]


WRONG: dict[str, tuple[Any, int, str]] = {
    "no reason": ({}, 400, "reason"),
    "an empty reason": ({"reason": "  "}, 400, "reason"),
    "a reason that is no text": ({"reason": 5}, 400, "reason"),
    "a null reason": ({"reason": None}, 400, "reason"),
    "a reason that is too long": ({"reason": "x" * 501}, 400, "at most 500"),
    "a thousand times too long": ({"reason": "x" * 500_000}, 413, "at most"),
    "a reason with a control character": ({"reason": "a\x1b[2Jb"}, 400, "control"),
    "a reason with half a surrogate": ({"reason": "a\ud800"}, 400, ""),
    "an unknown member": ({**WHY, "contexts": ["c1"]}, 400, "not known"),
    "a foreign issuer": ({**WHY, "issuer": "https://evil.example"}, 400, "issuer"),
    "an id that is too long": ({**WHY, "id": "x" * 129}, 400, "id"),
    "an id that is a number": ({**WHY, "id": 5}, 400, "id"),
    "a wait of another kind": ({**WHY, "wait": "here"}, 400, "wait"),
    "a wait without end": ({**WHY, "wait": "everywhere", "timeout": 3600}, 400, "timeout"),
    "no object": ([], 400, "object"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_refused_and_does_nothing(pods: Pods, case: str) -> None:
    body, status, words = WRONG[case]
    user = unique("user")
    shown = token(user, unique("session"))
    assert decisions(pods, shown) == ["allow", "allow"]
    answer = act(pods, f"users/{user}/revoke", body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert decisions(pods, shown) == ["allow", "allow"]


def test_other_methods_types_and_paths_are_refused(pods: Pods) -> None:
    url = f"{pods.addresses[0].admin[0]}/v1/users/ada/revoke"
    assert plain_http.get(url, headers=BEARER).status_code == 405
    form = {**BEARER, "Content-Type": "application/x-www-form-urlencoded"}
    assert plain_http.post(url, content=b'{"reason":"x"}', headers=form).status_code == 415
    for path in ("users//revoke", "users/a/b/revoke", "groups/a/revoke", "users/a/forget"):
        assert act(pods, path).status_code == 404
    for path in ("users/%00/revoke", "users/%ff/revoke", f"users/{'x' * 513}/revoke"):
        assert act(pods, path).status_code == 400


def test_acts_are_counted_by_what_became_of_them(pods: Pods) -> None:
    before = metric(pods, 'sidecar_operator_acts_total{act="revoke",outcome="done"}')
    refused = metric(pods, 'sidecar_operator_acts_total{act="revoke",outcome="not_seen"}')
    user = unique("user")
    decisions(pods, token(user, unique("session")))
    act(pods, f"users/{user}/revoke")
    act(pods, f"users/{unique('user')}/revoke")
    assert metric(pods, 'sidecar_operator_acts_total{act="revoke",outcome="done"}') == before + 1
    name = 'sidecar_operator_acts_total{act="revoke",outcome="not_seen"}'
    assert metric(pods, name) == refused + 1


MARKS = 'sidecar_marks_total{policy="operator",signal="operator-mark",state="enabled"}'
SETTLED = {**WHY, "wait": "everywhere"}


def session_of(pods: Pods, session: str, pod: int = 1) -> Any:
    url = f"{pods.addresses[pod].admin[0]}/v1/sessions/{session}"
    return plain_http.get(url, headers=BEARER).json()


def high(pods: Pods, user: str) -> None:
    reply = pods.clients[0].event(
        "risk-level-change",
        {"user": user, "issuer": ISSUER},
        data={"current_level": "HIGH"},
        wait="everywhere",
    )
    assert reply["settled"] is True, reply


def test_a_mark_asks_everywhere_until_a_later_sign_in_shows_it(
    pods: Pods, capsys: pytest.CaptureFixture[str]
) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session)
    assert decisions(pods, shown) == ["allow", "allow"]
    words = ("mark", "--user", user, "--reason", "odd downloads", "--max-age", "300", "--wait")
    assert command(pods, *words) == 0
    assert re.fullmatch(r"marked on all 2 sidecars in \d+ ms\n", capsys.readouterr().out)
    assert decisions(pods, shown) == ["step_up", "step_up"]
    assert decisions(pods, shown, "c2") == ["step_up", "step_up"]
    routine = pods.clients[1].check(shown, "")
    assert (routine["decision"], routine["step_up_pending"]) == ("allow", True)
    answer = pods.clients[1].check(shown)
    assert "odd downloads" not in json.dumps(answer), "a reason is no client's business"
    assert [reason["policy"] for reason in answer["reasons"]] == ["operator"]
    assert "urn:mfa" in answer["acr_values"] or "mfa" in answer["acr_values"]
    eventually(
        lambda: decisions(pods, token(user, session, age=0, acr="mfa")),
        lambda found: found == ["allow", "allow"],
        every=0.2,
    )
    assert decisions(pods, shown) == ["step_up", "step_up"], "each call shows its own proof"


def test_a_mark_is_for_a_context_by_its_alias_too_and_for_a_level_or_an_acr_value(
    pods: Pods,
) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session)
    assert decisions(pods, shown) == ["allow", "allow"]
    body = {**SETTLED, "contexts": ["reports"], "acr": "phrh", "max_age": 300}
    assert act(pods, f"sessions/{session}/mark", body).status_code == 200
    assert decisions(pods, shown) == ["allow", "allow"]
    answer = pods.clients[1].check(shown, "c2")
    assert answer["decision"] == "step_up"
    assert answer["acr_values"].split()[0] == "phr"
    assert answer["max_age"] <= 300
    for acr, decision in (("mfa", "step_up"), ("phr", "allow")):
        eventually(
            lambda acr=acr: decisions(pods, token(user, session, age=0, acr=acr), "c2"),
            lambda found, decision=decision: found == [decision, decision],
            every=0.2,
        )


def test_a_clear_withdraws_a_mark_and_what_policies_ask_until_it_is_said_anew(
    pods: Pods, capsys: pytest.CaptureFixture[str]
) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session)
    assert decisions(pods, shown) == ["allow", "allow"]
    high(pods, user)
    assert act(pods, f"users/{user}/mark", SETTLED).json()["settled"] is True
    assert decisions(pods, shown) == ["step_up", "step_up"]
    words = ("clear", "--session", session, "--reason", "called back", "--wait")
    assert command(pods, *words, pod=1) == 0
    heard = capsys.readouterr().out
    assert heard.startswith("cleared on all 2 sidecars")
    assert f"  {session}: excused until it is said anew: risk: user risk: high" in heard
    assert decisions(pods, shown) == ["allow", "allow"]
    summary = session_of(pods, session)["summary"]
    assert [mark["policy"] for mark in summary["marks"]] == ["blocked"], "which no sign-in clears"
    (cleared,) = summary["cleared"]
    assert cleared.startswith("risk: user risk: high")
    later = token(user, unique("session"))
    assert decisions(pods, later) == ["step_up", "step_up"], "the risk is what it is"
    high(pods, user)
    assert decisions(pods, shown) == ["step_up", "step_up"]


def test_what_no_clear_takes_away_is_reported_by_the_command(
    pods: Pods, capsys: pytest.CaptureFixture[str]
) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session, age=600)
    assert decisions(pods, shown) == ["allow", "allow"]
    high(pods, user)
    assert decisions(pods, shown, "c2") == ["deny", "deny"]
    assert command(pods, "clear", "--user", user, "--reason", "called back") == 0
    assert f"  {session}: still asks: blocked: blocked (user risk: high" in capsys.readouterr().out
    assert decisions(pods, shown, "c2") == ["deny", "deny"]
    assert command(pods, "revoke", "--user", user, "--wait") == 0
    assert command(pods, "clear", "--user", user, "--reason", "called back") == 0
    assert f"{session}: is revoked, until a later sign-in" in capsys.readouterr().out


def test_who_watches_is_notified_of_marks_and_clears(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    assert decisions(pods, token(user, session)) == ["allow", "allow"]
    with Client(pods.addresses[1].socket) as watcher:
        assert watcher.ask(op="watch", sessions=[session])["ok"] is True
        for verb, standing in (("mark", "step_up"), ("clear", "clear")):
            assert act(pods, f"sessions/{session}/{verb}").status_code == 200
            line = watcher.read()
            assert (line["session"], line["standing"]) == (session, standing)


@pytest.mark.parametrize("kind", ["session", "device"])
def test_one_session_or_all_on_a_device_are_marked_and_cleared(pods: Pods, kind: str) -> None:
    names = {name: unique(name) for name in ("user", "session", "device")}
    mine = token(names["user"], names["session"], deviceid=names["device"])
    other = token(names["user"], unique("session"), deviceid=unique("device"))
    for one in (mine, other):
        assert decisions(pods, one) == ["allow", "allow"]
    assert act(pods, f"{kind}s/{names[kind]}/mark", SETTLED).json()["settled"] is True
    assert decisions(pods, mine) == ["step_up", "step_up"]
    assert decisions(pods, other) == ["allow", "allow"]
    assert act(pods, f"users/{names['user']}/mark", SETTLED).json()["sessions"] == 2
    assert act(pods, f"{kind}s/{names[kind]}/clear", SETTLED).json()["settled"] is True
    assert decisions(pods, mine) == ["allow", "allow"], "whichever way it was marked"
    assert decisions(pods, other) == ["step_up", "step_up"]


def test_to_dismiss_the_risk_is_an_operators_word_on_it(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    shown = token(user, session)
    assert decisions(pods, shown) == ["allow", "allow"]
    high(pods, user)
    assert decisions(pods, shown) == ["step_up", "step_up"]
    words = ("clear", "--user", user, "--reason", "false alarm", "--dismiss-risk", "--wait")
    assert command(pods, *words) == 0
    assert decisions(pods, shown) == ["allow", "allow"]
    assert decisions(pods, token(user, unique("session"))) == ["allow", "allow"]
    high(pods, user)
    assert decisions(pods, shown) == ["step_up", "step_up"], "what is said later counts"


def test_to_confirm_the_risk_is_an_operators_word_on_it(pods: Pods) -> None:
    user = unique("user")
    shown = token(user, unique("session"))
    assert decisions(pods, shown) == ["allow", "allow"]
    words = ("mark", "--user", user, "--reason", "it is so", "--confirm-risk", "--wait")
    assert command(pods, *words) == 0
    fresh = token(user, unique("session"), age=-1, acr="mfa")
    assert decisions(pods, shown, "c2") == ["deny", "deny"], "the policy for high risk blocks"
    assert decisions(pods, fresh, "c2") == ["deny", "deny"]
    pods.clients[0].trusted("risk-level-change", {"user": user}, data={"current_level": "LOW"})
    assert decisions(pods, fresh, "c2") == ["deny", "deny"], "an operator's word stands"
    words = ("clear", "--user", user, "--reason", "it was not", "--dismiss-risk", "--wait")
    assert command(pods, *words) == 0
    assert decisions(pods, fresh, "c2") == ["allow", "allow"]


def test_marks_are_reported_in_the_words_of_operators(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    decisions(pods, token(user, session))
    before = metric(pods, 'sidecar_marks_cleared_total{reason="operator"}')
    body = {**SETTLED, "contexts": ["c1"], "max_age": 300}
    for verb, wanted in (("mark", body), ("clear", SETTLED)):
        assert act(pods, f"users/{user}/{verb}", wanted).status_code == 200
        if verb == "mark":
            eventually(lambda: metric(pods, MARKS), lambda found: found >= 1)
            eventually(
                lambda: session_of(pods, session)["summary"]["marks"], lambda marks: len(marks) == 1
            )
    eventually(
        lambda: metric(pods, 'sidecar_marks_cleared_total{reason="operator"}'),
        # What earlier tests cleared may be counted only now, too: the session's own marks say more.
        lambda found: found >= before + 1,
    )
    eventually(lambda: session_of(pods, session)["summary"]["marks"], lambda marks: not marks)
    heard = [one["text"] for one in session_of(pods, session)["timeline"]]
    assert (
        "the user was marked for c1, until a sign-in with mfa at most 5m old: ticket 4711"
        " (said by operator:admin)"
    ) in heard
    assert "the marks of the user were cleared: ticket 4711 (said by operator:admin)" in heard


WRONG_MARKS: dict[str, tuple[Any, str]] = {
    "an unknown context": ({"contexts": ["c9"]}, "contexts: there is no context 'c9'"),
    "no context": ({"contexts": []}, "contexts"),
    "a context that is no text": ({"contexts": [5]}, "contexts"),
    "contexts that are no list": ({"contexts": "c1"}, "contexts"),
    "a thousand contexts": ({"contexts": ["c1"] * 1000}, "contexts"),
    "an unknown acr": ({"acr": "mffa"}, "mfa"),
    "an empty acr": ({"acr": ""}, "acr"),
    "an age of nothing": ({"max_age": 0}, "max_age"),
    "an age that is not whole": ({"max_age": 1.5}, "max_age"),
    "an age that is a thousand times too large": ({"max_age": 10**12}, "max_age"),
    "an age that is true": ({"max_age": True}, "max_age"),
    "what belongs to a clear": ({"dismiss_risk": True}, "not known"),
}


@pytest.mark.parametrize("case", WRONG_MARKS)
def test_a_mark_that_cannot_be_meant_is_refused(pods: Pods, case: str) -> None:
    more, words = WRONG_MARKS[case]
    user = unique("user")
    shown = token(user, unique("session"))
    assert decisions(pods, shown) == ["allow", "allow"]
    answer = act(pods, f"users/{user}/mark", {**WHY, **more})
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]
    assert decisions(pods, shown) == ["allow", "allow"]


@pytest.mark.parametrize("verb", ["mark", "clear"])
def test_marks_and_clears_need_a_reason(
    pods: Pods, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command(pods, verb, "--user", "ada")
    assert stopped.value.code == 2
    assert "--reason" in capsys.readouterr().err
    assert act(pods, f"users/ada/{verb}", {}).status_code == 400


@pytest.mark.parametrize("kind", ["operator-mark", "operator-clear"])
def test_no_source_can_act_by_an_event_whatever_it_may(pods: Pods, kind: str) -> None:
    user = unique("user")
    shown = token(user, unique("session"))
    decisions(pods, shown)
    assert act(pods, f"users/{user}/mark", SETTLED).status_code == 200
    for say in (pods.clients[0].event, pods.clients[0].trusted):
        reply = say(kind, {"user": user, "issuer": ISSUER})
        assert (reply["ok"], reply["error"], reply["field"]) == (False, "invalid_event", "type")
    assert decisions(pods, shown) == ["step_up", "step_up"]


@pytest.mark.parametrize(
    "words",
    [
        ("revoke",),
        ("revoke", "--user", "a", "--device", "b"),
        ("revoke", "--user", "a", "--wait", "61"),
        ("mark", "--user", "a", "--reason", "why", "--max-age", "0"),
        ("revoke", "--user", "a\udcff"),
        ("revoke", "--user", "a", "--reason", "b\udcff"),
    ],
)
def test_the_command_says_what_is_wrong_with_it(
    pods: Pods, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(pods, *words) == 2
    assert f"sidecar {words[0]}: " in capsys.readouterr().err


def test_a_command_without_a_reason_says_who_ran_it(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    decisions(pods, token(user, session))
    assert command(pods, "revoke", "--session", session, "--user", user) == 0
    shown = eventually(
        lambda: plain_http.get(
            f"{pods.addresses[0].admin[0]}/v1/sessions/{session}", headers=BEARER
        ).json(),
        lambda found: "no reason given, by " in str(found["timeline"]),
    )
    assert shown["summary"]["standing"] == "revoked"
