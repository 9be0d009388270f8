"""The countries of the world: their codes (ISO 3166-1 alpha-2) and their English names.

A code that the standard has not assigned matches nobody, so none is taken for one. `XK` is Kosovo's
by agreement of those who use such codes: it is user-assigned and stays allowed.
"""

import unicodedata
from collections.abc import Mapping

_NAMES = """
AD=Andorra; AE=United Arab Emirates; AF=Afghanistan; AG=Antigua & Barbuda; AI=Anguilla;
AL=Albania; AM=Armenia; AO=Angola; AQ=Antarctica; AR=Argentina; AS=American Samoa; AT=Austria;
AU=Australia; AW=Aruba; AX=Åland Islands; AZ=Azerbaijan; BA=Bosnia & Herzegovina; BB=Barbados;
BD=Bangladesh; BE=Belgium; BF=Burkina Faso; BG=Bulgaria; BH=Bahrain; BI=Burundi; BJ=Benin; BL=St.
Barthélemy; BM=Bermuda; BN=Brunei; BO=Bolivia; BQ=Caribbean Netherlands; BR=Brazil; BS=Bahamas;
BT=Bhutan; BV=Bouvet Island; BW=Botswana; BY=Belarus; BZ=Belize; CA=Canada; CC=Cocos (Keeling)
Islands; CD=Congo - Kinshasa; CF=Central African Republic; CG=Congo - Brazzaville; CH=Switzerland;
CI=Côte d'Ivoire; CK=Cook Islands; CL=Chile; CM=Cameroon; CN=China; CO=Colombia; CR=Costa Rica;
CU=Cuba; CV=Cape Verde; CW=Curaçao; CX=Christmas Island; CY=Cyprus; CZ=Czechia; DE=Germany;
DJ=Djibouti; DK=Denmark; DM=Dominica; DO=Dominican Republic; DZ=Algeria; EC=Ecuador; EE=Estonia;
EG=Egypt; EH=Western Sahara; ER=Eritrea; ES=Spain; ET=Ethiopia; FI=Finland; FJ=Fiji; FK=Falkland
Islands; FM=Micronesia; FO=Faroe Islands; FR=France; GA=Gabon; GB=United Kingdom; GD=Grenada;
GE=Georgia; GF=French Guiana; GG=Guernsey; GH=Ghana; GI=Gibraltar; GL=Greenland; GM=Gambia;
GN=Guinea; GP=Guadeloupe; GQ=Equatorial Guinea; GR=Greece; GS=South Georgia & South Sandwich
Islands; GT=Guatemala; GU=Guam; GW=Guinea-Bissau; GY=Guyana; HK=Hong Kong; HM=Heard Island &
McDonald Islands; HN=Honduras; HR=Croatia; HT=Haiti; HU=Hungary; ID=Indonesia; IE=Ireland;
IL=Israel; IM=Isle of Man; IN=India; IO=British Indian Ocean Territory; IQ=Iraq; IR=Iran;
IS=Iceland; IT=Italy; JE=Jersey; JM=Jamaica; JO=Jordan; JP=Japan; KE=Kenya; KG=Kyrgyzstan;
KH=Cambodia; KI=Kiribati; KM=Comoros; KN=St. Kitts & Nevis; KP=North Korea; KR=South Korea;
KW=Kuwait; KY=Cayman Islands; KZ=Kazakhstan; LA=Laos; LB=Lebanon; LC=St. Lucia; LI=Liechtenstein;
LK=Sri Lanka; LR=Liberia; LS=Lesotho; LT=Lithuania; LU=Luxembourg; LV=Latvia; LY=Libya;
MA=Morocco; MC=Monaco; MD=Moldova; ME=Montenegro; MF=St. Martin; MG=Madagascar; MH=Marshall
Islands; MK=North Macedonia; ML=Mali; MM=Myanmar; MN=Mongolia; MO=Macao; MP=Northern Mariana
Islands; MQ=Martinique; MR=Mauritania; MS=Montserrat; MT=Malta; MU=Mauritius; MV=Maldives;
MW=Malawi; MX=Mexico; MY=Malaysia; MZ=Mozambique; NA=Namibia; NC=New Caledonia; NE=Niger;
NF=Norfolk Island; NG=Nigeria; NI=Nicaragua; NL=Netherlands; NO=Norway; NP=Nepal; NR=Nauru;
NU=Niue; NZ=New Zealand; OM=Oman; PA=Panama; PE=Peru; PF=French Polynesia; PG=Papua New Guinea;
PH=Philippines; PK=Pakistan; PL=Poland; PM=St. Pierre & Miquelon; PN=Pitcairn Islands; PR=Puerto
Rico; PS=Palestinian Territories; PT=Portugal; PW=Palau; PY=Paraguay; QA=Qatar; RE=Réunion;
RO=Romania; RS=Serbia; RU=Russia; RW=Rwanda; SA=Saudi Arabia; SB=Solomon Islands; SC=Seychelles;
SD=Sudan; SE=Sweden; SG=Singapore; SH=St. Helena, Ascension & Tristan da Cunha; SI=Slovenia;
SJ=Svalbard & Jan Mayen; SK=Slovakia; SL=Sierra Leone; SM=San Marino; SN=Senegal; SO=Somalia;
SR=Suriname; SS=South Sudan; ST=São Tomé & Príncipe; SV=El Salvador; SX=Sint Maarten; SY=Syria;
SZ=Eswatini; TC=Turks & Caicos Islands; TD=Chad; TF=French Southern and Antarctic Lands; TG=Togo;
TH=Thailand; TJ=Tajikistan; TK=Tokelau; TL=Timor-Leste; TM=Turkmenistan; TN=Tunisia; TO=Tonga;
TR=Türkiye; TT=Trinidad & Tobago; TV=Tuvalu; TW=Taiwan; TZ=Tanzania; UA=Ukraine; UG=Uganda;
UM=U.S. Outlying Islands; US=United States; UY=Uruguay; UZ=Uzbekistan; VA=Vatican City; VC=St.
Vincent & Grenadines; VE=Venezuela; VG=British Virgin Islands; VI=U.S. Virgin Islands; VN=Vietnam;
VU=Vanuatu; WF=Wallis & Futuna; WS=Samoa; XK=Kosovo; YE=Yemen; YT=Mayotte; ZA=South Africa;
ZM=Zambia; ZW=Zimbabwe
"""
_ALSO = """
GB=Great Britain; GB=Britain; GB=England; GB=Scotland; GB=Wales; GB=Northern Ireland; US=USA;
US=United States of America; RU=Russian Federation; KR=Republic of Korea; KR=Korea, Republic of;
KP=Democratic People's Republic of Korea; KP=Korea, Democratic People's Republic of; CD=Democratic
Republic of the Congo; CD=Congo, The Democratic Republic of the; CD=DR Congo; CG=Congo;
CG=Republic of the Congo; CI=Ivory Coast; CV=Cabo Verde; CZ=Czech Republic; BO=Bolivia,
Plurinational State of; BN=Brunei Darussalam; BQ=Bonaire, Sint Eustatius and Saba; FK=Falkland
Islands (Malvinas); FM=Micronesia, Federated States of; FM=Federated States of Micronesia; HK=Hong
Kong SAR; HK=Hong Kong SAR China; IR=Iran, Islamic Republic of; IR=Islamic Republic of Iran;
LA=Lao People's Democratic Republic; MD=Moldova, Republic of; MD=Republic of Moldova;
MK=Macedonia; MK=Republic of North Macedonia; MM=Burma; MO=Macau; MO=Macao SAR China; NL=The
Netherlands; PS=Palestine; PS=Palestine, State of; PS=Palestinian Territory; SH=Saint Helena;
SX=Sint Maarten (Dutch part); MF=Saint Martin (French part); SY=Syrian Arab Republic;
SZ=Swaziland; TL=East Timor; TR=Turkey; TW=Taiwan, Province of China; TZ=Tanzania, United Republic
of; TZ=United Republic of Tanzania; UM=United States Minor Outlying Islands; VA=Holy See;
VE=Venezuela, Bolivarian Republic of; VG=Virgin Islands, British; VI=Virgin Islands, U.S.; VN=Viet
Nam; GM=The Gambia; BS=The Bahamas
"""
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


def is_assigned(code: str) -> bool:
    """Whether a code, in capitals, is a country's."""
    return code in NAMES


def meant_by(code: str) -> str:
    """Return the country that somebody meant by an unassigned code; empty where nobody knows."""
    return _INSTEAD.get(code, "")


def code_of(text: str) -> str:
    """Return the code of a country that foreign data name by code or by name; empty if unknown.

    Codes are read in any case, and `UK` and `EL` as what they mean. Names are English ones, in any
    case, with or without accents.
    """
    code = text.strip().upper()
    if code in NAMES:
        return code
    if code in _SAME:
        return _INSTEAD[code]
    return _BY_NAME.get(_folded(text), "")


def _folded(name: str) -> str:
    """Return a name as it is compared: without accents, case, points and articles."""
    plain = unicodedata.normalize("NFKD", name.replace("\u2019", "'").replace("&", "and"))
    bare = "".join(c for c in plain if not unicodedata.combining(c) and c not in ".'")
    return " ".join(bare.replace("-", " ").casefold().split()).replace("saint ", "st ")


def _pairs(text: str) -> list[tuple[str, str]]:
    parts = " ".join(text.split()).split("; ")
    return [(code, name) for code, _, name in (part.partition("=") for part in parts)]


NAMES: Mapping[str, str] = dict(_pairs(_NAMES))
"""The English name of each code; a test holds the codes against the time zone database's list."""

_BY_NAME = {_folded(name): code for code, name in [*_pairs(_ALSO), *_pairs(_NAMES)]}
