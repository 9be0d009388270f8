"""A digest of a session's facts: another one for each change that a fold would see."""

import pytest

from sidecar.wire.facts.facts_digest import digest_of_facts
from sidecar.wire.store.losses import VOUCHERS
from sidecar.wire.store.records import CHECKPOINT

OWN = {b"place:7": b"here", b"signal@siem:8": b"alarm", CHECKPOINT: b"until then"}
USERS = {b"seen:s": b"there"}
RECORDS = ((b"own", OWN), (b"users", USERS))


def test_the_order_of_fields_is_of_no_matter() -> None:
    turned = dict(reversed(OWN.items()))
    assert digest_of_facts(((b"own", turned), (b"users", USERS))) == digest_of_facts(RECORDS)


@pytest.mark.parametrize("field", [*OWN, *sorted(VOUCHERS), b"revoked@siem:9", b"seen:t"])
def test_whatever_a_fold_reads_makes_it_another_one(field: bytes) -> None:
    changed = (b"own", {**OWN, field: b"otherwise"}), (b"users", USERS)
    assert digest_of_facts(changed) != digest_of_facts(RECORDS)


@pytest.mark.parametrize("field", OWN)
def test_what_is_missing_makes_it_another_one(field: bytes) -> None:
    fewer = {name: value for name, value in OWN.items() if name != field}
    assert digest_of_facts(((b"own", fewer), (b"users", USERS))) != digest_of_facts(RECORDS)


def test_a_fact_of_another_record_is_another_fact() -> None:
    assert digest_of_facts(((b"own", USERS), (b"users", OWN))) != digest_of_facts(RECORDS)
    assert digest_of_facts(RECORDS[:1]) != digest_of_facts(RECORDS)


@pytest.mark.parametrize("field", [b"app:payroll", b"event:1", b"logged:p"])
def test_what_is_no_fact_leaves_it_as_it_is(field: bytes) -> None:
    more = {**OWN, field: b"1"}
    assert digest_of_facts(((b"own", more), (b"users", USERS))) == digest_of_facts(RECORDS)
