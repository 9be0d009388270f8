"""Checks of what must fit together of the central listener, and of who may ask there."""

from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.wire.central.settings import CentralSettings
from sidecar.wire.checks.reach import binds_of, is_open
from sidecar.wire.yaml.tree import Problems, Table, place_of, shown


def check_central(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add what does not fit together, if the section could be read."""
    central = values.get("central")
    if isinstance(central, CentralSettings):
        for key, message in (*_listener(central), *_askers(central)):
            field = f"central.{key}"
            problems.add(place_of(root, field), field, message)


def _listener(central: CentralSettings) -> Iterator[tuple[str, str]]:
    if bool(central.tls_cert_file) != bool(central.tls_key_file):
        missing = "tls_key_file" if central.tls_cert_file else "tls_cert_file"
        yield missing, "is required: a certificate and its key go together"
    if not central.bind:
        return
    if not central.askers:
        yield "askers", "must not be empty: who may ask there?"
    exposed = next(filter(is_open, binds_of(central)), None)
    if exposed is not None and not central.tls_cert_file:
        words = "is required: others than this machine ask, and show tokens and credentials"
        yield "tls_cert_file", f"{words} ({exposed})"
    if central.client_ca_file and not central.tls_cert_file:
        yield "client_ca_file", "needs TLS: give `tls_cert_file` and `tls_key_file`"


def _askers(central: CentralSettings) -> Iterator[tuple[str, str]]:
    names: set[str] = set()
    owners: dict[str, str] = {}
    for index, one in enumerate(central.askers):
        field = f"askers[{index}]"
        if not one.name or one.name in names:
            yield f"{field}.name", "must not be empty" if not one.name else "is used twice"
        names.add(one.name)
        if not (one.token_file or one.certificate_names):
            yield field, "needs a `token_file` or `certificate_names`: how is it known?"
        if one.certificate_names and not central.client_ca_file:
            words = "needs `central.client_ca_file`: who signs its certificate?"
            yield f"{field}.certificate_names", words
        for name in one.certificate_names:
            owner = owners.setdefault(name, one.name)
            if not name or owner != one.name:
                words = "must not be empty" if not name else f"is also that of {shown(owner)!r}"
                yield f"{field}.certificate_names", words
