"""Reading the configuration: everything that is wrong, at once and at its line."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.session.risk import Weight
from sidecar.wire.config.settings_reader import ConfigError, read_settings
from sidecar.wire.settings.settings import Gateway, Resilience, Settings
from sidecar.wire.yaml.structs import struct_type

ROOT = Path(__file__).parents[3]
CASES = yaml.safe_load((ROOT / "tests/cases/refused-configurations.yaml").read_text())


FIRST = "SIDECAR_TOKENS__ISSUERS__FIRST__ISSUER"
PASSWORD_FILE = "SIDECAR_STORE__PASSWORD_FILE"


def no_file(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def read(
    text: str = "",
    environ: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    file: str = "etc/s.yaml",
) -> Settings:
    def read_file(path: str) -> str:
        return (files or {})[path] if path in (files or {}) else no_file(path)

    return read_settings(text, file, environ or {}, read_file)


def problems(text: str = "", environ: Mapping[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, environ, **more)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_all_mistakes_of_a_refused_configuration_are_shown(case: dict[str, Any]) -> None:
    assert problems(case["text"]) == case["problems"]


def test_an_empty_file_gives_the_defaults() -> None:
    settings = read()
    assert settings == msgspec.structs.replace(Settings(), policies=settings.policies)
    assert settings.policies.path == "etc/policies"


def test_the_sample_configuration_is_valid() -> None:
    path = "config/sidecar.yaml"
    settings = read((ROOT / path).read_text(), file=path)
    assert settings.store.url == ""
    assert set(settings.contexts) == {"c1", "c2", "c3", "c4"}
    assert settings.http.gateway is Gateway.NGINX
    assert settings.contexts["c2"].when_unknown is Resilience.DENY
    assert settings.locations[1].countries == ("DE", "NO", "SE")


def test_the_deployments_configuration_is_valid() -> None:
    path = "deploy/k8s/base/sidecar.yaml"
    assert read((ROOT / path).read_text(), file=path).app.id == "payroll"


def test_a_plain_configuration_reads_as_msgspec_would_convert_it() -> None:
    text = """
    app: {id: a, challenge: entra}
    socket: {allowed_uids: [1, 2], idle_timeout: 7}
    http: {trusted_proxies: [10.0.0.0/8]}
    tokens: {issuers: [{issuer: https://i, audiences: [a], leeway: 0}]}
    contexts: {c1: {name: x}}
    routes: [{path: /x, contexts: [c1], methods: [GET]}]
    assurance: {levels: [{name: one, amr: [[pwd, otp], [hwk]]}]}
    sessions: {min_ttl: 1.5}
    policies: {path: /p}
    """
    assert read(text) == msgspec.convert(yaml.safe_load(text), Settings)


def test_durations_and_sizes_may_have_units() -> None:
    text = """
    socket: {idle_timeout: 1h30m, max_line_bytes: 64KiB}
    http: {header_timeout: 500ms, max_body_bytes: 1MB}
    tokens: {jwks_max_staleness: 7d, issuers: [{issuer: https://i, audiences: [a], leeway: 0s}]}
    assurance: {skew: 2s}
    risk: {weights: {mine: {weight: 3, half_life: 2w}}}
    """
    settings = read(text)
    assert settings.socket.idle_timeout == 5400
    assert settings.socket.max_line_bytes == 65536
    assert settings.http.header_timeout == 0.5
    assert settings.http.max_body_bytes == 1_000_000
    assert settings.tokens.jwks_max_staleness == 604800
    assert settings.tokens.issuers[0].leeway == 0
    assert settings.assurance.skew == 2
    assert settings.risk.weights["mine"] == Weight(3, 1209600)


def test_weights_are_merged_into_the_built_in_ones() -> None:
    weights = read("risk: {weights: {travel: {weight: 5}}}").risk.weights
    assert weights == {**Settings().risk.weights, "travel": Weight(5, 86400)}


def test_a_section_of_nothing_but_comments_keeps_its_defaults() -> None:
    assert read("http:\n  # bind: x\nlog:\n").http == Settings().http


def test_relative_paths_are_relative_to_the_configurations_directory() -> None:
    text = """
    store: {tls_ca_file: ../ca.pem}
    tokens: {issuers: [{issuer: i, audiences: [a], jwks_file: keys/i.json}]}
    networks: [{name: n, cidr_file: /abs/n.txt}]
    geography: {city: city.mmdb}
    """
    settings = read(text, file="/srv/conf/s.yaml")
    assert settings.store.tls_ca_file == "/srv/ca.pem"
    assert settings.tokens.issuers[0].jwks_file == "/srv/conf/keys/i.json"
    assert settings.networks[0].cidr_file == "/abs/n.txt"
    assert settings.geography.city == "/srv/conf/city.mmdb"
    assert settings.geography.asn == ""
    assert settings.policies.path == "/srv/conf/policies"


def test_the_environment_comes_after_the_file() -> None:
    text = """
    http: {bind: "a:1"}
    store: {url: "redis://file"}
    tokens: {issuers: [{issuer: https://i, audiences: [a]}]}
    """
    settings = read(
        text,
        {
            "SIDECAR_HTTP__BIND": "[::1]:2",
            "sidecar_http__header_timeout": "90s",
            "SIDECAR_HTTP__ENABLED": "false",
            "SIDECAR_STORE__URL": "redis://environment",
            "SIDECAR_HTTP__TRUSTED_PROXIES": "10.0.0.0/8, ::1/128",
            "SIDECAR_SOCKET__ALLOWED_UIDS": "[1, 2]",
            "SIDECAR_SOCKET__MODE": "0600",
            "SIDECAR_CONTEXTS__C1__NAME": "Pay",
            "SIDECAR_CONTEXTS": "{c2: {name: Two}}",
            "SIDECAR_ROUTES__0": '{"path": "/x", "contexts": ["c1"]}',
            "SIDECAR_ROUTES__1__PATH": "/y",
            "SIDECAR_ROUTES__1__CONTEXTS": "c1,c2",
            "SIDECAR_TOKENS__ISSUERS__0__AUDIENCES": "b",
            "SIDECAR_RISK__WEIGHTS__USER_RISK_HIGH__WEIGHT": "61",
            "SIDECAR_RISK__THRESHOLDS__HIGH": "80",
        },
    )
    assert settings.http.bind == "[::1]:2"
    assert settings.http.header_timeout == 90
    assert not settings.http.enabled
    assert settings.store.url == "redis://environment"
    assert settings.http.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.socket.allowed_uids == (1, 2)
    assert settings.socket.mode == "0600"
    assert {name: context.name for name, context in settings.contexts.items()} == {
        "c1": "Pay",
        "c2": "Two",
    }
    assert [(route.path, route.contexts) for route in settings.routes] == [
        ("/x", ("c1",)),
        ("/y", ("c1", "c2")),
    ]
    assert settings.tokens.issuers[0].audiences == ("b",)
    assert settings.risk.weights["user-risk-high"] == Weight(61)
    assert settings.risk.thresholds.high == 80


def test_a_problem_of_the_environment_names_the_variable() -> None:
    environ = {
        "SIDECAR_HTPP__BIND": "x:1",
        "SIDECAR_HTTP__BIND": "x",
        "SIDECAR_HTTP__BIND__PORT": "1",
        "SIDECAR_HTTP__GATEWAY": "ngnix",
        "SIDECAR_CONTEXTS": "{c1: {name: a, name: b}}",
        "SIDECAR_ROUTES__3__PATH": "/x",
        FIRST: "x",
        "SIDECAR_APP__REALM": "a\udcff",
        "SIDECAR_WORK__QUEUE": "many",
    }
    assert sorted(problems("", environ)) == [
        "SIDECAR_APP__REALM:1: app.realm: has a control character, or is not UTF-8",
        "SIDECAR_CONTEXTS:1: contexts.c1.name: is given twice; first in line 1",
        "SIDECAR_HTPP__BIND:1: htpp: unknown key; did you mean 'http'?",
        "SIDECAR_HTTP__BIND:1: http.bind: must be host:port, such as 127.0.0.1:8181 or [::1]:8181",
        "SIDECAR_HTTP__BIND__PORT:1: http.bind: has no keys below it",
        "SIDECAR_HTTP__GATEWAY:1: http.gateway: 'ngnix' is not known; did you mean 'nginx'?",
        "SIDECAR_ROUTES__3__PATH:1: routes.3: is no item of the list; the next one would be 0",
        f"{FIRST}:1: tokens.issuers.first: is no item of the list; the next one would be 0",
        "SIDECAR_WORK__QUEUE:1: work.queue: must be a whole number",
    ]


def test_variables_that_kubernetes_makes_for_a_service_are_none_of_ours() -> None:
    environ = {
        "SIDECAR_PORT": "tcp://10.0.0.1:80",
        "SIDECAR_SERVICE_HOST": "10.0.0.1",
        "SIDECAR_LOG": "x",
    }
    assert read("", environ) == read()


def test_the_sockets_path_has_a_short_name() -> None:
    assert read("socket: {path: /a}", {"SIDECAR_SOCKET": "/b"}).socket.path == "/b"


def test_the_sockets_path_is_relative_to_what_names_it() -> None:
    """A variable is read by the client, too, which knows no configuration file."""
    assert read("socket: {path: s.sock}").socket.path == "etc/s.sock"
    for name in ("SIDECAR_SOCKET", "SIDECAR_SOCKET__PATH"):
        assert read("socket: {path: /a}", {name: "run/s.sock"}).socket.path == "run/s.sock"


def test_one_setting_by_two_variables_is_refused() -> None:
    environ = {"SIDECAR_SOCKET": "/b", "SIDECAR_SOCKET__PATH": "/c"}
    message = "is given by SIDECAR_SOCKET already, with another value"
    assert problems("", environ) == [f"SIDECAR_SOCKET__PATH:1: socket.path: {message}"]
    assert read("", dict.fromkeys(environ, "/b")).socket.path == "/b"


def test_a_secret_is_read_from_its_file_without_the_newline_at_its_end() -> None:
    settings = read(
        "{store: {password_file: pw}, admin: {token_file: /t}}",
        files={"etc/pw": "s3cret\n", "/t": "t0ken\r\n"},
    )
    assert (settings.store.password, settings.admin.token) == ("s3cret", "t0ken")
    assert settings.store.password_file == "etc/pw"


def test_a_secret_of_the_environment_replaces_the_files_in_either_form() -> None:
    by_file = {"SIDECAR_STORE__PASSWORD_FILE": "/pw"}
    settings = read("store: {password: old}", by_file, files={"/pw": "new"})
    assert settings.store.password == "new"
    settings = read("store: {password_file: gone}", {"SIDECAR_STORE__PASSWORD": "12345"})
    assert (settings.store.password, settings.store.password_file) == ("12345", "")


def test_a_secret_in_both_forms_is_refused() -> None:
    assert problems("store: {password: a, password_file: b}", files={"etc/b": "x"}) == [
        "etc/s.yaml:1: store.password_file: is given, and so is password; give one of them"
    ]
    environ = {"SIDECAR_STORE__PASSWORD": "a", PASSWORD_FILE: "/b"}
    assert problems("", environ, files={"/b": "x"}) == [
        f"{PASSWORD_FILE}:1: store.password_file: is given, and so is password; give one of them"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "is empty"),
        ("\n", "is empty"),
        ("hush\nhush", "must hold one line of text, and no more"),
        ("hush" * 3000, "must hold one line of text, and no more"),
    ],
)
def test_a_secrets_file_that_cannot_be_used_is_reported_without_its_content(
    content: str | None, message: str
) -> None:
    files = {} if content is None else {"/pw": content}
    said = problems("store: {password_file: /pw}", files=files)
    assert said == [f"etc/s.yaml:1: store.password_file: /pw {message}"]


def test_every_secret_that_has_a_file_beside_it_is_read_from_there() -> None:
    text = """
    admin: {token_file: one}
    store: {password_file: two, sentinel_password_file: three}
    app: {redirect: {start: "https://a.example/up", key_file: four}}
    tokens: {issuers: [{issuer: "https://i", audiences: [a]}]}
    """
    names = ("one", "two", "three", "four")
    settings = read(text, files={f"etc/{name}": f"secret-{name}" for name in names})
    assert settings.admin.token == "secret-one"
    assert settings.store.password == "secret-two"
    assert settings.store.sentinel_password == "secret-three"
    assert settings.app.redirect.key == "secret-four"


def test_a_nested_secrets_file_is_reported_by_its_own_field_and_line() -> None:
    text = "apps:\n  b:\n    redirect: {key_file: gone}\n"
    assert problems(text) == [
        "etc/s.yaml:3: apps.b.redirect.key_file: etc/gone cannot be read: No such file or directory"
    ]
    special = read(text, files={"etc/gone": "x\n"}).apps["b"].redirect
    assert special is not None
    assert special.key == "x"


def test_no_problem_quotes_a_secret() -> None:
    text = """
    store: {url: "redis://:hunter2@h:x", password: [hunter2], sentinel_password: {hunter2: 1}}
    admin: {token: !hunter2 x}
    """
    said = problems(text, {"SIDECAR_STORE__USERNAME__X": "hunter2"})
    assert len(said) >= 5
    assert not [line for line in said if "hunter2" in line and "sentinel_password" not in line]


@given(st.text() | st.from_regex(r"(?s)[a-z{}\[\],:&*!|>'\"#\-\n .0-9]{0,80}"))
def test_no_text_makes_the_reader_raise_anything_but_its_own_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(read(text), Settings)


SECTIONS = [member.encode_name for member in struct_type(Settings).fields]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "cidrs", "issuer", "levels", "weights", "bind", "mode", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES, max_size=4))
def test_no_shape_makes_the_reader_raise_anything_but_its_own_error(tree: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(read(yaml.safe_dump(tree, allow_unicode=True)), Settings)


@given(
    st.dictionaries(
        st.from_regex(
            r"SIDECAR_(HTTP|TOKENS|RISK|ROUTES|CONTEXTS)(__[A-Z0-9_]{0,9}){1,4}", fullmatch=True
        ),
        st.text(max_size=20),
        max_size=4,
    )
)
def test_no_environment_makes_the_reader_raise_anything_but_its_own_error(
    environ: dict[str, str],
) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(read("routes: [{path: /a, contexts: [c1]}]", environ), Settings)


def test_a_context_has_an_age_of_its_own_past_which_a_view_does_not_decide() -> None:
    settings = read("contexts: {c1: {name: a, max_staleness: 3s}, c2: {name: b}}")
    ages = [settings.max_staleness(name) for name in ("c1", "c2", "c3")]
    assert ages == [3.0, 10.0, 10.0]
    assert settings.longest_staleness == 10.0
    wide = read("contexts: {c1: {name: a, max_staleness: 1m}}")
    assert wide.longest_staleness == 60.0


def test_freshness_that_cannot_be_had_and_facts_that_die_before_sessions_are_refused() -> None:
    text = "contexts:\n  c1: {name: a, max_staleness: 1s}\nsessions:\n  max_staleness: 1.5s\n"
    message = "must be at least 2s: that a view is fresh is found out once a second"
    assert problems(text) == [
        f"etc/s.yaml:2: contexts.c1.max_staleness: {message}",
        f"etc/s.yaml:4: sessions.max_staleness: {message}",
    ]
    (problem,) = problems("sessions: {min_ttl: 2d, facts_ttl: 1d}")
    assert problem.startswith(
        "etc/s.yaml:1: sessions.facts_ttl: must be at least min_ttl (172800s)"
    )


def test_what_an_unknown_context_gets_stands_among_the_contexts() -> None:
    text = "contexts:\n  unknown: strictest\n  c1: {name: Payments}\n"
    settings = read(text)
    assert (settings.unknown_contexts, list(settings.contexts)) == ("strictest", ["c1"])
    assert read("contexts: {c1: {name: Payments}}").unknown_contexts == "error"
    said = read("contexts: {c1: {name: P}}", {"SIDECAR_CONTEXTS__UNKNOWN": "strictest"})
    assert said.unknown_contexts == "strictest"
    (problem,) = problems("contexts: {unknown: routine, c1: {name: P}}")
    assert "contexts.unknown: 'routine' is not known" in problem
    (problem,) = problems("contexts: {unknown: strictest}")
    assert "contexts.unknown: must have contexts beside it" in problem


@pytest.mark.parametrize("section", ["admin", "http", "grpc"])
def test_a_listener_has_one_address_or_a_list_of_them(section: str) -> None:
    name = f"SIDECAR_{section.upper()}__BIND"
    one, two = "[::]:7001", ("127.0.0.1:7001", "[::1]:7001")
    # Nobody who asks at the data listener is known, so that it is for this machine alone.
    accepted = {"warnings": {"accept": ["data-listener-exposed"]}} if section == "http" else {}

    def of(bind: object = None, environ: str = "") -> object:
        text = yaml.safe_dump(({section: {"bind": bind}} if bind else {}) | accepted)
        settings = read(text, {name: environ} if environ else {})
        return getattr(settings, section).bind

    assert of(one) == of(environ=one) == one
    assert of(list(two)) == of(environ=", ".join(two)) == two
    assert of(list(two), "[::1]:7001") == "[::1]:7001"
    assert problems(f"{section}: {{bind: []}}")
    assert problems(f"{section}: {{bind: null}}")
    assert problems(f"{section}: {{bind: ['nonsense']}}")


def test_routes_may_call_a_context_by_its_alias() -> None:
    contexts = "contexts: {c1: {name: Payroll, alias: payments}, c2: {name: Keys}}"
    settings = read(f"{contexts}\nroutes: [{{path: /pay/**, contexts: [payments, c2]}}]")
    assert settings.routes[0].contexts == ("c1", "c2")
    assert settings.aliases == {"payments": "c1"}
