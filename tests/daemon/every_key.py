"""Two configurations that differ in every key of the schema, each with values of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec.inspect as mi
import trustme
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from sidecar.adapters.geography.geography import Database
from sidecar.wire.bundles.minisign import SecretKey
from sidecar.wire.config.reloads import Key, keys
from sidecar.wire.settings.reload import Reload
from sidecar.wire.yaml.scalars import ScalarKind
from sidecar.wire.yaml.structs import struct_type
from tests.adapters.identity import key_set
from tests.adapters.recipients import key_file
from tests.adapters.servers import PASSWORD, USER, Server
from tests.stories.running import ISSUER, SIGNER

OTHER_USER, OTHER_PASSWORD = "another", "another-s3cret"
"""A user of the store besides `USER`."""

BESIDE_OTHERS = frozenset({f"policies.bundle.{one}" for one in ("directory", "url", "oci")})
"""Keys that stand in the place of others, of which a configuration has one: here none of these."""

PASSWORDS = (PASSWORD, OTHER_PASSWORD)


def configurations(directory: Path, server: Server) -> tuple[str, str]:
    """Return the text of the configuration before and after, as JSON."""
    written = _written(directory, server)
    texts = []
    for turn in (0, 1):
        tree: dict[str, Any] = {}
        for number, key in enumerate(keys()):
            value = written[key.name][turn] if key.name in written else _drawn(key, number, turn)
            if value is not None:
                _put(tree, key.name, value)
        texts.append(json.dumps(tree))
    return texts[0], texts[1]


def _put(tree: dict[str, Any], name: str, value: object) -> None:
    *sections, last = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[last] = value


def _drawn(key: Key, number: int, turn: int) -> object:
    """Return a value that nothing else has, where its kind allows for so many."""
    (member,) = (one for one in struct_type(key.section).fields if one.name == key.path[-1])
    kind = member.type
    # What was live and what is to wait for a restart must be no value that is anywhere by default.
    usual = 1 if key.reload is Reload.LIVE else 0
    marked = (kind.extra or {}).get("kind") if isinstance(kind, mi.Metadata) else None
    match kind.type if isinstance(kind, mi.Metadata) else kind:
        case mi.FloatType(le=le):
            return (
                (number + 1 + turn / 2) / 1024 if le and le <= 1 else 1000.125 + 2 * number + turn
            )
        case mi.IntType():
            return 7_000_000 + 2 * number + turn
        case mi.BoolType():
            return bool(member.default) is (turn == usual)
        case mi.EnumType(cls=cls):
            other = next(one for one in cls if one is not member.default)
            return (member.default if turn == usual else other).value
        case mi.StrType() if marked is ScalarKind.FILE:
            return f"/nowhere/{key.name}-{turn}"
        case mi.StrType() if marked is ScalarKind.URL:
            return f"https://{turn}.example/{key.name}"
        case mi.StrType():
            return f"{key.name.replace('_', '-').replace('.', '-')}-{turn}"
        case other:
            raise TypeError(f"{key.name}: say what it is before and after, as it is {other!r}")


def _written(directory: Path, server: Server) -> Mapping[str, tuple[Any, Any]]:
    """Return those that must fit together, or of which there are few."""
    files = {}
    for turn in (0, 1):
        for name, text in (
            *(
                ("admin", f"operator-{turn}"),
                ("store", PASSWORDS[turn]),
                ("sentinel", f"sentinel-{turn}"),
            ),
            *(
                ("redirect", f"{turn}" * 32),
                ("privacy", "p" * 44),
                ("recipient", "r" * 32),
                *((name, f"{name}-{turn}" * 8) for name in ("masks", "chain", "collector")),
                ("bundle", f"bundle-{turn}"),
                ("console", f"console-{turn}"),
                ("jwks", key_set(SIGNER).decode()),
                ("headers", f"X-Turn: {turn}\n"),
            ),
        ):
            file = files[name, turn] = str(directory / f"{name}-{turn}")
            Path(file).write_text(text)
            Path(file).chmod(0o600)
        policies = directory / f"policies-{turn}"
        policies.mkdir()
        (policies / "one.yaml").write_text("policies: []\n")
    places = [_places(directory, turn) for turn in (0, 1)]
    issuer = {"issuer": ISSUER, "audiences": ["payroll"]}

    def both(name: str) -> tuple[str, str]:
        return files[name, 0], files[name, 1]

    def listing(*values: object) -> tuple[list[object], list[object]]:
        return [values[0]], [values[1]]

    def named(**more: Any) -> tuple[list[Any], list[Any]]:
        return listing({"name": "one", **more}, {"name": "other", **more})

    return {
        "app.redirect.key": (None, None),
        "app.redirect.key_file": both("redirect"),
        **dict.fromkeys(BESIDE_OTHERS, (None, None)),
        "policies.bundle.token": (None, None),
        "policies.bundle.token_file": both("bundle"),
        "policies.bundle.username": ("robot-one", "robot-other"),
        "policies.bundle.password": (None, None),
        "policies.bundle.password_file": both("bundle"),
        "policies.bundle.token_server": ("https://a.example", "https://b.example"),
        "policies.bundle.public_keys": listing(
            SecretKey(bytes(8), bytes(32)).public.text, SecretKey(b"1" * 8, bytes(32)).public.text
        ),
        "app.id": ("app-one", "app-other"),
        "apps": ({"app-one": {"realm": "a"}}, {"app-other": {"realm": "b"}}),
        "socket.path": (str(directory / "s0"), str(directory / "s1")),
        "socket.mode": ("0660", "0600"),
        "socket.group": ("", "root"),
        "socket.allowed_uids": listing(4241, 4242),
        "shared_table.enabled": (True, False),
        "shared_table.path": (str(directory / "t0"), str(directory / "t1")),
        "shared_table.group": ("", "root"),
        "http.bind": ("127.0.0.1:0", "127.0.0.1:1"),
        "http.unix": (str(directory / "h0"), str(directory / "h1")),
        "http.unix_mode": ("0660", "0600"),
        "http.unix_group": ("", "root"),
        "http.trusted_proxies": listing("127.0.0.1/32", "127.0.0.2/32"),
        "http.public": listing("/one", "/other"),
        "http.unchecked": listing("OPTIONS", "HEAD"),
        "http.cors.origins": listing("https://one.example", "https://other.example"),
        "http.hosts": listing("one.example", "other.example"),
        "grpc.bind": ("127.0.0.1:0", "127.0.0.1:2"),
        "admin.enabled": (True, False),
        "admin.bind": ("127.0.0.1:0", "127.0.0.1:3"),
        "admin.token": (None, None),
        "admin.token_file": both("admin"),
        "admin.operators": named(token="an operator's own credential"),
        "admin.console.openid.issuer": ("https://0.example", "https://1.example"),
        "admin.console.openid.client_secret": (None, None),
        "admin.console.openid.client_secret_file": both("console"),
        "admin.console.openid.redirect_uri": (
            "https://0.example/console/sign-in/return",
            "https://1.example/console/sign-in/return",
        ),
        "admin.console.openid.scopes": listing("one", "other"),
        "admin.console.openid.viewers": listing("viewer-one", "viewer-other"),
        "admin.console.openid.operators": listing("operator-one", "operator-other"),
        "admin.console.openid.admins": listing("admin-one", "admin-other"),
        "admin.console.openid.algorithms": listing("RS256", "ES256"),
        "admin.tls.certificate": (None, "/nowhere/admin.pem"),
        "admin.tls.key": (None, "/nowhere/admin.key"),
        "receiver.bind": ("127.0.0.1:0", "127.0.0.1:4"),
        "intake.bind": ("127.0.0.1:0", "127.0.0.1:5"),
        "central.bind": ("127.0.0.1:0", "127.0.0.1:6"),
        "central.askers": listing(
            {"name": "one", "token_file": files["admin", 0]},
            {"name": "other", "token_file": files["admin", 1]},
        ),
        "central.tls_cert_file": (None, "/nowhere/central.pem"),
        "central.tls_key_file": (None, "/nowhere/central.key"),
        "central.client_ca_file": (None, "/nowhere/central-clients.pem"),
        "store.url": (server.url, "redis://127.0.0.1:6"),
        "store.username": (USER, OTHER_USER),
        "store.password": (None, None),
        "store.password_file": both("store"),
        "store.sentinel_password": (None, None),
        "store.sentinel_password_file": both("sentinel"),
        "receiver.transmitters": named(
            issuer="https://caep.example",
            audiences=["payroll"],
            jwks_file=files["jwks", 0],
            events=["session-revoked"],
        ),
        "intake.issuers": listing(
            {
                "issuer": "https://one.example",
                "users_of": ISSUER,
                "clients": ["a"],
                "jwks_file": files["jwks", 0],
            },
            {
                "issuer": "https://other.example",
                "users_of": ISSUER,
                "clients": ["b"],
                "jwks_file": files["jwks", 1],
            },
        ),
        "sources": (
            [{"name": "source-one", "transmitter": "one", "issuers": [ISSUER]}],
            [{"name": "source-other", "transmitter": "other", "issuers": [ISSUER]}],
        ),
        "store.prefix": ("su", "other"),
        "store.threads": (2, 3),
        "store.batch": (512, 513),
        "store.retries": (2, 3),
        "store.wait_replicas": (0, 1),
        "store.wait_timeout": (0.25, 0.375),
        "store.timeout": (1.015625, 1.03125),
        "store.connect_timeout": (1.0625, 1.125),
        "store.eviction": ("accept", "refuse"),
        "store.embedded_dir": (None, "/nowhere/store"),
        "store.tls_ca_file": (None, "/nowhere/ca"),
        "store.tls_cert_file": (None, "/nowhere/cert"),
        "store.tls_key_file": (None, "/nowhere/key"),
        "spool.dir": (str(directory / "spool"), "/nowhere/spool"),
        "receiver.tls_cert_file": (None, "/nowhere/receiver.pem"),
        "receiver.tls_key_file": (None, "/nowhere/receiver.key"),
        "intake.tls_cert_file": (None, "/nowhere/intake.pem"),
        "intake.tls_key_file": (None, "/nowhere/intake.key"),
        "tokens.issuers": (
            [{**issuer, "jwks_file": files["jwks", 0]}],
            [{**issuer, "jwks_file": files["jwks", 1]}],
        ),
        "tokens.binding.dpop_algorithms": listing("ES256", "PS256"),
        "tokens.binding.origins": listing("https://one.example", "https://other.example"),
        "contexts": ({"c1": {"name": "One"}}, {"c2": {"name": "Other"}}),
        "routes": listing({"path": "/1", "contexts": ["c1"]}, {"path": "/2", "contexts": ["c2"]}),
        "locations": named(countries=["DE"]),
        "networks": named(cidrs=["192.0.2.0/24"]),
        **{f"geography.{kind}": listing(*places) for kind in Database},
        "geography.fields.country": ("one.country", "other.country"),
        "geography.fields.asn": ("one.asn", "other.asn"),
        "geography.accuracy_km": (41.5, 42.5),
        "geography.accuracy_without_city_km": (431.5, 432.5),
        "geography.meaningless_asns": listing(64501, 64502),
        "geography.carrier_asns": listing(64503, 64504),
        "geography.carrier_networks": listing("198.51.100.0/25", "198.51.100.128/25"),
        "assurance.levels": listing({"name": "one", "acr": ["1"]}, {"name": "two", "acr": ["2"]}),
        "assurance.strengths": ({"key": {"acr": ["k"]}}, {"card": {"acr": ["c"]}}),
        "assurance.skew": (7, 8),
        "risk.weights": (
            {"impossible-travel": {"weight": 51.5}},
            {"impossible-travel": {"weight": 52.5}},
        ),
        "risk.thresholds": ({"medium": 41.25}, {"medium": 42.25}),
        "risk.default_weight": (21.125, 22.125),
        "friction.prompts": (3, 4),
        "history.entries": (4321, 5432),
        "decision_log.output": ("file", "off"),
        "decision_log.masks": ({"country": "drop"}, {"asn": "drop"}),
        "decision_log.mask_key": (None, None),
        "decision_log.mask_key_file": both("masks"),
        "decision_log.chain_key": (None, None),
        "decision_log.chain_key_file": both("chain"),
        "decision_log.file.path": (str(directory / "decisions"), "/nowhere/decisions"),
        "decision_log.file.mode": ("0640", "0600"),
        "decision_log.file.keep": (901, 902),
        "decision_log.otlp.authorization": (None, None),
        "decision_log.otlp.authorization_file": both("collector"),
        "traces.endpoint": ("http://127.0.0.1:1/v1/traces", "http://127.0.0.1:2/v1/traces"),
        "traces.headers": (None, None),
        "traces.headers_file": both("headers"),
        "traces.ca_file": (_authorities(directory), "/nowhere/authorities"),
        "traces.resource": ({"host.name": "one"}, {"host.name": "other"}),
        "traces.masks": ({"session": "keep"}, {"user": "keep"}),
        "break_glass.users": listing("glass-one", "glass-other"),
        "break_glass.groups": listing("panes-one", "panes-other"),
        "break_glass.accounts": (
            [{"issuer": ISSUER, "users": ["account-one"]}],
            [{"issuer": ISSUER, "users": ["account-other"]}],
        ),
        "sessions.ipv6_prefix": (64, 56),
        "sessions.sweep_interval": (0.203125, 0.40625),
        "memory.limit": (1 << 40, 1 << 41),
        "work.workers": (3, 4),
        "work.queue": (4001, 4002),
        "shutdown.lame_duck": (0.015625, 0.03125),
        "work.drain_timeout": (5.015625, 5.03125),
        "transmitter.issuer": ("https://t.example", "https://u.example"),
        "transmitter.bind": ("127.0.0.1:0", "127.0.0.1:7"),
        "transmitter.key_files": listing(key_file(directory), key_file(directory, number=1)),
        "transmitter.recipients": named(
            audience=["https://receiver.example"], credentials_file=files["recipient", 0]
        ),
        "transmitter.subject_issuer": (ISSUER, None),
        "log.level": ("warning", "info"),
        "log.format": ("console", "json"),
        "privacy.keys": (None, None),
        "privacy.key_file": (None, files["privacy", 1]),
        "policies.path": (str(directory / "policies-0"), str(directory / "policies-1")),
        "warnings.accept": listing("skew-wide", "store-plain"),
    }


def _authorities(directory: Path) -> str:
    file = directory / "authorities.pem"
    file.write_bytes(trustme.CA().cert_pem.bytes())
    return str(file)


def _places(directory: Path, turn: int) -> str:
    """Write a database of everything, whose records have two places for country and network."""
    writer = MMDBWriter(4, "Every", languages=["en"])
    places = {name: {"country": "DE", "asn": 64496} for name in ("one", "other")}
    more = {"is_anonymous": False, "connection_type": "Cellular"}
    writer.insert_network(IPSet(["192.0.2.0/24"]), {**places, **more})
    file = directory / f"places-{turn}.mmdb"
    writer.to_db_file(str(file))
    return str(file)
