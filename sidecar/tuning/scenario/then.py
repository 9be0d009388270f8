"""Describes the calls of a scenario, and what each must get."""

from typing import Any

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.tuning.scenario.given import ADDRESS, TEXTS, Duration
from sidecar.tuning.scenario.simulation import ChosenToken
from sidecar.wire.grammar.records import REQUIRED, Record, RecordKey
from sidecar.wire.grammar.rules import (
    TEXT,
    Boolean,
    Choice,
    FileReading,
    Name,
    Schema,
    Several,
    Spelled,
    Text,
)
from sidecar.wire.policies.policy_grammar import CONTEXT
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.yaml.structs import Missing
from sidecar.wire.yaml.tree import MappingEntry, Node, Scalar, Table

NO_ADDRESS = "none"
"""As the `ip` of a call: it has none."""

SESSION_NAME = "session"
"""What `FileReading.lookups` calls the names of sessions."""


class Expected(msgspec.Struct, frozen=True):
    """The expected answer to a check. None: anything."""

    verdict: Verdict
    acr_values: tuple[str, ...] | None = None
    max_age: int | None = None
    reasons: frozenset[str] | None = None
    would: frozenset[str] | None = None
    pending: bool | None = None


class Check(msgspec.Struct, frozen=True):
    """A call, and what it must get. `line` is where the file says so.

    `session` empty: the step's. `ip` empty: from where the session was; `addressless`: it has no
    address.
    """

    line: int
    session: str
    expected: Expected
    app: str = ""
    contexts: tuple[str, ...] = ()
    method: str = ""
    host: str = ""
    path: str = ""
    ip: str = ""
    user_agent: str = ""
    addressless: bool = False
    token: ChosenToken = ChosenToken.LATEST


class CallAddress(msgspec.Struct, frozen=True):
    """Accepts an address, or `none`, which is None."""

    def read(self, node: Node, field: str, reading: FileReading) -> str | Missing | None:
        """Return the address in its canonical spelling."""
        if isinstance(node, Scalar) and node.value == NO_ADDRESS:
            return None
        return ADDRESS.read(node, field, reading)

    def schema(self) -> Schema:
        """Return the bounds of all texts."""
        return dict(TEXT)

    def words(self) -> str:
        """Return both."""
        return f"address, or `{NO_ADDRESS}`"


def _path(text: str) -> str:
    try:
        return normalise(text)
    except PathInvalid as error:
        raise ValueError(str(error)) from None


def _check(session: str = "", context: tuple[str, ...] = (), **given: Any) -> Check:
    wanted = {key: given.pop(key) for key in Expected.__struct_fields__ if key in given}
    for key in ("reasons", "would"):
        if key in wanted:
            wanted[key] = frozenset(wanted[key])
    if "max_age" in wanted:
        wanted["max_age"] = int(wanted["max_age"])
    addressless = given.get("ip", "") is None
    ip = given.pop("ip", None) or ""
    expected = Expected(**wanted)
    return Check(0, session, expected, contexts=context, ip=ip, addressless=addressless, **given)


CALL: Record[Check] = Record(
    {
        "verdict": RecordKey(Choice(Verdict), "what the call gets", required=REQUIRED),
        "acr_values": RecordKey(TEXTS, "what the challenge asks for"),
        "max_age": RecordKey(Duration(), "likewise"),
        "reasons": RecordKey(TEXTS, "exactly the policies that the answer names"),
        "would": RecordKey(
            TEXTS, "exactly the report-only policies that would have asked for something"
        ),
        "pending": RecordKey(Boolean(), "whether a step-up waits in another context"),
        "context": RecordKey(
            Several(Name(CONTEXT)), "the call's authentication contexts; none: a routine call"
        ),
        "method": RecordKey(Text(), "instead: the call, mapped by the configured routes"),
        "host": RecordKey(Text(), "likewise"),
        "path": RecordKey(Spelled(_path, {**TEXT, "pattern": "^/"}, "path"), "likewise"),
        "token": RecordKey(
            Choice(ChosenToken),
            "`latest`: the token of the session's latest sign-in; `first`: the one that it began"
            " with, as a thief has it",
            default="`latest`",
        ),
        "ip": RecordKey(
            CallAddress(),
            "where the call comes from; it is seen there, as in life. `none`: it has no address",
        ),
        "user_agent": RecordKey(Text(), "with what it comes"),
        "app": RecordKey(Text(), "of which app it is"),
        "session": RecordKey(Name(SESSION_NAME), "of which session it is"),
    },
    _check,
)


class CallOrVerdict(msgspec.Struct, frozen=True):
    """Accepts a call with what it gets, or the verdict of a routine call alone."""

    def read(self, node: Node, field: str, reading: FileReading) -> Check | Missing:
        """Return the check, with its line."""
        if isinstance(node, Scalar):  # `then: allow`
            verdict = {} if node.value is None else {"verdict": MappingEntry(node.place, node)}
            node = Table(verdict, node.place)
        found = CALL.read(node, field, reading)
        if isinstance(found, Missing):
            return found
        return msgspec.structs.replace(found, line=node.place.line)

    def schema(self) -> Schema:
        """Return the schema of both."""
        return {"anyOf": [CALL.keys["verdict"].rule.schema(), CALL.schema()]}

    def words(self) -> str:
        """Return both."""
        return f"{CALL.keys['verdict'].rule.words()}; or a mapping"
