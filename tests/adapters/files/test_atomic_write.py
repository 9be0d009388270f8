"""A file is replaced as a whole, or not at all."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.files.atomic_write import replace_text, write_texts

OLD, NEW = "before\n", "after: é\r\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "policies.yaml"
    file.write_text(OLD)
    file.chmod(0o604)
    return file


def test_the_text_is_there_as_it_is_with_the_files_mode(file: Path) -> None:
    replace_text(file, NEW)
    assert file.read_bytes() == NEW.encode()
    assert file.stat().st_mode & 0o777 == 0o604
    assert list(file.parent.iterdir()) == [file]


def test_who_has_the_file_open_keeps_the_old_one(file: Path) -> None:
    with file.open() as before:
        replace_text(file, NEW)
        assert before.read() == OLD


def test_a_link_to_a_link_leads_to_the_new_text(file: Path) -> None:
    one, two = file.with_name("one"), file.with_name("two")
    one.symlink_to(file.name)
    two.symlink_to(one.name)
    replace_text(two, NEW)
    assert one.is_symlink()
    assert two.is_symlink()
    assert file.read_bytes() == NEW.encode()


def test_what_cannot_be_written_leaves_everything_as_it_was(file: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        replace_text(file, "\ud800")
    assert file.read_text() == OLD
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_text(tmp_path / "none.yaml", NEW)
    assert list(tmp_path.iterdir()) == []


class Interrupted(dict[str, str]):
    """Texts, among which somebody presses Ctrl-C."""

    def items(self) -> Any:
        yield from super().items()
        raise KeyboardInterrupt


def test_several_files_are_written_all_or_none(tmp_path: Path) -> None:
    texts = {"one.yaml": NEW, "policies/two.yaml": NEW}
    with pytest.raises(KeyboardInterrupt):
        write_texts(tmp_path / "a" / "b", Interrupted(texts))
    assert not list(tmp_path.iterdir())
    (tmp_path / "policies").write_text("in the way")
    with pytest.raises(OSError, match="policies"):
        write_texts(tmp_path, texts)
    assert [one.name for one in tmp_path.iterdir()] == ["policies"]
    (tmp_path / "policies").unlink()
    (tmp_path / "policies" / "two.yaml").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"two\.yaml"):
        write_texts(tmp_path, texts)
    assert [one.name for one in tmp_path.iterdir()] == ["policies"]
    write_texts(tmp_path / "a" / "b", texts)
    assert (tmp_path / "a" / "b" / "policies" / "two.yaml").read_bytes() == NEW.encode()
    assert len(list((tmp_path / "a").rglob("*"))) == 4


def test_of_several_files_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text(OLD)
    (tmp_path / "one.yaml").symlink_to(mine)
    write_texts(tmp_path, {"one.yaml": NEW})
    assert mine.read_text() == OLD
    assert (tmp_path / "one.yaml").read_bytes() == NEW.encode()
    assert (tmp_path / "one.yaml").stat().st_mode == mine.stat().st_mode
