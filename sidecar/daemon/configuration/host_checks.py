"""Checks of groups and files that a configuration names and this machine's daemon could not use.

`sidecar validate` looks at it before the daemon does; the daemon reports each as it meets it.
"""

import grp
import ssl
from collections.abc import Iterator

from sidecar.adapters.files.regular_files import read_bytes
from sidecar.adapters.geography.geography import Geography
from sidecar.domain.values.causes import words_of
from sidecar.wire.settings.settings import Settings
from sidecar.wire.tokens.jwks import InvalidKeySet, key_set_of
from sidecar.wire.yaml.tree import ConfigProblem, Table, placed

_Found = Iterator[tuple[str, str]]


def host_problems(settings: Settings, root: Table, geography: Geography) -> Iterator[ConfigProblem]:
    """Return what cannot be used, where the configuration names it. Blocks."""
    found = (*_groups(settings), *_certificates(settings), *_keys(settings), *_databases(geography))
    yield from placed(root, found)


def unusable_keys(settings: Settings, root: Table) -> Iterator[ConfigProblem]:
    """Return the files of keys that the daemon must not start without. Blocks.

    Once it runs, keys that it held stay where a file cannot be read any more.
    """
    yield from placed(root, _keys(settings))


def _groups(settings: Settings) -> _Found:
    unix = settings.http.unix_group if settings.http.enabled and settings.http.unix else ""
    for field, group in (("socket.group", settings.socket.group), ("http.unix_group", unix)):
        if not group or group.isdigit():
            continue
        try:
            grp.getgrnam(group)
        except KeyError:
            yield field, f"{group[:64]!r} is no group of this machine; a number needs none"


def _certificates(settings: Settings) -> _Found:
    store, receiver, admin = settings.store, settings.receiver, settings.admin
    intake = settings.intake
    for field, certificate, key in (
        ("admin.tls.certificate", admin.tls.certificate, admin.tls.key),
        ("receiver.tls_cert_file", receiver.tls_cert_file, receiver.tls_key_file),
        ("intake.tls_cert_file", intake.tls_cert_file, intake.tls_key_file),
        ("store.tls_cert_file", store.tls_cert_file, store.tls_key_file),
    ):
        if certificate and key:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
            except OSError as error:  # ssl.SSLError is one
                yield field, f"{certificate} cannot be used with {key}: {words_of(error)}"
    if store.tls_ca_file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(store.tls_ca_file)
        except OSError as error:
            message = f"{store.tls_ca_file} holds no certificates: {words_of(error)}"
            yield "store.tls_ca_file", message


def _keys(settings: Settings) -> _Found:
    sets = [
        *(
            (f"tokens.issuers[{at}]", one.jwks_file)
            for at, one in enumerate(settings.tokens.issuers)
        ),
        *(
            (f"receiver.transmitters[{at}]", one.jwks_file)
            for at, one in enumerate(settings.receiver.transmitters)
        ),
        *(
            (f"intake.issuers[{at}]", one.jwks_file)
            for at, one in enumerate(settings.intake.issuers)
        ),
    ]
    for field, file in sets:
        if not file:
            continue
        try:
            key_set_of(read_bytes(file))
        except OSError as error:
            yield f"{field}.jwks_file", f"{file} cannot be read: {words_of(error)}"
        except InvalidKeySet as error:
            yield f"{field}.jwks_file", f"{file} holds no keys: {words_of(error)}"
    for index, issuer in enumerate(settings.tokens.issuers):
        file = issuer.introspection.private_key_file
        if file:
            try:
                read_bytes(file)
            except OSError as error:
                field = f"tokens.issuers[{index}].introspection.private_key_file"
                yield field, f"{file} cannot be read: {words_of(error)}"


def _databases(geography: Geography) -> _Found:
    for outcome in geography.reload():
        if outcome.error:
            yield outcome.field, outcome.error
