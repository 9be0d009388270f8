"""The roof: builds the parts, wires them, runs them, and lets them down in order.

Commands take single rooms of it, so what the whole daemon is made of is imported where it is run.
"""

import sidecar.adapters.process.lean_imports  # noqa: F401 - before anything imports these libraries
