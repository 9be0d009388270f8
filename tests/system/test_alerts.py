"""Alerts fire at a real Prometheus when their causes are planted at real daemons, and not before.

Nothing waits here (`for: 0s`): how long an alert waits, and that it ends, promtool shows.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from sidecar.adapters import clock
from sidecar.demo.geography import build
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.wire.bundles.archive import digest_of, pack
from sidecar.wire.bundles.generations import ACTIVE, SEALED, Generation, PolicyAct, encode, field_of
from sidecar.wire.bundles.minisign import SecretKey
from sidecar.wire.facts.values import HEAD
from sidecar.wire.store.keys import StoreKeys, digest
from tests.adapters.identity import key_set
from tests.adapters.servers import Server, free_ports, serving
from tests.deploy.observability.expressions import plain
from tests.stories.running import CREDENTIAL, ISSUER, SIGNER, Client, token, unique
from tests.system.bundling import Follower
from tests.system.processes import Process, level
from tests.system.prometheus_server import NEEDS_PROMETHEUS, PATIENCE, Prometheus, prometheus
from tests.waiting import eventually
from tools.observability.files import DASHBOARDS
from tools.observability.panels import scoped
from tools.observability.rules import ALERTS

pytestmark = NEEDS_PROMETHEUS
ROOT = Path(__file__).parents[2]

RISKY = """\
policies:
  - id: risky
    state: enabled
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: medium}}
    grant: mfa
"""
DEFECTIVE = """
import sys, sidecar
sidecar.__version__ = "0.0.9"
from sidecar.service.audit.sweep import Sweeper
async def sweep(self):
    raise ValueError("a defect")
Sweeper.sweep = sweep
sys.argv = ["sidecar", *sys.argv[4:]]
from sidecar.cli.main import main
sys.exit(main())
"""
"""What runs the other daemon: one of another version, with a defect."""
FROM_THE_START = {"SidecarGeographyOld"}
"""The sample databases are old enough."""
BY_LOAD = {
    "SidecarLatencyBudgetBurns",
    "SidecarLoopStalled",
    "SidecarQueueFull",
    "SidecarStoreSlow",
}
"""What a busy machine brings about by itself, before its cause is planted."""


class Offering(BaseHTTPRequestHandler):
    """A provider's metadata and keys."""

    def do_GET(self) -> None:
        assert isinstance(self.server, OtherProvider)
        body = key_set(SIGNER)
        if "well-known" in self.path:
            url, values = self.server.url, self.server.acr_values
            metadata = {"issuer": url, "jwks_uri": f"{url}/keys", "acr_values_supported": values}
            body = json.dumps(metadata).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


class OtherProvider(ThreadingHTTPServer):
    """A second provider, which offers these values of `acr`."""

    daemon_threads = True
    acr_values: Sequence[str] = ("mfa", "phr", "phrh")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def offering() -> Iterator[OtherProvider]:
    with OtherProvider(("127.0.0.1", 0), Offering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Scene:
    """Two daemons on one store, and a Prometheus that scrapes them."""

    def __init__(self, directory: Path, store: Server, stack: ExitStack) -> None:
        self.directory = directory
        self.store = store
        self._stack = stack
        for name in ("policies", "others", "spool"):
            (directory / name).mkdir()
        (directory / "jwks.json").write_bytes(key_set(SIGNER))
        (directory / "policies" / "one.yaml").write_text(RISKY)
        (directory / "others" / "one.yaml").write_text(RISKY.replace("medium", "high"))
        (directory / "mdm").write_text(CREDENTIAL)
        self.city = build(directory).city
        self.provider = stack.enter_context(offering())
        self.second = f"127.0.0.1:{free_ports(1)[0]}"
        self.b: Process
        self.third = f"127.0.0.1:{free_ports(1)[0]}"
        self.c: Follower
        self.a = self.run("a", self.extra())
        self.client = Client(str(self.a.socket))
        stack.callback(lambda: self.client.close())  # noqa: PLW0108 - as it then is

    def extra(self) -> dict[str, Any]:
        at = self.directory
        issuer = {"issuer": ISSUER, "audiences": ["payroll"], "jwks_file": str(at / "jwks.json")}
        other = {"issuer": self.provider.url, "audiences": ["payroll"]}
        return {
            "socket": {"path": str(at / "a.sock"), "max_connections": 3},
            "store": {"url": self.store.url, "timeout": "1s", "connect_timeout": "1s"},
            "tokens": {"issuers": [issuer, other], "jwks_refresh": "1s"},
            "work": {"queue": 1},
            "geography": {"city": str(self.city)},
            "spool": {"dir": str(at / "spool"), "max_events": 2},
            "break_glass": {"accounts": [{"issuer": ISSUER, "users": ["glass"]}]},
            "friction": {"prompts": 1},
            "sessions": {"max_staleness": "2s", "sweep_interval": "200ms"},
            "shared_table": {"enabled": True},
            "decision_log": {
                "output": "file",
                "file": {"path": str(at / "decisions")},
                "queue": 500,
            },
            "log": {"checks": True},
            "sources": [
                {
                    "name": "mdm",
                    "token_file": str(at / "mdm"),
                    "may": ["device-compliance-change"],
                }
            ],
        }

    def run(self, name: str, extra: dict[str, Any], *within: str) -> Process:
        """Start a daemon, which ends with the scene."""
        process = Process(self.directory, name, self.store.url, extra, within)
        self.on_end(process)
        return process

    def on_end(self, process: Process) -> None:
        """Have a daemon end with the scene."""
        self._stack.callback(_end, process)

    def watch(self, **targets: str) -> None:
        """Have a Prometheus scrape these daemons."""
        addresses = {name: url.removeprefix("http://") for name, url in targets.items()}
        self.prometheus: Prometheus = self._stack.enter_context(
            prometheus(self.directory, addresses)
        )
        eventually(self.prometheus.has_scraped, bool, within=PATIENCE)

    def check(self, user: str, session: str) -> Any:
        return self.client.check(token(user, session))

    def connects_again(self) -> bool:
        """Whether the socket has a place for its client again."""
        self.client.close()
        self.client = Client(str(self.a.socket))
        try:
            return bool(self.client.ask(op="ping")["ok"])
        except (OSError, ValueError):
            return False

    def asked(self, user: str, session: str) -> dict[str, Any]:
        """A check as a line of the socket."""
        shown = token(user, session)
        return {"op": "check", "token": shown, "context": "c1", "ip": "192.0.2.1"}

    def claims(self, user: str, session: str) -> dict[str, Any]:
        """What a token says of a sign-in, but for its level."""
        now = int(clock.now())
        lasting = {"iat": now, "exp": now + 3600, "auth_time": now - 60}
        return {"iss": ISSUER, "aud": "payroll", "sub": user, "sid": session, **lasting}

    def event(self, user: str, **more: Any) -> Any:
        data = {"current_level": "HIGH"}
        return self.client.event(
            "risk-level-change", {"user": user, "issuer": ISSUER}, data=data, **more
        )


def _end(process: Process) -> None:
    if process.process.poll() is None:
        process.process.send_signal(signal.SIGCONT)
        process.process.kill()
        process.process.wait()


@contextmanager
def scene() -> Iterator[Scene]:
    with (
        tempfile.TemporaryDirectory(prefix="al-") as directory,
        serving() as store,
        ExitStack() as stack,
    ):
        yield Scene(Path(directory), store, stack)


class Cause(NamedTuple):
    """A cause, and the alerts that fire by it. `again`: it is planted until they do."""

    plant: Callable[[Scene], object]
    alerts: frozenset[str]
    again: bool = False


def cause(plant: Callable[[Scene], object], *alerts: str, again: bool = False) -> Cause:
    return Cause(plant, frozenset(alerts), again)


def break_policy(at: Scene) -> None:
    (at.directory / "policies" / "one.yaml").write_text("policies: [{id: 7}]")


def remove_a_credential(at: Scene) -> None:
    (at.directory / "mdm").unlink(missing_ok=True)
    reply = at.client.trusted("session-revoked", {"session": unique("none")})
    assert reply["error"] == "not_allowed", reply


def say_what_it_may_not(at: Scene) -> None:
    for _ in range(8):
        high = {"current_level": "HIGH"}
        reply = at.client.trusted("risk-level-change", {"user": "ada"}, data=high)
        assert reply["error"] == "not_allowed", reply


def stop_the_store(at: Scene) -> None:
    at.store.stop()


def go_on_without_store(at: Scene) -> None:
    at.check("eve", "s9")
    at.client.event("session-revoked", {"session": "gone"}, id=unique("e"))


def change_what_needs_a_restart(at: Scene) -> None:
    written = json.loads(at.a.config.read_text())
    written["socket"]["mode"] = "0600"
    at.a.config.write_text(json.dumps(written))


def break_the_database(at: Scene) -> None:
    at.city.write_bytes(b"broken")


def break_the_keys(at: Scene) -> None:
    (at.directory / "jwks.json").write_text("broken")


def stop_offering(at: Scene) -> None:
    at.provider.acr_values = ("another",)


def send_nonsense(at: Scene) -> None:
    for _ in range(30):
        assert at.client.event("nonsense", {"user": "ada"})["error"] == "invalid_event"


def mark_a_crowd(at: Scene) -> None:
    """Mark every session of a user who has many, where hardly anything may wait.

    Nothing of it comes into the shared table, as the configuration logs all checks.
    """
    user = unique("crowd")
    for number in range(25):
        assert at.check(user, f"{user}-{number}")["ok"]
    assert at.event(user)["ok"]


def forget_the_level(at: Scene) -> None:
    assert at.client.check(SIGNER.token(**at.claims("bob", "s2"), acr=None, amr=None))["ok"]


def use_an_emergency_account(at: Scene) -> None:
    assert at.check("glass", "s3")["decision"] == "allow"


def crowd_the_socket(at: Scene) -> None:
    """Watch at every place that there is, and knock once more."""
    at.client.close()
    with ExitStack() as watching:
        for _ in range(3):
            client = watching.enter_context(Client(str(at.a.socket)))
            assert client.ask(op="watch", sessions=["s1"])["ok"]
        with suppress(OSError, ValueError):
            Client(str(at.a.socket)).close()
        eventually(
            lambda: level(at.a, 'sidecar_door_incidents_total{door="socket",incident="refused"}'),
            bool,
        )
    eventually(at.connects_again, bool)


def run_a_defect_of_another_version(at: Scene) -> None:
    """Start a second daemon, of other policies and another version, whose sweeps fail."""
    extra = {
        "admin": {"bind": at.second},
        "tokens": {**at.extra()["tokens"], "issuers": at.extra()["tokens"]["issuers"][:1]},
        "policies": {"path": str(at.directory / "others")},
    }
    at.b = at.run("b", extra, sys.executable, "-c", DEFECTIVE)


def be_served_by_the_defect(at: Scene) -> None:
    with Client(str(at.b.socket)) as client:
        assert client.check(token("dan", unique("s")))["ok"]


def write_into_the_store(at: Scene) -> None:
    """Break a fact of a user, whom the second daemon does not know yet."""
    assert at.event("fay")["ok"]
    key = StoreKeys("su").user_record(digest(ISSUER, "fay"))
    with at.store.client() as store:
        (field,) = (one for one in store.hkeys(key) if one.startswith(b"risk@"))
        value = store.hget(key, field)
        store.hset(key, field, value[:HEAD] + b"\xc1 damaged")
    with Client(str(at.b.socket)) as client:
        client.check(token("fay", unique("s")))


def put_another_value_in_the_way(at: Scene) -> None:
    with at.store.client() as store:
        store.set(StoreKeys("su").user_record(digest(ISSUER, "gus")), "somebody else's")
    assert at.event("gus")["spooled"]


def hold_the_store(at: Scene) -> None:
    """Have what is asked of the store wait for a moment."""
    with at.store.paused():
        at.client.send(at.asked("hal", unique("s")))
        time.sleep(0.3)  # as long as the operations are to take
    at.client.read()


def hold_the_process(at: Scene) -> None:
    """Stop the process in the midst of its work."""
    at.client.send(*(at.asked("ivy", "s4") for _ in range(400)))
    at.a.process.send_signal(signal.SIGSTOP)
    time.sleep(0.8)  # as long as the stop is to be
    at.a.process.send_signal(signal.SIGCONT)
    for _ in range(400):
        at.client.read()


def fill_the_disk(at: Scene) -> None:
    """Let no file of the process grow."""
    resource.prlimit(at.a.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    at.client.send(*(at.asked("jon", "s6") for _ in range(400)))
    for _ in range(400):
        at.client.read()


def empty_the_disk(at: Scene) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(at.a.process.pid, resource.RLIMIT_FSIZE, unlimited)


def empty_the_store(at: Scene) -> None:
    with at.store.client() as store:
        store.flushall()


def start_again_and_again(at: Scene) -> None:
    for _ in range(3):
        at.b.process.kill()
        at.b.process.wait()
        at.b.start()
        scrapes = at.prometheus.query('count_over_time(up{instance="b"}[1h])')[0]["value"][1]
        eventually(
            lambda scrapes=scrapes: at.prometheus.query(
                f'count_over_time(up{{instance="b"}}[1h]) > {scrapes} + 1'
            ),
            bool,
            within=PATIENCE,
        )


def kill_it(at: Scene) -> None:
    at.b.process.kill()


def name_a_bundle_that_nobody_signed(at: Scene) -> None:
    """Have a third daemon take up bundles, and the store name one that nobody signed."""
    bundles = at.directory / "bundles"
    bundles.mkdir()
    archive = pack({"policies/a.yaml": b"policies: []"}, sequence=1, made_at=0, policy_set="")
    (bundles / "policies-1.tar").write_bytes(archive)
    public = SecretKey(bytes(8), bytes(32)).public.text
    bundle = {"directory": str(bundles), "public_keys": [public]}
    extra = {"admin": {"bind": at.third}, "policies": {"bundle": bundle}}
    at.c = Follower(at.directory, "c", at.store.url, extra)
    at.on_end(at.c)
    moment = int(clock.now() * MICROSECONDS)
    one = Generation(1, 1, digest_of(archive), moment, PolicyAct.ACTIVATE, "nobody", "", moment)
    fields = {field_of(ACTIVE, 1): encode(one, 1), field_of(SEALED, 1): encode(moment, 1)}
    # What is refused at once is no increase to a Prometheus that has not seen the daemon before.
    eventually(
        lambda: at.prometheus.query('sidecar_ready{instance="c"} == 0'), bool, within=PATIENCE
    )
    with at.store.client() as store:
        store.hset(StoreKeys("su").policies_record(), mapping=fields)


def forget_the_bundle(at: Scene) -> None:
    at.c.process.kill()
    at.c.process.wait()
    with at.store.client() as store:
        store.delete(StoreKeys("su").policies_record())
    gone = frozenset({"SidecarNotReady"})
    eventually(at.prometheus.firing, gone.isdisjoint, within=PATIENCE)


STORE_DOWN = (
    "SidecarStoreDown",
    "SidecarNotReady",
    "SidecarContextStale",
    "SidecarChecksUnavailable",
    "SidecarErrorBudgetBurns",
    "SidecarSpoolWaiting",
    "SidecarSpoolFailing",
    "SidecarEventsNotTaken",
)
FIRST = (
    cause(break_policy, "SidecarReloadFailed"),
    cause(say_what_it_may_not, "SidecarEventsNotAllowed"),
    cause(remove_a_credential, "SidecarCredentialFailing"),
    cause(stop_the_store),
    cause(go_on_without_store, *STORE_DOWN, again=True),
)
ALL = (
    cause(change_what_needs_a_restart, "SidecarRestartRequired"),
    cause(send_nonsense, "SidecarEventsInvalid"),
    cause(
        mark_a_crowd,
        *("SidecarManySessionsMarked", "SidecarPromptBudgetExceeded", "SidecarQueueFull"),
        "SidecarSharedTableUnused",
        again=True,
    ),
    cause(hold_the_store, "SidecarStoreSlow", "SidecarLatencyBudgetBurns", again=True),
    cause(forget_the_level, "SidecarTokenClaimsMissing"),
    cause(use_an_emergency_account, "SidecarBreakGlassUsed"),
    cause(crowd_the_socket, "SidecarConnectionsRefused"),
    cause(stop_offering, "SidecarAcrNotOffered"),
    cause(break_the_database, "SidecarGeographyRefused"),
    cause(run_a_defect_of_another_version, *("SidecarVersionsDiffer", "SidecarPolicySetsDiffer")),
    cause(be_served_by_the_defect, "SidecarUnexpectedErrors", again=True),
    cause(write_into_the_store, "SidecarFactsSetAside"),
    cause(hold_the_process, "SidecarLoopStalled", again=True),
    cause(put_another_value_in_the_way, "SidecarDeadLetters"),
    cause(
        fill_the_disk,
        *("SidecarDecisionLogDown", "SidecarDecisionsDropped", "SidecarLogLinesDropped"),
        again=True,
    ),
    cause(empty_the_disk),
    cause(empty_the_store, "SidecarStoreLost"),
    cause(start_again_and_again, "SidecarRestarting"),
    cause(kill_it, "SidecarDown"),
    cause(
        name_a_bundle_that_nobody_signed,
        *("SidecarPolicyBundleWaits", "SidecarPolicyBundleRefused"),
    ),
    cause(forget_the_bundle),
    cause(break_the_keys, "SidecarKeysNotRefreshed", "SidecarKeysOld"),
    *FIRST[:-1],
    cause(go_on_without_store, *STORE_DOWN, "SidecarNewsStale", again=True),
)


def play(at: Scene, causes: Sequence[Cause]) -> None:
    """Plant each cause: its alerts did not fire before, and do now."""
    for one in causes:
        before = at.prometheus.firing() - BY_LOAD
        assert before.isdisjoint(one.alerts), (before, one.plant.__name__)
        one.plant(at)

        def fires(now: set[str], one: Cause = one) -> bool:
            if now >= one.alerts:
                return True
            if one.again:
                one.plant(at)
            return False

        try:
            eventually(at.prometheus.firing, fires, within=PATIENCE, every=0.05)
        except AssertionError:
            pytest.fail(f"{one.plant.__name__}: {one.alerts - at.prometheus.firing()}")
    for rule in at.prometheus.rules():
        assert rule["health"] == "ok", rule
        for alert in rule.get("alerts", ()):
            assert "<error" not in " ".join(alert["annotations"].values()), alert


def test_each_alert_has_its_cause_planted_but_one_that_age_alone_brings_about() -> None:
    planted = frozenset[str]().union(*(one.alerts for one in ALL))
    assert {alert.name for alert in ALERTS} == planted | FROM_THE_START


def test_what_operators_meet_first_makes_its_alerts_fire() -> None:
    with scene() as at:
        at.check("ada", "s1")
        at.watch(a=at.a.admin)
        assert at.prometheus.firing() <= FROM_THE_START | BY_LOAD
        play(at, FIRST)
        for board in DASHBOARDS.values():
            for query in board.queries:
                at.prometheus.query(plain(scoped(query.expr)))


@pytest.mark.long
def test_every_alert_fires_when_its_cause_is_planted() -> None:
    with scene() as at:
        at.check("ada", "s1")
        at.watch(a=at.a.admin, b=f"http://{at.second}", c=f"http://{at.third}")
        assert at.prometheus.firing() <= FROM_THE_START | BY_LOAD
        eventually(at.prometheus.firing, FROM_THE_START.issubset)
        play(at, ALL)


@pytest.mark.long
def test_after_the_demos_story_every_panel_that_must_have_data_has_some() -> None:
    with tempfile.TemporaryDirectory(prefix="dm-") as place, ExitStack() as stack:
        environment = {**os.environ, "TMPDIR": place, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "sidecar", "demo"]
        process = stack.enter_context(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        page = ""
        address = None
        for line in process.stdout:
            page += line
            address = re.search(r"sessions --url (\S+)", page)
            if address is not None:
                break
        assert address is not None, page
        server = stack.enter_context(
            prometheus(Path(place), {"a": address[1].removeprefix("http://")})
        )
        eventually(server.has_scraped, bool, within=PATIENCE)
        text = httpx.get(f"{address[1]}/metrics", trust_env=False).content
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
        for board in DASHBOARDS.values():
            for query in board.queries:
                found = server.query(plain(scoped(query.expr)))
                assert found or not query.must_have_data, query.expr
        process.terminate()
        assert process.wait(60) == 0
