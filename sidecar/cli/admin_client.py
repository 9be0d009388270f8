"""The client of a daemon's admin listener, shared by the commands that ask it."""

import argparse
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import httpx
import msgspec

from sidecar.adapters.http.causes import why
from sidecar.cli.admin_answers import AdminProbe
from sidecar.cli.exit_status import NEGATIVE, Stop
from sidecar.cli.socket_options import address, plain, seconds
from sidecar.domain.values.causes import words_of

DEFAULT_URL = "http://127.0.0.1:9090"
LONGEST = 64 * 1024 * 1024
"""Bytes that are read of an answer."""
_LONGEST_DETAIL = 2000
_ANOTHER = "Is --url the admin listener of a sidecar, of a version like this one?"


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
    """The listener's answer. A member that it lacks ends the command: a sidecar's has it."""

    def __init__(self, members: Mapping[str, Any], command: str) -> None:
        super().__init__(members)
        self._command = command

    def __missing__(self, name: str) -> Any:
        raise Stop(f"sidecar {self._command}: what answers has no `{plain(name)}`", _ANOTHER)


class AdminClient:
    """Asks the listener for `sidecar COMMAND`; whatever goes wrong ends it with a hint."""

    def __init__(self, command: str, client: httpx.Client) -> None:
        self._command = command
        self._client = client

    def get(
        self, path: str, query: Mapping[str, Any], shape: type = dict[str, Any]
    ) -> dict[str, Any]:
        """Return what it answers, as JSON of this shape. Raises `Stop`."""
        return self.ask("GET", path, query, shape=shape)

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Mapping[str, Any] | None = None,
        shape: type = dict[str, Any],
    ) -> dict[str, Any]:
        """Ask as `get` does, by another method, and perhaps with a body."""
        content, headers = b"", {"Accept-Encoding": "identity"}
        if body is not None:  # as ASCII: what is no text is for the daemon to refuse
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        with self._client.stream(
            method, path, params=query, content=content, headers=headers
        ) as response:
            answer = _decoded(self._whole(response))
        if response.status_code != 200:
            detail = answer.get("detail", "") if isinstance(answer, dict) else ""
            self._refused(path, response.status_code, plain(str(detail))[:_LONGEST_DETAIL])
        return self._checked(answer, shape)

    def text(self, path: str) -> str:
        """Return what it answers, as text. Raises `Stop`."""
        with self._client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as response:
            body = self._whole(response)
        if response.status_code != 200:
            self._refused(path, response.status_code, "")
        return body.decode(errors="replace")

    def probe(self, path: str) -> dict[str, Any]:
        """Return the body of a probe, which says what fails. Raises `Stop`."""
        with self._client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as response:
            answer = _decoded(self._whole(response))
        if response.status_code not in {200, 503}:
            self._refused(path, response.status_code, "")
        return self._checked(answer, AdminProbe)

    def _whole(self, response: httpx.Response) -> bytes:
        """Return the body as it came; empty for one that is too long."""
        patience = self._client.timeout.read
        until = time.monotonic() + (patience or 0)
        whole = bytearray()
        for piece in response.iter_raw():
            whole += piece
            if len(whole) > LONGEST:
                return b""
            if time.monotonic() > until:
                raise httpx.ReadTimeout("")
        return bytes(whole)

    def _checked(self, answer: object, shape: type) -> dict[str, Any]:
        name = f"sidecar {self._command}"
        if not isinstance(answer, dict):
            raise Stop(f"{name}: what answers sends no JSON object", _ANOTHER)
        try:
            msgspec.convert(answer, shape)
        except msgspec.ValidationError as error:
            raise Stop(
                f"{name}: what answers is another's: {plain(str(error))}", _ANOTHER
            ) from error
        return _Answer(answer, self._command)

    def _refused(self, path: str, status: int, detail: str) -> NoReturn:
        name = f"sidecar {self._command}"
        match status:
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
            case _:
                raise Stop(f"{name}: status {status}: {detail}", status=NEGATIVE)


@contextmanager
def open_admin_client(command: str, arguments: argparse.Namespace) -> Iterator[AdminClient]:
    """Yield a client of the listener for `sidecar COMMAND`; if nobody answers, the command ends."""
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


def _decoded(body: bytes) -> object:
    """Return what JSON says; None for what is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _authorities(file: str | None) -> ssl.SSLContext | bool:
    """Return whom an https:// listener's certificate must come from. Raises `Stop`."""
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
        if not token:  # another credential would act in another's name
            raise Stop(f"{file}: is empty")
    else:
        token = os.environ.get("SIDECAR_ADMIN__TOKEN", "").strip()
    name = f"sidecar {command}"
    if not token:
        raise Stop(f"{name}: no admin credential: name a file with --admin-token-file")
    if not token.isascii() or not token.isprintable():
        raise Stop(f"{name}: the admin credential holds what no HTTP header can carry")
    return token
