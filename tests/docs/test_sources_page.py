"""The page on sources says what the code does."""

import re

from docs import generate
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.settings.settings import Settings

PAGE = generate.SOURCES.read_text()
RECEIVER = """
receiver:
  bind: 127.0.0.1:8443
  transmitters:
    - {name: idp, issuer: "https://login.example.com", audiences: [us], events: [session-revoked]}
tokens:
  issuers: [{issuer: "https://login.example.com", audiences: [payroll]}]
"""


def settings() -> Settings:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return read_settings(example + RECEIVER, "s.yaml", {}, lambda _: "a secret")


def test_its_table_of_powers_is_current() -> None:
    assert generate.sources_page() == PAGE, "run `python docs/generate.py`"


def test_its_configuration_is_one() -> None:
    assert [source.name for source in settings().sources] == ["app", "mdm", "idp"]
