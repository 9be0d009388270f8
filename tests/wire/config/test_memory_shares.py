from sidecar.wire.config.memory_shares import EMPTY, LEAST, SESSION, TOKEN, USED, shares_of
from sidecar.wire.settings.settings import Sessions, Settings, Tokens

MIB = 1 << 20


def test_without_a_limit_the_defaults_hold() -> None:
    assert shares_of(Settings(), None) == (Sessions().view, Tokens().cache, "")
    assert shares_of(Settings(), 1 << 40) == (Sessions().view, Tokens().cache, "")


def test_the_defaults_give_way_to_what_there_is_memory_for() -> None:
    for limit in range(128 * MIB, 2048 * MIB, 64 * MIB):
        sessions, tokens, trouble = shares_of(Settings(), limit)
        assert not trouble
        assert sessions >= LEAST
        assert tokens >= LEAST
        assert EMPTY + sessions * SESSION + tokens * TOKEN <= limit * USED
    assert shares_of(Settings(), 512 * MIB).sessions > 2 * shares_of(Settings(), 256 * MIB).sessions


def test_what_is_configured_stands_and_is_reported_where_it_does_not_fit() -> None:
    settings = Settings(sessions=Sessions(view=40_000))
    sessions, _, trouble = shares_of(settings, 256 * MIB)
    assert sessions == 40_000
    assert "sessions.view" in trouble
    assert "256 MiB are there" in trouble
    assert not shares_of(settings, 2048 * MIB).trouble
    tokens = Settings(tokens=Tokens(cache=100_000))
    assert shares_of(tokens, 256 * MIB).tokens == 100_000
    assert "tokens.cache" in shares_of(tokens, 256 * MIB).trouble


def test_a_limit_that_is_too_small_for_a_daemon_still_leaves_it_a_few() -> None:
    assert shares_of(Settings(), 32 * MIB)[:2] == (LEAST, LEAST)
