"""The roof: builds the parts, wires them, runs them, and lets them down in order."""

import sidecar.adapters.process.lean_imports  # noqa: F401 - before anything imports these libraries
from sidecar.daemon.configuration.files import Configuration, read_configuration
from sidecar.daemon.lifecycle import Addresses, serve
from sidecar.daemon.process import main

__all__ = ["Addresses", "Configuration", "main", "read_configuration", "serve"]
