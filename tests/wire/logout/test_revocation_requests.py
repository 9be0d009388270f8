import json
from typing import Any

import pytest

from sidecar.domain.values.namespaces import Namespaces
from sidecar.wire.logout.logout_tokens import InvalidLogout, SignedRequest
from sidecar.wire.logout.revocation_requests import (
    NotFound,
    Uncovered,
    revocation_of,
    subject_of,
)
from sidecar.wire.settings.intake import IntakeIssuer

HERE = "https://id.example"
SIGNED = SignedRequest(issuer=HERE, id="one", issued_at=1_700_000_000.0)
ADA = {"format": "iss_sub", "iss": HERE, "sub": "ada"}


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"[]", "one JSON object"),
        (b"{", "one JSON object"),
        (body(), "must have one sub_id"),
        (body(sub_id=ADA, subject=ADA), "must have one sub_id"),
        (body(subject="ada"), "subject must be an object"),
        (body(sub_id={"format": "opaque", "id": "ada"}), "sub_id.format must be one of"),
        (body(sub_id={"format": ["email"]}), "sub_id.format must be one of"),
        (body(sub_id={"format": "iss_sub", "iss": HERE}), "sub_id"),
    ],
)
def test_a_request_that_names_nobody_is_refused(sent: bytes, words: str) -> None:
    with pytest.raises(InvalidLogout, match=words):
        subject_of(sent)


def revoked(subject: dict[str, Any]) -> Any:
    issuer = IntakeIssuer(issuer=HERE)
    return revocation_of(subject_of(body(sub_id=subject)), SIGNED, issuer, HERE, Namespaces())


def test_a_request_ends_all_sessions_of_the_user_that_it_names() -> None:
    named = revoked(ADA).subject
    assert (named.user, named.session, named.issuer) == ("ada", "", HERE)
    assert subject_of(body(subject=ADA)) == subject_of(body(sub_id=ADA))


def test_a_user_of_another_issuer_is_not_found() -> None:
    with pytest.raises(NotFound):
        revoked(ADA | {"iss": "https://other.example"})


def test_a_user_that_no_rule_names_is_uncovered() -> None:
    with pytest.raises(Uncovered):
        revoked({"format": "email", "email": "ada@example.org"})
