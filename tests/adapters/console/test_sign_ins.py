"""A sign-in ends in time, and with its credential; its role is the one that it now has."""

from sidecar.adapters.admin.credential import Credential
from sidecar.adapters.console.sign_ins import MOST, SignIns
from sidecar.wire.settings.admin import ConsoleSettings, Role

ADA = Credential("ada", "of-ada", Role.OPERATOR)


class Desk:
    def __init__(self) -> None:
        self.now = 1000.0
        self.credentials: tuple[Credential, ...] = (ADA, Credential("bob", "of-bob", Role.VIEWER))
        self.sign_ins = SignIns(
            lambda: self.credentials,
            lambda: ConsoleSettings(lifetime=100.0, idle=10.0),
            lambda: self.now,
        )


def test_a_sign_in_ends_when_it_is_not_used_and_in_any_case_after_its_lifetime() -> None:
    desk = Desk()
    idle = desk.sign_ins.begin(ADA)
    used = desk.sign_ins.begin(ADA)
    for _ in range(19):
        desk.now += 5.0
        assert desk.sign_ins.of(used) is not None
    assert desk.sign_ins.of(idle) is None
    desk.now += 5.0
    assert desk.sign_ins.of(used) is None
    assert len(desk.sign_ins) == 0


def test_a_sign_in_ends_with_the_credential_that_began_it() -> None:
    desk = Desk()
    cookie = desk.sign_ins.begin(ADA)
    for changed in (
        (Credential("ada", "another", Role.OPERATOR),),
        (Credential("ada", "", Role.OPERATOR),),
        (Credential("eve", "of-ada", Role.OPERATOR),),
        (),
    ):
        desk.credentials = (ADA,)
        cookie = desk.sign_ins.begin(ADA)
        assert desk.sign_ins.of(cookie) is not None
        desk.credentials = changed
        assert desk.sign_ins.of(cookie) is None
        desk.credentials = (ADA,)
        assert desk.sign_ins.of(cookie) is None, "it does not come back"


def test_a_sign_in_by_a_provider_ends_once_its_values_stand_for_no_role() -> None:
    desk = Desk()
    roles: list[Role | None] = [Role.OPERATOR]
    cookie = desk.sign_ins.begin_as("ada@https://id.example", lambda: roles[0])
    found = desk.sign_ins.of(cookie)
    assert found is not None
    assert (found.operator, found.role) == ("ada@https://id.example", Role.OPERATOR)
    roles[0] = Role.VIEWER
    assert desk.sign_ins.is_valid(found)
    assert found.role is Role.VIEWER
    roles[0] = None
    assert desk.sign_ins.of(cookie) is None
    roles[0] = Role.ADMIN
    assert desk.sign_ins.of(cookie) is None, "it does not come back"


def test_a_role_is_the_one_that_the_operator_now_has() -> None:
    desk = Desk()
    sign_in = desk.sign_ins.of(desk.sign_ins.begin(ADA))
    assert sign_in is not None
    found = []
    for role in Role:
        desk.credentials = (ADA._replace(role=role),)
        assert desk.sign_ins.is_valid(sign_in)
        found.append(sign_in.role)
    assert found == [*Role]


def test_sign_ins_are_bounded_and_the_one_used_longest_ago_leaves_first() -> None:
    desk = Desk()
    first, second = desk.sign_ins.begin(ADA), desk.sign_ins.begin(ADA)
    assert desk.sign_ins.of(first) is not None
    for _ in range(MOST - 1):
        desk.sign_ins.begin(ADA)
    assert len(desk.sign_ins) == MOST
    assert desk.sign_ins.of(second) is None
    assert desk.sign_ins.of(first) is not None


def test_a_cookie_is_kept_nowhere_and_another_is_nobodys() -> None:
    desk = Desk()
    cookie = desk.sign_ins.begin(ADA)
    assert cookie.encode() not in repr(vars(desk.sign_ins)).encode()
    for other in ("", cookie[:-1], cookie + "x", cookie.swapcase(), "\udcff"):
        assert desk.sign_ins.of(other) is None
