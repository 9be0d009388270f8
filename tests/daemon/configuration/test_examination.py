"""`sidecar doctor` finds each planted fault and names what helps; nothing on a good set-up."""

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
import trustme

from sidecar.adapters.clock import now
from sidecar.adapters.redis.links import call
from sidecar.daemon.configuration.examination import Examination, examine
from sidecar.domain.explanation.diagnosis import Diagnosis, Part, Soundness
from tests.adapters.identity import Answer, Signer, key_set, serve
from tests.adapters.servers import USER, Server, serving
from tests.adapters.tokens.introspection_endpoint import Endpoint
from tests.daemon.set_up import METADATA, SetUp, countries_of, places_of, rewriting

WRONG, DOUBTFUL = Soundness.WRONG, Soundness.DOUBTFUL


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return places_of(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """A store that keeps what it is given."""
    with serving("--appendonly", "yes") as server:
        yield server


@pytest.fixture
async def set_up(tmp_path: Path, places: Path, store: Server, nursery: trio.Nursery) -> SetUp:
    return SetUp(tmp_path, places, await serve(nursery), store)


class Fault(NamedTuple):
    """Something to break, and the diagnosis that must come of it."""

    name: str
    plant: Callable[[SetUp], None]
    part: Part
    state: Soundness
    what: str
    cure: str


def claims(**changes: object) -> Callable[[SetUp], None]:
    return lambda set_up: set_up.claims.update(changes)


def issuer(**changes: object) -> Callable[[SetUp], None]:
    return lambda set_up: set_up.first.update(changes)


def settings(section: str, **changes: object) -> Callable[[SetUp], None]:
    return lambda set_up: set_up.settings.setdefault(section, {}).update(changes)


def metadata(**changes: object) -> Callable[[SetUp], None]:
    return lambda set_up: set_up.metadata.update(changes)


def policy(**changes: object) -> Callable[[SetUp], None]:
    return lambda set_up: set_up.policies.append({**set_up.policies[0], "id": "other", **changes})


def signed_by(signer: Signer, **headers: object) -> Callable[[SetUp], None]:
    def plant(set_up: SetUp) -> None:
        set_up.signer = signer
        set_up.headers.update(headers)

    return plant


def forged(set_up: SetUp) -> None:
    head, _, signature = set_up.token.rpartition(".")
    set_up.raw_token = f"{head}.{'A' * 84}{signature[84:]}"


def source(text: str | None, second: bool = False) -> Callable[[SetUp], None]:
    def plant(set_up: SetUp) -> None:
        file = set_up.directory / "mdm"
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        if second:
            again = {**set_up.settings["sources"][0], "name": "edr", "token_file": "edr"}
            set_up.settings["sources"].append(again)
            (set_up.directory / "edr").write_text(file.read_text())

    return plant


def countries(set_up: SetUp) -> None:
    set_up.settings["geography"]["city"] = str(countries_of(set_up.directory))


def no_places(set_up: SetUp) -> None:
    del set_up.settings["geography"]


def broken_database(set_up: SetUp) -> None:
    (set_up.directory / "broken.mmdb").write_bytes(b"\0" * 4096)
    set_up.settings["geography"]["city"] = "broken.mmdb"


def keys(raw: bytes) -> Callable[[SetUp], None]:
    def plant(set_up: SetUp) -> None:
        set_up.keys = raw

    return plant


def raw_token(text: str) -> Callable[[SetUp], None]:
    def plant(set_up: SetUp) -> None:
        set_up.raw_token = text

    return plant


def unsaid(key: str) -> Callable[[SetUp], None]:
    return lambda set_up: set_up.claims.update({key: None})


def transmitter(set_up: SetUp) -> None:
    known = {"name": "idp", "issuer": "http://127.0.0.1:1", "audiences": ["us"]}
    events = {"events": ["session-revoked"], "authorization_file": "mdm"}
    set_up.settings["receiver"] = {"bind": "127.0.0.1:0", "transmitters": [{**known, **events}]}


def password(set_up: SetUp) -> None:
    (set_up.directory / "password").write_text("another")


T, K, S, P, C = Part.TOKEN, Part.ISSUERS, Part.STORE, Part.POLICIES, Part.CONFIGURATION
OURS = "oidc-provider: "
CONSOLE = Part.CONSOLE


def console(section: str = "", **changes: object) -> Callable[[SetUp], None]:
    """Have people sign in at the provider; change its metadata, or what is configured of it."""

    def plant(set_up: SetUp) -> None:
        openid: dict[str, object] = {
            "issuer": set_up.provider.url,
            "client_id": "console",
            "redirect_uri": "https://sidecar.example/console/sign-in/return",
            "viewers": ["on-call"],
            "scopes": ["profile"],
        }
        offered: dict[str, object] = {
            "token_endpoint": f"{set_up.provider.url}/token",
            "response_types_supported": ["code", "id_token"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
            "scopes_supported": ["openid", "profile"],
            "claims_supported": ["sub", "groups"],
        }
        (openid if section == "openid" else offered).update(changes)
        set_up.settings["admin"] = {"bind": "127.0.0.1:0", "console": {"openid": openid}}
        set_up.metadata.update(offered)

    return plant


CONSOLE_FAULTS = [
    Fault(
        "another issuer",
        console("openid", issuer="http://127.0.0.1:1"),
        CONSOLE,
        WRONG,
        "127.0.0.1:1",
        "admin.console.openid.issuer",
    ),
    Fault(
        "no token endpoint",
        console(token_endpoint=7),
        CONSOLE,
        WRONG,
        "token_endpoint",
        "code flow",
    ),
    Fault(
        "plain http",
        console(authorization_endpoint="http://id.example/auth"),
        CONSOLE,
        WRONG,
        "authorization_endpoint",
        "code flow",
    ),
    Fault(
        "no codes", console(response_types_supported=["id_token"]), CONSOLE, WRONG, "`code`", "flow"
    ),
    Fault(
        "no S256",
        console(code_challenge_methods_supported=["plain"]),
        CONSOLE,
        WRONG,
        "S256",
        "PKCE",
    ),
    Fault(
        "no word of S256",
        console(code_challenge_methods_supported=None),
        CONSOLE,
        DOUBTFUL,
        "is not there",
        "code_verifier",
    ),
    Fault(
        "symmetric ID tokens",
        console(id_token_signing_alg_values_supported=["HS256"]),
        CONSOLE,
        WRONG,
        "openid.algorithms",
        "asymmetric",
    ),
    Fault(
        "public client",
        console(token_endpoint_auth_methods_supported=None),
        CONSOLE,
        WRONG,
        "has none of none",
        "client_secret_file",
    ),
    Fault(
        "client with a secret",
        console("openid", client_secret="s3cret-of-the-console"),
        CONSOLE,
        Soundness.RIGHT,
        "people can sign in",
        "",
    ),
    Fault(
        "scope",
        console("openid", scopes=["teams"]),
        CONSOLE,
        DOUBTFUL,
        "does not have teams",
        "scopes",
    ),
    Fault(
        "claim of roles",
        console("openid", roles_claim="realm_access.roles"),
        CONSOLE,
        DOUBTFUL,
        "realm_access",
        "roles_claim",
    ),
]
"""Faults of the console's provider, which is asked only where there is one."""


FAULTS = [
    *CONSOLE_FAULTS,
    Fault("wrong audience", claims(aud="shop"), T, WRONG, "its aud is 'shop'", "audiences"),
    Fault("slash", claims(iss="https://x/"), T, WRONG, "its iss is 'https://x/'", "issuer"),
    Fault("no sid", unsaid("sid"), T, DOUBTFUL, "no `sid`: `user-client` stands in", OURS),
    Fault(
        "no sid, required",
        lambda s: (unsaid("sid")(s), issuer(session="required")(s))[0],
        *(T, WRONG, "the sid claim is missing", f"{OURS}`backchannel"),
    ),
    Fault("unknown acr", claims(acr="urn:x", amr=None), T, WRONG, "'urn:x'", "assurance.levels"),
    Fault("unknown amr", claims(acr=None, amr=["x"]), T, WRONG, "its amr is 'x'", OURS),
    Fault("no acr", claims(acr=None, amr=None), T, WRONG, "neither `acr` nor `amr`", OURS),
    Fault("no auth_time", claims(auth_time=None), T, WRONG, "proves nothing", f"{OURS}`claims"),
    Fault("no groups", unsaid("groups"), T, WRONG, "has no `groups`", f"{OURS}from your"),
    Fault("ID token", claims(nonce="n"), T, DOUBTFUL, "looks like an ID token", "access token"),
    Fault("unknown kid", signed_by(Signer("ES256", "k9")), T, WRONG, "'k9'", "jwks_uri"),
    Fault("other key", signed_by(Signer("ES256", "k1", 7)), T, WRONG, "no key of that", "another"),
    Fault("HS", issuer(algorithms=["RS256"]), T, WRONG, "alg is 'ES256'", "algorithms"),
    Fault("typ", signed_by(Signer("ES256"), typ="x"), T, WRONG, "typ is 'x'", "issuers[].types"),
    Fault("expired", claims(exp=int(now()) - 99), T, WRONG, "its exp is", "take a fresh one"),
    Fault("clock off", claims(iat=int(now()) + 500), T, WRONG, "ahead of this clock", "NTP"),
    Fault("no token", raw_token("a.b.c"), T, WRONG, "base64url", "the token alone"),
    Fault("opaque", raw_token("opaque"), T, WRONG, "no issuer can be asked", "introspection"),
    Fault("issuer down", issuer(issuer="http://127.0.0.1:1"), K, WRONG, "refused", "is it up"),
    Fault("no such issuer", metadata(jwks_uri=None), K, WRONG, "no jwks_uri", "just as"),
    Fault("no keys", keys(key_set()), K, WRONG, "no key that can verify", "reached"),
    Fault("issuer's slash", metadata(issuer="x"), K, WRONG, "of the issuer 'x'", "just as"),
    Fault("moved", metadata(jwks_uri="https://127.0.0.1:1/"), K, WRONG, "must not", "reached"),
    Fault("acr", metadata(acr_values_supported=["gold"]), P, WRONG, "offers 'gold'", "levels"),
    Fault("no store", settings("store", url="unix:///no"), S, WRONG, "No such", "store.url"),
    Fault("password", password, S, WRONG, "refuses the credentials", "store.password"),
    Fault("countries", countries, P, WRONG, "has coordinates", "use a database that has it"),
    Fault("no places", no_places, P, WRONG, "no geography.city", "configure the database"),
    Fault("broken", broken_database, Part.DATABASES, WRONG, "broken.mmdb", "geography.city"),
    Fault("gone", settings("geography", city="no.mmdb"), Part.DATABASES, WRONG, "no.mmdb", "MMDB"),
    Fault("no gateway", settings("http", gateway="none"), P, WRONG, "gets no path", "http.gateway"),
    Fault(
        "never", policy(contexts={"include": ["c1"], "exclude": ["c1"]}), P, WRONG, "all co", "c"
    ),
    Fault("no policy", settings("contexts", c2={"name": "x"}), P, DOUBTFUL, "no enabled", "write"),
    Fault("short", source("abc"), Part.SOURCES, WRONG, "3 characters", "openssl rand"),
    Fault("none", source(None), Part.SOURCES, WRONG, "mdm", "put a file with the right"),
    Fault("twice", source("x" * 32, second=True), Part.SOURCES, WRONG, "of 'mdm'", "right content"),
    Fault("transmitter", transmitter, Part.SOURCES, WRONG, "refused", "metadata_url"),
    Fault("no directory", settings("socket", path="/no/s"), C, DOUBTFUL, "directory /no", "make"),
    Fault("no spool", settings("spool", dir="/proc/1/no"), C, DOUBTFUL, "not write in", "give"),
    Fault("key", settings("tokenz", a=1), Part.CONFIGURATION, WRONG, "tokenz", "correct "),
]


def found(diagnoses: tuple[Diagnosis, ...], fault: Fault) -> bool:
    return any(
        (one.part, one.state) == (fault.part, fault.state)
        and fault.what in one.what
        and fault.cure in one.cure
        for one in diagnoses
    )


async def test_nothing_is_wrong_or_doubtful_with_a_good_set_up(set_up: SetUp) -> None:
    diagnoses = await set_up.examined()
    assert [one for one in diagnoses if one.state is not Soundness.RIGHT] == []
    assert {one.part for one in diagnoses} == set(Part) - {Part.GATEWAY, Part.CONSOLE}


async def test_a_console_whose_provider_has_all_that_a_sign_in_needs_is_right(
    set_up: SetUp,
) -> None:
    console()(set_up)
    diagnoses = await set_up.examined()
    assert [one for one in diagnoses if one.state is not Soundness.RIGHT] == []
    heard = [one.what for one in diagnoses if one.part is CONSOLE]
    assert heard == [
        "it has 1",
        f"people can sign in there: they are sent to {set_up.provider.url}/auth",
    ]


async def test_a_token_is_reported_claim_by_claim_with_its_level_and_why(set_up: SetUp) -> None:
    heard = {one.name: one.what for one in await set_up.examined() if one.part is T}
    assert heard["session"] == "'s-1', from `sid`"
    assert heard["level"] == "mfa, by its acr 'mfa'"
    assert heard["amr"] == "'pwd', 'otp', from `amr`"
    assert heard["groups"] == "'finance', from `groups`"
    assert heard["auth_time"].endswith("s ago, from `auth_time`")
    set_up.claims.update(acr=None)
    heard = {one.name: one.what for one in await set_up.examined() if one.part is T}
    assert heard["acr"] == "it has no `acr`: the level goes by amr"
    assert heard["level"] == "mfa, by its amr 'pwd', 'otp'"


@pytest.mark.parametrize("fault", FAULTS, ids=[one.name for one in FAULTS])
async def test_a_planted_fault_is_found_and_its_cure_named(set_up: SetUp, fault: Fault) -> None:
    fault.plant(set_up)
    diagnoses = await set_up.examined()
    assert found(diagnoses, fault), [one for one in diagnoses if one.state is not Soundness.RIGHT]


async def test_an_opaque_token_is_asked_about_and_reported_claim_by_claim(
    set_up: SetUp, nursery: trio.Nursery
) -> None:
    endpoint = Endpoint()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, endpoint.handle, listeners)
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/introspect"
    asked = {"endpoint": url, "client_id": "sidecar", "client_secret": "s3cret"}
    issuer(introspection=asked)(set_up)
    set_up.raw_token = "opaque"
    diagnoses = await set_up.examined()
    fault = Fault("", password, T, WRONG, "its issuer was asked", "take a fresh one")
    assert found(diagnoses, fault), diagnoses
    endpoint.active["opaque"] = {"sub": "ada", "acr": "mfa", "groups": ["finance"], "sid": "s-1"}
    diagnoses = await set_up.examined()
    assert found(diagnoses, Fault("", password, T, WRONG, "no `auth_time`", OURS)), diagnoses
    assert found(diagnoses, Fault("", password, T, Soundness.RIGHT, "mfa, by its acr", ""))
    endpoint.status = 500
    diagnoses = await set_up.examined()
    assert found(diagnoses, Fault("", password, T, WRONG, "it is opaque", "client_id")), diagnoses


async def test_an_issuer_whose_authority_is_private_is_found(
    set_up: SetUp, nursery: trio.Nursery
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, shake_hands, listeners)
    port = listeners[0].transport_listener.socket.getsockname()[1]  # type: ignore[attr-defined] # of TCP
    issuer(issuer=f"https://127.0.0.1:{port}")(set_up)
    diagnoses = await set_up.examined()
    fault = Fault("", password, K, WRONG, "certificate is not trusted", "as SSL_CERT_FILE")
    assert found(diagnoses, fault), diagnoses


async def shake_hands(stream: trio.SSLStream[trio.SocketStream]) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.do_handshake()


async def test_a_part_that_hangs_or_cannot_be_read_hides_none_of_the_others(
    set_up: SetUp,
) -> None:
    password(set_up)
    settings("geography", cities="x")(set_up)
    config = set_up.written()
    set_up.provider.paths[METADATA] = Answer(gate=trio.Event())
    diagnoses = await examine(Examination(config, set_up.token, timeout=1.0))
    wrong = {(one.part, one.what.partition(" ")[0]) for one in diagnoses if one.state is WRONG}
    assert {part for part, _ in wrong} == {Part.DATABASES, K, S}
    assert (K, "it") in wrong  # did not end
    found = {one.part for one in diagnoses if one.state is Soundness.RIGHT}
    assert found == {Part.CONFIGURATION, Part.SOURCES}


class StoreFault(NamedTuple):
    """Something to break in the store, how it is undone, and the diagnosis that must come of it."""

    plant: tuple[str, ...]
    undo: tuple[str, ...]
    state: Soundness
    what: str
    cure: str


def acl(taken: str, given: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return ("ACL", "SETUSER", USER, *taken.split()), ("ACL", "SETUSER", USER, *given.split())


def config(name: str, wrong: str, good: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return ("CONFIG", "SET", name, wrong), ("CONFIG", "SET", name, good)


APART = f"`ACL SETUSER {USER} "
STORE_FAULTS = [
    StoreFault(*acl("resetchannels", "&su:*"), WRONG, "rights to channels", f"{APART}&su:*`"),
    StoreFault(*acl("resetkeys", "~su:*"), WRONG, "rights to keys", f"{APART}~su:*`"),
    StoreFault(*acl("-hdel", "+hdel"), WRONG, "rights to commands: +hdel", f"{APART}+hdel`"),
    StoreFault(*acl("-info", "+info"), DOUBTFUL, "does not say", "+info"),
    StoreFault(*config("appendonly", "no", "yes"), DOUBTFUL, "no append-only", "`appendonly yes`"),
    StoreFault(
        *config("maxmemory-policy", "allkeys-lru", "noeviction"),
        WRONG,
        "allkeys-lru: when it is full",
        "`maxmemory-policy noeviction`",
    ),
    StoreFault(
        ("REPLICAOF", "127.0.0.1", "1"),
        ("REPLICAOF", "NO", "ONE"),
        WRONG,
        "it is a replica",
        "name the master",
    ),
]


@pytest.mark.parametrize("fault", STORE_FAULTS, ids=[" ".join(f.plant) for f in STORE_FAULTS])
async def test_a_fault_of_the_store_is_found_and_its_cure_named(
    set_up: SetUp, store: Server, fault: StoreFault
) -> None:
    with store.client() as client:
        try:
            call(client, *fault.plant)
            diagnoses = await set_up.examined()
        finally:
            call(client, *fault.undo)
    assert found(diagnoses, Fault("", lambda _: None, S, *fault[2:])), diagnoses


def older(data: bytes) -> bytes:
    return re.sub(rb"(?<=redis_version:)\d", b"6", data)


def later(data: bytes) -> bytes:
    def ahead(clock: re.Match[bytes]) -> bytes:
        return b"%d" % (int(clock[0]) + 600_000_000)

    return re.sub(rb"(?<=server_time_usec:)\d+", ahead, data)


@pytest.mark.parametrize(
    ("change", "what", "cure"),
    [(older, "Valkey", "7.0 or newer"), (later, "600.0 s ahead of", "NTP")],
)
async def test_a_store_of_another_version_or_time_is_found(
    set_up: SetUp, store: Server, change: Callable[[bytes], bytes], what: str, cure: str
) -> None:
    async with rewriting(store, change) as url:
        settings("store", url=url)(set_up)
        diagnoses = await set_up.examined()
    assert found(diagnoses, Fault("", lambda _: None, S, WRONG, what, cure)), diagnoses
