"""Reads the codes of countries (ISO 3166-1 alpha-2) and their English names.

The codes are those that the package `tzdata` lists, which is kept with each change of the standard
(decision 30). A code that the standard has not assigned matches nobody, so none is taken for one.
`XK` is Kosovo's by agreement of those who use such codes: it is user-assigned and stays allowed.
"""

import functools
import pkgutil
import unicodedata
from collections.abc import Mapping

_ALSO = """
AS=American Samoa; BN=Brunei Darussalam; BO=Bolivia, Plurinational State of; BQ=Bonaire, Sint
Eustatius and Saba; BQ=Caribbean Netherlands; BS=The Bahamas; CD=Congo - Kinshasa; CD=Congo, The
Democratic Republic of the; CD=DR Congo; CD=Democratic Republic of the Congo; CF=Central African
Republic; CG=Congo; CG=Congo - Brazzaville; CG=Republic of the Congo; CI=Ivory Coast; CV=Cabo
Verde; CZ=Czechia; FK=Falkland Islands (Malvinas); FM=Federated States of Micronesia;
FM=Micronesia, Federated States of; GB=Britain; GB=England; GB=Great Britain; GB=Northern Ireland;
GB=Scotland; GB=United Kingdom; GB=Wales; GM=The Gambia; GS=South Georgia & South Sandwich Islands;
HK=Hong Kong SAR; HK=Hong Kong SAR China; IR=Iran, Islamic Republic of; IR=Islamic Republic of
Iran; KP=Democratic People's Republic of Korea; KP=Korea, Democratic People's Republic of; KP=North
Korea; KR=Korea, Republic of; KR=Republic of Korea; KR=South Korea; LA=Lao People's Democratic
Republic; MD=Moldova, Republic of; MD=Republic of Moldova; MF=Saint Martin (French part); MF=St.
Martin; MK=Macedonia; MK=Republic of North Macedonia; MM=Burma; MM=Myanmar; MO=Macao; MO=Macao SAR
China; NL=The Netherlands; PN=Pitcairn Islands; PS=Palestine, State of; PS=Palestinian Territories;
PS=Palestinian Territory; RU=Russian Federation; SH=St. Helena, Ascension & Tristan da Cunha;
SX=Sint Maarten; SX=Sint Maarten (Dutch part); SY=Syrian Arab Republic; SZ=Eswatini; SZ=Swaziland;
TC=Turks & Caicos Islands; TF=French Southern and Antarctic Lands; TL=Timor-Leste; TR=Turkey;
TR=Türkiye; TW=Taiwan, Province of China; TZ=Tanzania, United Republic of; TZ=United Republic of
Tanzania; UM=U.S. Outlying Islands; UM=United States Minor Outlying Islands; US=USA; US=United
States of America; VA=Holy See; VC=St. Vincent & Grenadines; VE=Venezuela, Bolivarian Republic of;
VG=British Virgin Islands; VG=Virgin Islands, British; VI=U.S. Virgin Islands; VI=Virgin Islands,
U.S.; VN=Viet Nam; WS=Samoa
"""
"""Names that logs and databases of places use beside those of the list."""
_INSTEAD = {
    "UK": "GB",
    "EL": "GR",
    "AN": "CW",
    "BU": "MM",
    "TP": "TL",
    "ZR": "CD",
    "FX": "FR",
    "DD": "DE",
    "SU": "RU",
    "YU": "RS",
    "CS": "RS",
}
"""What somebody meant who writes a code that is reserved, or is no more."""

_SAME = ("UK", "EL")
"""Codes that only ever mean another one: reserved for it, or the European Union's own."""


@functools.cache
def names() -> Mapping[str, str]:
    """Return the English name of each code."""
    listed = pkgutil.get_data("tzdata", "zoneinfo/iso3166.tab")
    if listed is None:
        raise ModuleNotFoundError("tzdata")
    lines = listed.decode().splitlines()
    rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {**{code: name for code, name, *_ in rows}, "XK": "Kosovo"}


def is_assigned(code: str) -> bool:
    """Return whether a code, in capitals, is a country's."""
    return code in names()


def meant_by(code: str) -> str:
    """Return the country that is meant by an unassigned code; empty if unknown."""
    return _INSTEAD.get(code, "")


def code_of(text: str) -> str:
    """Return the code of a country that foreign data name by code or by name; empty if unknown.

    Codes are read in any case, and `UK` and `EL` as what they mean. Names are English ones, in any
    case, with or without accents.
    """
    code = text.strip().upper()
    if code in names():
        return code
    if code in _SAME:
        return _INSTEAD[code]
    return _codes_by_name().get(_folded(text), "")


@functools.cache
def _codes_by_name() -> Mapping[str, str]:
    others = (part.partition("=") for part in " ".join(_ALSO.split()).split("; "))
    by_name = {_folded(name): code for code, _, name in others}
    return by_name | {_folded(name): code for code, name in names().items()}


def _folded(name: str) -> str:
    """Return a name as it is compared: without accents, case, points and articles."""
    plain = unicodedata.normalize("NFKD", name.replace("\u2019", "'").replace("&", "and"))
    bare = "".join(c for c in plain if not unicodedata.combining(c) and c not in ".'")
    return " ".join(bare.replace("-", " ").casefold().split()).replace("saint ", "st ")
