import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.config.descriptors import LEAST, RESERVED, bounds_of, fitted, needed_by, shortage
from sidecar.wire.settings.intake import IntakeSettings
from sidecar.wire.settings.settings import (
    Admin,
    Grpc,
    Http,
    Introspection,
    Issuer,
    Settings,
    Socket,
    Tokens,
)


def test_of_the_listeners_that_are_there_the_bounds_add_up() -> None:
    settings = Settings(
        http=Http(enabled=False),
        admin=Admin(enabled=False),
        intake=IntakeSettings(bind="127.0.0.1:1"),
    )
    assert bounds_of(settings) == {"socket": 256, "intake": 256}
    assert needed_by(settings) == 128 + 2 + 2 * (256 + 64)
    asked = Introspection(endpoint="https://i.example", client_id="us", concurrent=40)
    issuers = tuple(
        Issuer(issuer=f"https://{n}.example", audiences=("us",), introspection=asked)
        for n in range(3)
    )
    more = msgspec.structs.replace(settings, tokens=Tokens(issuers=issuers))
    assert needed_by(more) == needed_by(settings) + 3 * 40


def test_what_fits_is_left_as_it_is() -> None:
    settings = Settings()
    needed = needed_by(settings)
    assert fitted(settings, needed) is settings
    assert shortage(settings, needed) == ""
    words = shortage(settings, needed - 1)
    assert f"may need {needed:,} descriptors" in words
    assert "http 1,024 (" in words


@given(*[st.integers(1, 5000)] * 4, st.integers(0, 8000))
def test_what_does_not_fit_gives_way_in_all_listeners_alike(
    socket: int, http: int, grpc: int, admin: int, limit: int
) -> None:
    settings = Settings(
        socket=Socket(max_connections=socket),
        http=Http(max_connections=http),
        grpc=Grpc(bind="127.0.0.1:0", max_connections=grpc),
        admin=Admin(max_connections=admin),
    )
    less = fitted(settings, limit)
    before, after = bounds_of(settings), bounds_of(less)
    assert all(0 < after[name] <= before[name] for name in before)
    few = sum(min(LEAST, bound) + 1 for bound in before.values())
    assert needed_by(less) <= max(limit, RESERVED + 2 + few) + few
