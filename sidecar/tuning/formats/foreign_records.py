"""Records of other people's logs: members by name however it is written, and what they become.

Exports of one log differ in how they write its members: `createdDateTime` from the API,
`CreatedDateTime` from PowerShell, `created_date_time` from a database, `location.city` in a table.
So names are compared by their letters and digits alone.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.wire.places.place_values import says_nothing

_NO_NAME = re.compile(r"[^a-z0-9]")

FAILED = "the sign-in failed"
"""Why a failed sign-in is left out: nobody has a session by it."""


class LeftOut(NamedTuple):
    """A record that was understood, and says nothing that is replayed, for this `reason`."""

    reason: str


class Ours(NamedTuple):
    """A record in our own form. `called`: it was a call, which policies judge."""

    record: dict[str, object]
    called: bool = True


def plain(name: str) -> str:
    """Return a name's letters and digits, in lower case."""
    return _NO_NAME.sub("", name.lower())


class Foreign:
    """A record, whose members are looked up by path; what is not there or says nothing is None."""

    def __init__(self, record: Mapping[str, object]) -> None:
        self.record = record
        self._members: dict[str, object] = {}
        for name, value in record.items():
            self._members.setdefault(plain(str(name)), value)

    def at(self, *path: str) -> object:
        """Return what lies at a path, also where a table has flattened it into one name."""
        first, rest = plain(path[0]), path[1:]
        value = self._members.get(first)
        if not rest:
            return None if says_nothing(value) else value
        if isinstance(value, Mapping):
            return Foreign(value).at(*rest)
        flat = self._members.get("".join(plain(part) for part in path))
        return None if says_nothing(flat) else flat

    def inner(self, *path: str) -> "Foreign":
        """Return the record at a path; an empty one where there is none."""
        value = self.at(*path)
        return Foreign(value) if isinstance(value, Mapping) else Foreign({})

    def text(self, *path: str) -> str:
        """Return the text at a path; empty where there is none."""
        value = self.at(*path)
        return value.strip() if isinstance(value, str) else ""

    def items(self, *path: str) -> list["Foreign"]:
        """Return the records in the list at a path."""
        value = self.at(*path)
        found = value if isinstance(value, list) else []
        return [Foreign(item) for item in found if isinstance(item, Mapping)]

    def has(self, *names: str) -> bool:
        """Return whether it has all of these members, whatever they say."""
        return all(plain(name) in self._members for name in names)


def without_blanks(members: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Return the members that say something."""
    return {
        name: value
        for name, value in members
        if not says_nothing(value) and value not in ((), [], {})
    }


def shortened(text: str, most: int = 256) -> str:
    """Return a text that is no longer than names may be."""
    return text[:most]


def sign_in(  # noqa: PLR0913 - what a sign-in says, by name
    *,
    time: object,
    record_id: object,
    user: str,
    session: str,
    device: str = "",
    ip: object = None,
    user_agent: object = None,
    amr: Iterable[str] = (),
    place: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return a sign-in in our own form."""
    return without_blanks(
        (
            ("type", "session-established"),
            ("time", time),
            ("id", record_id),
            ("subject", without_blanks((("user", user), ("session", session), ("device", device)))),
            (
                "data",
                without_blanks(
                    (("ip", ip), ("user_agent", user_agent), ("amr", list(dict.fromkeys(amr))))
                ),
            ),
            ("place", place or {}),
        )
    )


def presented(signed_in: Mapping[str, object]) -> dict[str, object]:
    """Return the same as a session that is merely seen: no sign-in of its own."""
    data = signed_in.get("data")
    seen = {k: v for k, v in data.items() if k != "amr"} if isinstance(data, Mapping) else {}
    return {**signed_in, "type": "session-presented", "data": seen}


def risk(
    signed_in: Mapping[str, object], level: str, *, of_user: bool = False
) -> dict[str, object]:
    """Return the risk that a log names beside a sign-in, of its session or of its user."""
    subject = signed_in.get("subject")
    named = dict(subject) if isinstance(subject, Mapping) else {}
    kept = {"user": named.get("user")} if of_user else {"session": named.get("session")}
    record: dict[str, object] = {
        "type": "risk-level-change",
        "time": signed_in.get("time"),
        "subject": without_blanks(kept.items()),
        "data": {"current_level": level.upper()},
    }
    if signed_in.get("id"):
        record["id"] = f"{str(signed_in['id'])[:120]}-risk"
    return record
