"""SSF 1.0, "Subject Matching"."""

from typing import Any

import pytest

from sidecar.domain.evaluation.announcement import Announcement, SessionOver
from sidecar.shared_signals.wire.subject_matching import StreamSubjects
from sidecar.wire.subjects.subject_ids import decode_subject

ISSUER = "https://id.example"
BOB = {"format": "iss_sub", "iss": ISSUER, "sub": "bob"}


def opaque(name: str) -> dict[str, str]:
    return {"format": "opaque", "id": name}


def complex_(**members: Any) -> dict[str, Any]:
    return {"format": "complex", **members}


def matches(subject: dict[str, Any], device: str = "laptop", issuer: str = ISSUER) -> bool:
    announcement = Announcement(
        id="j", cause="c", at=1, session="s1", user="bob", device=device, change=SessionOver()
    )
    return StreamSubjects([decode_subject(subject)], issuer).match(announcement)


@pytest.mark.parametrize(
    "subject",
    [
        BOB,
        opaque("bob"),
        opaque("s1"),
        opaque("laptop"),
        {"format": "email", "email": "Bob"},
        {"format": "aliases", "identifiers": [{"format": "email", "email": "x@y"}, BOB]},
        complex_(user=BOB),
        complex_(user=BOB, session=opaque("s1")),
        complex_(session=opaque("s1"), device=opaque("laptop")),
        # What we do not say matches whatever it is.
        complex_(tenant=opaque("example-a38h4792-uw2")),
        complex_(user=BOB, group={"format": "did", "url": "did:example:123456"}),
    ],
)
def test_a_subject_matches(subject: dict[str, Any]) -> None:
    assert matches(subject)


@pytest.mark.parametrize(
    "subject",
    [
        {**BOB, "sub": "alice"},
        {**BOB, "iss": "https://other.example"},
        opaque("s2"),
        {"format": "phone_number", "phone_number": "bob"},
        complex_(user={**BOB, "sub": "alice"}),
        complex_(user=BOB, session=opaque("s2")),
        complex_(user=BOB, device=opaque("phone")),
        complex_(session=opaque("bob")),
    ],
)
def test_a_subject_does_not_match(subject: dict[str, Any]) -> None:
    assert not matches(subject)


def test_a_device_that_is_not_known_matches_any() -> None:
    assert matches(complex_(user=BOB, device=opaque("phone")), device="")
    assert not matches(opaque("laptop"), device="")


def test_without_an_issuer_of_ours_any_will_do() -> None:
    assert matches({**BOB, "iss": "https://other.example"}, issuer="")


def test_no_subjects_match_nothing() -> None:
    announcement = Announcement(
        id="j", cause="c", at=1, session="s", user="u", change=SessionOver()
    )
    assert not StreamSubjects([], ISSUER).match(announcement)


def test_a_user_of_one_issuer_is_not_that_of_another() -> None:
    issuers = {"staff": ISSUER, "partners": "https://partner.example"}
    for namespace, matched in (("staff", True), ("partners", False)):
        announcement = Announcement(
            id="j",
            cause="c",
            at=1,
            session="s1",
            user="bob",
            change=SessionOver(),
            issuer=namespace,
        )
        for subject in (BOB, complex_(user=BOB)):
            assert (
                StreamSubjects([decode_subject(subject)], "", issuers).match(announcement)
                is matched
            )
