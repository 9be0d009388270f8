"""What is listed and cannot be read is an error, and so is a set that has become empty."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from sidecar.daemon.configuration.files import (
    read_again,
    read_configuration,
    read_policy_set,
)
from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.tree import ConfigError

CONFIG = """\
contexts: {c1: {name: Payroll}}
networks: [{name: restricted, cidr_file: restricted.txt}]
"""
POLICY = """\
policies:
  - id: restricted-segment
    contexts: {include: [c1]}
    conditions: {networks: {include: [restricted]}}
    grant: mfa
"""
UNUSED = "definitions:\n  conditions:\n    away: {changed: [country]}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/one.yaml").write_text(POLICY)
    (tmp_path / "restricted.txt").write_text("10.9.0.0/16\n")
    (tmp_path / "sidecar.yaml").write_text(CONFIG)
    return tmp_path


def wrong_with(home: Path) -> list[str]:
    """What is reported of the configuration there, by the names that its directory has in it."""
    with pytest.raises(ConfigError) as caught:
        read_configuration(home / "sidecar.yaml", {})
    return [str(problem).replace(f"{home}/", "") for problem in caught.value.problems]


def dangle(home: Path) -> None:
    (home / "policies/one.yaml").unlink()
    (home / "policies/one.yaml").symlink_to("..data/one.yaml")


def loop(home: Path) -> None:
    (home / "policies/one.yaml").unlink()
    (home / "policies/one.yaml").symlink_to("one.yaml")


def shadow(home: Path) -> None:
    (home / "policies/two.yml").mkdir()


def empty(home: Path) -> None:
    (home / "policies/one.yaml").unlink()


def remove(home: Path) -> None:
    empty(home)
    (home / "policies").rmdir()


def rename(home: Path) -> None:
    (home / "policies/one.yaml").rename(home / "policies/one.yaml.bak")


def replace_by_definitions(home: Path) -> None:
    (home / "policies/one.yaml").write_text(UNUSED)


def truncate(home: Path) -> None:
    (home / "policies/one.yaml").write_text("")


def empty_the_network(home: Path) -> None:
    (home / "restricted.txt").write_text("# nothing\n")


def make_the_network_a_directory(home: Path) -> None:
    (home / "restricted.txt").unlink()
    (home / "restricted.txt").mkdir()


def pipe(home: Path) -> None:
    os.mkfifo(home / "policies/two.yaml")


def make_the_network_a_pipe(home: Path) -> None:
    (home / "restricted.txt").unlink()
    os.mkfifo(home / "restricted.txt")


def make_a_secret_a_pipe(home: Path) -> None:
    os.mkfifo(home / "admin")
    (home / "sidecar.yaml").write_text(f"{CONFIG}admin: {{token_file: admin}}\n")


def empty_the_configuration(home: Path) -> None:
    (home / "sidecar.yaml").write_text("# nothing\n")


LISTED = "policies/one.yaml:0: (file): cannot be read: "
NO_FILE = "has no *.yaml file; where no policies are wanted, put `policies: []` in one"
NONE_SAID = "no file has any: where none are wanted, put `policies: []` in one"
NO_CIDR = "restricted.txt: holds no CIDR; where it is to hold none, say `none`"
NO_DIRECTORY = "there is no such directory; set policies.path, or put the policies there"
EMPTY = "is empty; where all is as by default or in the environment, say `{}`"
MEND = "mend the link, or remove it"
LOOP = f"Too many levels of symbolic links; it is a link to one.yaml: {MEND}"
IS_DIRECTORY = "Is a directory; remove it, or put a file in its place"

VANISHED: list[tuple[Callable[[Path], None], str]] = [
    (dangle, f"{LISTED}No such file or directory; it is a link to ..data/one.yaml: {MEND}"),
    (loop, f"{LISTED}{LOOP}"),
    (shadow, f"policies/two.yml:0: (file): cannot be read: {IS_DIRECTORY}"),
    (empty, f"policies:0: policies.path: {NO_FILE}"),
    (rename, f"policies:0: policies.path: {NO_FILE}"),
    (remove, f"policies:0: policies.path: {NO_DIRECTORY}"),
    (replace_by_definitions, f"policies/one.yaml:1: policies: {NONE_SAID}"),
    (truncate, "policies/one.yaml:1: policies: is required (a list; `[]` if there is no policy)"),
    (empty_the_network, f"sidecar.yaml:2: networks.0.cidr_file: {NO_CIDR}"),
    (
        make_the_network_a_directory,
        "sidecar.yaml:2: networks.0.cidr_file: restricted.txt: Is a directory",
    ),
    (pipe, "policies/two.yaml:0: (file): cannot be read: it is not a regular file"),
    (
        make_the_network_a_pipe,
        "sidecar.yaml:2: networks.0.cidr_file: restricted.txt: it is not a regular file",
    ),
    (
        make_a_secret_a_pipe,
        "sidecar.yaml:3: admin.token_file: admin cannot be read: it is not a regular file",
    ),
    (empty_the_configuration, f"sidecar.yaml:1: (file): {EMPTY}"),
]


@pytest.mark.parametrize(
    ("vanish", "heard"), VANISHED, ids=[vanish.__name__ for vanish, _ in VANISHED]
)
def test_what_vanishes_is_an_error_that_names_it(
    home: Path, vanish: Callable[[Path], None], heard: str
) -> None:
    vanish(home)
    assert wrong_with(home) == [heard]


ENDLESS = "cannot be read: File too large; it is a link to /dev/zero: mend the link, or remove it"


def test_a_device_without_an_end_is_not_read_for_ever(home: Path) -> None:
    file = home / "sidecar.yaml"
    file.unlink()
    file.symlink_to("/dev/zero")
    assert wrong_with(home) == [f"sidecar.yaml:0: (file): {ENDLESS}"]


@pytest.mark.parametrize("name", ["sidecar.yaml", "policies/one.yaml"])
def test_a_reload_waits_for_no_pipe_that_a_start_may_be_given(home: Path, name: str) -> None:
    file = home / "sidecar.yaml"
    file.write_text(f"{CONFIG}policies: {{path: policies/one.yaml}}\n")
    text = (home / name).read_text()
    (home / name).unlink()
    os.mkfifo(home / name)
    with pytest.raises(ConfigError, match=f"{name}:0: .*it is not a regular file"):
        read_again(file, {})
    writer = Thread(target=(home / name).write_text, args=(text,))
    writer.start()
    assert read_configuration(file, {}).policies
    writer.join()


def test_all_files_that_cannot_be_read_are_reported_at_once(home: Path) -> None:
    dangle(home)
    shadow(home)
    assert len(wrong_with(home)) == 2


def test_none_are_wanted_where_a_file_says_so(home: Path) -> None:
    (home / "policies/one.yaml").write_text("policies: []")
    (home / "restricted.txt").write_text("none # since the lease ended\n")
    configuration = read_configuration(home / "sidecar.yaml", {})
    assert configuration.policies == ()
    assert configuration.prefixes.network_of("10.9.0.1") == ""


def test_names_in_capitals_are_read_and_an_editors_lock_is_not(home: Path) -> None:
    (home / "policies/one.yaml").rename(home / "policies/ONE.YAML")
    (home / "policies/.#ONE.YAML").symlink_to("ada@laptop.4711:1764470000")
    policies = read_configuration(home / "sidecar.yaml", {}).policies
    assert [policy.id for policy in policies] == ["restricted-segment"]


def test_policies_to_take_instead_must_be_there_as_well(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no \*.yaml file"):
        read_policy_set(tmp_path, Settings())


def test_what_a_variable_names_and_is_not_there_is_reported_by_the_variable(home: Path) -> None:
    name = "SIDECAR_NETWORKS__0__CIDR_FILE"
    with pytest.raises(ConfigError) as caught:
        read_configuration(home / "sidecar.yaml", {name: str(home / "gone.txt")})
    assert str(caught.value).startswith(f"{name}:1: networks.0.cidr_file: ")


def test_a_section_stays_in_its_file_whatever_a_variable_says_of_it(home: Path) -> None:
    (home / "sidecar.yaml").write_text(f"{CONFIG}store:\n  tls_cert_file: crt.pem\n")
    with pytest.raises(ConfigError) as caught:
        read_configuration(home / "sidecar.yaml", {"SIDECAR_STORE__PREFIX": "su"})
    assert "sidecar.yaml:4: store.tls_key_file: is required" in str(caught.value)
