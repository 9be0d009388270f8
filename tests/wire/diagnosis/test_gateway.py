import pytest

from sidecar.domain.explanation.diagnosis import Soundness
from sidecar.wire.diagnosis.gateway import (
    MARK,
    TRIALS,
    TRIALS_WITH_TOKEN,
    GatewayReply,
    diagnose_gateway,
)
from sidecar.wire.settings.settings import Gateway

REFUSED, PASSED = GatewayReply(401), GatewayReply(200)
SOUND = dict.fromkeys(TRIALS, REFUSED)
SOUND_WITH_TOKEN = SOUND | dict.fromkeys(TRIALS_WITH_TOKEN, PASSED)
R, D, W = Soundness.RIGHT, Soundness.DOUBTFUL, Soundness.WRONG


def states(
    replies: dict[str, GatewayReply], gateway: Gateway = Gateway.NGINX
) -> list[tuple[str, Soundness]]:
    return [(one.name, one.state) for one in diagnose_gateway(replies, gateway)]


def test_a_gateway_that_asks_for_each_call_is_right_in_all() -> None:
    assert states(SOUND) == [
        ("question", R),
        ("path", R),
        ("dot segments", R),
        ("forged identity", R),
    ]
    assert states(SOUND_WITH_TOKEN)[4:] == [("token", R), ("method override", R)]


@pytest.mark.parametrize(
    ("plain", "found"),
    [
        (GatewayReply(0, trouble="the connection is refused"), ("answer", W)),
        (PASSED, ("question", W)),
        (GatewayReply(400), ("path", W)),
        (GatewayReply(500), ("path", W)),
        (GatewayReply(503), ("question", W)),
        (GatewayReply(404), ("question", D)),
    ],
)
def test_a_gateway_that_does_not_refuse_is_looked_at_no_further(
    plain: GatewayReply, found: tuple[str, Soundness]
) -> None:
    assert states(dict.fromkeys(TRIALS, plain)) == [found]


@pytest.mark.parametrize("gateway", list(Gateway))
def test_a_gateway_that_takes_a_clients_word_for_the_path_is_wrong_with_its_own_cure(
    gateway: Gateway,
) -> None:
    replies = dict.fromkeys(TRIALS, GatewayReply(400)) | {"stated": REFUSED}
    (found,) = diagnose_gateway(replies, gateway)
    assert (found.name, found.state) == ("path", W)
    assert ("docs/gateways.md" if gateway is Gateway.NONE else gateway.value) in found.cure


@pytest.mark.parametrize(
    ("trial", "reply", "found"),
    [
        ("X-Original-URI", PASSED, ("path", W)),
        ("dot", PASSED, ("dot segments", W)),
        ("forged", PASSED, ("forged identity", W)),
        ("forged", GatewayReply(401, MARK), ("forged identity", W)),
        ("context", GatewayReply(400), ("context", D)),
        ("token", REFUSED, ("token", D)),
        ("token", GatewayReply(502), ("token", W)),
        ("token-forged", GatewayReply(200, MARK), ("forged identity to the app", W)),
        ("token-override", GatewayReply(405), ("method override", W)),
        ("token-override", GatewayReply(200, MARK), ("method override", W)),
    ],
)
def test_one_answer_that_differs_is_found(
    trial: str, reply: GatewayReply, found: tuple[str, Soundness]
) -> None:
    before = states(SOUND_WITH_TOKEN)
    after = states(SOUND_WITH_TOKEN | {trial: reply})
    assert found in after
    assert found not in before
    assert [one for one in after if one not in before and one != found] == []


def test_a_call_that_brings_no_answer_is_no_difference() -> None:
    silent = GatewayReply(0, trouble="it took too long")
    assert states(SOUND | {"X-Original-URI": silent, "dot": silent}) == states(SOUND)
