"""Pushing to a real recipient: order, patience, refusals, and giving up."""

import json
from pathlib import Path
from typing import Any

import msgspec

from sidecar.wire.settings.transmitter import FixedStream, Push
from tests.adapters.recipients import ACCEPTED, Recipient, Scripted, claims_of, name_of, receiving
from tests.adapters.servers import Server
from tests.adapters.transmission import Running, settings_of, transmission
from tests.waiting import ask_until

BUSY: Scripted = (503, {}, b"")


def refusal(err: str) -> Scripted:
    return 400, {}, json.dumps({"err": err, "description": "no"}).encode()


async def status(here: Running, stream: str = "mine") -> dict[str, Any]:
    answer = await here.ask("GET", f"/ssf/status?stream_id={stream}")
    found: dict[str, Any] = answer.json()
    return found


async def ready(here: Running) -> None:
    await ask_until(lambda: status(here), lambda answer: answer["status"] == "enabled")


def ids(recipient: Recipient) -> list[str]:
    return [claims["jti"] for claims in recipient.claims]


async def counted(here: Running, outcome: str, count: int) -> None:
    """Events are counted once they are settled, a moment after they were posted."""

    async def number() -> float:
        return here.counted("session-revoked", outcome)

    assert await ask_until(number, lambda n: n >= count) == count


async def posts(recipient: Recipient, count: int) -> None:
    async def number() -> int:
        return len(recipient.posts)

    await ask_until(number, lambda n: n >= count)


async def test_the_next_is_not_sent_before_the_one_before_it_is_taken(
    valkey_url: str, tmp_path: Path
) -> None:
    with receiving() as recipient:
        recipient.answers.extend([BUSY, (500, {}, b""), refusal("invalid_key")])
        async with transmission(settings_of(tmp_path, valkey_url, recipient.url)) as here:
            await ready(here)
            announced = [await here.announce(f"s{i}") for i in range(3)]
            await posts(recipient, 6)
            await counted(here, "delivered", 3)
        assert ids(recipient) == [announced[0]] * 4 + announced[1:]
        assert here.counted("session-revoked", "retried") == 3
        assert here.counted("session-revoked", "handed") == 3


async def test_an_event_that_is_refused_for_good_holds_up_nothing(
    valkey_url: str, tmp_path: Path
) -> None:
    with receiving() as recipient:
        recipient.answers.append(refusal("invalid_request"))
        async with transmission(settings_of(tmp_path, valkey_url, recipient.url)) as here:
            await ready(here)
            announced = [await here.announce(f"s{i}") for i in range(2)]
            await posts(recipient, 2)
            await counted(here, "refused", 1)
            await counted(here, "delivered", 1)
        assert ids(recipient) == announced


async def test_after_its_patience_the_stream_is_paused_and_holds_what_waits(
    valkey_url: str, tmp_path: Path
) -> None:
    impatient = Push(retry_base=0.01, retry_cap=0.02, give_up=0.1)
    with receiving() as recipient:
        wanted = settings_of(tmp_path, valkey_url, prefixes=(recipient.url,), push=impatient)
        async with transmission(wanted) as here:
            delivery = {"method": "urn:ietf:rfc:8935", "endpoint_url": recipient.url}
            recipient.always = BUSY
            name = (await here.create(delivery=delivery))["stream_id"]
            announced = [await here.announce(f"s{i}") for i in range(2)]
            found = await ask_until(lambda: status(here, name), lambda a: a["status"] == "paused")
            assert found["reason"] == "nothing could be delivered for 0.1 s: status 503"

            async def last() -> str:
                return name_of(claims_of(recipient.tokens[-1]))

            await ask_until(last, lambda event: event == "stream-updated")
            assert here.counted("several", "given-up") == 1
            (event,) = recipient.claims[-1]["events"].values()
            assert event == {"status": "paused", "reason": found["reason"]}
            assert recipient.claims[-1]["sub_id"] == {"format": "opaque", "id": name}
            assert (await here.streams.backlog(name, 0)).count == 2

            recipient.always = (202, {}, b"")
            before = len(recipient.posts)
            await here.ask("POST", "/ssf/status", json={"stream_id": name, "status": "enabled"})
            await posts(recipient, before + 2)
        assert ids(recipient)[before:] == announced


async def test_who_refused_our_credential_is_shown_another_one_at_once(
    valkey_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "shown"
    file.write_text("Bearer the-first")
    patient = Push(retry_base=3600, retry_cap=3600, give_up=86400)
    with receiving() as recipient:
        recipient.answers.append((401, {}, b""))
        wanted = settings_of(tmp_path, valkey_url, push=patient)
        mine, *others = wanted.transmitter.recipients
        stream = FixedStream(push_to=recipient.url, authorization_file=str(file))
        mine = msgspec.structs.replace(mine, stream=stream)
        recipients = (mine, *others)
        transmitter = msgspec.structs.replace(wanted.transmitter, recipients=recipients)
        async with transmission(msgspec.structs.replace(wanted, transmitter=transmitter)) as here:
            await ready(here)
            announced = await here.announce("s")
            await posts(recipient, 1)
            file.write_text("Bearer the-second")
            await here.transmission.reload()
            await posts(recipient, 2)
        assert ids(recipient) == [announced, announced]
    shown = [headers["authorization"] for headers, _ in recipient.posts]
    assert shown == ["Bearer the-first", "Bearer the-second"]


async def test_a_changed_endpoint_gets_what_the_old_one_would_not_take(
    valkey_url: str, tmp_path: Path
) -> None:
    with receiving() as old, receiving() as new:
        old.always = BUSY
        wanted = settings_of(tmp_path, valkey_url, prefixes=(old.url, new.url))
        async with transmission(wanted) as here:
            delivery = {"method": "urn:ietf:rfc:8935", "endpoint_url": old.url}
            stream = await here.create(delivery=delivery)
            announced = await here.announce("s1")
            await posts(old, 1)
            moved = {**delivery, "endpoint_url": new.url, "authorization_header": "Bearer two"}
            await here.ask(
                "PATCH",
                "/ssf/stream",
                json={"stream_id": stream["stream_id"], "delivery": moved},
            )
            await posts(new, 1)
        assert ids(new) == [announced]
        assert new.posts[0][0]["authorization"] == "Bearer two"


async def test_a_verification_is_pushed_and_does_not_disturb(
    valkey_url: str, tmp_path: Path
) -> None:
    with receiving() as recipient:
        async with transmission(settings_of(tmp_path, valkey_url, recipient.url)) as here:
            await ready(here)
            asked = {"stream_id": "mine", "state": "x"}
            assert (await here.ask("POST", "/ssf/verify", json=asked)).status_code == 204
            await here.announce("s1")
            await posts(recipient, 2)
        assert sorted(recipient.events) == ["session-revoked", "verification"]


async def test_two_transmitters_hand_out_and_deliver_once(valkey_url: str, tmp_path: Path) -> None:
    with receiving() as recipient:
        wanted = settings_of(tmp_path, valkey_url, recipient.url)
        async with transmission(wanted) as one, transmission(wanted) as other:
            await ready(one)
            announced = [await (one, other)[i % 2].announce(f"s{i}") for i in range(20)]
            await posts(recipient, 20)
            await ask_until(lambda: one.streams.backlog("mine", 0), lambda left: not left.count)
        assert sorted(ids(recipient)) == sorted(announced)


async def test_nothing_is_lost_or_out_of_order_while_the_store_is_away(
    valkey_server: Server, valkey_url: str, tmp_path: Path
) -> None:
    with receiving() as recipient:
        recipient.always = BUSY
        async with transmission(settings_of(tmp_path, valkey_url, recipient.url)) as here:
            await ready(here)
            announced = [await here.announce(f"s{i}") for i in range(2)]
            await posts(recipient, 2)
            with valkey_server.paused():
                before = len(recipient.posts)
                recipient.always = ACCEPTED
                await posts(recipient, before + 1)
                await ask_until(here.is_up, lambda up: not up)
            await ask_until(lambda: here.streams.backlog("mine", 0), lambda left: not left.count)
        assert list(dict.fromkeys(ids(recipient))) == announced
