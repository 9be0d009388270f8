import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.cells import cell_len

from sidecar.adapters.admin.credential import sole
from sidecar.adapters.admin.listener import AdminApp
from sidecar.adapters.listening.asgi import Listener
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.cli.sessions import COLUMNS
from sidecar.cli.tables import TableColumn, fitted
from sidecar.service.admin.health import Health
from sidecar.service.admin.inspection import (
    InvalidQuery,
    SharedWork,
)
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Log, Settings
from tests.cli.command import Done, on_a_terminal, sidecar
from tests.cli.session_book import DETAIL, ROWS, Book


class Admin:
    def __init__(self, token_file: Path) -> None:
        self.book = Book()
        self.token = "admin-token"
        self.token_file = token_file
        token_file.write_text(f"{self.token}\n")
        telemetry = PrometheusTelemetry(Settings(log=Log(level="error")))
        app = AdminApp(Health(), telemetry, self.book, lambda: sole(self.token))
        self.listener = Listener("127.0.0.1:0", app)
        self.url = ""

    async def ask(self, *words: str, command: str = "sessions", **environ: str) -> Done:
        file = {"SIDECAR_ADMIN__TOKEN_FILE": str(self.token_file), **environ}
        return await sidecar(command, *words, "--url", self.url, **file)

    async def show(self, columns: int, *words: str) -> Done:
        """As `ask`, on a terminal of so many columns."""
        file = {"SIDECAR_ADMIN__TOKEN_FILE": str(self.token_file)}
        return await on_a_terminal(columns, "sessions", *words, "--url", self.url, **file)


@pytest.fixture
async def admin(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Admin]:
    admin = Admin(tmp_path / "token")
    (admin.url,) = await nursery.start(admin.listener.run)
    yield admin
    admin.listener.stop()


async def test_the_list_follows_pages_up_to_its_limit(admin: Admin) -> None:
    done = await admin.ask("--user", "ada", "--standing", "step_up", "--limit", "3")
    assert done.status == 0
    assert [row.split()[0] for row in done.out.splitlines()] == ["session", "s0", "s1", "s2"]
    assert done.err == "there are more: raise --limit\n"
    assert [(q.user, q.standing, q.limit) for q in admin.book.queries] == [
        ("ada", "step_up", 3),
        ("ada", "step_up", 1),
    ]


async def test_the_whole_list(admin: Admin) -> None:
    done = await admin.ask()
    assert done.out.count("\tada\t") == len(ROWS)
    assert done.err == ""


async def test_a_pipe_gets_all_columns_whole_between_tabs(admin: Admin) -> None:
    done = await admin.ask("--limit", "1")
    head, row = (line.split("\t") for line in done.out.splitlines())
    printed = dict(zip(head, row, strict=True))
    assert head[:5] == ["session", "user", "standing", "score", "marks"]
    assert printed["marks"] == "p1", "one that is only tried is none"
    assert (printed["established"], printed["country"]) == ("2023-11-14T22:13:20Z", "")
    assert printed["device"] == "evil\\x1b[2J[bold]agent"


async def test_a_pipe_gets_the_head_where_no_session_matches(admin: Admin) -> None:
    admin.book.rows = []
    done = await admin.ask()
    assert (done.status, done.out.count("\n"), done.out.split("\t")[0]) == (0, 1, "session")
    assert done.err == "no live session matches\n"


ORDER = ("session", "user", "standing", "score", "marks")
LONG: dict[str, Any] = {
    **ROWS[1],
    "session": "01JD9ZQK3V8Y6T4W2R0P5N7M1H",
    "user": "grace.brewster.hopper@accounts.example.com",
    "level": "medium",
    "ip": "2001:db8:85a3:1234:5678:8a2e:370:7334",
    "network": "restricted",
    "issuer": "https://login.example.com/realms/everybody",
}


@pytest.mark.parametrize("columns", [20, 40, 80, 132, 400])
def test_a_line_of_a_session_fits_a_terminal(columns: int) -> None:
    marks = {"marks": ["payroll-leaves-the-office", "another-country"]}
    rows = [{**LONG, **marks}, *({**row, "marks": []} for row in ROWS), {"user": "日" * 90}]
    lines, left_out = fitted(rows, [TableColumn(*column) for column in COLUMNS], columns)
    assert len(lines) == 1 + len(rows)
    assert max(map(cell_len, lines)) <= columns
    assert "country" not in left_out + lines[0].split(), "what says nothing takes no room"
    shown = lines[1].split()
    assert (shown[0] == LONG["session"]) is (columns >= 80)
    assert (lines[0].split()[:5] == [*ORDER]) is (columns >= 80)
    assert bool(left_out) is (columns < 400)
    assert ("https://login.example.com/realms/everybody" in shown) is (columns == 400)


async def test_a_terminal_gets_its_width(admin: Admin) -> None:
    admin.book.rows = [LONG]
    done = await admin.show(80)
    head, row = done.out.splitlines()
    assert head.split() == [*ORDER]
    assert (len(row) <= 80, row.split()[0]) == (True, LONG["session"])
    assert done.err.startswith("no room for level, ip,")


async def test_nothing_steers_the_terminal(admin: Admin) -> None:
    for words in ((), ("s1",)):
        done = await admin.ask(*words)
        assert "\x1b" not in done.out
        assert "evil\\x1b[2J[bold]agent" in done.out


async def test_times_are_shown_as_dates(admin: Admin) -> None:
    assert "2023-11-14 22:13:20Z" in (await admin.ask("s1")).out


async def test_the_list_as_json(admin: Admin) -> None:
    done = await admin.ask("--json")
    assert json.loads(done.out) == {"sessions": ROWS, "cursor": ""}


SHOWN = """\
s3: step_up, score 42.5
user         ada
device       evil\\x1b[2J[bold]agent
established  2023-11-14 22:13:20Z

why it has this score
  20.0 travel (of 40, halves every 1d)

what policies ask of it
  p1 for all contexts: why
  (tried) tried for all contexts: so

what it was, and is
  country: DE at the start, PT now
  network: none at the start, restricted now

what it has proven
  device laptop, user agent evil\\x1b[2J[bold]agent, network none, network office (said by nac)

timeline
  2023-11-14 22:13:20Z  signed in with mfa
  2023-11-14 22:13:21Z  seen at 192.0.2.1, and 2 times more until 2023-11-14 22:13:23Z

others have a session of this name
  bob (https://login): clear
"""


async def test_one_session_is_described_in_sentences(admin: Admin) -> None:
    done = await admin.ask("s3")
    assert (done.status, done.out) == (0, SHOWN)
    printed = json.loads((await admin.ask("s3", "--json")).out)
    assert printed == {**DETAIL, "summary": ROWS[3]}


async def test_one_session_is_described_in_the_width_of_a_terminal(admin: Admin) -> None:
    done = await admin.show(80, "s3")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(done.out.split()) == " ".join(SHOWN.split())


async def test_a_session_that_is_not_there_is_a_negative_answer(admin: Admin) -> None:
    done = await admin.ask("s/9 ?")
    assert (done.status, done.out) == (1, "")
    assert "no live session has this id" in done.err


async def test_a_wrong_credential_says_so(admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another")
    done = await admin.ask()
    assert done.status == 2
    assert "not the daemon's admin credential" in done.err
    assert "another" not in done.err


async def test_a_daemon_without_a_credential_says_how_to_give_it_one(admin: Admin) -> None:
    admin.token = ""
    for words in ((), ("s3",)):
        done = await admin.ask(*words)
        assert done.status in (1, 2)
        assert "Traceback" not in done.err
    assert "admin.token_file" in (await admin.ask()).err


async def test_a_store_that_is_away_is_a_negative_answer(admin: Admin) -> None:
    admin.book.fault = Unavailable("the store is away")
    done = await admin.ask()
    assert done.status == 1
    assert "503: the store is away" in done.err


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SIDECAR_ADMIN__TOKEN_FILE": "/none"},
        {"SIDECAR_ADMIN__TOKEN": "line\nbreak"},
    ],
)
async def test_without_a_usable_credential_nothing_is_asked(environ: dict[str, Any]) -> None:
    done = await sidecar("sessions", "--url", "http://127.0.0.1:9", **environ)
    assert done.status == 2
    assert "break" not in done.err
    assert "Traceback" not in done.err


async def test_a_file_that_is_empty_is_not_replaced_by_another_credential(admin: Admin) -> None:
    admin.token_file.write_text("\n")
    done = await admin.ask(SIDECAR_ADMIN__TOKEN=admin.token)
    assert (done.status, done.out) == (2, "")
    assert f"{admin.token_file}: is empty" in done.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://[bad"])
async def test_a_listener_that_is_not_there_says_what_to_do(url: str) -> None:
    done = await sidecar("sessions", "--url", url, SIDECAR_ADMIN__TOKEN="t")
    assert (done.status, done.out) == (2, "")
    assert "--url" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [(), ("s1",), ("--rescore-status",)])
async def test_an_answer_of_another_server_is_reported(
    nursery: trio.Nursery, words: tuple[str, ...]
) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(
            b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{"status": 1}'
        )
        await stream.aclose()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, [listener])
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    done = await sidecar("sessions", *words, "--url", url, SIDECAR_ADMIN__TOKEN="t")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("sidecar sessions: what answers has no `")
    nursery.cancel_scope.cancel()


JSON = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
PACKED = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n"


async def answered(
    nursery: trio.Nursery,
    head: bytes,
    *words: str,
    more: bytes = b"",
    pause: float = 0.0,
) -> Done:
    """What `sidecar sessions` says of a listener that answers so, then `more` without end."""

    async def lie(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(head)
            while more:
                await stream.send_all(more)
                await trio.sleep(pause)  # the pace at which it drips
        await stream.aclose()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, lie, [listener])
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    done = await sidecar("sessions", *words, "--url", url, SIDECAR_ADMIN__TOKEN="t")
    nursery.cancel_scope.cancel()
    return done


@pytest.mark.parametrize(
    ("words", "answer", "printed"),
    [
        ((), JSON + b'{"sessions": 5}', "Expected `array`, got `int` - at `$.sessions`"),
        ((), JSON + b'{"sessions": [{"session": "s", "standing": "x", "marks": ["x"]}]}', "marks"),
        ((), JSON + b'{"sessions": ' + b"[" * 50_000, "sends no JSON object"),
        ((), JSON + b'{"sessions": [], "cursor": NaN}', "sends no JSON object"),
        ((), PACKED + b"no gzip", "sends no JSON object"),
        (("s1",), JSON + b'{"summary": {"session": "s", "standing": "x", "score": "x"}}', "score"),
        (("s1",), JSON + b'{"timeline": [{"time": 1e300}]}', "$.timeline[0].time"),
        (("--rescore-status",), JSON + b'{"done": 1, "seconds_left": 1e300}', "$.seconds_left"),
    ],
)
async def test_an_answer_that_no_sidecar_gives_is_reported(
    nursery: trio.Nursery, words: tuple[str, ...], answer: bytes, printed: str
) -> None:
    done = await answered(nursery, answer, *words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("sidecar sessions: what answers ")
    assert printed in done.err
    assert "Traceback" not in done.err


async def test_an_answer_without_end_is_not_kept(nursery: trio.Nursery) -> None:
    done = await answered(nursery, JSON, "--timeout", "60", more=b" " * 1_048_576)
    assert done.status == 2
    assert done.err.startswith("sidecar sessions: what answers sends no JSON object")


async def test_an_answer_in_drops_is_waited_for_no_longer_than_asked(nursery: trio.Nursery) -> None:
    done = await answered(nursery, JSON, "--timeout", "0.5", more=b" ", pause=0.05)
    assert done.status == 2
    assert "it did not answer in time" in done.err


async def test_the_progress_of_a_re_score_is_reported(admin: Admin) -> None:
    done = await admin.ask("--rescore-status")
    assert done.status == 0
    assert done.out.splitlines() == [
        "1,500 of 20,000 sessions re-scored, 500 a second, 0:00:37 left",
        "  at work: pod-a/1",
        "  at work: pod-b/2",
        "events that touch very many sessions: 4,096 found, not yet logged",
        "  at work: pod-c/3",
    ]
    assert json.loads((await admin.ask("--rescore-status", "--json")).out)["done"] == 1500
    admin.book.progress = SharedWork(state="done", done=20000, expected=20000, finished=61.0)
    done = await admin.ask("--rescore-status")
    assert done.out == "20,000 sessions re-scored, in 0:01:01\n"
    admin.book.progress = SharedWork()
    done = await admin.ask("--rescore-status")
    assert done.out == "no re-score of all sessions was ever asked for\n"


async def test_what_if_explains_a_call_of_a_session_that_a_daemon_knows(admin: Admin) -> None:
    words = ("--session", "s1", "--context", "c1", "--app", "payroll")
    done = await admin.ask(*words, command="what-if")
    assert done.status == 1
    assert done.out.startswith("step_up in c1 at ")
    assert "at-home: step-up" in done.out
    printed = json.loads((await admin.ask(*words, "--json", command="what-if")).out)
    assert (printed["verdict"], printed["app"], printed["reasons"]) == (
        "step_up",
        "payroll",
        ["at-home"],
    )
    routine = await admin.ask("--session", "s1", command="what-if")
    assert routine.status == 0


async def test_what_if_reports_what_is_wrong_with_a_question_to_a_daemon(admin: Admin) -> None:
    gone = await admin.ask("--session", "s9", command="what-if")
    assert (gone.status, gone.err) == (1, "sidecar what-if: no live session has this id\n")
    mixed = await admin.ask("--session", "s1", "--then", "ip=192.0.2.1", command="what-if")
    assert mixed.status == 2
    assert "--then" in mixed.err
    admin.book.fault = InvalidQuery("explain", "is of c1")
    odd = await admin.ask("--session", "s1", "--context", "c9", command="what-if")
    assert (odd.status, odd.err) == (2, "sidecar what-if: explain: is of c1\n")
