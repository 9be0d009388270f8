"""Keys, fields and values under privacy keys: opened again, and unreadable without the key."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.domain.facts.fact_kinds import Revoked, Scope, Seen
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.wire.privacy.privacy_keys import PrivacyKey, read_privacy_keys
from sidecar.wire.privacy.pseudonyms import PseudonymKind, pseudonym
from sidecar.wire.privacy.sealed_forms import KeyedForm, PlainForm, SealedForm, SealedForms
from sidecar.wire.store.entries import Moved, encode
from sidecar.wire.store.keys import StoreKeys, digest, member_of_user, session_name
from sidecar.wire.store.records import decode_facts
from sidecar.wire.yaml.scalars import Misspelt

OLD, NEW = PrivacyKey(b"o" * 44), PrivacyKey(b"n" * 44)
NAMES = StoreKeys("su")
FORMS = (KeyedForm(NEW, "su"), KeyedForm(OLD, "su"), PlainForm())
ADA = session_name("https://idp.example", "ada@example.com", "s-1")
DEVICE = digest("https://idp.example", "laptop-7")
NAMED = (
    NAMES.user_channel(ADA.user),
    NAMES.user_record(ADA.user),
    NAMES.user_history(ADA.user),
    NAMES.device_history(DEVICE),
    NAMES.user_index(ADA.user),
    NAMES.session_record(ADA),
    NAMES.device_channel(DEVICE),
    NAMES.device_record(DEVICE),
    NAMES.device_index(DEVICE),
    NAMES.locator(ADA.session),
)
NAMELESS = (
    NAMES.sidecars_channel(),
    NAMES.sidecars_record(),
    NAMES.sidecars_index(),
    NAMES.dead_letters(),
    *NAMES.work_logs(),
    NAMES.rescore_record(),
    NAMES.epoch_record("3"),
    NAMES.transmitter("recorded"),
)
RECORD = {
    b"who:u": b"ada@example.com",
    b"who:s": b"123456",
    b"owner:ada@example.com": b"1",
    b"app:shop": b"1",
    b"place@idp:1700000000000000e1": b"1700000000000000e1\0\x02198.51.100.7",
    b"ended@idp:": b"1700000000000000e1\0\x02stolen laptop",
    b"event:idp/e1": b"1700000000000000e1\0contentdigest",
    b"event:idp/e2": b"1700000000000000e2",
    b"prompt:abc|1700000000000000": b"1700000000000000",
    b"told:p1": b"1700000000000000a",
    b"checkpoint:state": b"1700000000000000e1\0\x02ada@example.com",
    b"keep:until": b"1700000000000000",
    b"h:0idofanentry": b"1700000000000000\0\x81\xa1x\xa3ada",
    b"first": b"1700000000000000",
}


SEEN = Seen(stamp=at(5, "e1"), session=ADA.session, ip="198.51.100.7", place=Place(country="PT"))
FACTS = encode([Moved(SEEN), Revoked(stamp=at(6, "e2"), scope=Scope.USER, reason="lost")]).fields


@pytest.mark.parametrize("form", FORMS[:2], ids=("new", "old"))
def test_a_fact_is_sealed_but_for_its_moment_and_opened_again(form: SealedForm) -> None:
    key = NAMES.user_record(ADA.user)
    sealed = form.seal_record(key, FACTS)
    assert not any(b"198.51" in v or b"\xce\xc6\x33\x64\x07" in v for v in sealed.values())
    assert sorted(value[1:8] for value in sealed.values()) == sorted(
        value[1:8] for value in FACTS.values()
    )
    assert form.open_record(key, sealed) == FACTS


def test_a_fact_that_cannot_be_opened_is_set_aside_with_its_moment() -> None:
    key = NAMES.user_record(ADA.user)
    sealed = FORMS[1].seal_record(key, FACTS)
    opened = {
        field: FORMS[0].open_record(key, {written: sealed[written]})[written]
        for field in FACTS
        for written in [FORMS[1].seal_field(key, field)]
    }
    facts, broken = decode_facts(opened)
    assert not facts
    assert {one.stamp.time for one in broken} == {SEEN.stamp.time, at(6).time}
    assert all(one.foreign for one in broken)


@pytest.mark.parametrize("form", FORMS[:2], ids=("new", "old"))
def test_an_entry_of_a_users_index_is_enciphered(form: SealedForm) -> None:
    entry = member_of_user(ADA)
    sealed = form.seal_member(entry)
    assert len(sealed) == len(entry)
    assert sealed != entry
    assert form.open_member(sealed) == entry


@pytest.mark.parametrize("form", FORMS, ids=("new", "old", "plain"))
def test_what_a_form_seals_it_opens(form: SealedForm) -> None:
    for key in (*NAMED, *NAMELESS):
        assert form.open_key(form.seal_key(key)) == key
    for key in NAMED:
        assert form.open_record(key, form.seal_record(key, RECORD)) == RECORD
    assert form.open_member(form.seal_member(str(ADA).encode())) == str(ADA).encode()


@settings(max_examples=30)
@example({b"risk:1": b"\x83", b"place:2": b"\x83" * 8, b"who:u": b"\xc3" * 30, b"\0": b"\x83"})
@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=60), max_size=6))
def test_any_record_is_opened_again(record: dict[bytes, bytes]) -> None:
    key = NAMES.user_record(ADA.user)
    form = FORMS[0]
    assert form.open_record(key, form.seal_record(key, record)) == record


@settings(max_examples=30)
@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=60), max_size=6))
def test_no_bytes_make_a_form_raise(record: dict[bytes, bytes]) -> None:
    assert len(FORMS[0].open_record(NAMES.user_record(ADA.user), record)) == len(record)
    for one in record:
        FORMS[0].open_key(one)
        FORMS[0].open_member(one + b"/" + one)
        FORMS[0].open_payload(one)


def test_a_key_that_names_somebody_is_written_differently_under_each_key() -> None:
    for key in NAMED:
        assert len({form.seal_key(key) for form in FORMS}) == len(FORMS)
        for form in FORMS:
            others = [one for one in FORMS if one is not form]
            assert [one.open_key(form.seal_key(key)) for one in others] == [None, None]
    for key in NAMELESS:
        assert {form.seal_key(key) for form in FORMS} == {key}


def test_a_member_that_is_no_name_leaves_the_cipher_as_it_was() -> None:
    form, member = KeyedForm(NEW, "su"), str(ADA).encode()
    sealed = FORMS[0].seal_member(member)
    for odd in (b"", b"x", b"a/b", b"/", b"!" * 22 + b"/" + b"\xff" * 22, b"x" * 21 + b"/"):
        assert form.open_member(form.seal_member(odd)) == odd
        assert (form.seal_member(member), form.open_member(sealed)) == (sealed, member)


def test_nothing_of_a_person_stands_in_what_is_sealed() -> None:
    form = FORMS[0]
    for key in NAMED:
        written = form.seal_key(key) + repr(form.seal_record(key, RECORD)).encode()
        for found in (b"ada", b"example", b"123456", b"198.51.100.7", b"laptop", b"contentdigest"):
            assert found not in written
        assert ADA.user.encode() not in written
        assert ADA.session.encode() not in written


def test_equal_facts_look_alike_in_one_record_and_not_in_two() -> None:
    form, (one, other) = FORMS[0], NAMED[1:3]
    assert form.seal_record(one, RECORD) == form.seal_record(one, RECORD)
    value = form.seal_record(one, RECORD)[b"who:u"]
    assert form.seal_record(other, RECORD)[b"who:u"] != value


def test_of_two_values_the_later_one_stays_the_greater_one() -> None:
    form, key = FORMS[0], NAMES.user_record(ADA.user)
    for field, earlier, later in (
        (b"ended@idp:", b"1700000000000000b\0zz", b"1700000000000001a\0aa"),
        (b"ended@idp:", b"1700000000000000a\0zz", b"1700000000000000b\0aa"),
        (b"told:p", b"1700000000000000a", b"1700000000000000b"),
        (b"owner:ada", b"0", b"1"),
    ):
        sealed = [
            next(iter(form.seal_record(key, {field: one}).values())) for one in (earlier, later)
        ]
        assert sealed == sorted(sealed)


def test_the_groups_of_fields_stay_as_the_store_bounds_them() -> None:
    sealed = FORMS[0].seal_record(NAMES.user_record(ADA.user), RECORD)
    assert sorted(one.partition(b":")[0] for one in sealed) == sorted(
        one.partition(b":")[0] for one in RECORD
    )


def test_one_name_as_user_session_and_device_has_three_names() -> None:
    same = digest("i", "x")
    keys = (NAMES.user_channel(same), NAMES.device_channel(same), NAMES.locator(same))
    written = {FORMS[0].seal_key(key)[-25:-3] for key in keys}
    assert len(written) == len(keys)


def test_payloads_are_opened_under_any_key_that_is_known() -> None:
    both, one = SealedForms(FORMS), SealedForms(FORMS[:1])
    old = SealedForms(FORMS[1:]).seal_payload(b"ada")
    assert both.open_payload(old) == b"ada"
    assert one.open_payload(old) == old
    assert b"ada" not in old
    assert both.open_payload(b"ada") == b"ada"


@given(
    st.sets(
        st.tuples(st.sampled_from(PseudonymKind), st.text(max_size=8), st.text(max_size=8)),
        min_size=2,
        max_size=20,
    )
)
def test_pseudonyms_of_distinct_names_are_distinct(
    names: set[tuple[PseudonymKind, str, str]],
) -> None:
    assert len({pseudonym(NEW, *name) for name in names}) == len(names)
    assert len({pseudonym(key, *name) for name in names for key in (OLD, NEW)}) == 2 * len(names)


def test_a_pseudonym_shows_its_kind() -> None:
    for kind in PseudonymKind:
        assert pseudonym(NEW, kind, "https://idp.example", "ada").startswith(f"{kind}:")


def test_a_file_of_keys_has_comments_and_the_first_writes() -> None:
    text = f"# since May\n\n{'n' * 44}\n  {'o' * 44}\n"
    assert read_privacy_keys(text, "keys") == (NEW, OLD)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no key"),
        ("# nothing\n", "has no key"),
        ("short\n", "line 1: a key has 32"),
        (f"{'n' * 44}\n{'n' * 44}\n", "line 2: this key stands there twice"),
        ("\n".join(str(i) * 40 for i in range(5)), "has 5 keys, and may have 4"),
    ],
)
def test_a_file_of_keys_that_is_wrong_is_refused_without_quoting_it(text: str, why: str) -> None:
    with pytest.raises(Misspelt, match=why) as refused:
        read_privacy_keys(text, "keys")
    assert "short" not in str(refused.value)
    assert "nnnn" not in str(refused.value)
