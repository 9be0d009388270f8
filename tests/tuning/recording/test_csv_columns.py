import pytest

from sidecar.domain.facts.signal import SessionEstablished, SessionPresented
from sidecar.tuning.recording.csv_columns import Row, UnreadableRow, read_columns, rows
from sidecar.tuning.recording.occurrences import Occurrence, RecordedCall, read
from sidecar.wire.yaml.tree import ConfigError

MAP = """\
time: when
type: {column: kind, values: {login: session-established, use: session-presented}}
subject.user: who
subject.session: session
data.ip: address
data.amr: {column: methods, split: ";"}
data.auth_time: signed_in
data.claims.groups: {column: groups, split: ","}
place.country: country
place.asn: asn
place.latitude: lat
path: path
method: {constant: POST}
label: {column: fraud, values: {"1": attack}, default: legitimate}
"""
HEAD = "when,kind,who,session,address,methods,signed_in,groups,country,asn,lat,path,fraud\n"
LOGIN = '1000.5,login,ada,s1,192.0.2.1,pwd; otp,999,"finance,staff",DE,64496,52.5,,\n'
USE = "2026-09-22T08:00:00Z,use,ada,s1,192.0.2.1,,,,,,,/pay/1,1\n"


def table(*lines: str, columns: str = MAP) -> list[tuple[int, Row | UnreadableRow]]:
    return list(rows([HEAD, *lines], read_columns(columns, "map.yaml"), "r.csv", "map.yaml"))


def occurrence(row: Row | UnreadableRow) -> Occurrence:
    assert isinstance(row, dict)
    found = read(row, b"a line")
    assert isinstance(found, Occurrence)
    return found


def test_rows_become_occurrences() -> None:
    (first, login), (second, use) = table(LOGIN, USE)
    assert (first, second) == (2, 3)
    signed_in = occurrence(login)
    signal = signed_in.signal
    assert isinstance(signal, SessionEstablished)
    assert (signal.amr, signal.auth_time, signal.ip) == (("pwd", "otp"), 999, "192.0.2.1")
    assert signed_in.claims == (("groups", ("finance", "staff")),)
    assert signed_in.place is not None
    assert (signed_in.place.country, signed_in.place.asn) == ("DE", 64496)
    assert signed_in.attack is False
    used = occurrence(use)
    assert isinstance(used.signal, SessionPresented)
    assert used.call == RecordedCall((), "POST", "", "/pay/1")
    assert used.attack is True


def test_checks_can_stand_in_columns_too() -> None:
    columns = "time: when\nop: {constant: check}\nsubject.session: session\ncontext: path\n"
    ((_, row),) = table("5,x,ada,s1,,,,,,,,c1,\n", columns=columns)
    assert occurrence(row).call == RecordedCall(("c1",))


def test_a_row_of_another_length_is_reported_and_the_next_is_read() -> None:
    found = table("1,2,3\n", LOGIN)
    assert isinstance(found[0][1], UnreadableRow)
    assert (found[0][0], str(found[0][1])) == (2, "has 3 columns, the head has 13")
    assert occurrence(found[1][1]).attack is False


def test_a_quote_that_does_not_end_is_reported() -> None:
    (found,) = table('1,"login\n')
    assert isinstance(found[1], UnreadableRow)


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("tim: when\n", 1, "tim", "did you mean 'time'?"),
        ("type: kind\n", 1, "time", "is required"),
        ("time: when\n", 1, "type", "is required"),
        ("time: when\ntype: {columm: kind}\n", 2, "type.columm", "did you mean 'column'?"),
        ("time: when\ntype: {values: {a: b}}\n", 2, "type", "either `column` or `constant`"),
        ("time: when\ntype: kind\nlabel: {column: x, values: [a]}\n", 3, "label.values", "mapping"),
        ("time: [a]\ntype: kind\n", 1, "time", "text"),
        ("- time\n", 1, "", "must be a mapping"),
    ],
)
def test_a_mistake_in_the_map_is_reported_with_its_line(
    text: str, line: int, field: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_columns(text, "map.yaml")
    found = [p for p in caught.value.problems if p.field == field]
    assert [(p.file, p.line) for p in found] == [("map.yaml", line)]
    assert message in found[0].message


def test_a_column_that_is_not_there_is_reported_at_the_maps_line() -> None:
    with pytest.raises(ConfigError) as caught:
        table(LOGIN, columns=MAP.replace("who", "whom"))
    (problem,) = caught.value.problems
    assert str(problem).startswith("map.yaml:3: subject.user: there is no column 'whom' in r.csv")
    assert "did you mean 'who'?" in problem.message


def test_a_name_that_two_columns_have_is_reported_at_the_maps_line() -> None:
    columns = read_columns("time: t\ntype: k\nsubject.user: u\n", "map.yaml")
    with pytest.raises(ConfigError) as caught:
        list(rows(["t,k,u,u\n", "1,check,a,b\n"], columns, "r.csv", "map.yaml"))
    (problem,) = caught.value.problems
    said = "map.yaml:3: subject.user: there is more than one column 'u' in r.csv"
    assert str(problem) == said
