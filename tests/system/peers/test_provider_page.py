"""docs/providers/oidc-provider.md against the package itself: its entry reads its real tokens."""

import re
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.adapters import clock
from sidecar.adapters.tokens.keys import KeySource
from sidecar.adapters.tokens.verifier import TokenVerifier
from sidecar.demo.browser import Challenge
from sidecar.domain.policy.asked_for import demands, unoffered
from sidecar.domain.values.assurance import Ladder
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.providers.offered import acr_values_offered
from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.domain.scenes import policy
from tests.system.peers.programs import HERE, installed, node
from tests.system.peers.relying_party import CALLBACK, RelyingParty

pytestmark = pytest.mark.skipif(
    not installed("oidc-provider"), reason="oidc-provider is not installed"
)
PAGE = Path(__file__).parents[3] / "docs" / "providers" / "oidc-provider.md"


def settings_at(issuer: str) -> Settings:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return read_settings(text.replace("https://id.example.com", issuer), PAGE.name, {}, str)


def test_its_entry_reads_real_tokens_and_a_step_up_raises_them() -> None:
    with node(HERE / "provider.mjs", CALLBACK) as issuer:
        settings = settings_at(issuer)
        with closing(RelyingParty(issuer, "ada")) as browser:
            shown = [browser.sign_in("pwd")]
            shown.append(browser.sign_in("pwd otp", Challenge(acr_values="mfa")))
        (one,) = settings.tokens.issuers

        async def believed() -> None:
            verifier = TokenVerifier([KeySource(one, settings.tokens)], settings.tokens)
            before, after = [await verifier.verify(text, clock.now()) for text in shown]
            ladder = Ladder(settings.assurance.levels)
            ranks = [ladder.shown(each.authentication).rank for each in (before, after)]
            assert [ladder.name(rank) for rank in ranks] == ["single-factor", "mfa"]
            assert before.session == after.session
            assert not before.missing
            assert before.authentication.auth_time <= after.authentication.auth_time

        trio.run(believed)
        metadata = plain_http.get(f"{issuer}/.well-known/openid-configuration").json()
        offered = acr_values_offered(metadata)
        assert offered is not None
        ladder = Ladder(settings.assurance.levels)
        asked = demands((policy(None, "mfa", "phishing-resistant"),), issuer, ladder)
        assert unoffered(asked, offered) == ()
