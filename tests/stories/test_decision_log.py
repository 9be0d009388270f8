"""The log of decisions of a whole daemon, asked at each of its doors."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from sidecar.adapters.grpc.listener import CHECK
from sidecar.domain.policy.conditional_access import Networks, PolicyState, Selection
from sidecar.wire.decision_log.chain import read_record
from sidecar.wire.decision_log.fields import FIELDS
from sidecar.wire.decision_log.settings import (
    DecisionFile,
    DecisionLogSettings,
    DecisionOutput,
    HashChain,
)
from sidecar.wire.grpc.protobuf import Message
from sidecar.wire.settings.settings import Grpc, Settings
from sidecar.wire.settings.sources import SourceSettings
from tests import plain_http
from tests.adapters.grpc.door import check_request
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import CREDENTIAL, Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
    msgspec.structs.replace(
        policy(Networks(Selection(frozenset({"lab"}))), name="trial"),
        state=PolicyState.REPORT_ONLY,
    ),
)
SECRETS = ("bearer", "eyj", CREDENTIAL, "?", "amount", "/pay/7")


class Logged(NamedTuple):
    """A daemon, and the file of its decisions."""

    pods: Pods
    file: Path

    def records(self) -> list[Any]:
        """Return all records."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def of(self, decision: str) -> Any:
        """Return the record of a decision, of which there is one."""
        found = eventually(
            lambda: [one for one in self.records() if one.get("id") == decision], bool
        )
        (record,) = found
        return record


@pytest.fixture(scope="module")
def logged(valkey_server: Server) -> Iterator[Logged]:
    with tempfile.TemporaryDirectory(prefix="log-") as directory:
        file = Path(directory, "decisions.log")

        def change(settings: Settings, _: int) -> Settings:
            app = SourceSettings(name="shop", uids=(os.getuid(),))
            unix = msgspec.structs.replace(settings.http, unix=str(Path(directory, "http")))
            return msgspec.structs.replace(
                settings,
                decision_log=DecisionLogSettings(
                    output=DecisionOutput.FILE,
                    file=DecisionFile(path=str(file)),
                    chain=HashChain.KEYED,
                    chain_key="k" * 44,
                ),
                grpc=Grpc(bind="127.0.0.1:0"),
                http=unix,
                sources=(*settings.sources, app),
            )

        with running(valkey_server.url, POLICIES, 1, change) as pods:
            yield Logged(pods, file)


def over_http(logged: Logged, shown: str, **headers: str) -> str:
    url = logged.pods.addresses[0].http[0]
    answer = plain_http.get(
        f"{url}/v1/check", headers={"Authorization": f"Bearer {shown}", **headers}
    )
    return answer.headers["X-Sidecar-Decision-Id"]


def over_unix(logged: Logged, shown: str) -> str:
    (path,) = [one for one in logged.pods.addresses[0].http if one.startswith("unix:")]
    transport = httpx.HTTPTransport(
        uds=path.removeprefix("unix:"), verify=plain_http.NO_CERTIFICATES
    )
    with httpx.Client(transport=transport) as client:
        headers = {"Authorization": f"Bearer {shown}", "X-Auth-Context": "c1"}
        answer = client.get("http://sidecar/v1/check", headers=headers)
        return answer.headers["X-Sidecar-Decision-Id"]


def over_grpc(logged: Logged, shown: str) -> str:
    (address,) = logged.pods.addresses[0].grpc
    grpc: Any = pytest.importorskip("grpc")
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(CHECK.decode())
        answer = Message(call(check_request({"authorization": f"Bearer {shown}"})))
    passed = answer.message(3)
    headers = [one.message(1) for one in passed.messages(2)]
    ids = [one.text(2) for one in headers if one.text(1).lower() == b"x-sidecar-decision-id"]
    return bytes(ids[0]).decode()


def evaluate(logged: Logged, *subjects: object) -> list[str]:
    url = logged.pods.addresses[0].http[0] + "/access/v1/evaluations"
    resource = {"type": "route", "id": "/pay/{id}", "properties": {"path": "/pay/7"}}
    asked = {
        "action": {"name": "POST"},
        "resource": resource,
        "evaluations": [{"subject": one} for one in subjects],
    }
    shown = {"Authorization": f"Bearer {CREDENTIAL}"}
    answer = plain_http.post(url, json=asked, headers=shown).json()
    return [one["context"]["id"] for one in answer["evaluations"]]


def test_a_decision_of_each_door_is_there_once_with_the_id_of_its_answer(logged: Logged) -> None:
    user, session = unique("user"), unique("session")
    shown, client = token(user, session), logged.pods.clients[0]
    forwarded = {"X-Forwarded-Method": "POST", "X-Auth-Context": "c1"}
    by_token = {"type": "user", "id": user, "properties": {"token": shown}}
    with_path = {"method": "POST", "host": "shop.example", "path": "/pay/7"}
    first = client.ask(op="check", token=shown, **with_path)["id"]
    repeated = client.ask(op="check", token=shown, **with_path)["id"]
    ids = {
        first: ("socket", "shop", "/pay/**"),
        repeated: ("socket", "shop", "/pay/**"),
        over_http(logged, shown, **forwarded): ("http", "", ""),
        over_http(logged, shown, **forwarded): ("http", "", ""),
        over_unix(logged, shown): ("http", "shop", ""),
        over_grpc(logged, shown): ("grpc", "", "/pay/**"),
        over_http(logged, "no.such.token", **forwarded): ("http", "", ""),
        evaluate(logged, by_token)[0]: ("authzen", "", "/pay/**"),
        evaluate(logged, {"type": "session", "id": session})[0]: ("authzen", "idp", "/pay/**"),
    }
    assert len(ids) == 9
    for decision, (listener, asker, route) in ids.items():
        record = logged.of(decision)
        assert (record["listener"], record.get("asker", ""), record.get("route", "")) == (
            listener,
            asker,
            route,
        )
    assert not logged.of(first).get("repeated")
    assert logged.of(repeated)["repeated"] is True


def test_a_record_names_who_where_and_why_and_holds_no_secret(logged: Logged) -> None:
    user, session = unique("user"), unique("session")
    shown, client = token(user, session), logged.pods.clients[0]
    allowed = client.check(shown)
    client.trusted("network-change", {"session": session}, data={"segment": "restricted"}, id="e-1")
    refused = eventually(lambda: client.check(shown), lambda one: one["decision"] == "step_up")
    before, record = logged.of(allowed["id"]), logged.of(refused["id"])
    assert (before["verdict"], before["standing"], "reasons" in before) == ("allow", "clear", False)
    assert (record["verdict"], record["standing"]) == ("step_up", "step_up")
    assert (record["user"], record["session"], record["contexts"]) == (user, session, ["c1"])
    assert (record["controls"], record["acr_values"]) == (["mfa"], ["mfa"])
    assert record["networks"] == ["restricted"]
    (reason,) = record["reasons"]
    assert (reason["policy"], reason["causes"][0]["events"]) == ("segment", ["e-1"])
    assert "address" not in record
    client.trusted("network-change", {"session": session}, data={"segment": "lab"})
    tried = eventually(
        lambda: logged.of(client.check(shown)["id"]), lambda one: "report_only" in one
    )
    assert tried["report_only"] == [{"policy": "trial", "verdict": "step_up"}]
    text = logged.file.read_text().lower()
    assert not [secret for secret in (*SECRETS, shown) if secret.lower() in text]


def test_a_member_of_a_record_is_one_that_the_reference_has(logged: Logged) -> None:
    client = logged.pods.clients[0]
    logged.of(client.check(token(unique("user"), unique("session")))["id"])
    known = {one.name for one in FIELDS} | {"chain", "why", "dropped"}
    assert all(one.keys() <= known for one in logged.records())


def test_each_record_follows_the_one_before(logged: Logged) -> None:
    logged.of(logged.pods.clients[0].check(token(unique("user"), unique("session")))["id"])
    lines = logged.file.read_bytes().splitlines()
    read = [read_record(line) for line in lines]
    seqs = [one.seq for one in read if one is not None]
    assert seqs == list(range(1, len(lines) + 1))
