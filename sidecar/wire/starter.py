"""Writes the first configuration, policy and scenario of an app, as texts to put into files."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.domain.values.assurance import Level

SOCKET = "sidecar.sock"
SIGN_IN_PAGES = ("/", "/static/*")
"""Where the pages lie that sign somebody in: they are opened without a token."""


class StarterAddresses(NamedTuple):
    """The addresses that everything listens at on this machine."""

    gateway: int = 8000
    app: int = 8080
    check: int = 8181
    grpc: int = 8182
    admin: int = 9090
    between: int = 8183  # where Traefik asks itself, to ask the sidecar with time-outs

    def fit(self, text: str) -> str:
        """Put these ports into a configuration of deploy/gateways in place of its own."""
        shipped = {
            "8000": self.gateway,
            "8080": self.app,
            "8181": self.check,
            "8182": self.grpc,
            "8183": self.between,
        }
        return re.sub(rf"(?<=[ :])({'|'.join(shipped)})\b", lambda at: str(shipped[at[0]]), text)


class StarterPlan(NamedTuple):
    """Answers of an operator. `setting`: the value of `http.gateway`; `grpc`: it asks by gRPC.

    `levels` is empty where the built-in ones do; `grant` is the level that payments ask for.
    """

    issuer: str
    audience: str
    app: str
    setting: str = "none"
    grpc: bool = False
    ports: StarterAddresses = StarterAddresses()
    levels: tuple[Level, ...] = ()
    algorithms: tuple[str, ...] = ()
    grant: str = "mfa"


def configuration(plan: StarterPlan) -> str:
    """Return the text of `sidecar.yaml`."""
    ports = plan.ports
    return f"""\
# Made by `sidecar init`. `sidecar validate` shows all mistakes at once, `sidecar schema config`
# lists every key. Paths are relative to this file.

app:
  id: {_text(plan.app)}
{_realm(plan.app)}
# For the app in its own process: events and checks as lines of JSON.
socket:
  path: {SOCKET}

{_doors(plan)}
# Metrics and health.
admin:
  bind: 127.0.0.1:{ports.admin}

# Without a url, a store of this daemon's own, gone when it ends. Several daemons share a Redis or
# Valkey: url: rediss://store.example.com:6379/0
store:
  url: ""

tokens:
  issuers:
    - issuer: {_text(plan.issuer)}
      audiences: [{_text(plan.audience)}]
{_algorithms(plan)}
# What a call can be, and which calls are it.
contexts:
  c1: {{name: Payments}}
routes:
  - path: /payments/**
    contexts: [c1]
{_assurance(plan)}
policies:
  path: policies
"""


def policy(plan: StarterPlan) -> str:
    """Return the text of the policy file."""
    return f"""\
# A changed file is taken up without a restart; a broken one is refused, and the old one stays.
policies:
  - id: payments-at-risk
    description: A payment needs a fresh strong sign-in once the user's risk rises
    state: enabled
    contexts: {{include: [c1]}}
    conditions:
      any:
        - user_risk: {{at_least: medium}}
        - device: {{compliant: false}}
    grant: {plan.grant}
"""


def scenario(plan: StarterPlan) -> str:
    """Return the text of the scenario file: what the policy is meant to do, for `sidecar test`."""
    weak, strong = _shown(plan, "single-factor"), _shown(plan, plan.grant)
    return f"""\
# What policies/payments.yaml is meant to do: `sidecar test` acts it out, in virtual time.
scenarios:
  - name: a payment is challenged once the user's risk has risen, and passes after a strong sign-in
    given: &ada
      session: {{user: ada, device: laptop, ip: 192.0.2.10, acr: {weak}}}
    steps:
      - then: {{context: c1, verdict: allow}}
      - after: 1m
        when: {{type: risk-level-change, data: {{current_level: MEDIUM}}}}
        then: {{context: c1, verdict: step_up, reasons: [payments-at-risk]}}
      - then: allow
      - after: 1m
        when: {{sign_in: {strong}}}
        then: {{context: c1, verdict: allow}}

  - name: a payment is challenged once the device is no longer compliant
    given: *ada
    steps:
      - when: {{type: device-compliance-change, data: {{current_status: not-compliant}}}}
        then: {{context: c1, verdict: step_up, reasons: [payments-at-risk]}}
"""


def _doors(plan: StarterPlan) -> str:
    """Return how the gateway asks; where only the app does, on the socket, nothing listens."""
    public = f"  # The pages that sign somebody in.\n  public: [{', '.join(SIGN_IN_PAGES)}]\n"
    bind = f"  bind: 127.0.0.1:{plan.ports.check}\n"
    if plan.grpc:
        grpc = f"grpc:\n  bind: 127.0.0.1:{plan.ports.grpc}\n"
        return f"# For the gateway.\n{grpc}http:\n{bind}{public}"
    if plan.setting == "none":
        return (
            "# For a gateway; only the app itself asks, on the socket.\nhttp:\n  enabled: false\n"
        )
    return f"# For the gateway.\nhttp:\n{bind}  gateway: {plan.setting}\n{public}"


def _realm(app: str) -> str:
    """Return the line of the realm, unless a challenge cannot name it (RFC 9110, section 5.6.4)."""
    quotable = app.isascii() and not set(app) & {'"', "\\"}
    return f"  realm: {_text(app)}\n" if quotable else ""


def _algorithms(plan: StarterPlan) -> str:
    if not plan.algorithms:
        return ""
    return f"      algorithms: [{', '.join(map(_text, plan.algorithms))}]\n"


def _assurance(plan: StarterPlan) -> str:
    if not plan.levels:
        return ""
    lines = [
        "",
        "# From the weakest, by what tokens show: values of `acr`, the preferred one",
        "# first, and combinations of `amr`.",
        "assurance:",
        "  levels:",
    ]
    for level in plan.levels:
        ways = ", ".join(f"[{', '.join(sorted(way))}]" for way in level.amr)
        lines.append(f"    - name: {level.name}")
        lines.append(f"      acr: [{', '.join(map(_text, level.acr))}]")
        lines.append(f"      amr: [{ways}]")
    return "\n".join(lines) + "\n"


def _shown(plan: StarterPlan, name: str) -> str:
    """Return a value of `acr` that shows a level."""
    acr: Mapping[str, tuple[str, ...]] = {level.name: level.acr for level in plan.levels}
    return _text(next(iter(acr.get(name, ())), name))


def _text(value: str) -> str:
    """Return a text as YAML reads it, in quotes where it might be something else."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value)
    words = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return value if plain and value.lower() not in words else json.dumps(value, ensure_ascii=False)
