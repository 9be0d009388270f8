"""Weaknesses of a deployment, each by its name, and nothing else."""

from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.domain.policy import lint
from sidecar.wire.checks.weaknesses import ADVICE, ALL_CODES, CODES, weaknesses
from sidecar.wire.config.settings_reader import read_settings

ISSUER = 'tokens: {issuers: [{issuer: "https://idp.example", audiences: [us]}]}\n'
PUSHING = 'receiver: {bind: "0.0.0.0:8443", transmitters: [{%s}]}\n' + ISSUER
TRANSMITTER = (
    'transmitter: {issuer: "https://s.example", key_files: [k], bind: "%s:8090",'
    " recipients: [{name: r, audience: [r], credentials_file: c}]}\n" + ISSUER
)
SEALED = (
    f"privacy: {{identifiers: keyed, keys: [{'k' * 32}]}}\n"
    "transmitter: {recipients: [{name: r, audience: [r], credentials_file: c, %s}]}"
)
IDP = 'name: idp, issuer: "https://idp.example", audiences: [us], events: [session-revoked]'
POLLED = f'{IDP}, poll_url: "https://i.example"'
ROOT = Path(__file__).parents[3]
SHIPPED = (
    "config/sidecar.yaml",
    *(f"deploy/k8s/{one}/sidecar.yaml" for one in ("base", "transmitter")),
)
LONG = "0123456789abcdef"


ACCEPTED = "warnings: {accept: [data-listener-exposed]}"
"""Without it such a configuration is refused."""
ROUTE = 'routes: [{path: "/pay/{id}", methods: [POST], contexts: [c1]}]'


class Case(NamedTuple):
    """A setting that is weak, the finding that names it, and what has none."""

    code: str
    field: str
    weak: str
    sound: str


CASES = (
    Case(
        "data-listener-exposed",
        "http.bind",
        f'http: {{bind: "0.0.0.0:8181"}}\n{ACCEPTED}',
        'http: {bind: "127.0.0.2:8181"}',
    ),
    Case(
        "data-listener-exposed",
        "http.bind",
        f'http: {{bind: "[::]:8181"}}\n{ACCEPTED}',
        'http: {bind: "0.0.0.0:8181", enabled: false}',
    ),
    Case(
        "grpc-listener-exposed",
        "grpc.bind",
        'grpc: {bind: "[::]:8182"}',
        'grpc: {bind: "[::1]:8182"}',
    ),
    Case(
        "socket-open-to-all",
        "socket.mode",
        'socket: {mode: "0666"}',
        'socket: {mode: "0666", allowed_uids: [1]}',
    ),
    Case(
        "socket-open-to-all",
        "http.unix_mode",
        'http: {unix: a.sock, unix_mode: "0666"}',
        'http: {unix: a.sock, unix_mode: "0660"}',
    ),
    Case(
        "public-everything",
        "http.public[1]",
        'http: {gateway: nginx, public: [/health, "/*"]}',
        "http: {gateway: nginx, public: [/health, /static/*]}",
    ),
    *(
        Case(
            "route-unasked",
            "routes[0]",
            f"http: {{gateway: nginx, {weak}}}\n{ROUTE}",
            f"http: {{gateway: nginx, {sound}}}\n{ROUTE}",
        )
        for weak, sound in (
            ("public: [/pay/*]", "public: [/pays/*]"),
            ("public: [/health, /PAY/*]", "public: [/pay/7]"),  # an exception
            ("unchecked: [OPTIONS, POST]", "unchecked: [OPTIONS], preflight: true"),
        )
    ),
    Case(
        "route-unasked",
        "routes[0]",
        'http: {gateway: nginx, public: ["/a b"]}\nroutes: [{path: "/a%20b", contexts: [c1]}]',
        'http: {gateway: nginx, public: ["/a b"]}\nroutes: [{path: "/**", contexts: [c1]}]',
    ),
    *(
        Case("unasked-unreached", "http.gateway", f"http: {{{key}}}", f"http: {{{key}, {more}}}")
        for key in ("public: [/health]", "unchecked: [OPTIONS]", "preflight: true")
        for more in ("gateway: caddy", "enabled: false")
    ),
    Case(
        "unasked-unreached",
        "http.gateway",
        "http: {preflight: true}",
        'http: {preflight: true}\ngrpc: {bind: "127.0.0.1:8182"}',
    ),
    Case(
        "trusted-proxies-everyone",
        "http.trusted_proxies[1]",
        'http: {trusted_proxies: [127.0.0.0/8, "::/0"]}',
        'http: {trusted_proxies: [10.0.0.0/8, "fc00::/7"]}',
    ),
    Case(
        "trusted-proxies-everyone",
        "http.trusted_proxies[0]",
        "http: {trusted_proxies: [0.0.0.0/0]}",
        "http: {enabled: false, trusted_proxies: [0.0.0.0/0]}",
    ),
    Case(
        "store-plain",
        "store.url",
        'store: {url: "redis://:pw@valkey:6379/0"}',
        'store: {url: "redis://localhost:6379/0"}',
    ),
    Case(
        "store-plain",
        "store.url",
        'store: {url: "redis+cluster://127.0.0.1:6379,valkey-2:6379"}',
        'store: {url: "rediss+cluster://valkey-1:6379,valkey-2:6379"}',
    ),
    Case(
        "admin-credential-short",
        "admin.token",
        'admin: {bind: "127.0.0.1:9090", token: "a"}',
        f'admin: {{bind: "127.0.0.1:9090", token: "{LONG}"}}',
    ),
    Case(
        "admin-credential-plain",
        "admin.bind",
        f'admin: {{bind: "0.0.0.0:9090", token: "{LONG}"}}',
        f'admin: {{bind: "0.0.0.0:9090", token: "{LONG}", tls: {{certificate: c, key: k}}}}',
    ),
    Case(
        "receiver-open",
        "receiver.transmitters[0]",
        PUSHING % IDP,
        (PUSHING % IDP).replace("bind", "tls_cert_file: c, tls_key_file: k, bind"),
    ),
    Case(
        "receiver-credential-plain",
        "receiver.transmitters[0].authorization_file",
        PUSHING % f"{IDP}, authorization_file: a",
        (PUSHING % f"{IDP}, authorization_file: a").replace("0.0.0.0", "127.0.0.1"),
    ),
    Case(
        "transmitter-credential-plain",
        "transmitter.bind",
        TRANSMITTER % "0.0.0.0",
        TRANSMITTER % "127.0.0.1",
    ),
    Case(
        "push-plain",
        "transmitter.recipients[0].stream.push_to",
        'transmitter: {recipients: [{name: r, audience: [r], stream: {push_to: "http://r.example"}}]}',
        'transmitter: {recipients: [{name: r, audience: [r], stream: {push_to: "https://r.example"}}]}',
    ),
    Case(
        "push-header-stored",
        "transmitter.recipients[0].push_prefixes",
        SEALED % 'push_prefixes: ["https://r.example/"]',
        SEALED % "max_streams: 1",
    ),
    Case(
        "issuer-plain",
        "tokens.issuers[0].issuer",
        'tokens: {issuers: [{issuer: "http://idp.example", jwks_file: k, audiences: [us]}]}',
        'tokens: {issuers: [{issuer: "http://localhost:8080", audiences: [us]}]}',
    ),
    Case(
        "redirect-key-short",
        "app.redirect.key",
        'app: {redirect: {start: "https://app.example/in", key: "a"}}',
        f'app: {{redirect: {{start: "https://app.example/in", key: "{LONG}"}}}}',
    ),
    Case(
        "shared-table-unused",
        "shared_table.enabled",
        "shared_table: {enabled: true}\nlog: {checks: true}",
        "shared_table: {enabled: true}",
    ),
    Case(
        "shared-table-unused",
        "shared_table.enabled",
        "shared_table: {enabled: true}\ntokens: {binding: {possession: require}}",
        "log: {checks: true}",
    ),
    Case("skew-wide", "assurance.skew", "assurance: {skew: 1h}", "assurance: {skew: 10s}"),
    Case(
        "leeway-wide",
        "tokens.issuers[0].leeway",
        'tokens: {issuers: [{issuer: "https://idp.example", leeway: 5m, audiences: [us]}]}',
        ISSUER,
    ),
    Case(
        "event-skew-wide",
        "sessions.event_skew",
        "sessions: {event_skew: 1d}",
        "sessions: {event_skew: 60s}",
    ),
    Case(
        "transmitter-skew-wide",
        "receiver.transmitters[0].skew",
        f"receiver: {{transmitters: [{{{POLLED}, skew: 1h}}]}}\n{ISSUER}",
        f"receiver: {{transmitters: [{{{POLLED}}}]}}\n{ISSUER}",
    ),
    Case(
        "dpop-window-wide",
        "tokens.binding.dpop_window",
        "tokens: {binding: {dpop_window: 1h}}",
        "tokens: {binding: {dpop_window: 30s}}",
    ),
    Case(
        "descriptors-short",
        "http.max_connections",
        "http: {max_connections: 2048}",
        "http: {max_connections: 1024}",
    ),
)


def found(text: str) -> list[tuple[str, str]]:
    settings = read_settings(text, "s.yaml", {}, lambda _: LONG)
    return [(code, field) for code, field, _ in weaknesses(settings, 2048)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code} {case.field}")
def test_a_weak_setting_is_reported_by_its_name_and_a_sound_one_is_not(case: Case) -> None:
    assert found(case.weak) == [(case.code, case.field)]
    assert found(case.sound) == []


def test_each_name_has_a_case_a_meaning_and_a_cure() -> None:
    assert {case.code for case in CASES} == CODES.keys() == ADVICE.keys()
    assert not CODES.keys() & lint.CODES.keys()
    assert ALL_CODES.keys() == CODES.keys() | lint.CODES.keys()


def test_the_defaults_are_not_weak() -> None:
    assert found("") == []


@pytest.mark.parametrize("file", SHIPPED)
def test_what_is_shipped_is_weak_in_nothing_but_what_it_accepts(file: str) -> None:
    text = (ROOT / file).read_text()
    accepted = read_settings(text, "s.yaml", {}, lambda _: LONG).warnings.accept
    assert [code for code, _ in found(text) if code not in accepted] == []


def test_no_finding_quotes_a_secret() -> None:
    text = 'admin: {token: "Zq"}\nstore: {url: "redis://u:Zq@valkey"}\n'
    text += 'app: {redirect: {start: "https://app.example/in", key: "Zq"}}'
    said = weaknesses(read_settings(text, "s.yaml", {}, lambda _: ""), 2048)
    assert len(said) == 4
    assert not any("Zq" in finding.message for finding in said)
