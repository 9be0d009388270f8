"""Checks of what must fit together in the configuration of the intake listener."""

from collections.abc import Mapping
from typing import Any

from sidecar.wire.checks.reach import binds_of, is_fetchable, is_open
from sidecar.wire.settings.intake import IntakeIssuer, IntakeSettings
from sidecar.wire.settings.tokens import Tokens
from sidecar.wire.subjects.subject_rules import check_match
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import FilePosition, Problems, Table, place_of


def check_intake(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add what does not fit together in `intake`, if that could be read."""
    intake, tokens = values.get("intake"), values.get("tokens")
    if not isinstance(intake, IntakeSettings):
        return
    check = _Checks(place_of(root, "intake"), problems)
    check.listener(intake)
    known = [one.issuer for one in tokens.issuers] if isinstance(tokens, Tokens) else None
    for index, issuer in enumerate(intake.issuers):
        field = f"intake.issuers[{index}]"
        place = place_of(root, field)
        check.issuer(field, place, issuer)
        if known is not None:
            check.names(field, place, issuer, known)


class _Checks:
    def __init__(self, place: FilePosition, problems: Problems) -> None:
        self._place = place
        self._problems = problems

    def listener(self, intake: IntakeSettings) -> None:
        """Report half a certificate, and none where others can reach the listener."""
        add = self._problems.add
        if bool(intake.tls_cert_file) != bool(intake.tls_key_file):
            missing = "tls_key_file" if intake.tls_cert_file else "tls_cert_file"
            message = "is required: a certificate and its key go together"
            add(self._place, f"intake.{missing}", message)
        elif not intake.tls_cert_file and any(map(is_open, binds_of(intake))):
            message = (
                "is required: credentials and logouts would cross the network in plain text; only"
                " a loopback address needs none"
            )
            add(self._place, "intake.tls_cert_file", message)
        if intake.issuers and not intake.bind:
            add(self._place, "intake.bind", "is required: `issuers` would have nowhere to send to")

    def issuer(self, field: str, place: FilePosition, issuer: IntakeIssuer) -> None:
        """Report an issuer without an audience of ours, or with unusable rules for its users."""
        add = self._problems.add
        if not (issuer.clients or issuer.endpoints):
            message = (
                "is required: the client ids in `aud` of its logout tokens (or give `endpoints`,"
                " for Okta's Universal Logout)"
            )
            add(place, f"{field}.clients", message)
        if not issuer.algorithms:
            add(place, f"{field}.algorithms", "must not be empty")
        for index, match in enumerate(issuer.users):
            try:
                check_match(match)
            except ValueError as error:
                add(place, f"{field}.users[{index}]", str(error))

    def names(
        self, field: str, place: FilePosition, issuer: IntakeIssuer, known: list[str]
    ) -> None:
        """Report users of an issuer that is not believed, and keys from two places or none."""
        add = self._problems.add
        name = "users_of" if issuer.users_of else "issuer"
        users = issuer.users_of or issuer.issuer
        if users not in known:
            hint = suggestion(users[:256], known)
            rest = "" if issuer.users_of else "; name in `users_of` whose users it ends"
            add(place, f"{field}.{name}", f"is none of tokens.issuers{hint}{rest}")
        if issuer.issuer in known:
            for key in ("jwks_uri", "jwks_file"):
                if getattr(issuer, key):
                    message = "is not read: its keys are those of tokens.issuers"
                    add(place, f"{field}.{key}", message)
            return
        if issuer.jwks_uri and issuer.jwks_file:
            add(place, f"{field}.jwks_file", "keys come from jwks_uri or jwks_file, not from both")
        url = issuer.jwks_uri or ("" if issuer.jwks_file else issuer.issuer)
        if url and not is_fetchable(url):
            key = "jwks_uri" if issuer.jwks_uri else "issuer"
            message = "must be https, or http on a loopback host: keys are fetched from there"
            add(place, f"{field}.{key}", message)
