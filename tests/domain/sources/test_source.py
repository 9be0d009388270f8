"""What sources may do, as values."""

from sidecar.domain.sources.source import ITSELF, Source, Sources

MDM = Source(
    name="mdm",
    may=frozenset({"device-compliance-change"}),
    may_loosen=frozenset({"device-compliance-change"}),
    over=frozenset({"app"}),
)


def test_a_source_that_is_not_configured_loosens_nothing() -> None:
    assert not Sources([MDM]).loosens("local:payroll", "device-compliance-change")


def test_a_source_loosens_only_what_it_is_named_for() -> None:
    sources = Sources([MDM])
    assert sources.loosens("mdm", "device-compliance-change")
    assert not sources.loosens("mdm", "risk-level-change")


def test_the_daemon_itself_and_operators_loosen() -> None:
    assert Sources().loosens(ITSELF, "network-change")
    assert Sources().loosens("operator:ada", "network-change")


def test_a_source_stands_over_those_it_names_and_no_others() -> None:
    sources = Sources([MDM])
    assert sources.is_over("mdm", "app")
    assert not sources.is_over("app", "mdm")
    assert not sources.is_over("mdm", "idp")
    assert not sources.is_over("mdm", ITSELF)


def test_an_operator_stands_over_all_but_operators() -> None:
    sources = Sources([MDM])
    assert sources.is_over("operator:ada", "mdm")
    assert sources.is_over("operator:ada", ITSELF)
    assert not sources.is_over("operator:ada", "operator:bob")


def test_a_label_in_a_file_names_a_configured_source_or_a_local_peer_else_nobody() -> None:
    sources = Sources([Source(name="mdm")])
    assert sources.labelled("mdm") == "mdm"
    assert sources.labelled("local:app") == "local:app"
    for label in ("", "edr", "operator:ann"):
        assert sources.labelled(label) == ITSELF


def test_over_replaces_only_by_a_word_that_may_loosen() -> None:
    mdm = Source(name="mdm", may_loosen=frozenset({"risk-level-change"}), over=frozenset({"app"}))
    sources = Sources([mdm, Source(name="edr", over=frozenset({"app"}))])
    assert sources.replaces("mdm", "app", "risk-level-change")
    assert not sources.replaces("mdm", "app", "device-compliance-change")
    assert not sources.replaces("edr", "app", "risk-level-change")
    assert sources.replaces("edr", "edr", "risk-level-change")
