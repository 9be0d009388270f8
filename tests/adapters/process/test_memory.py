from pathlib import Path

import pytest

from sidecar.adapters.process.memory import container_limit, resident

MIB = 1 << 20
V1_NONE = str(0x7FFFFFFFFFFFF000)


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "268435456\n"}, 256 * MIB),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        ("0::/pods/one\n", {"pods/one/memory.max": "max", "pods/memory.max": "64"}, 64),
        ("0::/pods/one\n", {"pods/one/memory.max": "32", "pods/memory.max": "64"}, 32),
        # seen from within a container, the tree begins at its own group
        ("0::/pods/one\n", {"memory.max": "128"}, 128),
        ("0::/../../one\n", {"memory.max": "128"}, 128),
        ("4:memory:/p\n0::/\n", {"memory/p/memory.limit_in_bytes": "512"}, 512),
        ("4:memory:/p\n", {"memory/memory.limit_in_bytes": "512"}, 512),
        ("4:cpu,memory:/p\n", {"memory/memory.limit_in_bytes": V1_NONE}, None),
        ("4:cpu:/p\n", {"cpu/p/memory.max": "1"}, None),
        ("nonsense\n", {"memory.max": "nonsense"}, None),
    ],
)
def test_the_least_limit_of_the_groups_of_a_process_counts(
    tmp_path: Path, own: str, files: dict[str, str], limit: int | None
) -> None:
    cgroups, process = tmp_path / "cgroup", tmp_path / "self"
    process.mkdir()
    (process / "cgroup").write_text(own)
    for name, text in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(text)
    assert container_limit(cgroups, process) == limit


def test_where_nothing_can_be_read_there_is_no_limit(tmp_path: Path) -> None:
    assert container_limit(tmp_path / "none", tmp_path / "none") is None
    assert resident(tmp_path / "none") == 0


def test_a_process_holds_what_it_has_made() -> None:
    before = resident()
    made = b"x" * (64 * MIB)
    assert resident() - before > 32 * MIB
    assert made
