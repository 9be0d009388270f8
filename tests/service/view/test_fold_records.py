"""A session is put together from records that say much twice: its own, and its locator."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.fact_kinds import Fact, NetworkReported, Revoked, Scope, SignalRaised
from sidecar.domain.facts.steps import steps_of
from sidecar.domain.values.lattice import Record, join_all
from sidecar.domain.values.stamp import at
from sidecar.service.view.fold_records import assemble, facts_of
from sidecar.wire.store.records import encode_facts
from tests.domain.scenes import evaluator

SECONDS = st.integers(1000, 1004)
SOURCES = st.sampled_from(["local:app", "agent"])
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(
        lambda second, source, name: NetworkReported(
            stamp=at(second, name), source=source, network=name
        ),
        SECONDS,
        SOURCES,
        st.sampled_from(["lab", "other"]),
    ),
    st.builds(
        lambda second, source, name: SignalRaised(
            stamp=at(second, name), source=source, scope=Scope.SESSION, name=name
        ),
        SECONDS,
        SOURCES,
        st.sampled_from(["leak", "bot"]),
    ),
    st.builds(
        lambda second, source: Revoked(stamp=at(second, "end"), source=source, scope=Scope.SESSION),
        SECONDS,
        SOURCES,
    ),
)
"""What events say, of which each has an id of its own, as a source's events have."""

PLACED = st.lists(st.tuples(FACTS, st.booleans(), st.booleans()), max_size=12)


@given(PLACED)
def test_what_lies_in_two_records_of_a_session_counts_as_if_each_were_read(
    placed: list[tuple[Fact, bool, bool]],
) -> None:
    own: Record = join_all(encode_facts([fact]) for fact, here, _ in placed if here)
    locator: Record = join_all(encode_facts([fact]) for fact, _, there in placed if there)
    folded = assemble(evaluator(), "s", own, [locator])
    each = facts_of((own, locator))

    def said(facts: list[Fact]) -> list[set[Fact]]:
        return [set(step) for step in steps_of(facts)]

    assert said(folded.facts) == said(each)
    assert folded.state == evaluator().fold("s", each)


def test_what_lies_in_two_records_is_read_once() -> None:
    fact = NetworkReported(stamp=at(1000, "e"), source="agent", network="lab")
    record = encode_facts([fact])
    assert assemble(evaluator(), "s", record, [dict(record), {}]).facts == [fact]
