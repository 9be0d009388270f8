import pytest

from sidecar.domain.facts.facts import AssuranceLowered, Revoked, Scope, SignedIn
from sidecar.domain.facts.from_signal import Meaning, meaning_of
from sidecar.domain.facts.signal import AssuranceLevelChange, SessionRevoked, Signal, Subject
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at

STAMP = at(1000.5, "e1")


def meaning(signal: Signal) -> Meaning:
    return meaning_of(signal, lambda _: Place())


def level(subject: Subject, namespace: str = "", direction: str = "increase") -> Meaning:
    return meaning(
        AssuranceLevelChange(
            stamp=STAMP, subject=subject, namespace=namespace, level="mfa hwk", direction=direction
        )
    )


def test_an_assurance_that_rose_is_a_sign_in_of_the_session_or_of_the_user_everywhere() -> None:
    shown = Authentication(1000, "mfa hwk")
    assert level(Subject(user="u", session="s")) == Meaning(
        Scope.SESSION, (SignedIn(stamp=STAMP, authentication=shown),)
    )
    assert level(Subject(user="u")) == Meaning(
        Scope.USER, (SignedIn(stamp=STAMP, authentication=shown, everywhere=True),)
    )


def test_levels_of_rfc_8176_are_methods() -> None:
    (fact,) = level(Subject(session="s"), "RFC8176").facts
    assert fact == SignedIn(stamp=STAMP, authentication=Authentication(1000, amr=("mfa", "hwk")))


def test_what_rfc_8176_does_not_register_is_an_acr_there_too() -> None:
    signal = AssuranceLevelChange(
        stamp=STAMP, subject=Subject(session="s"), namespace="RFC8176", level="phr"
    )
    (fact,) = meaning(signal).facts
    assert fact == SignedIn(stamp=STAMP, authentication=Authentication(1000, "phr"))


@pytest.mark.parametrize(
    ("subject", "scope"), [(Subject(user="u"), Scope.USER), (Subject(session="s"), Scope.SESSION)]
)
def test_an_assurance_that_fell_caps_what_was_shown(subject: Subject, scope: Scope) -> None:
    lowered = AssuranceLowered(stamp=STAMP, level="mfa hwk")
    assert level(subject, direction="decrease") == Meaning(scope, (lowered,))


@pytest.mark.parametrize(
    ("subject", "scope", "device"),
    [
        (Subject("u", "d", "s"), Scope.SESSION, "d"),
        (Subject("u", "d"), Scope.USER, "d"),
        (Subject(device="d"), Scope.DEVICE, "d"),
        (Subject(user="u"), Scope.USER, ""),
    ],
)
def test_a_revocation_keeps_the_device_as_a_condition(
    subject: Subject, scope: Scope, device: str
) -> None:
    assert meaning(SessionRevoked(stamp=STAMP, subject=subject)) == Meaning(
        scope, (Revoked(stamp=STAMP, scope=scope, device=device),)
    )
