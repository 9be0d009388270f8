import msgspec

from sidecar.wire.config.secret_files import secret_paths, secrets_of, with_renewed_secrets
from sidecar.wire.settings.settings import Issuer, Settings, StoreSettings, Tokens
from sidecar.wire.settings.tokens import Introspection

ASKED = Introspection(client_id="app", client_secret="old", client_secret_file="/asked")
ISSUER = Issuer(issuer="https://id.example", audiences=("app",), introspection=ASKED)
SETTINGS = Settings(
    store=StoreSettings(password="old", password_file="/store"), tokens=Tokens(issuers=(ISSUER,))
)


def test_a_secret_is_a_key_that_may_stand_in_a_file() -> None:
    assert "password" in secrets_of(StoreSettings)
    assert "password_file" not in secrets_of(StoreSettings)


def test_the_files_of_secrets_are_found_wherever_they_stand() -> None:
    assert set(secret_paths(SETTINGS)) == {"/store", "/asked"}
    assert list(secret_paths({"a": [SETTINGS.store], "b": 1})) == ["/store"]


def test_secrets_are_renewed_and_what_cannot_be_read_stays() -> None:
    def read(path: str) -> str:
        if path == "/asked":
            raise OSError("gone")
        return "new\n"

    renewed = with_renewed_secrets(SETTINGS, read)
    assert renewed.store.password == "new"
    assert renewed.tokens.issuers == SETTINGS.tokens.issuers
    assert msgspec.structs.replace(renewed, store=SETTINGS.store) == SETTINGS


def test_settings_whose_secrets_are_as_they_were_are_the_same() -> None:
    assert with_renewed_secrets(SETTINGS, lambda _: "old") is SETTINGS
    assert with_renewed_secrets({"a": SETTINGS}, lambda _: "old") == {"a": SETTINGS}
