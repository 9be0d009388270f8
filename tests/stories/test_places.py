"""Journeys, anonymizers and locations at two daemons' real doors, with real databases, under the
policies that are shipped: what is excused is just what was proven."""

import tempfile
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from sidecar.domain.policy.conditional_access import Policy
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import Context, GeographySettings, Settings
from tests import plain_http
from tests.adapters.servers import Server
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

CONFIG = Path(__file__).resolve().parents[2] / "config"
NEW_YORK, AGAIN, LOS_ANGELES = "192.0.2.1", "192.0.2.2", "192.0.2.65"
TOR, LONDON, MOBILE, ABROAD = "192.0.2.129", "198.51.100.1", "203.0.113.1", "203.0.113.129"
LAN, UNLISTED = "10.0.0.1", "198.18.0.1"
CITIES: dict[str, tuple[str, float, float]] = {
    "192.0.2.0/26": ("US", 40.71, -74.01),
    "192.0.2.64/26": ("US", 34.05, -118.24),
    "192.0.2.128/26": ("US", 40.71, -74.01),
    "198.51.100.0/24": ("GB", 51.51, -0.13),
    "203.0.113.0/25": ("US", 33.75, -84.39),
    "203.0.113.128/25": ("BR", -23.55, -46.63),
}
OPERATORS = {"192.0.2.0/24": 7018, "198.51.100.0/24": 2856, "203.0.113.0/24": 20057}


def database(file: Path, records: dict[str, dict[str, Any]]) -> str:
    writer = MMDBWriter(ip_version=4)
    for network, record in sorted(records.items(), key=lambda one: ip_network(one[0]).prefixlen):
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(file))
    return str(file)


def geography(directory: Path) -> GeographySettings:
    return GeographySettings(
        city=database(
            directory / "where.mmdb",
            {
                network: {
                    "country": {"iso_code": country},
                    "location": {"latitude": north, "longitude": east, "accuracy_radius": 20},
                }
                for network, (country, north, east) in CITIES.items()
            },
        ),
        asn=database(
            directory / "operators.mmdb",
            {net: {"autonomous_system_number": asn} for net, asn in OPERATORS.items()},
        ),
        anonymous_ip=database(
            directory / "anonymous.mmdb",
            {"192.0.2.128/26": {"is_anonymous": True, "is_tor_exit_node": True}},
        ),
        connection_type=database(
            directory / "connections.mmdb", {"203.0.113.0/24": {"connection_type": "Cellular"}}
        ),
    )


def shipped() -> tuple[Policy, ...]:
    settings = read_settings(
        (CONFIG / "sidecar.yaml").read_text(), "sidecar.yaml", {}, lambda _: ""
    )
    files = sorted((CONFIG / "policies").glob("*.yaml"))
    wanted = {"impossible-travel", "anonymizer"}
    policies = read_policies([(file.name, file.read_text()) for file in files], settings)
    return tuple(policy for policy in policies if policy.id in wanted)


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with tempfile.TemporaryDirectory() as made:
        where = geography(Path(made))

        def change(settings: Settings, _: int) -> Settings:
            issuers = tuple(
                msgspec.structs.replace(issuer, ip_claim="ipaddr")
                for issuer in settings.tokens.issuers
            )
            tokens = msgspec.structs.replace(settings.tokens, issuers=issuers)
            contexts = {**settings.contexts, "c3": Context(name="Records")}
            return msgspec.structs.replace(
                settings, geography=where, tokens=tokens, contexts=contexts
            )

        with running(valkey_server.url, shipped(), change=change) as both:
            yield both


HOUR = 3600


class Person:
    """A session of somebody, old or new, and calls of it."""

    def __init__(self, pods: Pods, user: str = "", device: str = "") -> None:
        self.pods = pods
        self.user, self.session = user or unique("user"), unique("session")
        self.more = {"deviceid": device} if device else {}

    def token(self, age: float = HOUR, acr: str = "mfa", **more: Any) -> str:
        return token(self.user, self.session, age=age, acr=acr, **self.more, **more)

    def call(self, token: str, ip: str, pod: int = 0, context: str = "c1") -> str:
        return str(self.pods.clients[pod].check(token, context, ip)["decision"])


def test_from_coast_to_coast_in_a_moment_on_one_operator(pods: Pods) -> None:
    one = Person(pods)
    old = one.token()
    assert one.call(old, NEW_YORK) == "allow"
    assert one.call(old, LOS_ANGELES) == "step_up"


def test_a_tor_exit_of_the_operator_that_was_proven(pods: Pods) -> None:
    one = Person(pods)
    assert one.call(one.token(10, "phr"), NEW_YORK) == "allow"
    assert one.call(one.token(10, "phr"), TOR) == "step_up"


def test_a_second_session_across_the_sea_with_an_hour_old_sign_in(pods: Pods) -> None:
    first = Person(pods)
    assert first.call(first.token(), NEW_YORK) == "allow"
    second = Person(pods, first.user)
    assert second.call(second.token(), LONDON) == "step_up"


def test_who_has_just_signed_in_is_not_asked_for_where_the_first_call_comes_from(
    pods: Pods,
) -> None:
    first = Person(pods)
    assert first.call(first.token(), NEW_YORK) == "allow"
    second = Person(pods, first.user)
    assert second.call(second.token(30), LONDON) == "allow"


@pytest.mark.parametrize("between", [LAN, UNLISTED, TOR, MOBILE, ""])
def test_what_has_no_place_does_not_blind_the_next_journey(pods: Pods, between: str) -> None:
    one = Person(pods)
    old = one.token()
    assert one.call(old, NEW_YORK) == "allow"
    assert one.call(old, between, context="") == "allow"
    assert one.call(old, LOS_ANGELES, context="c3") == "step_up"


def test_a_carriers_egress_is_no_journey_in_its_country_and_is_one_abroad(pods: Pods) -> None:
    one = Person(pods)
    old = one.token()
    for ip in (NEW_YORK, MOBILE, NEW_YORK, MOBILE):
        assert one.call(old, ip) == "allow"
    assert one.call(old, ABROAD) == "step_up"


def test_a_proof_that_is_reported_without_an_address_proves_no_place(pods: Pods) -> None:
    one = Person(pods)
    subject = {"session": one.session}
    old = one.token()
    assert one.call(old, NEW_YORK) == "allow"
    assert one.call(old, LONDON) == "step_up"
    risen = pods.clients[0].trusted(
        "assurance-level-change", subject, data={"namespace": "RFC6711", "current_level": "phr"}
    )
    assert risen["ok"] is True
    shown = inspected(pods, one.session)
    assert "country=GB" not in shown["proven"]


def test_a_check_without_an_address_proves_no_place(pods: Pods) -> None:
    one = Person(pods)
    assert one.call(one.token(), LONDON) == "allow"
    assert one.call(one.token(1), "") == "allow"
    assert "country=GB" not in inspected(pods, one.session)["proven"]


def inspected(pods: Pods, session: str) -> dict[str, Any]:
    url = f"{pods.addresses[0].admin[0]}/v1/sessions/{session}"
    answer = plain_http.get(url, headers={"Authorization": "Bearer operator"})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def test_a_token_that_says_where_its_user_signed_in_proves_that_place(pods: Pods) -> None:
    one = Person(pods)
    heard = one.token(HOUR, ipaddr=LONDON)
    assert one.call(heard, NEW_YORK) == "allow"
    proven = inspected(pods, one.session)["proven"]
    assert "country=GB" in proven
    assert "country=US" not in proven


def test_between_two_proven_places_nobody_is_asked_at_either_daemon(pods: Pods) -> None:
    one = Person(pods)
    assert one.call(one.token(10), NEW_YORK) == "allow"
    assert one.call(one.token(10), LONDON) == "step_up"
    fresh = eventually(lambda: one.token(0), lambda shown: one.call(shown, LONDON) == "allow")
    for ip in (NEW_YORK, LONDON, AGAIN, LONDON):
        for pod in (0, 1):
            eventually(
                lambda pod=pod, ip=ip: one.call(fresh, ip, pod), lambda said: said == "allow"
            )
    assert one.call(fresh, LOS_ANGELES, 1) == "step_up"


def test_a_later_session_on_the_device_knows_what_the_first_has_proven(pods: Pods) -> None:
    device = unique("laptop")
    first = Person(pods, device=device)
    assert first.call(first.token(10), NEW_YORK) == "allow"
    assert first.call(first.token(10), LONDON) == "step_up"
    eventually(lambda: first.token(0), lambda shown: first.call(shown, LONDON) == "allow")

    def travels(device: str, pod: int) -> str:
        later = Person(pods, first.user, device)
        old = later.token()
        later.call(old, NEW_YORK, pod, context="")
        return later.call(old, LONDON, pod)

    # What the other daemon learns of the user it has once the first session's records are saved.
    eventually(lambda: travels(device, 1), lambda said: said == "allow")
    assert travels(device, 0) == "allow"
    assert travels(unique("phone"), 1) == "step_up"
    assert travels("", 0) == "step_up"


def test_over_http_a_journey_is_judged_as_over_the_socket(pods: Pods) -> None:
    one = Person(pods)
    old = one.token()
    url = pods.addresses[0].http[0] + "/v1/check"

    def call(ip: str) -> int:
        headers = {"X-Auth-Context": "c1", "X-Forwarded-For": ip}
        return plain_http.get(
            url, headers={**headers, "Authorization": f"Bearer {old}"}
        ).status_code

    assert call(NEW_YORK) == 200
    assert call(LOS_ANGELES) == 401
