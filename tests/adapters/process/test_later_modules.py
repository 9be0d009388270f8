"""A module that is imported later is the same, and executed once, when it is asked for."""

import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from sidecar.adapters.process.later_modules import LaterModules, execute

PACKAGE = """
import builtins
builtins.later_log.append(__name__)
from later_house.wall import COLOUR
import later_house.roof
SIZE = 3
"""
WALL = """
import later_house
COLOUR = "red"
def size():
    return later_house.SIZE
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was executed, of a package on the path whose modules come later."""
    files = {
        "later_house/__init__": PACKAGE,
        "later_house/wall": WALL,
        "later_house/roof": "import builtins\nbuiltins.later_log.append(__name__)\nTILES = 9\n",
        "later_alone": "import builtins\nbuiltins.later_log.append(__name__)\nHERE = 1\n",
        "later_broken": "import builtins\nbuiltins.later_log.append(__name__)\n1 / 0\n",
    }
    for name, text in files.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    executed: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("builtins.later_log", executed, raising=False)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    origins = {"TILES": "later_house.roof"}
    LaterModules({"later_house": origins, "later_alone": {}, "later_broken": {}}).install()
    yield executed
    for name in [one for one in sys.modules if one.startswith("later_")]:
        del sys.modules[name]


def test_a_module_is_executed_when_something_of_it_is_asked_for(log: list[str]) -> None:
    module = import_module("later_alone")
    assert isinstance(module, ModuleType)
    assert not log
    assert module.HERE == 1
    assert log == ["later_alone"]
    assert type(module) is ModuleType
    assert module.__spec__ is not None
    assert module.__loader__ is module.__spec__.loader
    with pytest.raises(AttributeError):
        _ = module.GONE


def test_a_module_of_a_package_comes_without_the_package(log: list[str]) -> None:
    wall = import_module("later_house.wall")
    assert wall.COLOUR == "red"
    assert not log
    assert wall.size() == 3
    assert log == ["later_house", "later_house.roof"]


def test_what_a_package_has_of_a_module_is_had_of_that_one(log: list[str]) -> None:
    package = import_module("later_house")
    assert package.TILES == 9
    assert package.wall is import_module("later_house.wall")
    assert log == ["later_house.roof"]
    assert package.COLOUR == "red"
    assert log == ["later_house.roof", "later_house"]


def test_a_module_that_cannot_be_executed_says_so_each_time(log: list[str]) -> None:
    module = import_module("later_broken")
    for count in (1, 2):
        with pytest.raises(ZeroDivisionError):
            _ = module.ANYTHING
        assert len(log) == count


def test_a_module_is_executed_at_once_where_that_is_wanted(log: list[str]) -> None:
    execute(import_module("later_alone"))
    execute(import_module("later_alone"))
    assert log == ["later_alone"]


def test_threads_wait_for_the_one_that_executes(
    log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.later_begun", begun, raising=False)
    monkeypatch.setattr("builtins.later_goes_on", goes_on, raising=False)
    (tmp_path / "later_alone.py").write_text(
        "import builtins\nbuiltins.later_log.append(__name__)\n"
        "builtins.later_begun.set()\nbuiltins.later_goes_on.wait(60)\nHERE = 2\n"
    )
    module = import_module("later_alone")
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(module.HERE)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert not found
    goes_on.set()
    for thread in threads:
        thread.join()
    assert found == [2, 2, 2]
    assert log == ["later_alone"]
