import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.signal import (
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionPresented,
    SessionRevoked,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.tuning.scenario.session_changes import (
    KEYS,
    Change,
    ChangeFrame,
    InvalidChange,
    read_change,
    read_place,
)
from sidecar.tuning.scenario.simulation import Described
from sidecar.tuning.scenario.when import SignInStep


def nowhere(_ip: str) -> Place:
    return Place(city="Nowhere")


def change(text: str) -> Change:
    return read_change(text, ChangeFrame(Described(user="ada", device="d1"), 1000.0, nowhere, 3))


def test_an_address_moves_the_session_to_its_place_with_what_is_said_of_it() -> None:
    found = change("ip=192.0.2.1,country=pt,asn=AS64496,coordinates=38.7/-9.1,anonymizer=tor+vpn")
    (seen,) = found.actions
    assert isinstance(seen, SessionPresented)
    assert (seen.subject.session, seen.ip, seen.stamp.seconds) == ("session", "192.0.2.1", 1000)
    assert found.places == {
        "192.0.2.1": Place(
            country="PT",
            city="Nowhere",
            asn=64496,
            latitude=38.7,
            longitude=-9.1,
            anonymizer=("tor", "vpn"),
        )
    }


def test_a_country_alone_gets_an_address_of_nobody_another_each_time() -> None:
    first, _ = read_place({"country": "PT"}, nowhere, 1)
    second, place = read_place({"country": "Brazil"}, nowhere, 2)
    assert first != second
    assert place.country == "BR"


@pytest.mark.parametrize(
    ("text", "kind", "subject"),
    [
        ("network=restricted", NetworkChange, {"session": "session"}),
        ("compliant=false", DeviceComplianceChange, {"device": "d1"}),
        ("user-risk=high", RiskLevelChange, {"user": "ada"}),
        ("session-risk=low", RiskLevelChange, {"session": "session"}),
        ("device-risk=medium", RiskLevelChange, {"device": "d1"}),
        ("signal=odd:50", RiskSignal, {"session": "session"}),
        ("claim=department:finance+legal", TokenClaimsChange, {"session": "session"}),
        ("credential=password", CredentialChange, {"user": "ada"}),
        ("revoked=stolen", SessionRevoked, {"session": "session"}),
        ("user-agent=curl", SessionPresented, {"session": "session"}),
        ("device=d2", SessionPresented, {"session": "session", "device": "d2"}),
    ],
)
def test_each_key_becomes_the_event_that_would_report_it(
    text: str, kind: type, subject: dict[str, str]
) -> None:
    (action,) = change(text).actions
    assert isinstance(action, kind)
    assert not isinstance(action, SignInStep)
    for name, value in subject.items():
        assert getattr(action.subject, name) == value


def test_what_the_event_says_is_what_was_typed() -> None:
    risk, signal, claim = change("user-risk=high,signal=odd:50,claim=a:b+c").actions
    assert isinstance(risk, RiskLevelChange)
    assert risk.level is RiskLevel.HIGH
    assert isinstance(signal, RiskSignal)
    assert (signal.name, signal.weight) == ("odd", 50)
    assert isinstance(claim, TokenClaimsChange)
    assert claim.claims == (("a", ("b", "c")),)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("phr", Authentication(1000, "phr")),
        ("pwd+otp", Authentication(1000, "", ("pwd", "otp"))),
        ("x:pwd", Authentication(1000, "x", ("pwd",))),
    ],
)
def test_a_sign_in_shows_an_acr_or_methods(text: str, shown: Authentication) -> None:
    assert change(f"sign-in={text}").actions == (SignInStep("session", shown),)


def test_a_change_can_wait() -> None:
    assert change("after=2h").pause == 7200
    assert change("network=x").pause == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not KEY=VALUE"),
        ("ip", "is not KEY=VALUE"),
        ("netwrok=x", "did you mean 'network'?"),
        ("ip=1.2.3", "is no IP address"),
        ("country=Lusitania", "country: "),
        ("coordinates=91/0", "LATITUDE/LONGITUDE"),
        ("anonymizer=tr", "did you mean 'tor'?"),
        ("user-risk=terrible", "current_level: must be one of"),
        ("compliant=yes", "must be true or false"),
        ("signal=odd", "NAME=WEIGHT"),
        ("signal=odd:101", "NAME=WEIGHT"),
        ("claim=x", "NAME=VALUE"),
        ("after=soon", "after: "),
        ("ip=192.0.2.1,ip=192.0.2.2", "given twice"),
    ],
)
def test_what_is_no_change_is_reported(text: str, said: str) -> None:
    with pytest.raises(InvalidChange, match=re.escape(said)):
        change(text)


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=20))
def test_nothing_typed_raises_anything_else(key: str, value: str) -> None:
    with contextlib.suppress(InvalidChange):
        change(f"{key}={value}")
