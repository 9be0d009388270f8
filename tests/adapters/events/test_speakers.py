"""The sources that speak at a door are found, and who is nobody is refused."""

from pathlib import Path

import pytest

from sidecar.adapters.events.guesses import AT_ONCE
from sidecar.adapters.events.speakers import Speakers
from sidecar.service.observations.observations import SecretRead
from sidecar.service.ports.calls import Overloaded
from sidecar.wire.http.messages import Request
from sidecar.wire.settings.settings import App, Settings, Socket
from sidecar.wire.settings.sources import SourceSettings

AGENT = SourceSettings(name="agent", uids=(1000,))


def request(uid: int | None = None, peer: str = "", **headers: str) -> Request:
    fields = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    return Request("POST", b"/v1/events", headers=fields, peer=peer, uid=uid)


def speakers(credential: Path | None = None, **socket: object) -> Speakers:
    sources = [AGENT]
    if credential is not None:
        sources.append(SourceSettings(name="mdm", token_file=str(credential)))
    settings = Settings(
        app=App(id="payroll"),
        socket=Socket(**socket),  # type: ignore[arg-type] # by name
        sources=tuple(sources),
    )
    return Speakers(lambda: settings)


def test_who_is_not_let_in_at_the_local_socket_is_nobody_at_the_other_one(tmp_path: Path) -> None:
    file = tmp_path / "mdm"
    file.write_text("a-credential")
    known = speakers(file, allowed_uids=(1000, 1001))
    assert known.caller(request(1000)) == "agent"
    assert known.caller(request(1001)) == "local:payroll"
    assert known.caller(request(1002)) == ""
    assert known.caller(request()) == "", "nor is one whose uid the system does not say"
    assert known.caller(request(1002, authorization="Bearer a-credential")) == "mdm"
    assert speakers().caller(request(1002)) == "local:payroll"
    assert known.caller(request(peer="127.0.0.1")) == "local:payroll", "http.events says who may"


@pytest.mark.parametrize("text", ["", "\n", " \t\n", "\x00", "a\nb", "caf\xe9\udce9"])
@pytest.mark.parametrize("shown", ["", " ", "\n", "\x00", "a", "a\nb", "x" * 100_000])
def test_a_file_that_holds_no_credential_is_shown_by_nobody(
    tmp_path: Path, text: str, shown: str
) -> None:
    file = tmp_path / "mdm"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    known = speakers(file)
    assert known.bearer(shown) == ""
    for scheme in ("Bearer", "bearer", "Basic"):
        assert known.caller(request(1000, authorization=f"{scheme} {shown}")) == ""


def test_who_guesses_credentials_is_asked_to_wait_and_keeps_no_other_from_its_own(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mdm"
    file.write_text("a-credential")
    settings = Settings(sources=(SourceSettings(name="mdm", token_file=str(file)),))
    wrong: list[str] = []
    known = Speakers(lambda: settings, on_wrong=wrong.append)

    def guess_without_end(uid: int | None, address: str) -> None:
        while known.shown("guess", uid, address) == "":
            pass

    for uid, address in ((1000, ""), (None, "127.0.0.1")):
        for _ in range(AT_ONCE):
            assert known.shown("guess", uid, address) == ""
        with pytest.raises(Overloaded):
            guess_without_end(uid, address)
    with pytest.raises(Overloaded):
        known.shown("a-credential", 1000)  # of this uid, none is looked at any more
    assert known.shown("a-credential", 1001) == "mdm", "of another uid"
    assert known.shown("a-credential", None, "127.0.0.1") == "mdm", "who knows who calls"
    assert set(wrong) == {"uid 1000", "127.0.0.1"}


def test_what_is_wrong_with_a_credential_is_reported_once_and_never_quoted(tmp_path: Path) -> None:
    file = tmp_path / "mdm"
    settings = Settings(sources=(SourceSettings(name="mdm", token_file=str(file)),))
    reported: list[SecretRead] = []
    known = Speakers(lambda: settings, reported.append)
    for text in (None, "", "secret one\nsecret two"):
        if text is not None:
            file.write_text(text)
        assert known.bearer("secret one") == ""
    file.write_text("the-credential")
    assert known.bearer("the-credential") == "mdm"
    file.unlink()
    assert known.bearer("the-credential") == "", "it is gone"
    assert [bool(one.reason) for one in reported] == [True, False, True]
    assert {one.field for one in reported} == {"sources.mdm.token_file"}
    assert "secret one" not in repr(reported)
