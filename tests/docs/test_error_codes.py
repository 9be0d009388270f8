"""The page of errors has every code that the code has."""

import re
from pathlib import Path

from docs import error_codes
from docs.listeners import REFUSED
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.http.problems import Problem

CODE = Path(__file__).parents[2] / "sidecar"
SENT = re.compile(r"\bRefusal\(\s*\"(\w+)\"|\"error\": \"(\w+)\"|error=\"(\w+)\"")
OF_LOGOUTS = re.compile(r"_End\([^)]*?\"([a-z_]+)\",\s*(?:words|str|\"|error|outcome)", re.DOTALL)


def test_the_page_is_current() -> None:
    assert error_codes.PAGE.read_text() == error_codes.page(), "run `python -m docs.error_codes`"


def test_every_code_of_the_socket_is_on_it() -> None:
    rooms = (
        CODE / room for room in ("adapters/events", "adapters/http", "adapters/socket", "wire")
    )
    sources = [path.read_text() for room in rooms for path in room.rglob("*.py")]
    sent = {code for text in sources for found in SENT.findall(text) for code in found if code}
    assert len(sent) > 7
    assert sent <= error_codes.SOCKET.keys()
    assert set(REFUSED["properties"]["error"]["enum"]) == error_codes.SOCKET.keys()


def test_every_problem_and_fault_is_on_it() -> None:
    assert error_codes.HTTP.keys() == set(Problem)
    assert error_codes.SET.keys() == set(Fault)


def test_every_word_of_logouts_is_on_it() -> None:
    text = (CODE / "adapters" / "intake" / "logout.py").read_text()
    assert set(OF_LOGOUTS.findall(text)) == error_codes.OAUTH.keys()
