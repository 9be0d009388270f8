"""What the commands that ask a daemon's admin listener share."""

import argparse
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from sidecar.adapters.http.causes import why
from sidecar.cli.exit_status import NEGATIVE, Stop
from sidecar.cli.socket_options import address, plain, seconds
from sidecar.domain.values.causes import words_of

DEFAULT_URL = "http://127.0.0.1:9090"


def in_path(name: str) -> str:
    """Return a name as a part of a path; bytes that are no text stay what they are."""
    return quote(name, safe="", errors="surrogateescape")


def add_admin(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the arguments that say where the listener is, and by which credential it is asked."""
    parser.add_argument(
        "--url",
        type=address,
        default=os.environ.get("SIDECAR_ADMIN_URL", DEFAULT_URL),
        help=f"the admin listener (default: $SIDECAR_ADMIN_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--admin-token-file",
        metavar="FILE",
        default=os.environ.get("SIDECAR_ADMIN__TOKEN_FILE"),
        help="the credential (default: $SIDECAR_ADMIN__TOKEN_FILE, else $SIDECAR_ADMIN__TOKEN)",
    )
    parser.add_argument(
        "--admin-ca-file",
        metavar="FILE",
        default=os.environ.get("SIDECAR_ADMIN_CA_FILE"),
        help="the authority of an https:// listener (default: $SIDECAR_ADMIN_CA_FILE, else those "
        "of the system)",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=5.0)


class _Answer(dict[str, Any]):
    """What the listener answered. A member that it lacks ends the command: it is another's."""

    def __init__(self, members: Mapping[str, Any], command: str) -> None:
        super().__init__(members)
        self._command = command

    def __missing__(self, name: str) -> Any:
        raise Stop(
            f"sidecar {self._command}: what answers tells no `{plain(name)}`",
            "Is --url the admin listener of a sidecar, of a version like this one?",
        )


class AdminClient:
    """Asks the listener for `sidecar COMMAND`; whatever goes wrong ends it with a hint."""

    def __init__(self, command: str, client: httpx.Client) -> None:
        self._command = command
        self._client = client

    def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """What it answers, as JSON. Raises `Stop`."""
        return self.ask("GET", path, query)

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """As `get`, by another method, and perhaps with a body."""
        content, headers = b"", {}
        if body is not None:  # as ASCII: what is no text is for the daemon to refuse
            content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        response = self._client.request(
            method, path, params=query, content=content, headers=headers
        )
        try:
            body = response.json()
        except ValueError:
            body = None
        if response.status_code == 200 and isinstance(body, dict):
            return _Answer(body, self._command)
        detail = plain(str(body.get("detail", ""))) if isinstance(body, dict) else ""
        name = f"sidecar {self._command}"
        match response.status_code:
            case 401:
                raise Stop(f"{name}: this is not the daemon's admin credential")
            case 404 if path.count("/") > 2 and detail not in {"", "there is nothing here"}:
                raise Stop(f"{name}: {detail}", status=NEGATIVE)
            case 404:
                raise Stop(
                    f"{name}: the listener shows no sessions, and lets nobody act on them",
                    "Give the daemon an admin credential: admin.token_file.",
                )
            case 400:
                raise Stop(f"{name}: {detail}")
            case 409:
                raise Stop(f"{name}: {detail}", status=NEGATIVE)
            case status:
                raise Stop(f"{name}: status {status}: {detail}", status=NEGATIVE)


@contextmanager
def asking_admin(command: str, arguments: argparse.Namespace) -> Iterator[AdminClient]:
    """A client of the listener for `sidecar COMMAND`; where nobody answers, the command ends."""
    headers = {"Authorization": f"Bearer {_token(command, arguments.admin_token_file)}"}
    try:
        with httpx.Client(
            base_url=arguments.url,
            headers=headers,
            timeout=arguments.timeout,
            trust_env=False,
            verify=_authorities(arguments.admin_ca_file),
        ) as client:
            yield AdminClient(command, client)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Stop(
            f"sidecar {command}: nobody answers at {plain(arguments.url)} ({why(error)})",
            "Name the admin listener with --url; it is on where `admin.enabled` is true.",
        ) from error


def _authorities(file: str | None) -> ssl.SSLContext | bool:
    """Whom an https:// listener's certificate must come from. Raises `Stop`."""
    if not file:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise Stop(f"{file}: {words_of(error)}") from error


def _token(command: str, file: str | None) -> str:
    token = ""
    if file:
        try:
            token = Path(file).read_text().strip()
        except OSError as error:
            raise Stop(f"{file}: {words_of(error)}") from error
        except UnicodeDecodeError as error:  # whose text quotes the secret
            raise Stop(f"{file}: not text") from error
    token = token or os.environ.get("SIDECAR_ADMIN__TOKEN", "")
    name = f"sidecar {command}"
    if not token:
        raise Stop(f"{name}: no admin credential: name a file with --admin-token-file")
    if not token.isascii() or not token.isprintable():
        raise Stop(f"{name}: the admin credential holds what no HTTP header can carry")
    return token
