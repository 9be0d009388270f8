"""The webhook as a process, asked by somebody who means it harm, and while it changes or ends."""

import base64
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.wire.injection.additions import APP_LABEL, CONTAINER, ENABLED, LABEL
from sidecar.wire.injection.reviews import LONGEST_REVIEW
from tests.deploy.webhook_process import HOST, SIDECAR, Webhook
from tests.waiting import eventually

LABELS = {LABEL: ENABLED, APP_LABEL: "payroll"}
APP = {"name": "app", "image": "app:1"}
POD = {"metadata": {"labels": LABELS}, "spec": {"containers": [APP]}}
DEEP = b"[" * 60_000 + b"]" * 60_000
WRONG_TYPES: tuple[Any, ...] = (5, "x", True, [5], {"x": 5})
HEAD = f"POST /inject HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n".encode()


def request_of(**changed: Any) -> dict[str, Any]:
    """Return the part of a review that differs; `...` takes a member away."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    whole = {"uid": "u-1", "kind": kind, "operation": "CREATE", "object": POD, **changed}
    return {name: value for name, value in whole.items() if value is not ...}


def review_of(**changed: Any) -> bytes:
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return json.dumps({**review, "request": request_of(**changed)}).encode()


def pod_of(**spec: Any) -> dict[str, Any]:
    return {**POD, "spec": {"containers": [APP], **spec}}


def started(directory: Path) -> Iterator[Webhook]:
    """Run a webhook, which must not have met anything that it did not expect."""
    made = Webhook(directory)
    try:
        eventually(made.is_ready, bool)
        yield made
        assert made.process.poll() is None, "it ended by itself"
        metrics = httpx.get(f"{made.admin}/metrics").text
        broken = [
            line
            for line in metrics.splitlines()
            if line.startswith("sidecar_unexpected_errors_total") and not line.endswith(" 0.0")
        ]
        assert not broken
    finally:
        made.client.close()
        made.process.kill()
        said = made.process.communicate()[1]
        assert b"Traceback" not in said


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    yield from started(tmp_path_factory.mktemp("attacked"))


def patched(answer: httpx.Response) -> list[str]:
    """Return at which paths an answer adds something."""
    response = answer.json()["response"]
    assert response["allowed"] is True
    patch = base64.b64decode(response.get("patch", "W10="))
    return [one["path"] for one in json.loads(patch)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        DEEP,
        b'{"a":' * 60_000,
        review_of().replace(b'"uid"', b'"options": %s, "uid"' % DEEP),
        review_of().replace(b'"labels"', b'"annotations": %s, "labels"' % DEEP),
        review_of().replace(b'"containers"', b'"volumes": %s, "containers"' % DEEP),
        review_of(uid=...),
        review_of(uid=""),
        review_of(uid="u" * 1_000_000),
        review_of(operation="create"),
        review_of(kind={"group": "", "version": "v2", "kind": "Pod"}),
        review_of(object=...),
        review_of().replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"),
        review_of().replace(b"admission.k8s.io/v1", b"v" * 1_000_000),
        review_of() * 2,
        review_of().decode().encode("utf-16"),
        review_of().replace(b"payroll", b"\xff"),
        review_of().replace(b"payroll", b"\\ud800"),
    ],
    ids=lambda body: repr(body[:40] + body[-10:]) if isinstance(body, bytes) else None,
)
def test_what_is_no_review_gets_400_in_few_words(webhook: Webhook, body: bytes) -> None:
    answer = webhook.post(body)
    assert answer.status_code == 400
    assert len(answer.content) < 1000


def test_a_wrong_type_anywhere_is_refused_and_lets_no_pod_through(webhook: Webhook) -> None:
    for wrong in WRONG_TYPES:
        bodies = [review_of(**{name: wrong}) for name in ("uid", "kind", "operation", "object")]
        bodies += [review_of(namespace=wrong), review_of(object={**POD, "spec": wrong})]
        bodies += [review_of(object={**POD, "metadata": wrong})]
        bodies += [review_of(object={**POD, "metadata": {"labels": wrong}})]
        for name in ("containers", "initContainers", "volumes", "os"):
            bodies.append(review_of(object=pod_of(**{name: wrong})))
        for name in ("name", "ports", "volumeMounts"):
            bodies.append(review_of(object=pod_of(containers=[{**APP, name: wrong}])))
        for body in bodies:
            answer = webhook.post(body)
            if answer.status_code != 400:
                # Where the type is right after all, as a text is for a name, it gets the sidecar,
                # unless its labels are others, and do not ask for it.
                asks = json.loads(body)["request"]["object"]["metadata"] == POD["metadata"]
                assert bool(patched(answer)) == asks, body


@pytest.mark.parametrize(
    "changed",
    [
        {"dryRun": True},
        {"namespace": "n" * 100_000},
        {"userInfo": 5, "options": ["x"], "extra": None},
        {"object": {**POD, "metadata": {"labels": LABELS, "annotations": 5}}},
        {"object": {**POD, "metadata": {"labels": LABELS, "annotations": {"\n/": {"a": []}}}}},
        {"object": pod_of(ephemeralContainers=[{"name": CONTAINER}])},
        {"object": pod_of(initContainers=[{"name": "first"}])},
        {"object": pod_of(initContainers=None, volumes=None)},
    ],
    ids=str,
)
def test_a_pod_that_asks_gets_the_sidecar_whatever_else_is_odd(
    webhook: Webhook, changed: dict[str, Any]
) -> None:
    paths = patched(webhook.post(review_of(**changed)))
    assert any(path.startswith("/spec/initContainers") for path in paths)


@pytest.mark.parametrize(
    "spec",
    [
        {"initContainers": [{"name": CONTAINER, "image": "busybox"}]},
        {"initContainers": [{"name": CONTAINER, "restartPolicy": "Always"}]},
        {"containers": [APP, {"name": CONTAINER}]},
        {"volumes": [{"name": "stepup-sidecar-socket"}]},
    ],
    ids=str,
)
def test_a_name_of_ours_is_not_taken_for_the_sidecar(webhook: Webhook, spec: Any) -> None:
    response = webhook.post(review_of(object=pod_of(**spec))).json()["response"]
    assert (response["allowed"], response["status"]["code"]) == (False, 422)


def test_a_pod_that_has_the_sidecar_gets_it_once(webhook: Webhook) -> None:
    first = webhook.post(review_of()).json()["response"]
    values = {one["path"]: one["value"] for one in json.loads(base64.b64decode(first["patch"]))}
    mounts = values["/spec/containers/0/volumeMounts"]
    completed = pod_of(
        containers=[{**APP, "volumeMounts": mounts}],
        initContainers=values["/spec/initContainers"],
        volumes=values["/spec/volumes"],
    )
    again = webhook.post(review_of(object=completed)).json()["response"]
    assert again == {"uid": "u-1", "allowed": True}
    completed["spec"]["containers"].append({"name": "late"})
    assert patched(webhook.post(review_of(object=completed))) == ["/spec/containers/1/volumeMounts"]


def test_types_methods_and_paths_that_are_wrong_have_their_answers(webhook: Webhook) -> None:
    for content_type in ("", "text/json", "application/yaml", "application/json, text/plain"):
        assert webhook.post(review_of(), content_type).status_code == 415
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ODD"):
        asked = webhook.client.request(method, "/inject", extensions={"sni_hostname": HOST})
        assert (asked.status_code, asked.headers["allow"]) == (405, "POST")
    for path in ("/", "/inject/", "//inject", "/INJECT", "/inject%00", "/metrics"):
        asked = webhook.client.post(path, extensions={"sni_hostname": HOST})
        assert asked.status_code == 404, path
    assert webhook.post(b" " * (10 << 20)).status_code == 413
    assert LONGEST_REVIEW < 10 << 20


def connected(webhook: Webhook, trust: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    port = int(webhook.url.rpartition(":")[2])
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    return (trust or webhook.trust).wrap_socket(plain, server_hostname=HOST)


def half_closed(webhook: Webhook, said: bytes) -> bytes:
    """Send this and close the sending half; return what comes until the other end is closed."""
    came = b""
    with connected(webhook) as connection:
        connection.sendall(said)
        socket.socket.shutdown(connection, socket.SHUT_WR)
        try:
            while piece := connection.recv(65536):
                came += piece
        except (ssl.SSLError, ConnectionError):  # it is reset, or ends without a farewell
            pass
    return came


def test_half_closed_connections_end_alone(webhook: Webhook) -> None:
    body = review_of()
    sized = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    for said in (HEAD, sized, sized + body[:20], sized + body):
        came = half_closed(webhook, said)
        assert not came or came.split()[1] in {b"200", b"400"}, came
    assert patched(webhook.post(body))


@pytest.mark.long  # a body may take ten seconds
def test_a_body_that_does_not_come_gets_408_and_holds_nobody_up(webhook: Webhook) -> None:
    body = review_of()
    with connected(webhook) as slow:
        slow.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:20])
        assert patched(webhook.post(body))
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_certificate_that_is_renewed_counts_for_new_connections(
    webhook: Webhook, tmp_path: Path
) -> None:
    made = tmp_path / "renewed"
    subprocess.run([SIDECAR, "inject", "--make-certificates", made], check=True)
    renewed = ssl.create_default_context(cafile=str(made / "ca.crt"))
    before = webhook.made / "tls.crt"
    kept = (before.read_bytes(), (webhook.made / "tls.key").read_bytes())
    with connected(webhook) as older:
        before.write_bytes(kept[0][:200])  # as somebody finds it who looks while it is written
        assert patched(webhook.post(review_of()))
        for name in ("tls.crt", "tls.key"):
            shutil.copy(made / name, webhook.made / name)
        eventually(lambda: accepts(webhook, renewed), bool)
        body = review_of()
        older.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert older.recv(65536).startswith(b"HTTP/1.1 200 ")
    for name, content in zip(("tls.crt", "tls.key"), kept, strict=True):
        (webhook.made / name).write_bytes(content)
    eventually(lambda: accepts(webhook, webhook.trust), bool)


def accepts(webhook: Webhook, trust: ssl.SSLContext) -> bool:
    try:
        connected(webhook, trust).close()
    except ssl.SSLError:
        return False
    return True


@pytest.mark.long  # it answers for five seconds after the signal
def test_the_signal_to_end_fails_no_review_that_it_takes(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path)
    answers: list[int] = []
    refused = threading.Event()

    def ask(kept: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=int(kept))
        with httpx.Client(verify=webhook.trust, timeout=20, limits=limits) as client:
            post: Callable[..., httpx.Response] = client.post
            while not refused.is_set():
                try:
                    answer = post(
                        f"{webhook.url}/inject",
                        content=review_of(),
                        headers={"Content-Type": "application/json"},
                        extensions={"sni_hostname": HOST},
                    )
                except httpx.ConnectError:
                    refused.set()
                except (httpx.RemoteProtocolError, httpx.ReadError):
                    continue  # an idle connection ended; the API server's client sends it again
                else:
                    answers.append(answer.status_code)

    try:
        eventually(webhook.is_ready, bool)
        threads = [threading.Thread(target=ask, args=(kept,)) for kept in (True, False)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(answers), lambda count: count >= 20)
        webhook.process.send_signal(signal.SIGTERM)
        eventually(webhook.is_ready, lambda ready: not ready)
        after = len(answers)
        for thread in threads:
            thread.join()
        said = webhook.process.communicate(timeout=30)[1]
    finally:
        refused.set()
        webhook.client.close()
        webhook.process.kill()
    assert set(answers) == {200}
    assert len(answers) > after, "nobody was answered once it was not ready"
    assert webhook.process.returncode == 0
    assert b"Traceback" not in said
