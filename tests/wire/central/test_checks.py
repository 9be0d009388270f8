"""Configurations of the central listener that do not fit together, and of the data listener."""

from typing import Any

import pytest
import yaml

from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.yaml.tree import ConfigError

GOOD: dict[str, Any] = {
    "bind": "[::]:8443",
    "tls_cert_file": "tls.crt",
    "tls_key_file": "tls.key",
    "client_ca_file": "ca.crt",
    "askers": [
        {"name": "edge", "token_file": "edge"},
        {"name": "mesh", "certificate_names": ["spiffe://cluster.local/ns/edge/sa/gateway"]},
    ],
}


def problems(**sections: Any) -> dict[str, str]:
    text = yaml.safe_dump({"tokens": {"issuers": []}, **sections})
    try:
        read_settings(text, "/etc/sidecar/sidecar.yaml", {}, lambda _: "a-credential")
    except ConfigError as error:
        return {one.field: one.message for one in error.problems}
    return {}


def of_central(**changed: Any) -> dict[str, str]:
    central = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    found = problems(central=central)
    return {field: text for field, text in found.items() if field.startswith("central")}


def test_one_that_fits_together_has_no_problem() -> None:
    assert of_central() == {}
    plain = {"bind": "127.0.0.1:8443", "client_ca_file": None, "tls_cert_file": None}
    askers = [{"name": "edge", "token_file": "edge"}]
    assert of_central(**plain, tls_key_file=None, askers=askers) == {}


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"askers": []}, "central.askers", "who may ask"),
        ({"tls_key_file": None}, "central.tls_key_file", "go together"),
        ({"tls_cert_file": None, "tls_key_file": None}, "central.tls_cert_file", "is required"),
        ({"client_ca_file": None}, "central.askers[1].certificate_names", "client_ca_file"),
        ({"askers": [{"name": "edge"}]}, "central.askers[0]", "token_file"),
        ({"askers": [{"name": "", "token_file": "a"}]}, "central.askers[0].name", "empty"),
        ({"askers": [GOOD["askers"][0]] * 2}, "central.askers[1].name", "twice"),
        (
            {
                "askers": [
                    {"name": "a", "certificate_names": ["x"]},
                    {"name": "b", "certificate_names": ["x"]},
                ]
            },
            "central.askers[1].certificate_names",
            "also that of",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(
    changed: dict[str, Any], field: str, words: str
) -> None:
    assert words in of_central(**changed)[field]


@pytest.mark.parametrize("bind", ["0.0.0.0:8181", "[::]:8181", "10.0.0.1:8181"])
def test_a_data_listener_that_others_reach_is_refused_unless_that_is_accepted(bind: str) -> None:
    assert "central.askers" in problems(http={"bind": bind})["http.bind"]
    accepted = {"accept": ["data-listener-exposed"]}
    assert "http.bind" not in problems(http={"bind": bind}, warnings=accepted)
    assert "http.bind" not in problems(http={"bind": bind, "enabled": False})
    assert "http.bind" not in problems(http={"bind": "127.0.0.1:8181"})
