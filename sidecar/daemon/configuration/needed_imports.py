"""Executes, while a configuration is read, the libraries that a daemon needs for it alone.

They are imported without being executed (`adapters.process.later_modules`). A configuration is read
in a thread; whoever needed them first would stop the loop with them.
"""

import ssl
import zoneinfo
from collections.abc import Iterable

import httpx

from sidecar.adapters.process.later_modules import execute
from sidecar.domain.policy.conditional_access import Policy, TimeOfDay
from sidecar.domain.policy.satisfiability import leaves
from sidecar.wire.decision_log.settings import DecisionOutput
from sidecar.wire.settings.settings import Settings


def execute_needed(settings: Settings, policies: Iterable[Policy]) -> None:
    """Execute the modules that these settings and policies need."""
    if _calls(settings):
        execute(httpx)
        execute(ssl)
    if any(isinstance(leaf, TimeOfDay) for one in policies for leaf in leaves(one.conditions)):
        execute(zoneinfo)


def _calls(settings: Settings) -> bool:
    """Return whether others are called by HTTP."""
    asked = any(not one.jwks_file or one.introspection.endpoint for one in settings.tokens.issuers)
    logouts = any(not one.jwks_file for one in settings.intake.issuers)
    events = settings.receiver.transmitters or settings.transmitter.issuer
    logged = settings.decision_log.output is DecisionOutput.OTLP
    traced = settings.traces.endpoint
    return bool(asked or logouts or events or logged or traced)
