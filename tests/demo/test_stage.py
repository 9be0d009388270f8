"""The demo's needs beside the daemon."""

import sys
from pathlib import Path

import pytest

from sidecar.demo.stage import prepare
from sidecar.service.ports.calls import Unavailable


def test_without_its_extra_the_demo_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "sidecar.demo.geography", raising=False)
    monkeypatch.delattr("sidecar.demo.geography", raising=False)
    monkeypatch.setitem(sys.modules, "mmdb_writer", None)
    with pytest.raises(Unavailable, match=r"mmdb_writer is missing.*stepup-sidecar\[demo\]"):
        prepare(tmp_path, "https://id.example")
    assert not list(tmp_path.iterdir())
