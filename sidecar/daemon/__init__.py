"""The roof: builds the parts, wires them, runs them, and lets them down in order."""

from sidecar.daemon.configuration.loading import Configuration, read_configuration
from sidecar.daemon.process import main
from sidecar.daemon.serving import Addresses, serve

__all__ = ["Addresses", "Configuration", "main", "read_configuration", "serve"]
