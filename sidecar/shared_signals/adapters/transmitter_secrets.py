"""The transmitter's secrets: keys that sign, and what recipients show and want to be shown.

A key that takes another's place is published first and signs only `key_lead` seconds later, as
recipients keep the key set for a while; the other stays published for `key_keep` seconds after it
last signed. This is this process's memory: after a restart the files alone count, so that a
replaced key's file should stay in `key_files`, behind the new one, until what it signed is read.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from sidecar.adapters.files.regular_files import read_bytes
from sidecar.adapters.tokens.secrets import FileStamp, stamp_of
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.shared_signals.service.recipients import Access
from sidecar.shared_signals.wire.security_event_tokens import TYPE
from sidecar.wire.settings.transmitter import Transmitter
from sidecar.wire.tokens.signing_keys import InvalidSigningKey, SigningKey, read_signing_key

MAX_BYTES = 65536
_KEYS = "transmitter.key_files"
MIN_CREDENTIAL, MAX_CREDENTIAL = 16, 1024
MAX_CREDENTIALS = 8


class SecretProblem(NamedTuple):
    """A fault in a file that the configuration names; the message quotes nothing of the file."""

    field: str
    message: str


class InvalidFiles(Exception):  # noqa: N818 - the operator must act
    """Some of the files cannot be used."""

    def __init__(self, wrong: list[SecretProblem]) -> None:
        super().__init__("; ".join(f"{one.field}: {one.message}" for one in wrong))
        self.wrong = wrong


class Files(NamedTuple):
    """The content of the files: keys, and each recipient's secrets."""

    keys: tuple[SigningKey, ...]
    access: Mapping[str, Access]


def paths_of(settings: Transmitter) -> list[str]:
    """Return the files that the settings name."""
    paths = [*settings.key_files]
    for recipient in settings.recipients:
        paths.append(recipient.credentials_file)
        if recipient.stream is not None:
            paths.append(recipient.stream.authorization_file)
    return [path for path in paths if path]


class ReadSecrets(NamedTuple):
    """The secrets that could be read, and the faults of the rest."""

    files: Files
    wrong: list[SecretProblem]


def read_files(settings: Transmitter) -> Files:
    """Read them all; blocks. Raises `InvalidFiles` with everything that is wrong."""
    found = look_into(settings)
    if found.wrong:
        raise InvalidFiles(found.wrong)
    return found.files


def look_into(settings: Transmitter) -> ReadSecrets:
    """Read what can be read; blocks. Whose credentials cannot, has none."""
    wrong: list[SecretProblem] = []
    keys: list[SigningKey] = []
    for index, path in enumerate(settings.key_files):
        try:
            key = read_signing_key(_read(path))
        except (InvalidSigningKey, ValueError) as error:
            wrong.append(SecretProblem(f"transmitter.key_files[{index}]", f"{path} {error}"))
            continue
        if any(known.key_id == key.key_id for known in keys):
            message = f"{path} has the kid of a key before it"
            wrong.append(SecretProblem(f"transmitter.key_files[{index}]", message))
        keys.append(key)
    access = {}
    for index, recipient in enumerate(settings.recipients):
        field = f"transmitter.recipients[{index}]"
        fixed = recipient.stream
        credentials: tuple[bytes, ...] = ()
        authorization = ""
        if recipient.credentials_file:
            try:
                credentials = _credentials(recipient.credentials_file)
            except ValueError as error:
                wrong.append(SecretProblem(f"{field}.credentials_file", str(error)))
        if fixed is not None and fixed.authorization_file:
            try:
                authorization = _header(fixed.authorization_file)
            except ValueError as error:
                wrong.append(SecretProblem(f"{field}.stream.authorization_file", str(error)))
        access[recipient.name] = Access(credentials, authorization)
    return ReadSecrets(Files(tuple(keys), access), wrong)


def _read(path: str) -> bytes:
    try:
        return read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise ValueError(f"cannot be read: {words_of(error)}") from None


def _credentials(path: str) -> tuple[bytes, ...]:
    try:
        lines = [line.strip() for line in _read(path).splitlines()]
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    found = tuple(line for line in lines if line)
    if not 1 <= len(found) <= MAX_CREDENTIALS:
        raise ValueError(f"{path} must hold 1 to {MAX_CREDENTIALS} credentials, one a line")
    for one in found:
        if not MIN_CREDENTIAL <= len(one) <= MAX_CREDENTIAL or not _is_visible(one):
            raise ValueError(
                f"{path} must hold credentials of {MIN_CREDENTIAL} to {MAX_CREDENTIAL} visible "
                "ASCII characters"
            )
    return found


def _is_visible(text: bytes) -> bool:
    return all(0x21 <= byte <= 0x7E for byte in text)


def _header(path: str) -> str:
    try:
        value = _read(path).strip()
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    if not 1 <= len(value) <= MAX_CREDENTIAL or not all(0x20 <= byte <= 0x7E for byte in value):
        raise ValueError(f"{path} must hold one line: the value of the Authorization header")
    return value.decode()


def _stamp_of(path: str) -> FileStamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


class _Held(msgspec.Struct):
    """A key, since when it has been published, and when it last signed or stood in a file."""

    key: SigningKey
    since: float
    last: float


class Secrets:
    """The transmitter's secrets as they now are; `clock` in seconds."""

    def __init__(self, settings: Transmitter, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._listed: tuple[str, ...] = ()
        self._signing = ""
        self._access: Mapping[str, Access] = {}
        self._credentials = tuple(
            one.credentials_file for one in settings.recipients if one.credentials_file
        )
        self._seen: tuple[FileStamp | None, ...] | None = None

    def load(self) -> None:
        """Read the files; blocks. Raises `InvalidFiles` with those that cannot be used.

        Then nobody passes by a credential that cannot be read, while keys that sign, and what we
        show, stay as they were.
        """
        is_first, seen = self._seen is None, self._look()
        files, wrong = look_into(self._settings)
        if is_first and wrong:
            raise InvalidFiles(wrong)
        self._seen = seen
        if any(one.field.startswith(_KEYS) for one in wrong):
            self._access = self._kept(files.access)
        else:
            self.adopt(Files(files.keys, self._kept(files.access)))
        if wrong:
            raise InvalidFiles(wrong)

    def _look(self) -> tuple[FileStamp | None, ...]:
        return tuple(map(_stamp_of, self._credentials))

    def _kept(self, access: Mapping[str, Access]) -> Mapping[str, Access]:
        """Return the access, with what we showed before where that cannot be read now."""
        nothing = Access()
        return {
            name: Access(
                one.credentials,
                one.authorization or self._access.get(name, nothing).authorization,
            )
            for name, one in access.items()
        }

    def adopt(self, files: Files) -> None:
        """Take up what the files hold."""
        now = self._clock()
        since = now if self._held else -math.inf
        for key in files.keys:
            known = self._held.get(key.key_id)
            if known is None or known.key.public != key.public:
                self._held[key.key_id] = _Held(key, since, now)
        for name in self._listed:
            self._held[name].last = now
        self._listed = tuple(key.key_id for key in files.keys)
        self._access = files.access
        self._choose(now)

    def access(self) -> Mapping[str, Access]:
        """Return what recipients show, and what they want to be shown, by name.

        Files of credentials are looked at with each use, so that an old one counts no more.
        """
        if self._seen is not None and self._look() != self._seen:
            with contextlib.suppress(InvalidFiles):  # logged by the reload that the change brings
                self.load()
        return self._access

    def sign(self, claims: bytes) -> str:
        """Return a Security Event Token with these claims.

        Raises `Unavailable` where there is no key.
        """
        now = self._clock()
        self._choose(now)
        held = self._held.get(self._signing)
        if held is None:
            raise Unavailable("there is no key to sign with")
        held.last = now
        return held.key.sign(claims, TYPE)

    def key_set(self) -> bytes:
        """Return the JWK Set of the keys that recipients may need, as JSON (RFC 7517)."""
        now = self._clock()
        self._choose(now)
        kept = {*self._listed, self._signing}
        for name, held in list(self._held.items()):
            if name not in kept and now - held.last > self._settings.key_keep:
                del self._held[name]
        return msgspec.json.encode({"keys": [held.key.public for held in self._held.values()]})

    def _choose(self, now: float) -> None:
        """Sign with the first of the files, as soon as it has been published for long enough."""
        if not self._listed or self._signing == self._listed[0]:
            return
        wanted = self._held[self._listed[0]]
        if self._signing not in self._held or now - wanted.since >= self._settings.key_lead:
            self._signing = wanted.key.key_id
