"""The forms in which a store's records are written, as its sidecars declare them to each other.

A form is the plain one, or that of a privacy key (`wire.privacy.sealed_forms`). Whoever writes a
form that another sidecar does not read is not heard by it: its marks and revocations would be
without effect there. So each declares in a record of all sidecars

    wrote:FORM         until when (ms) what it writes may live in the store
    reads:FORM,FORM    until when (ms) it may be alive, and that it reads these

and none begins to write where records may live that it does not read, or where a sidecar may live
that would not read what it writes.
"""

from collections.abc import Callable, Mapping

import msgspec
import trio

from sidecar.domain.values import moments
from sidecar.domain.values.lattice import Record
from sidecar.service.observations.observations import (
    DaemonEvent,
    FormsDisagree,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fleet import FleetRecords

LOOK = 35.0
"""Seconds between two looks."""

ALIVE = 90.0
"""Seconds for which a sidecar counts for alive after it declared its forms."""

_WROTE, _READS = b"wrote:", b"reads:"


class FormsInUse(msgspec.Struct, frozen=True):
    """The forms that may live in the store, with until when (ms), and what live sidecars read."""

    written: Mapping[str, int]
    read: frozenset[tuple[str, ...]]


class IdentifierForms:
    """The agreement of this sidecar and all others to read what each of them writes.

    `forms`: what it writes, and then what else it reads. `life`: seconds that a record lives after
    it was last written. `judge` is called with what is wrong in words (empty: nothing), and
    whether this sidecar is the one that came last.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        forms: tuple[str, ...],
        *,
        records: FleetRecords,
        telemetry: Telemetry,
        clock: Callable[[], float],
        life: Callable[[], float],
        judge: Callable[[str, bool], None],
    ) -> None:
        self._forms = forms
        self._records = records
        self._telemetry = telemetry
        self._clock = clock
        self._life = life
        self._judge = judge
        self._logged: tuple[object, ...] = ()
        self._trouble = ""
        self.has_said = False

    async def trouble(self) -> str:
        """Say what keeps this sidecar from beginning to write; empty: nothing.

        Records of another form may be there, or a sidecar that does not read this one's. Raises
        `Unavailable`, `Overloaded`.
        """
        return self._wrong(self._in_use(await self._records.load_forms()))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look every few seconds, for ever."""
        task_status.started()
        while True:
            try:
                await self.look()
            except (Unavailable, Overloaded):
                pass  # another condition says that the store is away
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="identifier-forms", error=error))
            await trio.sleep(LOOK)

    async def look(self) -> None:
        """Read the forms of the others, and declare ours. Raises `Unavailable`, `Overloaded`.

        Where something was wrong before this sidecar ever declared its own, it declares nothing:
        the others shall not be troubled by one that was set up wrongly.
        """
        if not self.has_said:
            trouble = await self.trouble()
            if trouble:
                self._say(trouble, newcomer=True)
                return
        now = int(self._clock() * 1000)
        until = now + int(self._life() * 1000)
        fields = {
            _WROTE + self._forms[0].encode(): b"%016d" % until,
            _READS + ",".join(self._forms).encode(): b"%016d" % (now + int(ALIVE * 1000)),
        }
        in_use = self._in_use(await self._records.join_forms(fields, self._life()))
        self.has_said = True
        self._say(self._wrong(in_use), newcomer=False)
        self._log(in_use)

    def _in_use(self, record: Record) -> FormsInUse:
        now = int(self._clock() * 1000)
        live = {
            field.decode("ascii", "replace"): int(value)
            for field, value in record.items()
            if value.isdigit() and int(value) > now
        }
        wrote, reads = _WROTE.decode(), _READS.decode()
        return FormsInUse(
            {one.removeprefix(wrote): at for one, at in live.items() if one.startswith(wrote)},
            frozenset(
                tuple(one.removeprefix(reads).split(",")) for one in live if one.startswith(reads)
            ),
        )

    def _wrong(self, in_use: FormsInUse) -> str:
        unread = sorted(set(in_use.written) - set(self._forms))
        if unread:
            until = moments.iso(max(in_use.written[one] for one in unread) / 1000)
            return (
                f"the store has records in the form {', '.join(unread)} until {until}, "
                "which privacy.key_file and privacy.read_plain do not let this sidecar read: marks "
                "and revocations in them would not count"
            )
        mine = self._forms[0]
        if any(mine not in known for known in in_use.read):
            return (
                f"sidecars that run do not read the form {mine}, which this one writes: marks and "
                "revocations would not reach them; first let all of them read it, or end them and "
                f"wait for {ALIVE:.0f} s"
            )
        return ""

    def _say(self, trouble: str, *, newcomer: bool) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                self._telemetry.record(FormsDisagree(detail=trouble))
        self._judge(trouble, newcomer)

    def _log(self, in_use: FormsInUse) -> None:
        """Log until when which form is needed, where there is more than one or it is keyed."""
        others = tuple(sorted(one for one in in_use.written if one != self._forms[0]))
        current = (others, self._forms)
        if current == self._logged or self._forms == ("plain",):
            return
        self._logged = current
        needed = {one: moments.iso(in_use.written[one] / 1000) for one in others}
        fields = {
            "writes": self._forms[0],
            "reads": ", ".join(self._forms[1:]),
            "needed": ", ".join(f"{one} until {until}" for one, until in needed.items()),
        }
        self._telemetry.record(DaemonEvent(event="privacy-forms", fields=dict(fields)))
