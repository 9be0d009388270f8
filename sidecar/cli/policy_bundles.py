"""`sidecar policies` for files: keys, bundles and signatures."""

import argparse
import contextlib
import getpass
import os
import secrets
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.cli.exit_status import DONE, MISTAKE, NEGATIVE, Stop
from sidecar.cli.socket_options import plain, print_json
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.plural import counted

if TYPE_CHECKING:
    from sidecar.wire.bundles.bundle import Contents
    from sidecar.wire.bundles.minisign import PublicKey, SecretKey

_NAME = "sidecar policies"


def make_keys(arguments: argparse.Namespace) -> int:
    """Make a pair of keys, and print the public one as the configuration has it."""
    from sidecar.wire.bundles import minisign  # noqa: PLC0415 - a command starts quickly

    password = None if arguments.unencrypted else _password(arguments, twice=True)
    key = minisign.SecretKey(secrets.token_bytes(8), secrets.token_bytes(32))
    secret = minisign.write_secret_key(key, password, secrets.token_bytes(32))
    _write_new(Path(arguments.key), secret.encode(), 0o600)
    _write_new(Path(arguments.public_key), minisign.write_public_key(key.public).encode(), 0o644)
    print(key.public.text)
    return DONE


def build(arguments: argparse.Namespace) -> int:
    """Make a bundle of a directory, after all that a sidecar would find wrong was looked for."""
    from sidecar.wire.bundles.archive import pack, unpack  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.bundles.refusal import InvalidBundle  # noqa: PLC0415 - likewise
    from sidecar.wire.yaml.tree import ConfigError  # noqa: PLC0415 - likewise

    directory, sequence = Path(arguments.directory), arguments.sequence
    files = _files(directory)
    made_at = arguments.made_at
    if made_at is None:
        made_at = _made_at()
    try:
        draft = pack(files, sequence=sequence, made_at=made_at, policy_set="")
        policy_set = _policy_set(arguments.config, unpack(draft), f"{directory}/")
        archive = pack(files, sequence=sequence, made_at=made_at, policy_set=policy_set)
    except InvalidBundle as error:
        raise Stop(f"{_NAME} build: {directory}: {error}") from error
    except ConfigError as error:
        for problem in error.problems:
            print(plain(str(problem)), file=sys.stderr)
        return MISTAKE
    out = Path(arguments.out or f"policies-{sequence}.tar")
    _write(out, archive)
    contents = unpack(archive)
    print(plain(f"{out}: bundle {sequence}, {counted(len(files), 'file')}, {contents.digest}"))
    return DONE


def sign(arguments: argparse.Namespace) -> int:
    """Sign a bundle, if it is one."""
    from sidecar.wire.bundles import minisign  # noqa: PLC0415 - a command starts quickly

    bundle = Path(arguments.bundle)
    archive = _read(bundle)
    contents = _unpacked(bundle, archive)
    key = _secret_key(arguments)
    comment = arguments.comment
    if comment is None:
        sequence = contents.manifest.sequence
        comment = f"timestamp:{_now()}\tfile:{bundle.name}\tsequence:{sequence}\thashed"
    elif not comment.isprintable():
        raise Stop(f"{_NAME} sign: --comment: it is one line of text")
    signature = bundle.with_name(f"{bundle.name}.minisig")
    _write(signature, minisign.sign(key, archive, comment).encode())
    print(plain(f"{signature}: signed by {key.public.name}"))
    return DONE


def verify(arguments: argparse.Namespace) -> int:
    """Verify a bundle and its signature."""
    from sidecar.adapters.bundles.directory import read_signed  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle  # noqa: PLC0415 - likewise
    from sidecar.wire.bundles.verification import opened  # noqa: PLC0415 - likewise

    keys = [_public_key(text) for text in arguments.public_key]
    try:
        bundle = opened(read_signed(Path(arguments.bundle)), keys)
    except InvalidBundle as error:
        if error.flaw is BundleFlaw.UNAVAILABLE:
            raise Stop(f"{_NAME} verify: {error}") from error
        raise Stop(f"{_NAME} verify: {error} ({error.flaw})", status=NEGATIVE) from error
    found = {
        "sequence": bundle.sequence,
        "digest": bundle.digest,
        "signed_by": bundle.signed_by,
        "comment": bundle.comment,
    }
    if arguments.json:
        print_json(found)
    else:
        print(
            plain(f"ok: bundle {bundle.sequence}, signed by {bundle.signed_by}: {bundle.comment}")
        )
    return DONE


def show(arguments: argparse.Namespace) -> int:
    """Show what is in a bundle."""
    bundle = Path(arguments.bundle)
    contents = _unpacked(bundle, _read(bundle))
    manifest = contents.manifest
    if arguments.json:
        print_json({"digest": contents.digest, "manifest": _plain(manifest)})
        return DONE
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(manifest.made_at))
    print(plain(f"bundle {manifest.sequence}, made {made}"))
    print(plain(f"digest {contents.digest}"))
    print(plain(f"policy set {manifest.policy_set}"))
    for one in manifest.files:
        print(plain(f"  {one.path}  {one.size} bytes"))
    return DONE


def _policy_set(config: str, contents: "Contents", place: str) -> str:
    """Return the hash of the policies beside a configuration. Raises `ConfigError`."""
    from sidecar.daemon.configuration.files import read_configuration  # noqa: PLC0415 - a command starts quickly
    from sidecar.daemon.configuration.generation import policy_set_of  # noqa: PLC0415 - likewise
    from sidecar.wire.bundles.bundle import Bundle  # noqa: PLC0415 - likewise

    bundle = Bundle(contents, "", "", place)
    return policy_set_of(read_configuration(Path(config), os.environ, bundle=bundle))


def _files(directory: Path) -> dict[str, bytes]:
    """Return the files of a bundle that lie in a directory; what else lies there is refused."""
    from sidecar.wire.bundles.archive import is_path  # noqa: PLC0415 - a command starts quickly

    found: dict[str, bytes] = {}
    try:
        paths = sorted(directory.rglob("*"))
    except OSError as error:
        raise Stop(f"{directory}: {words_of(error)}") from error
    for path in paths:
        name = path.relative_to(directory).as_posix()
        if any(part.startswith(".") for part in path.relative_to(directory).parts):
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        if not is_path(name):
            known = "policies/*.yaml, places.yaml and lists/*"
            raise Stop(f"{path}: no bundle has a file like that: it has {known}")
        found[name] = _read(path)
    if not found:
        raise Stop(f"{directory}: there are no files in policies/")
    return found


def _unpacked(file: Path, archive: bytes) -> "Contents":
    from sidecar.wire.bundles.archive import unpack  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.bundles.refusal import InvalidBundle  # noqa: PLC0415 - likewise

    try:
        return unpack(archive)
    except InvalidBundle as error:
        raise Stop(f"{file}: {error}") from error


def _plain(value: object) -> Any:
    import msgspec  # noqa: PLC0415 - a command starts quickly

    return msgspec.to_builtins(value)


def _public_key(text: str) -> "PublicKey":
    """Return a public key that is given as it is, or by its file."""
    from sidecar.wire.bundles.minisign import InvalidKey, read_public_key  # noqa: PLC0415 - a command starts quickly

    try:
        with contextlib.suppress(InvalidKey):
            return read_public_key(text)
        return read_public_key(_read(Path(text)).decode("utf-8", "replace"))
    except InvalidKey as error:
        raise Stop(f"{_NAME}: --public-key: {text}: {error}") from error


def _secret_key(arguments: argparse.Namespace) -> "SecretKey":
    """Return the secret key. One without a password is refused that others may read."""
    from sidecar.wire.bundles import minisign  # noqa: PLC0415 - a command starts quickly

    file = Path(arguments.key)
    text = _read(file).decode("utf-8", "replace")
    try:
        try:
            key = minisign.read_secret_key(text)
        except minisign.PasswordNeeded:
            return minisign.read_secret_key(text, _password(arguments))
    except minisign.InvalidKey as error:
        raise Stop(f"{file}: {error}") from error
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Stop(f"{file}: has no password, and others may read it: `chmod 600` it")
    return key


def _password(arguments: argparse.Namespace, *, twice: bool = False) -> bytes:
    if arguments.password_file:
        password = _read(Path(arguments.password_file)).removesuffix(b"\n")
    else:
        try:
            password = getpass.getpass("password of the key: ").encode()
            if twice and getpass.getpass("once more: ").encode() != password:
                raise Stop(f"{_NAME}: these are two passwords")
        except EOFError:
            raise Stop(f"{_NAME}: nobody can be asked: give --password-file") from None
    if not password:
        raise Stop(f"{_NAME}: the password is empty")
    return password


def _made_at() -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(given) if given.isdigit() else _now()


def _now() -> int:
    from sidecar.adapters import clock  # noqa: PLC0415 - a command starts quickly

    return int(clock.now())


def _read(file: Path) -> bytes:
    from sidecar.adapters.files.regular_files import read_bytes  # noqa: PLC0415 - a command starts quickly

    try:
        return read_bytes(file)
    except OSError as error:
        raise Stop(f"{file}: {words_of(error)}") from error


def _write(file: Path, content: bytes) -> None:
    """Put a file in its place as a whole."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise Stop(f"{file}: {words_of(error)}") from error


def _write_new(file: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet: a key is never replaced."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
    except OSError as error:
        raise Stop(f"{file}: {words_of(error)}") from error
