"""Strengths on the ladder: a level never lets pass what the strength forbids."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.assurance import Level
from sidecar.wire.entra_ledger import Effect, Ledger
from sidecar.wire.entra_names import NO_NAMES, read_names
from sidecar.wire.entra_shapes import Strength
from sidecar.wire.entra_strengths import Control, Strengths
from sidecar.wire.settings import Assurance

RESISTANT = ("windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor")
METHODS = (*RESISTANT, "deviceBasedPush", "password,sms", "password")
LEVELS = Assurance().levels


def ladder(levels: tuple[Level, ...] = LEVELS) -> Strengths:
    return Strengths(NO_NAMES, levels)


def control(strengths: Strengths, name: str, *combinations: str) -> Control:
    strength = Strength(id=name, display_name=name, allowed_combinations=combinations)
    raw = {"id": name, "displayName": name, "allowedCombinations": list(combinations)}
    return strengths.control(strength, "$", Ledger("e.json", "$", raw))


def names(strengths: Strengths) -> list[str]:
    return [level.name for level in strengths.levels]


def test_a_strength_that_a_level_means_is_that_level() -> None:
    assert control(ladder(), "x", *RESISTANT) == Control("phishing-resistant")


def test_the_weakest_level_that_implies_a_strength_is_taken() -> None:
    found = control(ladder(), "x", *RESISTANT, "deviceBasedPush", "email")
    assert (found.level, found.effect) == ("passwordless", Effect.STRICTER)


def test_a_narrower_strength_becomes_a_level_above_all() -> None:
    strengths = ladder()
    assert control(strengths, "keys", "fido2").level == "keys"
    assert names(strengths)[-2:] == ["phishing-resistant", "keys"]
    assert strengths.levels[-1] == Level("keys", ("keys",))


def test_a_level_is_proposed_once_however_many_policies_ask_for_it() -> None:
    strengths = ladder()
    assert control(strengths, "keys", "fido2") == control(strengths, "keys", "fido2")
    assert strengths.proposed == ("keys",)


def test_two_strengths_within_each_other_stand_above_each_other() -> None:
    strengths = ladder()
    control(strengths, "narrow", "fido2")
    control(strengths, "wide", "fido2", "windowsHelloForBusiness")
    assert names(strengths)[-3:] == ["phishing-resistant", "wide", "narrow"]


def test_of_two_strengths_beside_each_other_only_one_is_a_level() -> None:
    strengths = ladder()
    control(strengths, "keys", "fido2")
    found = control(strengths, "cards", "x509CertificateMultiFactor")
    assert (found.level, found.effect) == ("phishing-resistant", Effect.WEAKER)
    assert strengths.proposed == ("keys",)


def test_a_strength_that_no_level_could_mean_is_no_control() -> None:
    found = control(ladder(), "mail", "email")
    assert (found.level, found.effect) == ("", Effect.WEAKER)


def test_a_level_of_the_operator_that_nothing_is_known_of_is_not_climbed_over() -> None:
    strengths = ladder((*LEVELS, Level("in-person", ("ip",))))
    found = control(strengths, "keys", "fido2")
    assert (found.level, found.effect) == ("phishing-resistant", Effect.WEAKER)


def test_the_names_file_has_the_last_word_if_there_is_such_a_level() -> None:
    told = read_names("strengths: {a: mfa, b: nothing}", "names.yaml")
    strengths = Strengths(told, LEVELS)
    assert control(strengths, "A", "fido2").level == "mfa"
    assert control(strengths, "b", *RESISTANT).level == "phishing-resistant"


def test_a_proposed_level_takes_no_name_that_is_taken() -> None:
    strengths = ladder()
    assert control(strengths, "block", "fido2").level == "block-2"


@given(st.lists(st.sets(st.sampled_from(METHODS), min_size=1), max_size=5))
def test_what_a_level_above_shows_is_allowed_by_every_strength_below(
    wanted: list[set[str]],
) -> None:
    strengths = ladder()
    made: dict[str, set[str]] = {}
    for number, combinations in enumerate(wanted):
        found = control(strengths, f"s{number}", *sorted(combinations))
        if found.level in strengths.proposed:
            made[found.level] = combinations
    proposed = [name for name in names(strengths) if name in made]
    assert all(made[upper] <= made[lower] for lower, upper in pairwise(proposed))
    assert json.dumps(names(strengths)).count("phishing-resistant") == 1
