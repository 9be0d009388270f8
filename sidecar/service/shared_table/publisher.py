"""Publishes which calls pass, to apps of this pod that read it without asking.

What is published is a call that a check has just let pass: this token, from this address and user
agent, in these contexts. The table repeats that answer for as long as the check would give it again
and do nothing else:

    a check passes          `offer` writes the call's slot, and until when it holds
    its session changes     the slot is cleared, by whatever changed it, before that returns
    policies, settings,     the table is dead, by whatever changed them; another one begins
    keys of issuers
    the daemon stops        the table shows no sign of life, and readers believe it no more

What needs more than a word falls to the socket: a strict location, a single-use proof, a mark that
waits elsewhere, an emergency account, a report-only policy that has something to say, a token that
is bound to a key or that its issuer is asked about. Where checks are logged, everything does.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import trio

from sidecar.domain.evaluation.allowance import NEVER, Judged, allowed_until
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.next_change import NextChange
from sidecar.domain.session.presented import Presented
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.observations.observations import Telemetry
from sidecar.service.observations.shared_table import (
    CallPublished,
    PublishOutcome,
    RenewalCause,
    SharedTableFailed,
    SharedTableRenewed,
)
from sidecar.service.ports.calls import Call
from sidecar.service.view.live_session import RESTANDING_INTERVAL, Live
from sidecar.service.view.view import View
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.tokens import Possession
from sidecar.wire.shared_table.layout import (
    KEY_BYTES,
    ROUTINE_BIT,
    TableSession,
    call_text,
    has_own_text,
    key_of,
    numbered,
    shown_text,
)
from sidecar.wire.shared_table.table import ClockReading, TableOrigin, TableWriter
from sidecar.wire.tokens.claims import Token, is_stand_in

BEAT = 0.5
"""Seconds between two signs of life."""

PATIENCE = 2.0
"""Seconds without one, after which readers ask the socket."""

CLOCK_STEP = 100_000_000
"""Nanoseconds by which the wall clock may drift between two beats; more, and it was set."""

FEWEST_SLOTS = 1024
SLOTS_A_SESSION = 2
LEAST_LIFE = 10.0
"""Seconds between two tables where one is full: a third would be full as soon."""

RETRY = 5.0
"""Seconds after which a table is tried again that could not be made."""

CALLS_OF_A_SESSION = 8

_ROUTINE = frozenset({""})
"""The context of a routine call, which has none."""


class TableMemory(Protocol):
    """Memory that others read: words of 64 bits."""

    @property
    def words(self) -> memoryview:
        """Return its words, which are 0 at first."""


class TableDirectory(Protocol):
    """The place of the table. Every method blocks shortly and raises OSError where it cannot."""

    def claim(self) -> None:
        """Have the place to ourselves; what another life left there is dead from then on."""

    def make(self, slots: int) -> TableMemory:
        """Make memory for so many slots, and put it in its place."""

    def release(self) -> None:
        """Give up the place, and leave nothing there."""


class Clocks(NamedTuple):
    """The wall clock in seconds, and the machine's monotonic one in nanoseconds."""

    wall: Callable[[], float]
    monotonic: Callable[[], int]

    def moment(self) -> ClockReading:
        """Return the moment by both."""
        return ClockReading(int(self.wall() * 1_000_000_000), self.monotonic())


class ShownToken(NamedTuple):
    """A token as a call shows it: to each app that it may be of (empty: it is not known which).

    `adds_nothing`: if it came again, after others of its session, nothing new would be known of it.
    """

    token: Token
    by_app: Mapping[str, Presented]
    adds_nothing: bool


class PublishedCall:
    """A call that was offered: its text, its slot (-1: none), in which contexts, until when.

    `contexts` are those that it was seen in, one by one; the empty one is the routine call's.
    """

    __slots__ = ("_spelling", "agent", "contexts", "ip", "place", "text", "token", "until")

    def __init__(self, call: Call, token: Token) -> None:
        self.token, self.ip, self.agent = token, call.ip, call.user_agent
        self._spelling = hash(call.token)
        # Of a token that names no session its reader knows none either.
        session = "" if is_stand_in(token.session) else token.session
        auth = token.authentication
        whose = TableSession(token.issuer, token.user, session)
        shown = shown_text(whose, auth.auth_time, auth.acr, call.token)
        self.text = call_text(shown, call.ip, call.user_agent)
        self.contexts: frozenset[str] = frozenset()
        self.place = -1
        self.until = NEVER

    def is_of(self, call: Call, token: Token) -> bool:
        """Return whether it is this call.

        One token may be signed several times; the table knows each text of it by itself.
        """
        return (
            self.token is token
            and self._spelling == hash(call.token)
            and self.ip == call.ip
            and self.agent == call.user_agent
        )


class PublishedCalls:
    """The calls of one session that are in the table."""

    __slots__ = ("_publisher", "entries", "turn")

    def __init__(self, publisher: "Publisher", turn: int) -> None:
        self._publisher = publisher
        self.turn = turn
        self.entries: list[PublishedCall] = []

    def withdraw(self) -> None:
        """Clear the slots of all of them, where it is still the same table."""
        self._publisher.withdraw(self)


class Publisher:
    """Keeps the table. `boot` is the machine's boot, as readers on it know it."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Settings,
        view: View,
        files: TableDirectory,
        clocks: Clocks,
        boot: bytes,
        random_bytes: Callable[[int], bytes],
        telemetry: Telemetry,
    ) -> None:
        self._view = view
        self._files = files
        self._clocks = clocks
        self._telemetry = telemetry
        self._boot = boot
        self._random_bytes = random_bytes
        self._start = int.from_bytes(random_bytes(8), "little")
        self._most = SLOTS_A_SESSION * settings.shared_table.sessions
        self._slots = FEWEST_SLOTS
        self._table: TableWriter | None = None
        self._evaluator: Evaluator | None = None
        self._keys: dict[str, int] = {}
        self._foresight: NextChange | None = None
        self._turn = 0
        self._born = 0.0
        self._offset = 0
        self._is_full = False
        self._is_suspended = False
        self._wake = trio.Event()
        self._cause = RenewalCause.STARTED
        self._take_up(settings)
        view.changes.on_all = self.judge_anew

    @property
    def live(self) -> int:
        """Return how many calls are published."""
        return 0 if self._table is None else self._table.live

    def replace(self, settings: Settings) -> None:
        """Publish by this configuration from now on; nothing of before is believed any more."""
        self._retire(RenewalCause.SETTINGS)
        self._take_up(settings)

    def suspend(self, is_suspended: bool) -> None:  # noqa: FBT001 - a hook's argument
        """Publish nothing for a while: nobody knows until when what is decided now will count."""
        self._is_suspended = is_suspended
        self._retire(RenewalCause.POLICIES)
        self._take_up(self._settings)

    def judge_anew(self) -> None:
        """Have nothing believed that was decided by other policies, or before a loss."""
        if self._evaluator is not self._view.evaluator:
            self._retire(RenewalCause.POLICIES)

    def use_keys(self, issuer: str, generation: int) -> None:
        """Have nothing believed by a key that an issuer has withdrawn.

        Another `generation` of its keys is another set of them.
        """
        if self._keys.get(issuer) != generation:
            self._keys[issuer] = generation
            self._retire(RenewalCause.KEYS)

    def _take_up(self, settings: Settings) -> None:
        self._settings = settings
        contexts = settings.contexts or (f"c{number}" for number in range(1, 100))
        staleness = {name: settings.max_staleness(name) for name in contexts}
        bits, self._description = numbered(staleness, settings.aliases)
        self._bits = {"": ROUTINE_BIT, **bits}
        # Of a logged check there is a line; and a call without a key's proof is none, it may be.
        possession = settings.tokens.binding.possession
        self._publishes = not settings.log.checks and possession is not Possession.REQUIRE
        self._publishes &= not self._is_suspended
        self._wake.set()

    def _retire(self, cause: RenewalCause) -> None:
        if self._table is not None:
            self._table.die()
            self._cause = cause
        self._table = None
        self._turn += 1
        self._wake.set()

    # The life of the table

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a table until cancelled. Raises OSError where there can be none at the start."""
        await trio.to_thread.run_sync(self._files.claim)
        try:
            if self._publishes:
                await self._renew()
            task_status.started()
            while True:
                pause = await self.keep()
                with trio.move_on_after(pause):
                    await self._wake.wait()
                self._wake = trio.Event()
        finally:
            self._retire(RenewalCause.STARTED)
            self._files.release()

    async def keep(self) -> float:
        """Make a table where one is wanted, or show that it lives; return seconds to wait."""
        if not self._publishes:
            return math.inf
        if self._table is not None:
            self.beat()
        if self._table is None:
            try:
                await self._renew()
            except OSError as error:
                self._telemetry.record(SharedTableFailed(detail=words_of(error)))
                return RETRY
        return BEAT

    async def _renew(self) -> None:
        slots = self._slots
        memory = await trio.to_thread.run_sync(self._files.make, slots)
        if not self._publishes:
            return  # since a moment ago: what was made is never believed
        now = self._clocks.moment()
        origin = TableOrigin(self._boot, self._start, self._random_bytes(KEY_BYTES))
        patience = int(PATIENCE * 1_000_000_000)
        table = TableWriter(memory.words, origin, self._description, patience=patience, now=now)
        self._born, self._offset, self._is_full = self._clocks.wall(), now.offset, False
        self._turn += 1
        self._evaluator = self._view.evaluator
        self._table = table
        self.beat()
        table.go_live()
        self._telemetry.record(SharedTableRenewed(cause=self._cause, slots=slots))

    def beat(self) -> None:
        """Show that we live, and how fresh the view is. A clock that was set ends the table."""
        table = self._table
        if table is None:
            return
        now = self._clocks.moment()
        if abs(now.offset - self._offset) > CLOCK_STEP:
            self._retire(RenewalCause.CLOCK)
            return
        self._offset = now.offset
        lag = min(self._view.staleness(), 1e9)
        table.beat(now, now.monotonic - int(lag * 1_000_000_000))

    # What is in it

    def wants(self, call: Call, live: Live, token: Token, contexts: frozenset[str]) -> bool:
        """Return whether such a call, which passes, is to be offered: in the table it is not."""
        if self._table is None:
            return False
        entry = self._entry(live, call, token)
        asked = contexts or _ROUTINE
        return entry is None or self._clocks.wall() >= entry.until or not asked <= entry.contexts

    def offer(self, call: Call, live: Live, shown: ShownToken) -> None:
        """Publish a call that has just passed, where it would pass again with nothing to add."""
        table = self._table
        if table is None:
            return
        entry = self._entry(live, call, shown.token) or PublishedCall(call, shown.token)
        entry.contexts |= call.contexts or _ROUTINE
        self._publish(table, entry, self._decided(call, live, shown, entry.contexts))
        now = self._clocks.wall()
        if table.used * 4 > table.slots * 3 and self._outgrow(table, now):
            return
        self._hold(live, entry)

    def _publish(
        self, table: TableWriter, entry: PublishedCall, decided: tuple[int, float]
    ) -> None:
        bits, entry.until = decided
        if bits or entry.place >= 0:
            place = table.publish(key_of(entry.text, table.key), bits, entry.until)
            entry.place = -1 if place is None else place
            outcome = PublishOutcome.FULL if place is None else PublishOutcome.WRITTEN
            self._telemetry.record(CallPublished(outcome=outcome))

    def _entries(self, live: Live) -> list[PublishedCall]:
        held = live.published
        if isinstance(held, PublishedCalls) and held.turn == self._turn:
            return held.entries
        return []

    def _entry(self, live: Live, call: Call, token: Token) -> PublishedCall | None:
        for one in self._entries(live):  # asked at each check
            if one.is_of(call, token):
                return one
        return None

    def withdraw(self, calls: PublishedCalls) -> None:
        """Clear the slots of these calls."""
        if self._table is not None and calls.turn == self._turn:
            for entry in calls.entries:
                _withdraw(self._table, entry)

    def _hold(self, live: Live, entry: PublishedCall) -> None:
        """Remember what is published of a session: the latest few of its calls."""
        calls = PublishedCalls(self, self._turn)
        calls.entries = [*(one for one in self._entries(live) if one is not entry), entry]
        while len(calls.entries) > CALLS_OF_A_SESSION and self._table is not None:
            _withdraw(self._table, calls.entries.pop(0))
        live.published = calls

    def _outgrow(self, table: TableWriter, now: float) -> bool:
        """Begin a larger table, or one without the slots of calls that nobody makes any more.

        Return whether this one has ended. It must have lived for a while: what finds no place in it
        asks the socket meanwhile.
        """
        if now - self._born < LEAST_LIFE:
            return False
        wanted = max(FEWEST_SLOTS, 1 << (4 * table.live).bit_length())
        self._slots = max(FEWEST_SLOTS, min(wanted, self._most))
        self._retire(RenewalCause.FULL)
        return True

    def _may_repeat(self, call: Call, live: Live, shown: ShownToken) -> bool:
        """Return whether the same call again would find nothing new, and leave no trace."""
        token, state, evaluator = shown.token, live.state, self._view.evaluator
        if not shown.adds_nothing or live.gone or live.missing_device:
            return False
        if not has_own_text(call.ip, call.user_agent):
            return False
        # Of such a token the next call has to show more, or its issuer may be asked about it.
        if token.binding or token.confirmed_at or token.unconfirmed:
            return False
        return not (evaluator.is_strict(state, call.ip) or evaluator.is_break_glass(state))

    def _next_change(self) -> NextChange:
        if self._foresight is None or self._foresight.evaluator is not self._view.evaluator:
            self._foresight = NextChange(self._view.evaluator)
        return self._foresight

    def _decided(
        self, call: Call, live: Live, shown: ShownToken, contexts: frozenset[str]
    ) -> tuple[int, float]:
        """Return the bits of those of the contexts in which a call passes, and until when."""
        now, evaluator = self._clocks.wall(), self._view.evaluator
        if not self._may_repeat(call, live, shown):
            return 0, now + RESTANDING_INTERVAL  # then it is looked at again
        until = min(
            live.seen_at + self._settings.sessions.seen_interval, float(shown.token.expires_at)
        )
        judged = []
        for app, presented in shown.by_app.items():
            standing = live.judged(evaluator, now, presented)
            judged.append(Judged(app, standing))
            if standing.until is not None:  # else time changes nothing that is evaluated
                state, moment = live.as_of(evaluator, presented), int(now * MICROSECONDS)
                changes = self._next_change().of(state, standing, moment)
                until = until if changes is None else min(until, changes / MICROSECONDS)
        bits = 0
        for context in contexts:
            bit = self._bits.get(context)
            alone = frozenset((context,)) if context else frozenset[str]()
            ends = [allowed_until(each, alone, now, evaluator.world.ladder) for each in judged]
            if bit is not None and min(ends) > now:
                bits |= 1 << bit
                until = min(until, *ends)
        return (bits, until) if bits else (0, now + RESTANDING_INTERVAL)


def _withdraw(table: TableWriter, entry: PublishedCall) -> None:
    if entry.place >= 0:
        table.withdraw(entry.place)
