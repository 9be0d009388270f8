"""Gathers the file system of the image: the daemon, its interpreter, and the libraries they load.

`python root.py DIRECTORY`, run by the environment's interpreter in the builder. Nothing else of the
base comes along: no shell, no package manager. What is loaded, the dynamic linker says of each
file (`ldd`), so that it is the same recipe for every architecture.
"""

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT = Path(sys.prefix)
LEFT_OUT = (
    *("__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data"),
    *("site-packages", "test", "tests", "tkinter", "turtle.py", "turtledemo"),
    *("curses", "dbm", "distutils", "sqlite3", "xmlrpc"),
    *("_test*.so", "_tkinter*.so", "_curses*.so", "_dbm*.so", "_gdbm*.so", "_sqlite3*.so"),
    *("nis.*.so", "readline.*.so", "_crypt.*.so", "*.a"),
)
"""Parts of the standard library that nothing here imports, and with them what they would load."""
TESTS = ("tests", "_tests")
"""What distributions bring for their own tests."""
LOADED_LATER = ("libgcc_s.so.1",)
"""By the C library, when a thread is cancelled."""
UID = 65532

_TEXTS = {
    "etc/passwd": f"root:x:0:0:root:/:/nonexistent\nsidecar:x:{UID}:{UID}::/var/lib/sidecar:/\n",
    "etc/group": f"root:x:0:\nsidecar:x:{UID}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_OWN_DIRECTORIES = ("run/sidecar", "var/lib/sidecar")
_DIRECTORIES = ("etc/sidecar", "tmp", "proc", "sys", "dev")


def shared_objects(directory: Path) -> Iterator[Path]:
    """Yield what the dynamic linker could be asked about below a directory."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def libraries_of(path: Path) -> Iterator[Path]:
    """Yield the libraries that a file is loaded with, by the names that the linker looks for."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)  # noqa: S603, S607 - the builder's
    for line in done.stdout.splitlines():
        words = line.split()
        found = [word for word in words if word.startswith("/")]
        if found:
            yield Path(found[0])


def copy(path: Path, root: Path) -> None:
    """Copy a file to the same place below the root, and each link that leads to it."""
    while True:
        parent = path.parent.resolve()  # /lib is a link to usr/lib
        target = root / parent.relative_to("/") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            if not target.exists():
                shutil.copy2(path, target)
            return
        leads_to = path.readlink()
        if not target.is_symlink():
            target.symlink_to(leads_to)
        path = parent / leads_to


def copy_tree(directory: Path, root: Path) -> None:
    """Copy a directory to the same place, without what is left out."""
    target = root / directory.relative_to("/")
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(directory, target, symlinks=True, ignore=ignore)


def gather(root: Path) -> list[Path]:
    """Fill the root; return the libraries that came from the base."""
    for name in ("lib", "lib32", "lib64", "bin", "sbin"):
        link = Path("/", name)
        if link.is_symlink():
            root.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(link.readlink())
    standard = Path(sysconfig.get_path("stdlib"))
    copy_tree(standard, root)
    # By hash and never by time, as in the environment: valid in layers that lose file times.
    compileall.compile_dir(
        root / standard.relative_to("/"),
        stripdir=root,
        prependdir="/",
        quiet=1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    environment = root / ENVIRONMENT.relative_to("/")
    shutil.copytree(ENVIRONMENT, environment, symlinks=True, ignore=shutil.ignore_patterns(*TESTS))
    copy(ENVIRONMENT / "bin" / "python", root)
    libraries = {Path(sys.executable).resolve()}
    for path in (Path(sys.executable).resolve(), *shared_objects(root)):
        libraries.update(libraries_of(path))
    inside = (root, ENVIRONMENT)
    needed = sorted(one for one in libraries if not any(map(one.is_relative_to, inside)))
    beside = [
        directory / name for directory in {one.parent for one in needed} for name in LOADED_LATER
    ]
    gathered = [*needed, *(one for one in beside if one.exists())]
    for one in gathered:
        copy(one, root)
    return gathered


def furnish(root: Path) -> None:
    """Add what a C library and TLS look for, and the directories that the daemon writes to."""
    for name in ("/etc/ssl/certs/ca-certificates.crt", "/etc/ld.so.cache"):
        if Path(name).exists():
            copy(Path(name), root)
    standard = Path("/usr/lib/ssl")  # where OpenSSL looks, by links, on Debian
    if standard.is_dir():
        shutil.copytree(standard, root / "usr/lib/ssl", symlinks=True, dirs_exist_ok=True)
        certificate = root / "usr/lib/ssl/cert.pem"
        if not certificate.is_symlink():
            certificate.symlink_to("/etc/ssl/certs/ca-certificates.crt")
    for name, text in _TEXTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in (*_OWN_DIRECTORIES, *_DIRECTORIES):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name in _OWN_DIRECTORIES:
        (root / name).chmod(0o770)
        os.chown(root / name, UID, UID)


def main(arguments: list[str]) -> int:
    """Gather, and print the libraries that came from the base."""
    (directory,) = arguments
    root = Path(directory)
    libraries = gather(root)
    furnish(root)
    for one in libraries:
        print(one.resolve())  # noqa: T201 - what sbom.py takes
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
