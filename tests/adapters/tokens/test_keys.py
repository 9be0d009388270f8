import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from sidecar.adapters.tokens.keys import BURST, KeySource, Refresh, metadata_addresses
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Issuer, Tokens
from tests.adapters.identity import Answer, Provider, Signer, key_set, serve

OLD, NEW = Signer(kid="old"), Signer(kid="new", number=1)


@pytest.fixture
async def provider(nursery: trio.Nursery) -> Provider:
    provider = await serve(nursery)
    provider.paths["/jwks"] = Answer(key_set(OLD))
    return provider


class Refreshes:
    """The calls of `on_refresh`, to be waited for."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[tuple[Refresh, str]](1000)

    def __call__(self, issuer: str, outcome: Refresh, detail: str) -> None:
        self._send.send_nowait((outcome, detail))

    async def next(self) -> Refresh:
        return (await self._receive.receive())[0]


def source_at(provider: Provider, refreshes: Refreshes | None = None, **settings: Any) -> KeySource:
    issuer = Issuer(issuer=provider.url, audiences=("api",), jwks_uri=provider.url + "/jwks")
    return KeySource(
        issuer, Tokens(**settings), on_refresh=refreshes or Refreshes(), jitter=lambda: 0.0
    )


def kids(keys: Any) -> list[str | None]:
    return [key.key_id for key in keys]


async def test_a_key_is_found_at_the_first_asking(provider: Provider) -> None:
    assert kids(await source_at(provider).find("old", "ES256")) == ["old"]


async def test_a_key_that_is_held_is_not_asked_for_again(provider: Provider) -> None:
    source = source_at(provider)
    for _ in range(5):
        await source.find("old", "ES256")
    assert provider.asked == ["/jwks"]


async def test_a_key_rotated_right_after_a_fetch_is_found_at_once(
    provider: Provider, nursery: trio.Nursery
) -> None:
    source = source_at(provider, jwks_min_interval=3600.0)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    for number in range(BURST):
        kid = f"rotated-{number}"
        provider.paths["/jwks"] = Answer(key_set(Signer(kid=kid, number=number)))
        assert kids(await source.find(kid, "ES256")) == [kid]
    nursery.cancel_scope.cancel()


async def test_a_key_that_the_issuer_dropped_no_longer_counts(provider: Provider) -> None:
    source = source_at(provider)
    (old,) = await source.find("old", "ES256")
    assert source.holds(old.id)
    provider.paths["/jwks"] = Answer(key_set(NEW))
    await source.find("new", "ES256")
    assert not source.holds(old.id)
    assert source.held("old", "ES256") == ()


async def test_a_flood_of_unknown_kids_fetches_no_more_than_the_burst(
    provider: Provider, nursery: trio.Nursery
) -> None:
    source = source_at(provider, jwks_min_interval=3600.0)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    async with trio.open_nursery() as flood:
        for number in range(300):
            flood.start_soon(source.find, f"bogus-{number}", "ES256")
    for number in range(300):
        assert await source.find(f"more-{number}", "ES256") == ()
    assert len(provider.asked) == 1 + BURST  # the first is the scheduled one
    nursery.cancel_scope.cancel()


async def test_after_a_flood_one_more_fetch_is_allowed_each_interval(
    provider: Provider, mock_clock: trio.testing.MockClock
) -> None:
    source = source_at(provider, jwks_min_interval=10.0)
    for _ in range(50):
        await source.renew()
    assert len(provider.asked) == BURST
    mock_clock.jump(9.9)
    assert not await source.renew()
    mock_clock.jump(0.2)
    assert await source.renew()
    assert not await source.renew()
    assert len(provider.asked) == BURST + 1
    mock_clock.jump(1_000_000)  # a quiet time saves up a burst and no more
    assert [await source.renew() for _ in range(BURST + 1)] == [True] * BURST + [False]


async def test_concurrent_callers_share_one_fetch_that_began_after_they_asked(
    provider: Provider,
) -> None:
    source = source_at(provider)
    await source.find("old", "ES256")
    gate = trio.Event()
    provider.paths["/jwks"] = Answer(key_set(OLD), gate=gate)
    provider.asked_now = trio.Event()
    found = []

    async def find(kid: Any) -> None:
        found.extend(kids(await source.find(kid, "ES256")))

    async with trio.open_nursery() as callers:
        callers.start_soon(find, "bogus")
        await provider.asked_now.wait()
        # The fetch under way has missed this rotation; those who come now must not get its answer.
        provider.paths["/jwks"] = Answer(key_set(OLD, NEW))
        for _ in range(20):
            callers.start_soon(find, "new")
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert found == ["new"] * 20
    assert len(provider.asked) == 3


async def test_a_caller_that_gives_up_leaves_the_fetch_to_the_next(provider: Provider) -> None:
    source = source_at(provider)
    provider.paths["/jwks"] = Answer(key_set(OLD), gate=trio.Event())
    with trio.CancelScope() as impatient:
        async with trio.open_nursery() as callers:
            callers.start_soon(source.find, "old", "ES256")
            await provider.asked_now.wait()
            impatient.cancel()
    provider.paths["/jwks"] = Answer(key_set(OLD))
    assert kids(await source.find("old", "ES256")) == ["old"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(status=500), Refresh.FAILED),
        (Answer(key_set(NEW), status=204), Refresh.FAILED),
        (Answer(b"<html>sorry</html>"), Refresh.REFUSED),
        (Answer(b'{"keys":[]}'), Refresh.REFUSED),
        (Answer(b" " * 2_000_000), Refresh.FAILED),
        (Answer(status=302, headers={"Location": "https://127.0.0.1:1/"}), Refresh.FAILED),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
async def test_a_bad_answer_leaves_the_old_keys_and_is_reported(
    provider: Provider, answer: Answer, outcome: Refresh
) -> None:
    refreshes = Refreshes()
    source = source_at(provider, refreshes)
    await source.find("old", "ES256")
    assert await refreshes.next() is Refresh.DONE
    provider.paths["/jwks"] = answer
    assert await source.find("new", "ES256") == ()
    assert await refreshes.next() is outcome
    assert kids(source.held("old", "ES256")) == ["old"]


async def test_without_any_keys_nothing_can_be_said(provider: Provider) -> None:
    provider.paths["/jwks"] = Answer(status=503)
    source = source_at(provider)
    with pytest.raises(Unavailable):
        await source.find("old", "ES256")
    assert not source.ready


async def test_an_issuer_that_never_answers_is_given_up_on(
    provider: Provider, mock_clock: trio.testing.MockClock
) -> None:
    refreshes = Refreshes()
    provider.paths["/jwks"] = Answer(key_set(OLD), gate=trio.Event())
    source = source_at(provider, refreshes, jwks_timeout=3.0)
    async with trio.open_nursery() as callers:
        callers.start_soon(source.renew)
        await provider.asked_now.wait()
        mock_clock.jump(3.1)
    assert await refreshes.next() is Refresh.FAILED


async def test_an_issuer_that_is_down_does_not_keep_run_from_starting(
    provider: Provider, nursery: trio.Nursery
) -> None:
    provider.paths["/jwks"] = Answer(status=503)
    source = source_at(provider)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    assert not source.ready
    nursery.cancel_scope.cancel()


async def test_run_refreshes_on_schedule_and_backs_off_from_failures(
    provider: Provider, nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    refreshes = Refreshes()
    source = source_at(provider, refreshes, jwks_refresh=300.0)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    assert await refreshes.next() is Refresh.DONE
    provider.paths["/jwks"] = Answer(status=500)
    for pause in (300, 1, 2, 4):  # the schedule, then the retries
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(pause - 0.01)
        await trio.testing.wait_all_tasks_blocked()
        asked = len(provider.asked)
        mock_clock.jump(0.02)
        assert await refreshes.next() is Refresh.FAILED
        assert len(provider.asked) == asked + 1
    provider.paths["/jwks"] = Answer(key_set(NEW))
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(8.01)
    assert await refreshes.next() is Refresh.DONE
    assert kids(source.held("new", "ES256")) == ["new"]
    nursery.cancel_scope.cancel()


async def test_keys_that_could_not_be_renewed_for_too_long_are_dropped(
    provider: Provider, nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    refreshes = Refreshes()
    source = source_at(provider, refreshes, jwks_refresh=300.0, jwks_max_staleness=310.0)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    assert await refreshes.next() is Refresh.DONE
    provider.paths["/jwks"] = Answer(status=500)
    outcomes = []
    for pause in (300.01, 1.01, 2.01, 4.01, 2.98):
        await trio.testing.wait_all_tasks_blocked()
        assert source.ready
        mock_clock.jump(pause)
        outcomes.append(await refreshes.next())
    assert outcomes == [Refresh.FAILED] * 5
    assert await refreshes.next() is Refresh.STALE
    assert not source.ready
    nursery.cancel_scope.cancel()


async def test_a_changed_file_counts_after_reload(tmp_path: Path, nursery: trio.Nursery) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(key_set(OLD))
    refreshes = Refreshes()
    issuer = Issuer(issuer="https://id.example", audiences=("api",), jwks_file=str(file))
    source = KeySource(issuer, Tokens(), on_refresh=refreshes)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    assert await refreshes.next() is Refresh.DONE
    file.write_bytes(b"{broken")
    source.reload()
    assert await refreshes.next() is Refresh.REFUSED
    assert kids(source.held("old", "ES256")) == ["old"]
    file.write_bytes(key_set(NEW))
    source.reload()
    assert await refreshes.next() is Refresh.DONE
    assert kids(source.held("new", "ES256")) == ["new"]
    assert source.held("old", "ES256") == ()
    nursery.cancel_scope.cancel()


async def test_one_reload_is_one_refresh(
    provider: Provider, nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    refreshes = Refreshes()
    source = source_at(provider, refreshes)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    await refreshes.next()
    source.reload()
    assert await refreshes.next() is Refresh.DONE
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert len(provider.asked) == 2
    nursery.cancel_scope.cancel()


async def test_the_generation_changes_with_the_keys_only(provider: Provider) -> None:
    source = source_at(provider)
    await source.renew()
    first = source.generation
    await source.renew()
    assert source.generation == first
    provider.paths["/jwks"] = Answer(key_set(OLD, NEW))
    await source.renew()
    assert source.generation != first


def discovering(
    provider: Provider, path: str = "", refreshes: Refreshes | None = None
) -> KeySource:
    issuer = Issuer(issuer=provider.url + path, audiences=("api",))
    return KeySource(issuer, Tokens(), on_refresh=refreshes or Refreshes())


def metadata(provider: Provider, path: str = "", **changes: Any) -> Answer:
    document = {"issuer": provider.url + path, "jwks_uri": provider.url + "/jwks", **changes}
    return Answer(json.dumps(document).encode())


async def test_keys_are_discovered_by_openid_metadata(provider: Provider) -> None:
    provider.paths["/tenant/.well-known/openid-configuration"] = metadata(provider, "/tenant/")
    assert await discovering(provider, "/tenant/").find("old", "ES256")


@pytest.mark.parametrize("status", [503, 500, 403])
@pytest.mark.parametrize("other", [404, 503])
async def test_metadata_that_answers_badly_is_reported_as_it_answers(
    provider: Provider, status: int, other: int
) -> None:
    refreshes: list[str] = []
    provider.paths["/t/.well-known/openid-configuration"] = Answer(status=status)
    provider.paths["/.well-known/oauth-authorization-server/t"] = Answer(status=other)
    issuer = Issuer(issuer=provider.url + "/t", audiences=("api",))
    source = KeySource(
        issuer, Tokens(), on_refresh=lambda _issuer, _outcome, detail: refreshes.append(detail)
    )
    await source.renew()
    well_known = f"{provider.url}/t/.well-known/openid-configuration"
    assert refreshes == [f"{well_known}: the answer has status {status}"]


async def test_where_only_the_other_standard_answers_badly_that_is_reported(
    provider: Provider,
) -> None:
    refreshes: list[str] = []
    well_known = "/.well-known/oauth-authorization-server"
    provider.paths[well_known] = Answer(status=502)
    issuer = Issuer(issuer=provider.url, audiences=("api",))
    source = KeySource(
        issuer, Tokens(), on_refresh=lambda _issuer, _outcome, detail: refreshes.append(detail)
    )
    await source.renew()
    assert refreshes == [f"{provider.url}{well_known}: the answer has status 502"]


async def test_discovery_leads_to_no_other_port_of_this_machine(
    provider: Provider, nursery: trio.Nursery
) -> None:
    neighbour = await serve(nursery)
    refreshes = Refreshes()
    provider.paths["/.well-known/openid-configuration"] = metadata(
        provider, jwks_uri=f"{neighbour.url}/jwks"
    )
    with pytest.raises(Unavailable):
        await discovering(provider, refreshes=refreshes).find("old", "ES256")
    assert await refreshes.next() is Refresh.FAILED
    assert neighbour.asked == []
    nursery.cancel_scope.cancel()


async def test_keys_are_discovered_by_oauth_metadata(provider: Provider) -> None:
    well_known = "/.well-known/oauth-authorization-server/tenant"
    provider.paths[well_known] = metadata(provider, "/tenant")
    assert await discovering(provider, "/tenant").find("old", "ES256")


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"issuer": "https://evil.example"}, Refresh.REFUSED),
        ({"issuer": None}, Refresh.REFUSED),
        ({"jwks_uri": None}, Refresh.REFUSED),
        ({"jwks_uri": "http://192.0.2.1/jwks"}, Refresh.FAILED),
        ({"jwks_uri": "file:///etc/passwd"}, Refresh.FAILED),
        ({"jwks_uri": "https://a..b/jwks"}, Refresh.FAILED),
        ({"jwks_uri": "https://xn--zzzzzz/jwks"}, Refresh.FAILED),
        ({"jwks_uri": "https://h/\ud800"}, Refresh.REFUSED),
    ],
    ids=str,
)
async def test_metadata_that_is_wrong_brings_no_keys(
    provider: Provider, changes: Any, outcome: Refresh
) -> None:
    refreshes = Refreshes()
    provider.paths["/.well-known/openid-configuration"] = metadata(provider, **changes)
    with pytest.raises(Unavailable):
        await discovering(provider, refreshes=refreshes).find("old", "ES256")
    assert await refreshes.next() is outcome
    assert "/jwks" not in provider.asked


async def test_a_rotation_does_not_ask_for_the_metadata_again_but_the_schedule_does(
    provider: Provider, nursery: trio.Nursery
) -> None:
    refreshes = Refreshes()
    provider.paths["/.well-known/openid-configuration"] = metadata(provider)
    source = discovering(provider, refreshes=refreshes)
    await nursery.start(lambda task_status: source.run(task_status=task_status))
    await refreshes.next()
    await source.renew()
    await refreshes.next()
    assert provider.asked == ["/.well-known/openid-configuration", "/jwks", "/jwks"]
    provider.paths["/moved"] = Answer(key_set(NEW))
    provider.paths["/.well-known/openid-configuration"] = metadata(
        provider, jwks_uri=provider.url + "/moved"
    )
    source.reload()
    assert await refreshes.next() is Refresh.DONE
    assert kids(source.held("new", "ES256")) == ["new"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("issuer", "openid", "oauth"),
    [
        (
            "https://id.example",
            "https://id.example/.well-known/openid-configuration",
            "https://id.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://id.example/t/1/",
            "https://id.example/t/1/.well-known/openid-configuration",
            "https://id.example/.well-known/oauth-authorization-server/t/1",
        ),
    ],
)
def test_metadata_lies_where_the_standards_say(issuer: Any, openid: str, oauth: str) -> None:
    assert metadata_addresses(issuer) == (openid, oauth)
