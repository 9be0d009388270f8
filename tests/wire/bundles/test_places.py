"""The places of a bundle stand behind those of the configuration, each with its file and line."""

import pytest

from sidecar.wire.bundles.places import BundledFiles, texts_of, with_places
from sidecar.wire.yaml.tree import ConfigError, Listing, Node, Problems, Scalar, Table, read_tree

OWN = "networks:\n  - {name: office, cidrs: [192.0.2.0/24]}\n"


def read(
    files: dict[str, bytes], own: str = OWN, label: str = "bundle 7: "
) -> tuple[object, list[str]]:
    problems = Problems()
    root = read_tree(own, "etc/s.yaml", problems)
    assert isinstance(root, Table)
    table = with_places(root, BundledFiles(files, label), problems)
    return plain(table), reported(problems)


def reported(problems: Problems) -> list[str]:
    try:
        problems.check()
    except ConfigError as error:
        return [str(one) for one in error.problems]
    return []


def plain(node: Node) -> object:
    match node:
        case Table():
            return {name: plain(entry.node) for name, entry in node.entries.items()}
        case Listing():
            return [plain(one) for one in node.items]
        case Scalar():
            return node.value
    raise AssertionError(node)


def test_a_bundle_without_places_changes_nothing() -> None:
    assert read({}) == read({"places.yaml": b"{}"}) == (plain_of(OWN), [])


def plain_of(text: str) -> object:
    tree = read_tree(text, "any.yaml", Problems())
    assert tree is not None
    return plain(tree)


def test_places_come_behind_those_of_the_configuration_with_the_cidrs_of_their_files() -> None:
    places = b"""\
networks:
  - {name: lab, cidr_file: lists/lab, cidrs: [203.0.113.0/24]}
  - {name: empty, cidr_file: lists/none}
locations:
  - {name: home, countries: [SE]}
"""
    lists = {
        "lists/lab": b"# the lab\r\n198.51.100.0/24 ; old\n\n2001:db8::/32\n",
        "lists/none": b"none\n",
    }
    found, problems = read({"places.yaml": places, **lists})
    assert not problems
    assert found == {
        "networks": [
            {"name": "office", "cidrs": ["192.0.2.0/24"]},
            {"name": "lab", "cidrs": ["203.0.113.0/24", "198.51.100.0/24", "2001:db8::/32"]},
            {"name": "empty", "cidrs": []},
        ],
        "locations": [{"name": "home", "countries": ["SE"]}],
    }


def test_what_the_configuration_has_in_no_list_gives_way_to_the_bundle_s() -> None:
    places = {"places.yaml": b"networks: [{name: lab, cidrs: [192.0.2.0/24]}]\n"}
    expected = {"networks": [{"name": "lab", "cidrs": ["192.0.2.0/24"]}]}
    assert read(places, "networks: {name: office}\n") == (expected, [])


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        (
            {"places.yaml": b"- a\n"},
            "bundle 7: places.yaml:1: (file): must be a mapping of locations and networks",
        ),
        (
            {"places.yaml": b"locations: []\nroutes: []\n"},
            (
                "bundle 7: places.yaml:2: routes: is not known here; "
                "a bundle has locations and networks"
            ),
        ),
        (
            {"places.yaml": b"\nnetworks: {}\n"},
            "bundle 7: places.yaml:2: networks: must be a list",
        ),
        (
            {"places.yaml": b"networks:\n  - {name: a, cidr_file: ../etc/hosts}\n"},
            "bundle 7: places.yaml:2: cidr_file: names no file of the bundle: they are in lists/",
        ),
        (
            {"places.yaml": b"networks:\n  - {name: a, cidr_file: [1]}\n"},
            "bundle 7: places.yaml:2: cidr_file: names no file of the bundle: they are in lists/",
        ),
        (
            {"places.yaml": b"networks: [{name: a, cidr_file: lists/a}]\n", "lists/a": b"# none\n"},
            "bundle 7: lists/a:1: (file): holds no CIDR; where it is to hold none, say `none`",
        ),
        (
            {"places.yaml": b"networks: [{name: a, cidr_file: lists/a}]\n", "lists/a": b"\xff"},
            "bundle 7: lists/a:1: (file): is not UTF-8 text",
        ),
        ({"places.yaml": b"\xff"}, "bundle 7: places.yaml:1: (file): is not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_reported_with_the_file_and_line_of_the_bundle(
    files: dict[str, bytes], wrong: str
) -> None:
    _, problems = read(files)
    assert problems == [wrong]


def test_policies_are_read_in_the_order_of_their_paths() -> None:
    files = {"policies/b.yaml": b"b\r\n", "policies/a.yaml": b"a\n", "places.yaml": b"{}\n"}
    problems = Problems()
    found = texts_of(BundledFiles(files, "bundle 7: "), problems)
    assert found == [("bundle 7: policies/a.yaml", "a\n"), ("bundle 7: policies/b.yaml", "b\n")]
    assert texts_of(BundledFiles({"policies/c.yaml": b"\xff"}, ""), problems) == []
    assert reported(problems) == ["policies/c.yaml:1: (file): is not UTF-8 text"]
