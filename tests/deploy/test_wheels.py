"""The pinned packages have a wheel for each architecture that the image is for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.image import ROOT, instructions

PINNED = ROOT / "requirements" / "run.txt"
LIBC = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
"""What Debian, of which the base is, has from its version 10 on."""


def download(to: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(to)]
    return subprocess.run(
        [*command, "--only-binary", ":all:", *options], capture_output=True, text=True, check=False
    )


def of(architecture: str) -> list[str]:
    """Return what has pip choose wheels for the image's Python on another architecture."""
    (base,) = (rest for word, rest in instructions() if word == "ARG")
    (version,) = re.findall(r"python:(\d+\.\d+)", base)
    options = [f"--platform={libc}_{architecture}" for libc in LIBC]
    options += [f"--python-version={version}", "--implementation=cp"]
    return options + [f"--abi={abi}" for abi in (f"cp{version.replace('.', '')}", "abi3", "none")]


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_every_pinned_package_has_a_wheel(architecture: str, tmp_path: Path) -> None:
    if download(tmp_path / "other", *of(architecture), "psutil").returncode:  # none of ours
        pytest.skip(f"no package index with wheels for {architecture} can be asked")
    pinned = ["--require-hashes", "--requirement", str(PINNED)]
    done = download(tmp_path / "ours", *of(architecture), *pinned)
    assert done.returncode == 0, done.stderr
    names = {path.name.partition("-")[0] for path in (tmp_path / "ours").glob("*.whl")}
    assert len(names) == len(re.findall(r"^[\w.-]+==", PINNED.read_text(), re.MULTILINE))
