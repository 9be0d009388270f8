"""A store of an earlier release is read, and one of another version is not misread."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sidecar
from sidecar.wire.facts.values import VERSION
from tests import plain_http
from tests.adapters.servers import serving
from tests.stories.running import Client
from tests.system.processes import Process, level
from tests.system.stored_sample import (
    READ_AT,
    SAMPLES,
    daemon_at,
    restore,
    shown,
)
from tests.waiting import eventually

FILES = sorted(SAMPLES.glob("*.json"))
Change = Callable[[bytes, bytes], bytes]


def as_it_is(_field: bytes, value: bytes) -> bytes:
    return value


def of_a_later_release(field: bytes, value: bytes) -> bytes:
    """Facts of the version after this one, and a kind of entries that this one does not know."""
    if field.startswith(b"h:"):
        return value.replace(b"\xa1k\xa6signal", b"\xa1k\xa6beacon")
    return bytes((VERSION[0] + 1,)) + value[1:] if value[:1] == VERSION else value


def of_an_earlier_build(field: bytes, value: bytes) -> bytes:
    """Facts of the version before, which began with their stamp in text."""
    if value[:1] != VERSION:
        return value
    stamp = field.partition(b":")[2]
    return stamp + b"\0\x02" + value[8:]


@contextmanager
def reading(file: Path, change: Change) -> Iterator[tuple[Process, Client]]:
    kept: dict[str, Any] = json.loads(file.read_text())
    for record in kept.values():
        for field, value in record.get("fields", {}).items():
            record["fields"][field] = change(bytes.fromhex(field), bytes.fromhex(value)).hex()
    with serving() as store:
        restore(store.client(), kept)
        with daemon_at(READ_AT, store) as running:
            yield running


def said(client: Client, user: str, context: str = "c1", **more: str) -> tuple[str, list[str]]:
    reply = client.check(shown(user, **more), context)
    return reply["decision"], [one["policy"] for one in reply.get("reasons", [])]


def history_of(process: Process, user: str) -> Any:
    return plain_http.get(
        f"{process.admin}/v1/history?user={user}", headers={"Authorization": "Bearer operator"}
    ).json()


def test_this_release_has_a_sample() -> None:
    """A release that writes otherwise needs one of its own: `python -m tests.system.stored_sample`.

    Those of earlier ones stay, as the store of a fleet that is upgraded has them.
    """
    assert SAMPLES / f"{sidecar.__version__}.json" in FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_release_wrote_is_read_as_it_meant_it(file: Path) -> None:
    with reading(file, as_it_is) as (process, client):
        assert said(client, "ada") == ("step_up", ["risky"])
        assert said(client, "dan", device="laptop") == ("step_up", ["managed"])
        assert said(client, "bob")[0] == "deny"
        assert said(client, "early")[0] == "deny"  # it was revoked before anybody knew whose it is
        assert said(client, "kim") == said(client, "ann", acr="mfa") == ("allow", [])
        page = history_of(process, "ada")
        assert {"signal", "marked", "challenged"} <= {one["kind"] for one in page["entries"]}
        assert page["unread"] == 0
        assert level(process, "sidecar_facts_set_aside_total") == 0


@pytest.mark.parametrize("change", [of_a_later_release, of_an_earlier_build])
def test_what_another_version_wrote_is_set_aside_aloud_and_loosens_nothing(change: Change) -> None:
    with reading(SAMPLES / f"{sidecar.__version__}.json", change) as (process, client):
        unread = int(change is of_a_later_release)
        assert history_of(process, "ada")["unread"] == unread
        assert level(process, "sidecar_facts_set_aside_total") == unread
        aside = eventually(
            lambda: process.lines("facts-set-aside"), lambda lines: len(lines) >= unread
        )
        assert [line["group"] for line in aside] == ["history"] * unread
        assert said(client, "bob", "")[0] == "deny"
        assert said(client, "early", "")[0] == "deny"
        for user, more in (("ada", {}), ("dan", {"device": "laptop"}), ("kim", {})):
            assert said(client, user, "", **more) == ("allow", [])  # a routine call
            assert said(client, user, **more) == ("step_up", ["set-aside"])
        eventually(lambda: process.lines("session-marked"), lambda lines: len(lines) >= 3)
        assert level(process, 'sidecar_facts_set_aside_total{reason="version"}') > unread
        assert level(process, 'sidecar_facts_set_aside_total{reason="damaged"}') == 0
        assert process.lines("mark-cleared") == []
