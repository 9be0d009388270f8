"""Runs a daemon and writes what each package's import cost it: for `benchmarks.imports`.

Usage: python benchmarks/measured_imports.py time|memory CONFIG REPORT

Either the processor time of each package, or the bytes that it has allocated: to count these takes
time. It imports nothing itself but what Python has imported anyway, and `tracemalloc`.
"""

import sys
import time
import tracemalloc
from importlib.machinery import ModuleSpec, PathFinder


def held() -> int:
    """Return the bytes that Python has allocated, where that is counted."""
    return tracemalloc.get_traced_memory()[0]


COSTS: dict[str, list[float]] = {}
INNER: list[list[float]] = []


class Measured(PathFinder):
    """Measures the execution of each module, without that of those that it imports."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None) -> ModuleSpec | None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """Return the spec that Python finds, with a loader that measures."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def measured(module: object) -> None:
                INNER.append([0.0, 0.0])
                begun, before = time.process_time(), held()
                try:
                    execute(module)  # type: ignore[arg-type]
                finally:
                    took, grew = time.process_time() - begun, held() - before
                    others = INNER.pop()
                    cost = COSTS.setdefault(_package(fullname), [0, 0.0, 0.0])
                    cost[0] += 1
                    cost[1] += took - others[0]
                    cost[2] += grew - others[1]
                    if INNER:
                        INNER[-1][0] += took
                        INNER[-1][1] += grew

            spec.loader.exec_module = measured  # type: ignore[method-assign]
        return spec


def _package(name: str) -> str:
    """Return the top-level package, or the room of one of the sidecar's own modules."""
    parts = name.split(".")
    return ".".join(parts[:3]) if parts[0] == "sidecar" else parts[0]


if __name__ == "__main__":
    sys.meta_path.insert(0, Measured)
    what, config, report = sys.argv[1:]
    if what == "memory":
        tracemalloc.start()
    sys.argv = ["sidecar", "run", "--config", config]
    from sidecar.cli.main import main

    main()
    import json

    with open(report, "w", encoding="ascii") as file:  # noqa: PTH123 - likewise
        json.dump(COSTS, file)
