from typing import Any

import pytest

from sidecar.domain.values.assurance import DEFAULT_LEVELS
from sidecar.wire.providers.metadata import (
    Offer,
    algorithms_for,
    issuer_of,
    levels_for,
    offer_of,
    remarks_on,
)

A = "https://a.example"


def offer(*acr: str, **more: Any) -> Offer:
    return Offer(issuer=A, acr_values=acr, **more)


def acr_of(offered: Offer, **found: list[str]) -> dict[str, tuple[str, ...]]:
    return {level.name: level.acr for level in levels_for(offered, found)[0]}


@pytest.mark.parametrize(
    ("given", "issuer"),
    [
        (A, A),
        (f"{A}/.well-known/openid-configuration", A),
        (f"{A}/realms/one/.well-known/openid-configuration", f"{A}/realms/one"),
        (f"{A}/.well-known/oauth-authorization-server/realms/one", f"{A}/realms/one"),
        (" a.example/tenant ", f"{A}/tenant"),
        (f"{A}/", f"{A}/"),
    ],
)
def test_the_address_of_the_metadata_means_the_issuer(given: str, issuer: str) -> None:
    assert issuer_of(given) == issuer


def test_values_that_are_built_in_need_no_levels() -> None:
    assert levels_for(offer("mfa", "phr", "single-factor"), {}) == ((), ())
    assert levels_for(offer(), {}) == ((), ())


def test_a_value_with_a_published_meaning_shows_that_level_and_the_built_in_ones_go() -> None:
    levels = acr_of(offer("urn:okta:loa:2fa:any", "phr"))
    assert levels["mfa"] == ("urn:okta:loa:2fa:any",)
    assert levels["phishing-resistant"] == ("phr",)
    assert list(levels) == [level.name for level in DEFAULT_LEVELS]


def test_what_is_chosen_for_a_value_goes_before_what_is_known_of_it() -> None:
    levels = acr_of(offer("1", "2"), mfa=["2"], passwordless=["1"])
    assert (levels["mfa"], levels["passwordless"]) == (("2",), ("1",))
    assert levels["single-factor"] == ("single-factor",)


def test_values_that_nobody_can_place_are_reported() -> None:
    offered = offer("gold", claims=("sub", "sid", "acr", "auth_time"))
    assert levels_for(offered, {}) == ((), ("gold",))
    unplaced, missing, cure = remarks_on(offered, ("gold",))
    assert cure.startswith("amr: ")
    assert "gold" in unplaced
    assert "does not list amr " in missing
    assert "--acr mfa=VALUE" in remarks_on(offer(), ())[0]


def test_of_a_known_provider_its_page_and_its_settings_are_reported() -> None:
    okta = offer_of({"claims_supported": ["sub", "auth_time", "acr", "amr"]}, "https://a.okta.com")
    page, _, _, cure = remarks_on(okta, ())
    assert "this is Okta" in page
    assert page.endswith("docs/providers/okta.md")
    assert cure.startswith("sid: Okta: Security > API > ")


def test_what_a_provider_says_at_length_is_shown_in_short() -> None:
    many = ("y" * 900_000, *map(str, range(8000)))
    found, *_ = remarks_on(offer(*many, claims=("sub",)), many)
    assert "..., 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 7989 more" in found
    assert len(found) < 400


def test_algorithms_are_configured_only_where_the_usual_ones_have_none_of_it() -> None:
    assert algorithms_for(offer(algorithms=("RS256", "ES512"))) == ()
    assert algorithms_for(offer(algorithms=("HS256", "ES512"))) == ("ES512",)
    assert algorithms_for(offer()) == ()


def test_what_is_no_list_of_texts_counts_as_absent() -> None:
    read = offer_of(
        {"acr_values_supported": "mfa", "claims_supported": [1, True, None, "sub", "a\nb"]}, A
    )
    assert (read.acr_values, read.claims) == ((), ("1", "sub"))
