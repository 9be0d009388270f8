import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.listening.socket_files import (
    AddressInUse,
    SocketFile,
    UnusableGroup,
    usual_path,
)


def answers(path: Any) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


@pytest.fixture
def path(tmp_path: Any) -> Any:
    return tmp_path / "s.sock"


def test_a_socket_answers_until_it_is_released(path: Path) -> None:
    with SocketFile(str(path), 0o600):
        assert answers(path)
    assert not path.exists()


def test_the_file_of_a_dead_process_is_replaced(path: Path) -> None:
    left_by = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"
    subprocess.run([sys.executable, "-c", left_by, str(path)], check=True)
    assert path.exists()
    assert not answers(path)
    with SocketFile(str(path), 0o600):
        assert answers(path)


def test_the_socket_of_a_living_process_without_a_lock_is_not_stolen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(AddressInUse, match="running process"):
            SocketFile(str(path), 0o600)
        assert answers(path)


def test_a_locked_path_is_not_stolen(path: Path) -> None:
    with SocketFile(str(path), 0o600):
        with pytest.raises(AddressInUse, match="locked"):
            SocketFile(str(path), 0o600)
        assert answers(path)
    with SocketFile(str(path), 0o600):
        assert answers(path)


def test_a_file_that_is_no_socket_is_never_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(AddressInUse, match="no socket"):
        SocketFile(str(path), 0o600)
    assert path.read_text() == "precious"


def test_a_file_that_has_become_anothers_is_left_alone(path: Path) -> None:
    file = SocketFile(str(path), 0o600)
    path.unlink()
    path.write_text("another's")
    file.release()
    assert path.read_text() == "another's"
    file.release()


def test_a_failed_attempt_leaves_neither_file_nor_lock(path: Path) -> None:
    with pytest.raises(UnusableGroup, match="there is no group 'no-such-group-here'"):
        SocketFile(str(path), 0o600, "no-such-group-here")
    assert not [*path.parent.iterdir()]
    with SocketFile(str(path), 0o600):
        assert answers(path)


def test_a_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        SocketFile(str(tmp_path / ("x" * 120)), 0o600)


def test_what_nothing_names_goes_only_where_nobody_else_can_put_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, own = str(tmp_path / "run" / "s.sock"), tmp_path / "own"
    own.mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(own)}
    assert usual_path(named, environ) == str(own / "s.sock")
    for elsewhere in ("", "own", str(tmp_path / "absent"), str(own) * 100):
        assert usual_path(named, {"XDG_RUNTIME_DIR": elsewhere}) == named
    for mode in (0o1777, 0o770, 0o702):
        own.chmod(mode)
        assert usual_path(named, environ) == named
    own.chmod(0o755)  # others may read
    assert usual_path(named, environ) == str(own / "s.sock")
    with monkeypatch.context() as other:
        uid = os.geteuid()
        other.setattr(os, "geteuid", lambda: uid + 1)
        assert usual_path(named, environ) == named
