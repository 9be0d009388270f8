from typing import Any

import pytest

from sidecar.domain.facts.signal import Subject
from sidecar.domain.values.namespaces import Namespaces
from sidecar.wire.settings.receiver import SubjectMatch, SubjectSettings
from sidecar.wire.subjects.subject_ids import decode_subject
from sidecar.wire.subjects.subject_rules import Kind, SubjectRules, Unmatched, check_match

ISSUER = "https://idp.example.com/"
ALL: tuple[Kind, ...] = ("session", "user", "device")


def rules(**kinds: Any) -> SubjectRules:
    return SubjectRules(SubjectSettings(**kinds), (ISSUER,))


def matched(rule: SubjectRules, subject: Any, about: Any = ALL) -> Subject | Unmatched:
    return rule.match(decode_subject(subject), about)


def user(**rule: Any) -> SubjectRules:
    return rules(user=(SubjectMatch(**rule),))


@pytest.mark.parametrize(
    ("rule", "subject", "name"),
    [
        ({"format": "iss_sub"}, {"format": "iss_sub", "iss": ISSUER, "sub": "ada"}, "ada"),
        ({"format": "email"}, {"format": "email", "email": "Ada@x.example"}, "Ada@x.example"),
        (
            {"format": "email", "lower": True},
            {"format": "email", "email": "Ada@x.example"},
            "ada@x.example",
        ),
        (
            {"format": "opaque", "value": "auth0|{id}"},
            {"format": "opaque", "id": "17"},
            "auth0|17",
        ),
        (
            {"format": "account", "strip": "acct:"},
            {"format": "account", "uri": "acct:ada@x.example"},
            "ada@x.example",
        ),
        (
            {"format": "phone_number"},
            {"format": "phone_number", "phone_number": "+1 (206) 555-0100"},
            "+12065550100",
        ),
        ({"format": "did"}, {"format": "did", "url": "did:example:1"}, "did:example:1"),
        ({"format": "uri"}, {"format": "uri", "uri": "urn:x"}, "urn:x"),
        (
            {"format": "jwt_id", "value": "{iss}#{jti}"},
            {"format": "jwt_id", "iss": ISSUER, "jti": "1"},
            f"{ISSUER}#1",
        ),
        (
            {"format": "saml_assertion_id"},
            {"format": "saml_assertion_id", "issuer": ISSUER, "assertion_id": "_1"},
            "_1",
        ),
        (
            {"format": "badge", "value": "{number}"},
            {"format": "badge", "number": "7", "made": "2024"},
            "7",
        ),
        (
            {"format": "email"},
            {
                "format": "aliases",
                "identifiers": [
                    {"format": "opaque", "id": "1"},
                    {"format": "email", "email": "ada@x.example"},
                ],
            },
            "ada@x.example",
        ),
    ],
)
def test_a_rule_names_a_user(rule: Any, subject: Any, name: str) -> None:
    assert matched(user(**rule), subject, ("user",)) == Subject(user=name)


def test_an_issuer_must_be_the_transmitters_or_one_of_the_tokens_or_named() -> None:
    foreign = {"format": "iss_sub", "iss": "https://else.example", "sub": "ada"}
    assert isinstance(matched(user(format="iss_sub"), foreign), Unmatched)
    named = user(format="iss_sub", issuers=("https://else.example",))
    assert matched(named, foreign) == Subject(user="ada")
    ours = {"format": "iss_sub", "iss": ISSUER, "sub": "ada"}
    assert isinstance(matched(named, ours, ("user",)), Unmatched)


def test_a_simple_subject_is_the_first_kind_that_has_a_rule_for_its_format() -> None:
    both = rules(user=(SubjectMatch(format="opaque"),), session=(SubjectMatch(format="opaque"),))
    opaque = {"format": "opaque", "id": "1"}
    assert matched(both, opaque, ("session", "user")) == Subject(session="1")
    assert matched(both, opaque, ("user",)) == Subject(user="1")
    assert isinstance(matched(both, {"format": "email", "email": "a"}, ALL), Unmatched)


def test_the_first_rule_that_fits_counts() -> None:
    either = rules(user=(SubjectMatch(format="email"), SubjectMatch(format="opaque")))
    aliases = {
        "format": "aliases",
        "identifiers": [{"format": "opaque", "id": "1"}, {"format": "email", "email": "a"}],
    }
    assert matched(either, aliases, ("user",)) == Subject(user="a")


def complex_(**members: Any) -> dict[str, Any]:
    return {"format": "complex", **members}


ADA = {"format": "iss_sub", "iss": ISSUER, "sub": "ada"}
LAPTOP = {"format": "opaque", "id": "laptop"}
SESSION = {"format": "opaque", "id": "s1"}
DID = {"format": "did", "url": "did:example:1"}


def test_a_complex_subject_names_all_its_members() -> None:
    subject = matched(rules(), complex_(user=ADA, device=LAPTOP, session=SESSION))
    assert subject == Subject("ada", "laptop", "s1")


def test_a_member_that_is_not_understood_leaves_nobody() -> None:
    assert isinstance(matched(rules(), complex_(user=ADA, device=DID)), Unmatched)
    assert isinstance(matched(rules(), complex_(group=DID)), Unmatched)


def test_other_members_are_passed_over_unless_they_are_critical() -> None:
    subject = complex_(user=ADA, group=DID, org_unit=DID)
    assert matched(rules(), subject) == Subject(user="ada")
    assert isinstance(matched(rules(critical=("group",)), subject), Unmatched)
    learned = rules()
    learned.learn_critical(["org_unit", "user"])
    assert isinstance(matched(learned, subject), Unmatched)
    assert matched(learned, complex_(user=ADA)) == Subject(user="ada")


def test_a_tenant_must_be_ours_where_tenants_are_configured() -> None:
    ours = {"format": "opaque", "id": "t1"}
    other = {"format": "iss_sub", "iss": "anybody", "sub": "t2"}
    assert matched(rules(), complex_(user=ADA, tenant=other)) == Subject(user="ada")
    strict = rules(tenants=("t1",), critical=("tenant",))
    assert matched(strict, complex_(user=ADA, tenant=ours)) == Subject(user="ada")
    assert isinstance(matched(strict, complex_(user=ADA, tenant=other)), Unmatched)


def test_a_reason_names_no_identifier() -> None:
    reason = matched(rules(), complex_(user={"format": "email", "email": "secret"}))
    assert isinstance(reason, Unmatched)
    assert "secret" not in reason.reason
    odd = matched(rules(), {"format": "secret", "id": "secret"})
    assert isinstance(odd, Unmatched)
    assert "secret" not in odd.reason


@pytest.mark.parametrize(
    "match",
    [
        SubjectMatch(format="complex"),
        SubjectMatch(format="aliases"),
        SubjectMatch(format="badge"),
        SubjectMatch(format="ip-addresses"),
        SubjectMatch(format="iss_sub", value="{email}"),
        SubjectMatch(format="iss_sub", value="ada"),
    ],
)
def test_a_rule_that_could_never_match_is_refused(match: SubjectMatch) -> None:
    with pytest.raises(ValueError, match=r"value|format"):
        check_match(match)


OURS = Namespaces({ISSUER: "staff", "https://partner.example": "partners"})


def test_what_an_issuer_of_our_tokens_names_is_a_name_of_its() -> None:
    found = SubjectRules(SubjectSettings(), (ISSUER, "https://partner.example"), OURS)
    ours = {"format": "iss_sub", "iss": ISSUER, "sub": "ada"}
    assert matched(found, ours, ("user",)) == Subject(user="ada", issuer="staff")
    assert matched(found, complex_(user=ours)) == Subject(user="ada", issuer="staff")
    opaque = {"format": "opaque", "id": "s1"}
    assert matched(found, opaque, ("session",)) == Subject(session="s1")


def test_a_subject_of_two_issuers_names_is_nobody() -> None:
    found = SubjectRules(SubjectSettings(), (ISSUER, "https://partner.example"), OURS)
    theirs = {"format": "iss_sub", "iss": "https://partner.example", "sub": "laptop"}
    both = complex_(user={"format": "iss_sub", "iss": ISSUER, "sub": "ada"}, device=theirs)
    assert isinstance(matched(found, both), Unmatched)
