"""A revocation concerns the sessions that match all that it names, online and while spooled."""

import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.domain.values.stamp import at
from sidecar.wire.store.records import WHO_DEVICE
from tests.service.memory import MemoryStore, Pod, Tokens


async def pod_with_a_session() -> tuple[Pod, str]:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [], tokens)
    token = tokens.issue("t1", user="alice", session="s1")
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    await pod.settle()
    return pod, token


@pytest.mark.parametrize(("user", "verdict"), [("alice", Verdict.DENY), ("bob", Verdict.ALLOW)])
async def test_a_session_of_another_user_is_not_meant(user: str, verdict: Verdict) -> None:
    pod, token = await pod_with_a_session()
    revoked = SessionRevoked(stamp=at(1005, "r"), subject=Subject(user=user, session="s1"))
    await pod.intake.accept(revoked)
    assert (await pod.check(token)).verdict is verdict


@pytest.mark.parametrize(("user", "verdict"), [("alice", Verdict.DENY), ("bob", Verdict.ALLOW)])
async def test_nor_is_it_while_the_store_is_away(user: str, verdict: Verdict) -> None:
    pod, token = await pod_with_a_session()
    revoked = SessionRevoked(stamp=at(1005, "r"), subject=Subject(user=user, session="s1"))
    pod.intake.learn_locally(revoked)
    assert (await pod.check(token)).verdict is verdict


async def test_the_device_of_a_revocation_is_not_taken_for_that_of_the_session() -> None:
    pod, token = await pod_with_a_session()
    subject = Subject(user="alice", device="d9", session="s1")
    await pod.intake.accept(SessionRevoked(stamp=at(1005, "r"), subject=subject))
    assert (await pod.check(token)).verdict is Verdict.DENY
    assert all(WHO_DEVICE not in record for record in pod.store.records.values())
