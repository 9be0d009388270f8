"""Executes modules when something of them is first asked for, not when they are imported.

Packages import all that they have in their `__init__`: to connect to a store takes four modules of
redis-py, and `import redis` brings a hundred, asyncio among them. A module that is imported later
stands in `sys.modules` as any other, so that its own modules can be imported beside it. Whoever
asks it for anything else has it executed, and finds what they would have found before.

`importlib.util.LazyLoader` does not do for packages: looking for a module in one executes it.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock, get_ident
from types import ModuleType
from typing import Any

_ASKED_BY_IMPORTS = frozenset({"__path__", "__file__", "__cached__"})
"""What the import system asks a module for that may lack it."""

_WAITS = "__waits__"
"""Where a module that is not executed yet has its loader."""


class _LaterModule(ModuleType):
    """A module that is imported and not executed, or is being executed."""

    def __getattr__(self, name: str) -> Any:
        """Return what only the executed module has, or one of the package's own modules."""
        loader: _LaterLoader | None = self.__dict__.get(_WAITS)
        if loader is None or name in _ASKED_BY_IMPORTS or loader.is_mine:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = loader.beside(self, name)
        if found is not None:
            return found
        loader.execute(self)
        return getattr(self, name)


class _LaterLoader(Loader):
    """Loads one module when it is first used, by its `own` loader.

    `origins` names modules of a package by what they define. `is_mine` while this thread executes
    it: what it imports in a circle finds the names that it has so far, and other threads wait.
    """

    def __init__(self, own: Loader, origins: Mapping[str, str]) -> None:
        self._own = own
        self._origins = origins
        self._lock = RLock()
        self._thread = 0

    @property
    def is_mine(self) -> bool:
        """Return whether this thread is executing the module."""
        return self._thread == get_ident()

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return a module that waits."""
        return _LaterModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute nothing yet."""
        module.__dict__[_WAITS] = self

    def beside(self, module: ModuleType, name: str) -> Any:
        """Return what can be had without executing the package: one of its modules, or of these."""
        inner = f"{module.__name__}.{name}"
        origin = self._origins.get(name)
        if origin is not None:
            return getattr(import_module(origin), name, None)
        path = module.__dict__.get("__path__")
        if path is None or PathFinder.find_spec(inner, path) is None:
            return None
        return import_module(inner)

    def execute(self, module: ModuleType) -> None:
        """Execute the module, once."""
        with self._lock:
            if module.__dict__.get(_WAITS) is not self:
                return  # another thread has
            self._thread = get_ident()
            try:
                self._of(module, self._own)
                self._own.exec_module(module)
            except BaseException:
                self._of(module, self)
                raise
            finally:
                self._thread = 0
            del module.__dict__[_WAITS]
            module.__class__ = ModuleType

    @staticmethod
    def _of(module: ModuleType, loader: Loader) -> None:
        module.__loader__ = loader
        if module.__spec__ is not None:
            module.__spec__.loader = loader


class LaterModules:
    """Finds modules by name that are to be executed at their first use.

    `names` are modules; what they define elsewhere may stand there, by its name.
    """

    def __init__(self, names: Mapping[str, Mapping[str, str]]) -> None:
        self._names = names

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return how to load one of these later; None for all others."""
        origins = self._names.get(fullname)
        if origins is None:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _LaterLoader(spec.loader, origins)
                return spec
        return None

    def install(self) -> None:
        """Have them imported so from now on; those that are imported yet stay as they are."""
        sys.meta_path.insert(0, self)


def execute(module: ModuleType) -> None:
    """Execute a module now: whoever uses it first would wait for that."""
    loader: _LaterLoader | None = module.__dict__.get(_WAITS)
    if loader is not None:
        loader.execute(module)
