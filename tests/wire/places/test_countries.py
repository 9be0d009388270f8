"""Countries by code and by name."""

import pytest

from sidecar.wire.places.countries import code_of, is_assigned, meant_by, names
from sidecar.wire.yaml.scalars import Misspelt, country

CLDR = """
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
"""English names as logs and databases of places spell them."""
NAMES = [part.split("=") for part in " ".join(CLDR.split()).split("; ")]


def test_the_codes_are_those_of_the_standard_and_kosovos() -> None:
    assert set(names()) == {code for code, _ in NAMES}
    assert len(names()) == 250


@pytest.mark.parametrize(("code", "name"), NAMES)
def test_a_name_is_read_that_the_list_spells_otherwise(code: str, name: str) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize("code", sorted(names()))
def test_every_code_and_name_is_read_in_any_case(code: str) -> None:
    assert is_assigned(code)
    assert code_of(code.lower()) == code
    assert code_of(names()[code]) == code
    assert code_of(names()[code].upper()) == code
    assert country(code.lower()) == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("United States", "US"),
        ("united states of america", "US"),
        ("Cote d'Ivoire", "CI"),
        ("Ivory Coast", "CI"),
        ("Turkey", "TR"),
        ("Turkiye", "TR"),
        ("Korea, Republic of", "KR"),
        ("Saint Lucia", "LC"),
        ("Bosnia and Herzegovina", "BA"),
        ("Czech Republic", "CZ"),
        ("Viet Nam", "VN"),
        ("UK", "GB"),
        ("el", "GR"),
    ],
)
def test_names_that_logs_use_are_read(name: str, code: str) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize("text", ["", "EU", "ZZ", "XX", "AP", "A1", "T1", "Europe", "-", "usa?"])
def test_what_is_no_country_is_read_as_none(text: str) -> None:
    assert not code_of(text)


@pytest.mark.parametrize(
    ("spelled", "hint"),
    [("UK", "did you mean GB?"), ("el", "did you mean GR?"), ("Germany", "did you mean DE?")],
)
def test_a_code_that_matches_nobody_is_refused_with_the_one_that_was_meant(
    spelled: str, hint: str
) -> None:
    with pytest.raises(Misspelt, match=hint.replace("?", r"\?")):
        country(spelled)


@pytest.mark.parametrize("spelled", ["EU", "ZZ", "XX", "AA", "QQ"])
def test_an_unassigned_code_is_refused(spelled: str) -> None:
    assert not meant_by(spelled)
    with pytest.raises(Misspelt, match="is no country's code"):
        country(spelled)
