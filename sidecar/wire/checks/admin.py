"""Checks of what must fit together in the configuration of operators."""

from collections.abc import Mapping
from typing import Any

from sidecar.wire.settings.admin import ADMIN, Admin, Role
from sidecar.wire.yaml.tree import Problems, Table, place_of, shown


def check_operators(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Report operators who share a credential, once their credentials are read."""
    admin = values.get("admin")
    if not isinstance(admin, Admin):
        return
    of_admin = admin.token.strip()
    owners = {of_admin: ADMIN} if of_admin else {}
    for index, operator in enumerate(admin.operators):
        field = f"admin.operators[{index}]"
        place = place_of(root, field)
        if not (operator.token or operator.token_file):
            problems.add(place, f"{field}.token_file", "is required: the file of its credential")
        if operator.name == ADMIN and of_admin:
            message = f"{ADMIN!r} is whose `admin.token` is"
            problems.add(place, f"{field}.name", message)
        if operator.role not in {None, Role.VIEWER} and not operator.acts:
            message = "says more than `acts: false`: leave that out"
            problems.add(place, f"{field}.role", message)
        credential = operator.token.strip()  # as a header has it
        if credential:
            owner = owners.setdefault(credential, operator.name)
            if owner != operator.name:
                message = f"holds the credential of {shown(owner)!r}: nobody could distinguish them"
                problems.add(place, f"{field}.token_file", message)
