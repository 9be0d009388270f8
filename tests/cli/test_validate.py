from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tests.cli.command import sidecar

CONFIG = """\
app: {id: payroll}
contexts: {c1: {name: Payroll}}
routes: [{path: /pay/**, contexts: [c1]}]
"""
POLICY = """\
policies:
  - id: home
    state: enabled
    contexts: {include: [c1]}
    conditions: {changed: [device]}
    grant: {operator: OR, controls: [mfa]}
"""
GATEWAY = {"SIDECAR_HTTP__GATEWAY": "nginx"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "home.yaml").write_text(POLICY)
    file = tmp_path / "sidecar.yaml"
    file.write_text(CONFIG)
    return file


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def test_what_is_right_is_counted(config: Path) -> None:
    done = await sidecar("validate", "--config", str(config), SIDECAR_HTTP__GATEWAY="nginx")
    assert done == (0, "ok: 1 policy (1 enabled), 1 context, 1 route, 0 issuers\n", "")


async def test_break_glass_accounts_are_shown(config: Path) -> None:
    named = "break_glass: {users: [glass-1, glass-2], groups: [emergency]}"
    write(config, f"{CONFIG}\n{named}\n")
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 0
    shown = "break-glass, which no policy touches: users glass-1, glass-2; groups emergency"
    assert done.out.splitlines()[-1] == shown


async def test_every_problem_is_reported_with_its_line(config: Path) -> None:
    write(config, CONFIG + "sokcet: {}\nhttp: {max_connections: many}\n")
    done = await sidecar("validate", "--config", str(config))
    assert (done.status, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith(f"{config}:4: sokcet: ")
    assert "socket" in first
    assert second.startswith(f"{config}:5: http.max_connections: ")


async def test_a_problem_in_a_policy_is_reported_with_its_line(config: Path) -> None:
    policy = config.parent / "policies" / "home.yaml"
    write(policy, POLICY.replace("[device]", "[planet]"))
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    assert done.err.startswith(f"{policy}:5: policies[0].conditions.changed")


async def test_the_environment_counts_as_it_would_for_the_daemon(config: Path) -> None:
    done = await sidecar("validate", SIDECAR_CONFIG=str(config), SIDECAR_LOG__LEVEL="loud")
    assert done.status == 2
    assert "SIDECAR_LOG__LEVEL" in done.err


async def test_a_geography_database_that_cannot_be_read_is_reported(config: Path) -> None:
    write(config.parent / "city.mmdb", "not a database")
    write(config, CONFIG + "geography: {city: city.mmdb}\n")
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    assert "geography.city" in done.err


async def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    done = await sidecar("validate", "--config", str(tmp_path / "none.yaml"))
    assert done.status == 2
    assert f"{tmp_path}/none.yaml" in done.err
    assert "Traceback" not in done.err


async def test_what_is_probably_not_meant_is_a_warning_with_its_line(config: Path) -> None:
    policy = config.parent / "policies" / "home.yaml"
    write(policy, POLICY.replace("{changed: [device]}", "{score: 0}"))
    write(config, CONFIG + "networks:\n  - name: hall\n    cidrs: [192.0.2.0/24]\n")
    done = await sidecar("validate", "--config", str(config), **GATEWAY)
    assert done.status == 0
    assert done.out.startswith("ok: 1 policy")
    at = f"{policy}:2: policies.home"
    score = "the score goes from 0 to 100; at least 0 is no question"
    printed = [line.rpartition(": warning: ")[::2] for line in done.err.splitlines()]
    advice = "name it in a policy, or remove it"
    assert printed == [
        (at, "its conditions always hold; leave them out if that is meant (always-holds)"),
        (at, f"{score}; choose one from within (threshold-out-of-range)"),
        (f"{config}:5: networks.hall", f"no policy names it; {advice} (network-unused)"),
    ]


async def test_a_finding_about_what_a_context_requires_is_reported_where_that_stands(
    config: Path,
) -> None:
    write(
        config.parent / "policies" / "home.yaml",
        "policies: [{id: home, contexts: [c1], grant: phishing-resistant}]",
    )
    requiring = "{c1: {name: Payroll, requires: {assurance: mfa}}}"
    write(config, CONFIG.replace("{c1: {name: Payroll}}", requiring))
    done = await sidecar("validate", "--config", str(config), **GATEWAY)
    assert done.err.startswith(f"{config}:2: policies.context-c1: warning: ")
    assert done.err.endswith("(shadowed)\n")


async def test_routes_that_meet_are_reported_with_a_call_that_shows_it(config: Path) -> None:
    narrow = "routes:\n  - {path: /pay/**, contexts: [c1]}\n"
    narrow += "  - {path: '/{area}/keys', methods: [POST], contexts: [c2]}\n"
    contexts = "contexts: {c1: {name: Payroll}, c2: {name: Keys}}\n"
    write(config, contexts + narrow)
    words = ("validate", "--config", str(config), "--allow", "context-unprotected")
    done = await sidecar(*words, **GATEWAY)
    assert done.status == 0
    assert done.err == (
        f"{config}:4: routes.1: warning: a call such as POST /pay/keys also matches routes.0, and "
        "is c1 and c2 at once; name all of them in the narrower route, or let only one of the two "
        "match (route-overlap)\n"
    )


async def test_where_it_is_strict_a_warning_is_an_error_unless_allowed(config: Path) -> None:
    policy = config.parent / "policies" / "home.yaml"
    write(policy, POLICY.replace("[device]", "[country]"))
    words = ("validate", "--strict", "--config", str(config))
    done = await sidecar(*words, **GATEWAY)
    assert (done.status, done.out) == (2, "")
    assert "(needs-geography)" in done.err
    assert (await sidecar(*words, "--allow", "needs-geography", **GATEWAY)).status == 0


async def test_a_database_that_cannot_say_what_a_policy_asks_for_is_reported(
    config: Path, tmp_path: Path
) -> None:
    writer = MMDBWriter(ip_version=4)
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "DE"}})
    writer.to_db_file(str(tmp_path / "country.mmdb"))
    write(config, f"{CONFIG}geography: {{city: {tmp_path}/country.mmdb}}\n")
    policy = config.parent / "policies" / "home.yaml"
    words = ("validate", "--strict", "--config", str(config))
    write(policy, POLICY.replace("[device]", "[region]"))
    done = await sidecar(*words, **GATEWAY)
    assert done.status == 2
    assert "no record of the databases has region; use a database that has it" in done.err
    write(policy, POLICY.replace("[device]", "[country]"))
    done = await sidecar(*words, **GATEWAY)
    assert (done.status, done.err) == (0, "")


async def test_a_code_that_is_none_is_bad_usage(config: Path) -> None:
    done = await sidecar("validate", "--config", str(config), "--allow", "geography")
    assert done.status == 2
    assert "needs-geography" in done.err


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ("", True),
        ("http: {gateway: none}", True),
        ("http: {gateway: envoy}", False),
        ("http: {gateway: nginx}", False),
        ("http: {enabled: false}", False),
        ('grpc: {bind: "127.0.0.1:8182"}', False),
    ],
)
async def test_routes_that_no_gateway_leads_to_are_reported(
    config: Path, more: str, warned: bool
) -> None:
    write(config, f"{CONFIG}{more}\n")
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 0
    assert ("(routes-unreached)" in done.err) is warned
    assert (f"{config}:3: routes.0: warning: " in done.err) is warned


async def test_hosts_that_no_call_can_have_are_refused(config: Path) -> None:
    routes = "routes: [{path: /pay/**, contexts: [c1], hosts: [bücher.example]}]\n"
    write(config, CONFIG.partition("routes")[0] + routes)
    assert (await sidecar("validate", "--config", str(config))).status == 0
    write(config, CONFIG.partition("routes")[0] + routes.replace("bücher", "straße"))
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    assert "routes[0].hosts[0]: cannot be sent as it stands" in done.err


WEAK = """\
http: {gateway: nginx, trusted_proxies: [0.0.0.0/0]}
grpc: {bind: "0.0.0.0:8182"}
socket: {mode: "0666"}
admin: {token: a}
store: {url: "redis://:secret@valkey:6379/0"}
sessions: {event_skew: 1d}
tokens:
  issuers:
    - {issuer: "https://a.example", audiences: [payroll], leeway: 1d}
    - {issuer: "https://b.example", audiences: [payroll]}
"""
NAMES = [
    *("socket-open-to-all", "grpc-listener-exposed", "trusted-proxies-everyone"),
    *("admin-credential-short", "admin-credential-plain", "store-plain", "leeway-wide"),
    *("event-skew-wide", "issuers-alike", "issuers-alike"),
]


async def test_a_data_listener_that_others_reach_is_refused_until_it_is_accepted(
    config: Path,
) -> None:
    write(config, CONFIG + 'http: {bind: "0.0.0.0:8181"}\n')
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    assert f"{config}:4: http.bind: 0.0.0.0:8181 is reached from other machines" in done.err
    assert "central.askers" in done.err


async def test_what_makes_a_deployment_weak_is_reported_by_name_until_it_is_accepted(
    config: Path,
) -> None:
    write(config, CONFIG + WEAK)
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 0
    printed = done.err.splitlines()
    assert [line.rpartition("(")[2].rstrip(")") for line in printed] == NAMES
    assert (
        f"{config}:5: grpc.bind: warning: 0.0.0.0:8182 is reached from other machines" in done.err
    )
    assert "secret" not in done.err.replace("secrets", "")
    weak = {"SIDECAR_ADMIN__BIND": "0.0.0.0:9091"}
    done = await sidecar("validate", "--config", str(config), **weak)
    assert "SIDECAR_ADMIN__BIND:1: admin.bind: warning: 0.0.0.0:9091 is reached" in done.err
    write(config, f"{CONFIG}{WEAK}warnings: {{accept: [{', '.join(set(NAMES))}]}}\n")
    done = await sidecar("validate", "--strict", "--config", str(config))
    assert (done.status, done.err) == (0, "")


async def test_what_run_cannot_use_is_refused(config: Path) -> None:
    write(config, CONFIG + 'http: {bind: "0.0.0.0:9090"}\n')
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    assert "admin.bind" in done.err


async def test_mistakes_of_policies_come_together_with_those_of_the_configuration(
    config: Path,
) -> None:
    policy = config.parent / "policies" / "home.yaml"
    write(policy, POLICY.replace("[device]", "[planet]").replace("[c1]", "[c1, c2]"))
    wrong = CONFIG.replace("{name: Payroll}", "{name: Payroll, when_unknown: pass}")
    write(config, f"{wrong}sokcet: {{}}\ngeography: {{city: none.mmdb}}\n")
    done = await sidecar("validate", "--config", str(config))
    assert (done.status, done.out) == (2, "")
    assert [line.partition(": ")[0] for line in done.err.splitlines()] == [
        f"{config}:2",
        f"{config}:4",
        f"{policy}:4",
        f"{policy}:5",
        f"{config}:5",
    ]
    assert "'c2' is not in `contexts`" in done.err, "and c1 is, though its own line is wrong"


async def test_names_in_sections_that_cannot_be_read_count_for_policies(config: Path) -> None:
    policy = config.parent / "policies" / "home.yaml"
    condition = "{all: [{locations: [hall, attic]}, {networks: [lab]}]}"
    named = POLICY.replace("{changed: [device]}", condition).replace("[mfa]", "[key, gold, mfa]")
    write(policy, named.replace("state", "apps: {include: [any]}\n    state"))
    write(
        config,
        CONFIG.replace("id: payroll", "idd: payroll")
        + """\
locations: [{name: hall, cidrs: [10.0.0.0/33]}]
networks: [{name: lab, cidrs: [x]}]
assurance: {levels: [{name: gold, acrr: [x]}, {name: mfa}], strengths: {key: {acr: [a]}}}
tokens: {issuers: [{issuer: "https://a.example", audience: [payroll]}]}
""",
    )
    done = await sidecar("validate", "--config", str(config))
    printed = [line for line in done.err.splitlines() if line.startswith(str(policy))]
    assert len(printed) == 1
    assert "'attic'" in printed[0]


async def test_what_is_not_on_this_machine_is_reported_before_run_meets_it(config: Path) -> None:
    more = """\
socket: {group: no-such-group}
http: {gateway: nginx, unix: data.sock, unix_group: neither}
admin: {tls: {certificate: admin.pem, key: admin.key}}
tokens:
  issuers:
    - {issuer: "https://a.example", audiences: [payroll], jwks_file: none.json}
"""
    write(config, CONFIG + more)
    done = await sidecar("validate", "--config", str(config))
    assert done.status == 2
    lines = {line.split(": ")[1]: line for line in done.err.splitlines()}
    assert lines.keys() == {
        "socket.group",
        "http.unix_group",
        "admin.tls.certificate",
        "tokens.issuers[0].jwks_file",
    }
    assert "'no-such-group' is no group of this machine" in lines["socket.group"]
    assert lines["tokens.issuers[0].jwks_file"].startswith(f"{config}:9: ")


async def test_files_that_look_like_policies_and_are_not_read_are_reported(config: Path) -> None:
    beside = config.parent / "policies"
    for name in ("q.json", "._home.yaml", ".#home.yaml", "README.md", "night.YAML"):
        write(beside / name, POLICY.replace("id: home", "id: night"))
    below = beside / "night"
    below.mkdir()
    write(below / "late.yaml", POLICY)
    done = await sidecar("validate", "--config", str(config), **GATEWAY)
    assert (done.status, done.out.split(",")[0]) == (0, "ok: 2 policies (2 enabled)")
    assert "policies.path: warning: night/, q.json: not read; name them" in done.err
    assert "(files-passed-over)" in done.err


async def test_a_question_may_call_a_context_by_its_alias(config: Path) -> None:
    write(config, CONFIG.replace("{name: Payroll}", "{name: Payroll, alias: payments}"))
    words = ("--config", str(config), "--user", "ada", "--app", "payroll")
    done = await sidecar("what-if", *words, "--context", "payments")
    assert done.status == 0
    assert done.out.startswith("allow in c1 at ")
    assert (await sidecar("what-if", *words, "--context", "pay")).status == 2
