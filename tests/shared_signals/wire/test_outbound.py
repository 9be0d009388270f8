"""Announcements as Security Event Tokens, read back by the receiver's own reader."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.announcement import (
    Announcement,
    AssuranceChanged,
    PresentedElsewhere,
    RiskChanged,
    SessionOver,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.shared_signals.wire.outbound import (
    URI_OF,
    InvalidAnnouncement,
    Voice,
    announced_of,
    decode_announcement,
    encode_announcement,
    payload_of,
)
from sidecar.shared_signals.wire.security_event_tokens import decode_claims, encode_claims
from sidecar.shared_signals.wire.security_events import (
    CaepSessionPresented,
    StreamStatus,
    StreamUpdated,
)
from sidecar.wire.settings.transmitter import kind_of
from sidecar.wire.subjects.subject_ids import Complex, IssuerSubject, Opaque

VOICE = Voice("https://t.example", "https://t.example/levels", "https://id.example")
_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40)
_NAME = _TEXT.filter(bool)
_DIGEST = st.from_regex(r"[A-Za-z0-9_-]{1,22}", fullmatch=True)
_RISK = st.sampled_from(RiskLevel)
ANNOUNCEMENTS = st.builds(
    Announcement,
    id=_DIGEST,
    cause=_DIGEST,
    at=st.integers(0, 2**33),
    session=_NAME,
    user=_NAME,
    device=_TEXT,
    text=_TEXT,
    change=st.one_of(
        st.builds(AssuranceChanged, previous=_NAME, current=_NAME, rose=st.booleans()),
        st.just(SessionOver()),
        st.builds(RiskChanged, previous=_RISK, current=_RISK),
        st.builds(PresentedElsewhere, user_agent=_TEXT),
    ),
)


@given(ANNOUNCEMENTS)
def test_the_store_gives_back_what_was_recorded(announcement: Announcement) -> None:
    assert decode_announcement(encode_announcement(announcement)) == announcement


@given(st.binary(max_size=64))
def test_no_bytes_make_the_reader_raise_anything_but_its_own_error(raw: bytes) -> None:
    with contextlib.suppress(InvalidAnnouncement):
        decode_announcement(raw)


@given(ANNOUNCEMENTS)
def test_the_receiver_reads_every_token_as_it_was_meant(announcement: Announcement) -> None:
    token = VOICE.token(announcement, ("https://a", "https://b"), 1_800_000_000.7)
    claims = msgspec.json.decode(payload_of(token))
    assert decode_claims(claims) == token
    assert set(claims) == {"iss", "jti", "iat", "aud", "events", "sub_id", "txn"}
    assert claims["jti"] == announcement.id
    assert claims["txn"] == announcement.cause
    assert isinstance(claims["iat"], int)
    ((uri, body),) = claims["events"].items()
    assert announced_of(uri) == kind_of(announcement.change)
    assert body["event_timestamp"] == announcement.at
    members = claims["sub_id"]
    assert members["user"] == {
        "format": "iss_sub",
        "iss": "https://id.example",
        "sub": announcement.user,
    }
    assert ("device" in members) == bool(announcement.device)


def test_every_event_that_can_be_configured_has_a_uri_of_caep() -> None:
    assert {uri.rpartition("/")[2] for uri in URI_OF.values()} == {kind.value for kind in URI_OF}


def test_user_agents_are_distinguished_and_not_revealed() -> None:
    def presented(agent: str) -> CaepSessionPresented:
        one = Announcement(
            id="j",
            cause="c",
            at=1,
            session="s",
            user="u",
            change=PresentedElsewhere(user_agent=agent),
        )
        event = VOICE.token(one, ("a",), 1).event
        assert isinstance(event, CaepSessionPresented)
        return event

    assert presented("Mozilla/5.0").fp_ua == presented("Mozilla/5.0").fp_ua
    assert presented("Mozilla/5.0").fp_ua != presented("curl/8").fp_ua
    assert "Mozilla" not in presented("Mozilla/5.0").fp_ua
    assert presented("").fp_ua == ""


@pytest.mark.parametrize("issuer", ["", "https://id.example"])
def test_without_an_issuer_the_user_is_an_opaque_identifier(issuer: str) -> None:
    voice = msgspec.structs.replace(VOICE, subject_issuer=issuer)
    one = Announcement(id="j", cause="c", at=1, session="s", user="u", change=SessionOver())
    user = encode_claims(voice.token(one, ("a",), 1))["sub_id"]["user"]  # type: ignore[index]
    assert user["format"] == ("iss_sub" if issuer else "opaque")


def test_of_a_stream_it_speaks_as_of_an_opaque_subject() -> None:
    event = StreamUpdated(status=StreamStatus.PAUSED, reason="r")
    token = VOICE.about_stream("j", event, "stream-1", ("a",), 1)
    assert token.subject == Opaque("stream-1")
    assert decode_claims(encode_claims(token)) == token


def test_a_user_is_named_as_one_of_the_issuer_whose_names_they_are() -> None:
    issuers = {"staff": "https://id.example", "partners": "https://partner.example"}
    voice = msgspec.structs.replace(VOICE, subject_issuers=issuers)
    found = []
    for namespace in (*issuers, "shared"):
        one = Announcement(
            id="j", cause="c", at=1, session="s", user="u", change=SessionOver(), issuer=namespace
        )
        subject = voice.token(one, ("r",), 2.0).subject
        assert isinstance(subject, Complex)
        found.append(dict(subject.members)["user"])
    assert found == [*(IssuerSubject(iss, "u") for iss in issuers.values()), Opaque("u")]
