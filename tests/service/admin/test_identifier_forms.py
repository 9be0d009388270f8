"""In which forms sidecars write and read: none begins to write what others would not read."""

from sidecar.service.admin.identifier_forms import ALIVE, IdentifierForms
from sidecar.service.observations.observations import DaemonEvent, FormsDisagree
from sidecar.service.records.fleet import FleetRecords
from sidecar.wire.store.keys import StoreKeys
from tests.service.memory import MemoryStore, Records

LIFE = 30 * 86400.0
DAY = 86400.0


class Fleet:
    """Sidecars on one store, and what each was judged by."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.store = MemoryStore()
        self.telemetry = Records()
        self.judged: dict[str, tuple[str, bool]] = {}

    def sidecar(self, *forms: str) -> IdentifierForms:
        name = ",".join(forms)

        def judge(trouble: str, newcomer: bool) -> None:
            self.judged[name] = trouble, newcomer

        return IdentifierForms(
            forms,
            records=FleetRecords(self.store, StoreKeys("su"), lambda: self.now),
            telemetry=self.telemetry,
            clock=lambda: self.now,
            life=lambda: LIFE,
            judge=judge,
        )


async def test_each_step_of_a_rotation_may_run_beside_the_next_and_no_further() -> None:
    fleet = Fleet()
    steps = [("old",), ("old", "new"), ("new", "old")]
    for number, forms in enumerate(steps):
        for _ in range(2):
            await fleet.sidecar(*forms).look()
            assert fleet.judged[",".join(forms)] == ("", False)
        for later in steps[number + 2 :]:
            assert "do not read the form new" in await fleet.sidecar(*later).trouble()
        fleet.now += ALIVE + 1
    await fleet.sidecar("new").look()
    trouble, newcomer = fleet.judged["new"]
    assert "records in the form old until 2027-02-14T" in trouble
    assert newcomer
    fleet.now += LIFE
    await fleet.sidecar("new").look()
    assert fleet.judged["new"] == ("", False)


async def test_one_that_was_set_up_wrongly_declares_nothing_to_the_others() -> None:
    fleet = Fleet()
    first, stranger = fleet.sidecar("plain"), fleet.sidecar("new")
    await first.look()
    before = dict(fleet.store.records)
    await stranger.look()
    assert fleet.store.records == before
    await first.look()
    assert fleet.judged["plain"] == ("", False)
    assert not stranger.has_said


async def test_two_that_come_at_once_and_disagree_are_both_reported_and_once() -> None:
    fleet = Fleet()
    both = fleet.sidecar("plain"), fleet.sidecar("new")
    for one in both:
        one.has_said = True  # each looked before the other declared anything
    for _ in range(3):
        for one in both:
            await one.look()
    assert all(trouble and not newcomer for trouble, newcomer in fleet.judged.values())
    logged = [one for one in fleet.telemetry.seen if isinstance(one, FormsDisagree)]
    assert len(logged) == len(both)


async def test_until_when_an_old_key_is_needed_is_logged_and_when_it_may_go() -> None:
    fleet = Fleet()
    await fleet.sidecar("old", "new").look()
    fleet.now += ALIVE + 1
    one = fleet.sidecar("new", "old")
    await one.look()
    await one.look()
    lines = [seen.fields for seen in fleet.telemetry.seen if isinstance(seen, DaemonEvent)]
    assert lines[1:] == [
        {"writes": "new", "reads": "old", "needed": "old until 2027-02-14T08:00:00Z"}
    ]
    fleet.now += LIFE
    await one.look()
    lines = [seen.fields for seen in fleet.telemetry.seen if isinstance(seen, DaemonEvent)]
    assert lines[-1] == {"writes": "new", "reads": "old", "needed": ""}


async def test_plain_sidecars_among_themselves_log_nothing() -> None:
    fleet = Fleet()
    for _ in range(3):
        await fleet.sidecar("plain").look()
    assert fleet.telemetry.seen == []
