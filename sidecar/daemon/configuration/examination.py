"""Examines a whole set-up: every part at once, each for its time, so that none hides another."""

import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from sidecar.adapters import clock
from sidecar.adapters.files.regular_files import read_text
from sidecar.adapters.geography.geography import DatabaseOutcome, Geography
from sidecar.adapters.probes.console import examine_console
from sidecar.adapters.probes.directory import examine_directories
from sidecar.adapters.probes.gateway import examine_gateway
from sidecar.adapters.probes.issuer import examine_issuer
from sidecar.adapters.probes.source import examine_sources
from sidecar.adapters.probes.store import examine_store
from sidecar.adapters.redis_server.embedded import NoEmbeddedStore, server_binary
from sidecar.adapters.tokens.introspection import Introspector
from sidecar.adapters.tokens.keys import KeySource
from sidecar.adapters.tokens.verifier import TokenVerifier
from sidecar.daemon.configuration.files import Configuration, ladder_of, read_configuration
from sidecar.daemon.configuration.host_checks import host_problems
from sidecar.daemon.configuration.lint import lint_configuration
from sidecar.domain.explanation.diagnosis import (
    Diagnosis,
    Part,
    Soundness,
    doubtful,
    in_order,
    right,
    wrong,
)
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.shared_signals.receiver_wiring import keys_of_transmitter
from sidecar.wire.config.settings_reader import read_what_can_be
from sidecar.wire.diagnosis.console import diagnose_console
from sidecar.wire.diagnosis.gateway import TRIALS_WITH_TOKEN, diagnose_gateway
from sidecar.wire.diagnosis.issuer import IssuerReport, diagnose_acr, diagnose_issuer
from sidecar.wire.diagnosis.policy import diagnose_warnings, part_of
from sidecar.wire.diagnosis.store import diagnose_server
from sidecar.wire.diagnosis.token import (
    NOT_SIGNED,
    Examined,
    diagnose_confirmed,
    diagnose_token,
    diagnose_unconfirmed,
    diagnose_unread,
    issuer_of,
)
from sidecar.wire.providers.known import OTHER
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.settings.settings import Settings
from sidecar.wire.tokens.claims import InvalidToken
from sidecar.wire.tokens.introspection import is_opaque
from sidecar.wire.tokens.jws import Unverified, read_jws
from sidecar.wire.yaml.tree import ConfigError, ConfigProblem, Table

_OLD = 90 * 86400.0
"""Seconds after which a database of places has networks that have moved since."""


class Examination(NamedTuple):
    """The things to examine: a configuration; a token and a gateway, if given; and for how long."""

    config: Path
    token: str = ""
    gateway_url: str = ""
    timeout: float = 10.0


class _Readable(NamedTuple):
    """The readable parts: the settings at least, and `whole` where nothing is wrong with it."""

    settings: Settings
    whole: Configuration | None
    root: Table | None

    @property
    def policies(self) -> tuple[Policy, ...]:
        return self.whole.policies if self.whole is not None else ()

    @property
    def claims(self) -> frozenset[str]:
        return self.whole.claims if self.whole is not None else frozenset()


async def examine(request: Examination) -> tuple[Diagnosis, ...]:
    """Return how it stands with everything, part by part.

    Of a configuration that is wrong those parts are examined of which nothing is wrong there.
    """
    known, found = await trio.to_thread.run_sync(_configured, request.config)
    amiss = {one.part for one in found if one.state is Soundness.WRONG}
    parts: list[tuple[Part, _Work]] = []
    if known is not None:
        parts = [
            (Part.CONFIGURATION, partial(_directories, known.settings)),
            (Part.ISSUERS, partial(_issuers, known, request)),
            (Part.STORE, partial(_store, known.settings)),
            (Part.SOURCES, partial(_sources, known.settings)),
            (Part.DATABASES, partial(_places, known)),
        ]
        if known.settings.admin.has_console and known.settings.admin.console.openid.issuer:
            parts.append((Part.CONSOLE, partial(_console, known.settings)))
        if request.gateway_url:
            parts.append((Part.GATEWAY, partial(_gateway, known.settings, request)))
    async with trio.open_nursery() as nursery:
        for part, work in parts:
            if part not in amiss:
                nursery.start_soon(_bounded, part, work, request.timeout, found)
    return in_order(found)


def _configured(file: Path) -> tuple[_Readable | None, list[Diagnosis]]:
    """Read the configuration, or what can be read of it, and say what is wrong. Blocks."""
    try:
        whole = read_configuration(file, os.environ)
    except ConfigError as error:
        return _in_part(file), [_of_problem(one) for one in error.problems]
    words = f"{file} and its policies can be read"
    return _Readable(whole.settings, whole, whole.tree), [right(Part.CONFIGURATION, "files", words)]


def _in_part(file: Path) -> _Readable | None:
    try:
        text = file.read_text(encoding="utf-8")
        reading = read_what_can_be(text, str(file), os.environ, read_text)
    except (OSError, UnicodeDecodeError, ConfigError):
        return None
    return _Readable(reading.settings, None, reading.root)


_Work = Callable[[], Awaitable[list[Diagnosis]]]


async def _bounded(part: Part, work: _Work, most: float, found: list[Diagnosis]) -> None:
    """Examine one part; that it fails, or takes too long, is a diagnosis of it alone."""
    try:
        with trio.fail_after(most):
            found += await work()
    except trio.TooSlowError:
        words = f"it did not end within {most:g} s"
        found.append(wrong(part, str(part), words, "allow more with --timeout, or look at its log"))
    except Exception as error:  # noqa: BLE001 - what breaks one part must hide none of the others
        words = f"it could not be examined: {words_of(error)}"
        found.append(wrong(part, str(part), words, "please report it to the project"))


def _of_problem(problem: ConfigProblem) -> Diagnosis:
    where = f"{problem.file}:{problem.line}"
    words = f"{where}: {problem.field}: {problem.message}"
    return wrong(part_of(problem.field), problem.field or "file", words, _cure_of(problem, where))


def _cure_of(problem: ConfigProblem, where: str) -> str:
    if problem.field.endswith("_file"):
        return f"put a file with the right content there, readable by this user, or correct {where}"
    return f"correct {where}; `sidecar schema config` and docs/reference list what there is"


async def _issuers(known: _Readable, request: Examination) -> list[Diagnosis]:
    """Ask each issuer; then look at the token, and at what policies ask of issuers."""
    tokens = known.settings.tokens
    asked: dict[str, tuple[IssuerReport, KeySource]] = {}

    async def ask(at: int) -> None:
        issuer = tokens.issuers[at]
        asked[issuer.issuer] = await examine_issuer(issuer, tokens)

    async with trio.open_nursery() as nursery:
        for at in range(len(tokens.issuers)):
            nursery.start_soon(ask, at)
    reports = [asked[one.issuer][0] for one in tokens.issuers]
    found = [line for report in reports for line in diagnose_issuer(report)]
    if not reports:
        cure = "name your identity provider in `tokens.issuers`, as `sidecar init` writes it"
        found.append(wrong(Part.ISSUERS, "issuers", "none is configured: no token is good", cure))
    found += diagnose_acr(known.policies, ladder_of(known.settings), reports)
    if request.token:
        found += await _token(known, request.token, asked)
    return found


async def _token(
    known: _Readable, token: str, asked: dict[str, tuple[IssuerReport, KeySource]]
) -> list[Diagnosis]:
    tokens = known.settings.tokens
    if is_opaque(token):
        return await _opaque(known, token, asked)
    try:
        parts = read_jws(token, tokens.max_bytes)
    except InvalidToken as error:
        return list(diagnose_unread(error))
    verifier = TokenVerifier([source for _, source in asked.values()], tokens)
    verifier.want_claims(known.claims)
    refusal: InvalidToken | None = None
    unknown = False
    now = clock.now()
    try:
        await verifier.verify(token, now)
    except InvalidToken as error:
        refusal = error
    except Unavailable:
        unknown = True
    issuer = issuer_of(parts, tokens)
    report = asked[issuer.issuer][0] if issuer is not None else None
    examined = _examined(known, parts, report, refusal, now)
    return list(diagnose_token(examined._replace(keys=None) if unknown else examined))


def _examined(
    known: _Readable,
    parts: Unverified,
    report: IssuerReport | None,
    refusal: InvalidToken | None,
    now: float,
) -> Examined:
    return Examined(
        parts,
        known.settings.tokens,
        ladder_of(known.settings),
        OTHER if report is None else report.provider,
        None if report is None else report.keys,
        known.claims,
        refusal,
        now,
    )


async def _opaque(
    known: _Readable, token: str, asked: dict[str, tuple[IssuerReport, KeySource]]
) -> list[Diagnosis]:
    """Ask the issuers that can be asked about an opaque token, as the daemon does."""
    tokens, now = known.settings.tokens, clock.now()
    askable = [one for one in tokens.issuers if one.introspection.endpoint]
    if not askable:
        words = "it is opaque, and no issuer can be asked about it"
        cure = "have the client get a JWT, or set `tokens.issuers[].introspection`"
        return [wrong(Part.TOKEN, "form", words, cure)]
    async with trio.open_nursery() as nursery:
        introspectors = []
        for issuer in askable:
            keys = asked[issuer.issuer][1] if issuer.introspection.signed else None
            introspectors.append(Introspector(issuer, 1, keys=keys))
            await nursery.start(introspectors[-1].run)
        verifier = TokenVerifier([], tokens, introspectors)
        verifier.want_claims(known.claims)
        try:
            answered = await verifier.verify(token, now)
        except InvalidToken as refusal:
            found = list(diagnose_unconfirmed(refusal))
        except Unavailable as error:
            cure = "correct `introspection` (endpoint, client_id, secret) of its issuer; is it up?"
            found = [wrong(Part.TOKEN, "form", f"it is opaque: {error}", cure)]
        else:
            report = asked[answered.issuer][0]
            examined = _examined(known, NOT_SIGNED, report, None, now)
            found = list(diagnose_confirmed(examined, report.issuer, answered))
        nursery.cancel_scope.cancel()
    return found


async def _store(settings: Settings) -> list[Diagnosis]:
    if not settings.store.url:
        return [_embedded()]
    transmits = bool(settings.transmitter.issuer)
    ask = partial(examine_store, settings.store, transmits=transmits)
    try:
        reports = await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except Unavailable as error:
        what, _, cure = str(error).rpartition("; ")
        cure = cure if what else "start it, or correct `store.url`; is it reached from here?"
        return [wrong(Part.STORE, "connection", what or str(error), cure)]
    found = [right(Part.STORE, "connection", f"it answers ({len(reports)} with records)")]
    skew = settings.sessions.event_skew
    return found + [
        line for report in reports for line in diagnose_server(report, settings.store, skew)
    ]


async def _console(settings: Settings) -> list[Diagnosis]:
    return list(diagnose_console(await examine_console(settings.admin.console.openid)))


async def _gateway(settings: Settings, request: Examination) -> list[Diagnosis]:
    replies = await examine_gateway(request.gateway_url, request.token)
    found = list(diagnose_gateway(replies, settings.http.gateway))
    if request.token and not replies.keys() & TRIALS_WITH_TOKEN.keys():
        words = "it is not shown over plain HTTP to another machine"
        found.append(doubtful(Part.GATEWAY, "token", words, "say https:// in --gateway-url"))
    return found


def _embedded() -> Diagnosis:
    try:
        server_binary()
    except NoEmbeddedStore as error:
        what, _, cure = str(error).partition(": ")
        return wrong(Part.STORE, "embedded", what, cure)
    words = "`store.url` is empty: this daemon has one of its own, which no other pod sees"
    return doubtful(Part.STORE, "embedded", words, "set `store.url` where several pods run")


async def _directories(settings: Settings) -> list[Diagnosis]:
    look = partial(examine_directories, settings)
    return await trio.to_thread.run_sync(lambda: list(look()))


async def _sources(settings: Settings) -> list[Diagnosis]:
    """Look at credentials, and ask transmitters for their keys."""
    look = partial(examine_sources, settings)
    found = await trio.to_thread.run_sync(lambda: list(look()))

    async def ask(transmitter: KnownTransmitter) -> None:
        keys = keys_of_transmitter(transmitter, settings.tokens)
        await keys.renew()
        name = f"keys of {transmitter.name}"
        if keys.ready:
            found.append(right(Part.SOURCES, name, f"it has {len(keys.key_ids)}"))
        else:
            cure = "correct `issuer`, `metadata_url` or `jwks_uri` of this transmitter; is it up?"
            found.append(wrong(Part.SOURCES, name, keys.trouble, cure))

    async with trio.open_nursery() as nursery:
        for one in settings.receiver.transmitters:
            nursery.start_soon(ask, one)
    return found


async def _places(known: _Readable) -> list[Diagnosis]:
    """Look at the databases of places, and at what policies ask of them."""
    return await trio.to_thread.run_sync(lambda: list(_looked(known)))


def _looked(known: _Readable) -> Iterator[Diagnosis]:
    settings = known.settings
    geography = Geography(settings.geography)
    outcomes = geography.reload()
    if not outcomes:
        words = "none is configured, so that nothing is known of where addresses are"
        yield right(Part.DATABASES, "geography", words)
    for outcome in outcomes:
        yield _database(outcome)
    wrong_here = () if known.root is None else host_problems(settings, known.root, geography)
    for problem in wrong_here:
        if not problem.field.startswith("geography."):
            yield _of_problem(problem)
    if known.whole is None:
        return
    warnings = tuple(diagnose_warnings(lint_configuration(known.whole, geography.held)))
    yield from warnings
    if not any(one.part is Part.POLICIES for one in warnings):
        count = len(known.policies)
        yield right(Part.POLICIES, "policies", f"each of {count} can fire, and is reached")


def _database(outcome: DatabaseOutcome) -> Diagnosis:
    if outcome.error:
        cure = f"put a database in MMDB format there, or correct `{outcome.field}`"
        return wrong(Part.DATABASES, outcome.database, f"{outcome.file}: {outcome.error}", cure)
    content = ", ".join(sorted(outcome.held)) or "nothing that a condition asks for"
    built = datetime.fromtimestamp(outcome.build, UTC).date().isoformat()
    words = f"{outcome.file}: built {built}, has {content}"
    if clock.now() - outcome.build > _OLD:
        cure = "put a newer one in its place; it is taken up without a restart"
        return doubtful(Part.DATABASES, outcome.database, words, cure)
    return right(Part.DATABASES, outcome.database, words)
