"""No setting that is shown may hold a credential: each URL, and each name that may look like one.

Every text of the configuration is here: one that comes anew must be put into one of the lists, or
be of a kind that refuses credentials.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import msgspec.inspect as mi
import pytest
import yaml

from sidecar.wire.config.secret_files import secrets_of
from sidecar.wire.config.settings_reader import (
    REFINED,
    ConfigError,
    read_settings,
    read_what_can_be,
)
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.address import parse_store_address
from sidecar.wire.yaml.scalars import INSTEAD, ScalarKind
from sidecar.wire.yaml.structs import Shapes, present_in, struct_type
from sidecar.wire.yaml.tree import ConfigProblem, Problems

SECRET = "47114711"
"""Digits, as what looks like a port is distinguished last."""

WITH_CREDENTIALS = (
    f"https://user:{SECRET}@host.example/way",
    f"https://{SECRET}@host.example",
    f"HTTPS://user:{SECRET}@host.example:8443",
    f"https://user:{SECRET}@[::1]:8443",
    f"https:user:{SECRET}@host.example",
    f"https:\\\\user:{SECRET}@host.example",
    f"//user:{SECRET}@host.example",
    f"https://user:{SECRET}/{SECRET}@host.example",
    f"https://user:{SECRET}?{SECRET}@host.example/way",
    f"https://user:{SECRET}#{SECRET}@host.example",
    f"https://host.example/way?a=b&Access-Token={SECRET}",
    f"https://host.example/?password={SECRET}#c",
    f"https://host.example/?client_secret={SECRET}",
    f"https://user:{SECRET}@host.example/{'long/' * 40}",
)

REFUSING = frozenset({ScalarKind.URL, ScalarKind.STRING_OR_URI, ScalarKind.NAME, ScalarKind.ORIGIN})
"""Kinds of settings that no credential may be in."""

NO_URLS = frozenset(
    {
        ScalarKind.FILE,
        ScalarKind.CIDR,
        ScalarKind.COUNTRY,
        ScalarKind.MODE,
        ScalarKind.BIND,
        ScalarKind.ALGORITHM,
        ScalarKind.METHOD,
    }
    | {ScalarKind.HEADER, ScalarKind.CLAIM, ScalarKind.PUBLIC}
)
"""Kinds that no URL is of: they are refused for what they are, or name a place on this machine."""

SECRETS = frozenset({"privacy.keys[]"})
"""Secrets themselves, beside those that have a `..._file`; shown nowhere."""

NEVER_SHOWN = frozenset({"store.url"})
"""What may hold a credential: it is shown as `StoreAddress.shown`, without."""

WORDS = frozenset(
    {
        *("socket.group", "http.unix_group", "http.hosts[]", "store.username", "store.prefix"),
        *("shared_table.group", "traces.service_name", "traces.resource.{}"),
        *("routes[].path", "routes[].contexts[]", "routes[].hosts[]"),
        *("contexts.{}.name", "contexts.{}.alias", "contexts.{}.requires.assurance"),
        *(f"contexts.{{}}.requires.exclude.{one}[]" for one in ("users", "groups", "roles")),
        *(
            "locations[].name",
            "networks[].name",
            "sources[].name",
            "admin.operators[].name",
            "admin.console.openid.client_id",
            "admin.console.openid.scopes[]",
            "sources[].transmitter",
        ),
        *("sources[].may[]", "sources[].may_loosen[]", "sources[].over[]"),
        *(f"geography.fields.{one}" for one in ("country", "region", "city", "latitude")),
        *(f"geography.fields.{one}" for one in ("longitude", "accuracy_km", "asn", "organization")),
        *("assurance.levels[].name", "assurance.levels[].acr[]", "assurance.levels[].amr[][]"),
        *("assurance.strengths.{}.acr[]", "assurance.strengths.{}.amr[][]"),
        *("app.realm", "app.redirect.return_parameter"),
        *("apps.{}.realm", "apps.{}.redirect.return_parameter"),
        *("tokens.issuers[].assurance_at_most", "tokens.issuers[].types[]"),
        *(f"tokens.issuers[].introspection.{one}" for one in ("prefix", "client_id")),
        "tokens.issuers[].introspection.private_key_id",
        *("receiver.transmitters[].name", "receiver.transmitters[].types[]"),
        *("receiver.transmitters[].events[]", "receiver.transmitters[].subjects.tenants[]"),
        "receiver.transmitters[].subjects.critical[]",
        *(
            f"{rules}[].{one}"
            for rules in (
                *(f"receiver.transmitters[].subjects.{of}" for of in ("user", "device", "session")),
                "intake.issuers[].users",
            )
            for one in ("format", "value", "strip")
        ),
        *("intake.issuers[].clients[]", "transmitter.recipients[].name"),
        *("policies.bundle.public_keys[]", "policies.bundle.username"),
        *("central.askers[].name", "central.askers[].certificate_names[]"),
        *("log.level", "log.format", "warnings.accept[]"),
    }
)
"""Texts that are no URL, and name no party by one."""

OF_ADDRESSES = (
    "url",
    "uri",
    "endpoint",
    "issuer",
    "origin",
    "audience",
    "bind",
    "address",
    "push",
)


class Text(NamedTuple):
    """A setting that is text: its path (`[]`: of each item, `{}`: of each key) and its marks."""

    path: str
    kind: ScalarKind | None
    instead: str
    is_secret: bool


def texts() -> list[Text]:
    return list(_texts(struct_type(Settings), "", is_secret=False))


def _texts(kind: mi.Type, path: str, *, is_secret: bool) -> Iterator[Text]:
    extra = (kind.extra or {}) if isinstance(kind, mi.Metadata) else {}
    match kind.type if isinstance(kind, mi.Metadata) else kind:
        case mi.StructType() as struct:
            secrets = secrets_of(struct.cls)
            for member in struct.fields:
                inner = Shapes(Problems(), REFINED).type_of(struct.cls, member)
                below = f"{path}.{member.encode_name}".removeprefix(".")
                yield from _texts(inner, below, is_secret=member.name in secrets)
        case mi.VarTupleType(item_type=item) | mi.FrozenSetType(item_type=item):
            yield from _texts(item, f"{path}[]", is_secret=is_secret)
        case mi.DictType(value_type=value):
            yield from _texts(value, f"{path}.{{}}", is_secret=is_secret)
        case mi.UnionType() as union:
            yield from _texts(present_in(union)[0], path, is_secret=is_secret)
        case mi.StrType():
            yield Text(path, extra.get("kind"), extra.get(INSTEAD, ""), is_secret)


ALL = texts()


def problems_with(path: str, value: str) -> tuple[ConfigProblem, ...]:
    """Return what is said of a configuration that has this alone."""
    node: Any = value
    for step in reversed(path.replace("[]", ".[]").split(".")):
        match step:
            case "[]":
                node = [node]
            case "{}":
                node = {"c1": node}
            case _:
                node = {step: node}
    try:
        read_settings(yaml.safe_dump(node), "s.yaml", {}, lambda file: file)
    except ConfigError as error:
        return error.problems
    return ()


def test_every_text_of_the_configuration_is_of_a_kind_or_in_a_list() -> None:
    unknown = [
        one.path
        for one in ALL
        if not (one.is_secret or one.kind in REFUSING | NO_URLS)
        and one.path not in SECRETS | NEVER_SHOWN | WORDS
    ]

    assert unknown == []
    assert {one.path for one in ALL} >= SECRETS | NEVER_SHOWN | WORDS
    assert [
        one for one in WORDS if any(word in one.rpartition(".")[2] for word in OF_ADDRESSES)
    ] == []


@pytest.mark.parametrize("value", WITH_CREDENTIALS)
def test_a_url_with_a_credential_is_refused_and_reported_where_that_goes(value: str) -> None:
    for one in ALL:
        if one.kind not in REFUSING:
            continue
        field = one.path.replace("[]", "[0]").replace("{}", "c1")
        found = {problem.field: problem.message for problem in problems_with(one.path, value)}

        assert "must not hold a" in found.get(field, ""), (one.path, found)
        assert found[field].endswith(f"put it into `{one.instead}`" if one.instead else "used here")


def test_no_problem_repeats_a_credential_wherever_it_stands() -> None:
    value = f"https://user:{SECRET}@host.example/?a=b&token={SECRET}"
    for one in ALL:
        for path in (one.path, f"{one.path}.deeper"):
            outcome = "\n".join(map(str, problems_with(path, value)))

            assert SECRET not in outcome, (path, outcome)


def test_no_problem_repeats_a_credential_that_stands_in_place_of_a_key() -> None:
    for value in WITH_CREDENTIALS:
        for path in ("", "tokens.", "contexts.", "apps.", "risk.weights."):
            node: Any = {value: {"b": 1}}
            for step in path.split(".")[-2::-1]:
                node = {step: node}
            with pytest.raises(ConfigError) as refused:
                read_settings(yaml.safe_dump(node), "s.yaml", {}, lambda file: file)

            assert SECRET not in str(refused.value)


def test_what_a_secret_goes_into_is_a_setting_beside_it() -> None:
    paths = {one.path for one in ALL}

    for one in ALL:
        if one.instead:
            assert f"{one.path.rpartition('.')[0]}.{one.instead}" in paths


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@host",
        f"rediss://:{SECRET}@host:6379/3",
        f"redis+sentinel://user:{SECRET}@a,b:26379/service/0",
        f"redis+cluster://user:{SECRET}@a,b",
        f"unix://user:{SECRET}@/run/store.sock?db=2",
    ],
)
def test_the_address_of_a_store_is_shown_without_its_password(url: str) -> None:
    address = parse_store_address(url)

    assert address.password == SECRET
    assert SECRET not in address.shown


def test_an_address_of_a_store_with_a_slash_in_its_password_is_refused() -> None:
    # Of `user:47/11@host` the host would be `user`, and the rest be shown as a service.
    for url in (f"redis+sentinel://user:1/{SECRET}@host/service", f"redis://u:1/{SECRET}@host"):
        (problem,) = problems_with("store.url", url)

        assert SECRET not in str(problem)


def test_urls_that_hold_no_credential_are_taken_as_they_are() -> None:
    text = """
    app: {id: "https://api.example/@team", authorization_uri: "https://i.example/authorize?p=b2c"}
    tokens:
      issuers:
        - issuer: https://i.example/tenant/@ours?p=b2c_1
          audiences: ["api://5f1b", "urn:a@b", "ada@example.com", "auth0|a@b"]
          jwks_uri: https://[2001:db8::1]:8443/keys/@ours?p=b2c_1_signin&v=2
          introspection:
            endpoint: https://i.example/ask?token_type_hint=access_token&auth_level=2
            bearer_token: of-ours
    http: {cors: {origins: ["https://a.example:8443"]}}
    """
    (issuer,) = read_settings(text, "s.yaml", {}, lambda file: file).tokens.issuers

    assert issuer.issuer == "https://i.example/tenant/@ours?p=b2c_1"
    assert issuer.jwks_uri.endswith("?p=b2c_1_signin&v=2")
    assert msgspec.structs.asdict(issuer)["audiences"][1] == "urn:a@b"


@pytest.mark.parametrize(
    "indicator", [*"*&!%@`{[|>\"'#", "- ", "? ", "!a!", "a: ", "{a: ", "*", "<<: *"]
)
def test_no_problem_repeats_a_password_that_yaml_reads_otherwise(indicator: str) -> None:
    """A password that is not in quotes, and begins with what means something in YAML."""
    for section in ("admin: {{token: {}}}", "store:\n  password: {}\n  url: redis://h\n"):
        text = section.format(f"{indicator}{SECRET}")
        outcome = read_what_can_be(text, "s.yaml", {}, lambda file: file).problems
        assert SECRET not in "\n".join(map(str, outcome))
