from typing import Any

import pytest

from sidecar.domain.explanation.diagnosis import Soundness
from sidecar.domain.values.assurance import Ladder
from sidecar.wire.diagnosis.issuer import IssuerReport, diagnose_acr, diagnose_issuer
from sidecar.wire.settings.settings import Assurance, Issuer
from sidecar.wire.settings.tokens import Introspection
from tests.domain.scenes import policy

R, D, W = Soundness.RIGHT, Soundness.DOUBTFUL, Soundness.WRONG
URL = "https://id.example"


def report(keys: Any = ("k1", None), trouble: str = "", metadata: Any = None, **more: Any) -> Any:
    issuer = Issuer(issuer=URL, audiences=("app",), **more)
    return IssuerReport(issuer, keys, trouble, {"issuer": URL} if metadata is None else metadata)


def states(found: IssuerReport) -> list[Soundness]:
    return [one.state for one in diagnose_issuer(found)]


def test_an_issuer_with_keys_and_metadata_is_right() -> None:
    assert states(report()) == [R, R]
    assert "it has 2: 'k1'" in next(diagnose_issuer(report())).what


def test_an_issuer_without_metadata_is_doubtful() -> None:
    assert states(report(metadata={})) == [R, D]


@pytest.mark.parametrize(
    ("trouble", "settings", "cure"),
    [
        ("certificate verify failed", {}, "SSL_CERT_FILE"),
        ("the metadata name another issuer", {}, "just as the metadata do"),
        ("it is no file", {"jwks_file": "keys.json"}, "jwks_file"),
        ("refused", {"jwks_uri": f"{URL}/keys"}, "jwks_uri"),
        ("refused", {}, "is it up"),
    ],
)
def test_keys_that_cannot_be_had_are_wrong_with_a_cure(
    trouble: str, settings: dict[str, Any], cure: str
) -> None:
    (found,) = diagnose_issuer(report(None, trouble, {}, **settings))
    assert (found.state, found.what) == (W, trouble)
    assert cure in found.cure


def test_an_issuer_that_is_asked_about_each_token_needs_no_keys() -> None:
    asked = Introspection(endpoint=f"{URL}/introspect", client_id="app", only=True)
    assert states(report(None, metadata={}, introspection=asked)) == [R]


@pytest.mark.parametrize(
    ("offered", "expected"),
    [(None, []), (["mfa", "phr"], [R]), (["password"], [W])],
)
def test_an_acr_that_is_asked_for_must_be_offered(offered: Any, expected: list[Soundness]) -> None:
    metadata = {"issuer": URL} | ({} if offered is None else {"acr_values_supported": offered})
    found = diagnose_acr([policy(None)], Ladder(Assurance().levels), [report(metadata=metadata)])
    assert [one.state for one in found] == expected
