"""Custom strengths: each is the level that means the same, or a strength of its own."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.values.assurance import Authentication, Ladder, Level, Strength
from sidecar.entra.conversion.strengths import Strengths
from sidecar.entra.graph_objects import GraphStrength
from sidecar.entra.ledger import Ledger
from sidecar.entra.names import NO_NAMES, read_names
from sidecar.wire.settings.settings import Assurance

RESISTANT = ("windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor")
METHODS = (*RESISTANT, "deviceBasedPush", "password,sms", "password")
LEVELS = Assurance().levels


def none_yet(levels: tuple[Level, ...] = LEVELS) -> Strengths:
    return Strengths(NO_NAMES, levels)


def control(strengths: Strengths, name: str, *combinations: str, configured: bool = False) -> str:
    configurations = ({"appliesToCombinations": ["fido2"]},) if configured else None
    strength = GraphStrength(
        id=name,
        display_name=name,
        allowed_combinations=combinations,
        combination_configurations=configurations,
    )
    raw = {"id": name, "displayName": name, "allowedCombinations": list(combinations)}
    ledger = Ledger("e.json", "$", raw)
    found = strengths.control(strength, "$", ledger)
    assert not ledger.losses
    return found.name


def test_a_strength_that_a_level_means_is_that_level() -> None:
    strengths = none_yet()
    assert control(strengths, "x", *RESISTANT) == "phishing-resistant"
    assert strengths.proposed == {}


def test_any_other_strength_is_one_of_its_own_however_it_compares() -> None:
    strengths = none_yet()
    assert control(strengths, "keys", "fido2") == "keys"
    assert control(strengths, "cards", "x509CertificateMultiFactor") == "cards"
    assert control(strengths, "mail", "email") == "mail"
    assert strengths.proposed == {name: Strength(acr=(name,)) for name in ("keys", "cards", "mail")}


def test_who_shows_a_strength_shows_the_level_that_allows_all_of_it() -> None:
    strengths = none_yet()
    control(strengths, "keys", "fido2")
    control(strengths, "texts", "password,sms")
    control(strengths, "mail", "email", "fido2")
    ladder = Ladder(strengths.levels, strengths.proposed)
    shown = [ladder.name(ladder.rank(acr, ())) for acr in ("keys", "texts", "mail")]
    assert shown == ["phishing-resistant", "mfa", ""]


def test_a_strength_is_proposed_once_however_many_policies_ask_for_it() -> None:
    strengths = none_yet()
    assert control(strengths, "keys", "fido2") == control(strengths, "keys", "fido2")
    assert list(strengths.proposed) == ["keys"]


def test_a_strength_that_depends_on_the_key_is_no_level_and_no_other_strength() -> None:
    strengths = none_yet()
    assert control(strengths, "ours", *RESISTANT, configured=True) == "ours"
    assert control(strengths, "theirs", *RESISTANT, configured=True) == "theirs"


def test_a_level_of_the_operator_is_left_alone() -> None:
    strengths = none_yet((*LEVELS, Level("in-person", ("ip",))))
    control(strengths, "keys", "fido2")
    assert strengths.levels[-1] == Level("in-person", ("ip",))


def test_the_names_file_has_the_last_word_if_there_is_such_a_control() -> None:
    names_read = read_names("strengths: {a: mfa, b: nothing, c: ours}", "names.yaml")
    strengths = Strengths(names_read, LEVELS, {"ours": Strength(acr=("x",))})
    assert control(strengths, "A", "fido2") == "mfa"
    assert control(strengths, "b", *RESISTANT) == "phishing-resistant"
    assert control(strengths, "c", "email") == "ours"


def test_a_proposed_strength_takes_no_name_and_no_acr_that_is_taken() -> None:
    strengths = Strengths(NO_NAMES, LEVELS, {"cards": Strength(acr=("chips",))})
    names = [control(strengths, name, name) for name in ("block", "mfa", "phr", "cards", "chips")]
    assert names == ["block-2", "mfa-2", "phr-2", "cards-2", "chips-2"]


@given(st.lists(st.sets(st.sampled_from(METHODS), min_size=1), max_size=5))
def test_what_shows_one_strength_shows_no_other(wanted: list[set[str]]) -> None:
    strengths = none_yet()
    for number, combinations in enumerate(wanted):
        control(strengths, f"s{number}", *sorted(combinations))
    ladder = Ladder(strengths.levels, strengths.proposed)
    for name, strength in strengths.proposed.items():
        (acr,) = strength.acr
        assert ladder.shown(Authentication(1, acr)).strengths == {name}
