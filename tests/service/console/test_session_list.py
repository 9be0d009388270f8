"""A page of sessions is the same work however many there are, and all pages have each once."""

from collections.abc import Sequence
from typing import cast

import msgspec
import pytest

from sidecar.service.admin.inspection import InvalidQuery, SessionQuery, Summary
from sidecar.service.console.session_list import LOOKED_AT, SessionList
from sidecar.service.ports.store import Scanned
from sidecar.service.records.fact_reader import FactReader
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import SessionName, StoreKeys

KEYS = StoreKeys("p")
BATCH = 1000
EMPTY = Summary(
    session="",
    user="",
    issuer="",
    device="",
    apps=(),
    standing="clear",
    score=0.0,
    level="low",
    assurance="",
    auth_time=0,
    ip="",
    country="",
    network="",
    established=0.0,
    marks=(),
)


class Crowd:
    """A store with `count` sessions, of which each hundredth must step up, and their reader."""

    def __init__(self, count: int) -> None:
        self.names = [SessionName(f"{n % 997:064x}", f"{n:064x}") for n in range(count)]
        self.scans = self.read = 0

    async def scan(self, pattern: str, bookmark: bytes = b"") -> Scanned:
        assert pattern == KEYS.every_session()
        self.scans += 1
        begin = int(bookmark or b"0")
        keys = [KEYS.session_record(name) for name in self.names[begin : begin + BATCH]]
        end = begin + BATCH
        return Scanned(keys, b"%d" % end if end < len(self.names) else b"")

    async def summaries(self, names: Sequence[SessionName], /) -> list[Summary]:
        self.read += len(names)
        found = []
        for name in names:
            standing = "clear" if int(name.session, 16) % 100 else "step_up"
            one = msgspec.structs.replace(EMPTY, session=name.session, standing=standing)
            found.append(one)
        return found


def listing(crowd: Crowd) -> SessionList:
    return SessionList(
        sessions=crowd,
        store=crowd,
        records=cast("FactReader", None),
        names=KEYS,
        settings=Settings,
    )


@pytest.mark.parametrize("standing", ["", "step_up", "revoked"])
async def test_a_page_of_a_hundred_thousand_sessions_reads_a_bounded_number(standing: str) -> None:
    crowd = Crowd(100_000)
    page = await listing(crowd).page(SessionQuery(standing=standing, limit=50))
    assert crowd.read <= LOOKED_AT
    assert crowd.scans == 1
    assert page.cursor


@pytest.mark.parametrize("standing", ["", "step_up"])
async def test_all_pages_together_have_each_session_once(standing: str) -> None:
    crowd = Crowd(2500)
    sessions, cursor = listing(crowd), ""
    found: list[str] = []
    while True:
        page = await sessions.page(SessionQuery(standing=standing, limit=100, cursor=cursor))
        found += [one.session for one in page.sessions]
        if not (cursor := page.cursor):
            break
    assert len(found) == len(set(found)) == (25 if standing else 2500)


@pytest.mark.parametrize(
    "query",
    [
        SessionQuery(limit=0),
        SessionQuery(limit=101),
        SessionQuery(standing="tired"),
        SessionQuery(cursor="?"),
        SessionQuery(cursor="AAAA"),
    ],
    ids=repr,
)
async def test_a_page_that_makes_no_sense_is_refused(query: SessionQuery) -> None:
    with pytest.raises(InvalidQuery):
        await listing(Crowd(1)).page(query)
