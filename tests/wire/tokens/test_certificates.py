"""The client's certificate, in each way that a gateway sends it."""

import base64
import contextlib
import hashlib
from itertools import count
from urllib.parse import quote

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.settings.tokens import CertificateForm
from sidecar.wire.tokens.certificates import MAX_CHAIN, thumbprint

PEM = trustme.CA().issue_cert("client.example").cert_chain_pems[0].bytes().decode()
DER = x509.load_pem_x509_certificate(PEM.encode()).public_bytes(Encoding.DER)
DIGEST = hashlib.sha256(DER).digest()
EXPECTED = base64.urlsafe_b64encode(DIGEST).decode().rstrip("=")
BODY = "".join(PEM.split("\n")[1:-2])
OTHER_PEM = trustme.CA().cert_pem.bytes().decode()
CHAIN = PEM + OTHER_PEM
OTHER = "Hash=" + "0" * 64


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("hex", DIGEST.hex()),
        ("hex", DIGEST.hex(":").upper()),
        ("base64", EXPECTED),
        ("base64", base64.b64encode(DIGEST).decode()),
        ("pem", PEM),
        ("pem", quote(PEM)),
        ("pem", PEM.replace("\n", " ")),
        ("pem", BODY),
        ("pem", quote(BODY, safe="")),
        ("pem", f"{BODY},{base64.b64encode(b'0 another').decode()}"),
        ("pem", CHAIN),
        ("pem", CHAIN.replace("\n", "")),
        ("pem", CHAIN.replace("\n", "\r\n") + "\r\n"),
        ("pem", quote(CHAIN, safe="+=/")),  # AWS's load balancer
        ("pem", quote(CHAIN, safe="")),
        ("pem", PEM + OTHER_PEM * (MAX_CHAIN - 1)),
        ("pem", f"{PEM},{OTHER_PEM}"),
        ("xfcc", f'By=spiffe://a;Hash={DIGEST.hex()};Subject="CN=x,O=y;z";URI=spiffe://b'),
        ("xfcc", f'{OTHER};Subject="a, b",Hash={DIGEST.hex()}'),
        ("xfcc", f'Subject="Hash={"0" * 64}";hash={DIGEST.hex()}'),
        ("rfc9440", f":{base64.b64encode(DER).decode()}:"),
    ],
    ids=map(str, count()),  # the certificate is new in each run, and names of tests are not
)
def test_every_form_gives_the_thumbprint_that_tokens_are_bound_to(form: str, value: str) -> None:
    assert thumbprint(value, CertificateForm(form)) == EXPECTED


@pytest.mark.parametrize("form", list(CertificateForm))
@pytest.mark.parametrize("value", ["", "x", "a" * 63, ":", "::", "Hash=", OTHER + ";" + OTHER])
def test_what_is_none_is_refused(form: CertificateForm, value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        thumbprint(value, form)


@pytest.mark.parametrize(
    "value",
    [
        OTHER_PEM.replace("BEGIN", "BEGIN TRUSTED") + PEM,
        "x" + PEM,
        PEM + "x",
        PEM + OTHER_PEM * MAX_CHAIN,
        PEM.partition("-----END")[0],
        PEM.partition("-----END")[0] + OTHER_PEM,
        PEM + OTHER_PEM.partition("-----END")[0],
        PEM.partition("CERTIFICATE-----")[2],
        OTHER_PEM.replace("CERTIFICATE", "PRIVATE KEY") + PEM,
        "-----BEGIN CERTIFICATE----------END CERTIFICATE-----" + PEM,
    ],
    ids=map(str, count()),
)
def test_what_is_no_chain_is_refused(value: str) -> None:
    for form in (value, quote(value)):
        with pytest.raises(ValueError, match=r".+"):
            thumbprint(form, CertificateForm.PEM)


@pytest.mark.parametrize("text", ['\\"', '"', "\\", ";", "; ", ";hash=", '"\\"'])
@pytest.mark.parametrize("form", list(CertificateForm))
def test_a_megabyte_of_anything_is_read_character_by_character(
    form: CertificateForm, text: str
) -> None:
    # A reader that goes back would need hours for this, and not 1.8 s as for 30 KB.
    value = text * (1_000_000 // len(text))
    with pytest.raises(ValueError, match=r".+"):
        thumbprint(value, form)
    with pytest.raises(ValueError, match=r".+"):
        thumbprint(f'Hash={DIGEST.hex()};Subject="{value}', form)


def test_quotes_are_escaped_within_quotations_alone() -> None:
    subject = r'Subject="a\\", \"b;Hash=0\""'
    assert thumbprint(f"{OTHER};{subject},{subject};Hash={DIGEST.hex()}", CertificateForm.XFCC) == (
        EXPECTED
    )


@given(st.text(max_size=100), st.sampled_from(CertificateForm))
def test_no_text_raises_anything_but_a_value_error(value: str, form: CertificateForm) -> None:
    with contextlib.suppress(ValueError):
        assert len(thumbprint(value, form)) == 43
