"""An admin listener that knows some sessions."""

from typing import Any

from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.policy.conditional_access import Countries, Selection
from sidecar.service.admin.inspection import (
    ExplainQuery,
    FannedOut,
    SessionQuery,
    SharedWork,
)
from tests.domain.scenes import established, evaluator, policy

NASTY = "evil\x1b[2J[bold]agent"
ROWS = [
    {
        "session": f"s{number}",
        "user": "ada",
        "standing": "step_up" if number % 2 else "clear",
        "score": 42.5,
        "established": 1_700_000_000.0,
        "device": NASTY,
        "marks": [
            {"policy": "p1", "text": "why"},
            {"policy": "tried", "text": "so", "report_only": True},
        ],
    }
    for number in range(5)
]
DETAIL: dict[str, Any] = {
    "terms": [{"name": "travel", "points": 20.0, "weight": 40.0, "half_life": 86400.0}],
    "proven": ["device=laptop", "user_agent=" + NASTY, "network=", "network@nac=office"],
    "circumstances": {"country": "PT", "network": "restricted", "anonymizer": "none"},
    "baseline": {"country": "DE", "network": "", "anonymizer": "none"},
    "timeline": [
        {
            "time": 1_700_000_000.25,
            "kind": "signed-in",
            "event": "e1",
            "text": "signed in with mfa",
        },
        {"time": 1_700_000_001.0, "kind": "seen", "event": "e2", "text": "seen at 192.0.2.1"},
        {"time": 1_700_000_002.0, "kind": "seen", "event": "e3", "text": "seen at 192.0.2.1"},
        {"time": 1_700_000_003.0, "kind": "seen", "event": "e4", "text": "seen at 192.0.2.1"},
    ],
    "others": [{"user": "bob", "issuer": "https://login", "standing": "clear"}],
}


class Book:
    """Five sessions, two a page."""

    def __init__(self) -> None:
        self.queries: list[SessionQuery] = []
        self.rows: list[dict[str, Any]] = ROWS
        self.fault: Exception | None = None
        self.progress = SharedWork(
            state="running",
            done=1500,
            expected=20000,
            rate=500.0,
            seconds_left=37.0,
            sidecars=("pod-a/1", "pod-b/2"),
            fan_out=FannedOut(items=17, sessions=4096, sidecars=("pod-c/3",)),
        )

    async def sessions(self, query: SessionQuery) -> object:
        self.queries.append(query)
        if self.fault:
            raise self.fault
        start = int(query.cursor or 0)
        end = start + min(2, query.limit)
        more = end < len(self.rows)
        return {"sessions": self.rows[start:end], "cursor": str(end) if more else ""}

    async def session(self, session: str, /) -> object | None:
        for row in ROWS:
            if row["session"] == session:
                return {**DETAIL, "summary": row}
        return None

    async def explain(self, session: str, query: ExplainQuery, /) -> object | None:
        if self.fault:
            raise self.fault
        contexts = frozenset(query.explain.split(",")) - {""}
        rules = evaluator(policy(Countries(Selection(frozenset({"DE"}))), name="at-home"))
        state = rules.fold("s", established())
        return explain_call(rules, state, query.app, contexts, 1100) if session == "s1" else None

    async def policies(self) -> object:
        return []

    async def rescore(self) -> object:
        return self.progress
