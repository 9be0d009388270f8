import json
from pathlib import Path

import pytest

from tests.cli.command import Done, sidecar

CONFIG = """\
app: {id: payroll}
contexts: {c1: {name: Payroll}, c2: {name: More}}
routes: [{path: /pay/**, contexts: [c1]}]
networks: [{name: office, cidrs: [203.0.113.0/24]}]
"""
POLICY = """\
policies:
  - id: moved
    users: {include: {groups: [finance]}}
    contexts: [c1]
    conditions: {any: [{changed: [country]}, {user_risk: high}]}
    grant: {operator: OR, controls: [phishing-resistant, compliant-device]}
  - id: no-lunch
    contexts: [c2]
    conditions: {time_of_day: {start: "12:00", end: "13:00"}}
    grant: block
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "home.yaml").write_text(POLICY)
    file = tmp_path / "sidecar.yaml"
    file.write_text(CONFIG)
    return file


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)


async def what_if(config: Path, *words: str) -> Done:
    return await sidecar("what-if", "--config", str(config), *words)


FINANCE = ("--group", "finance", "--acr", "mfa", "--context", "c1")


async def test_a_session_that_may_pass_ends_with_status_0(config: Path) -> None:
    done = await what_if(config, *FINANCE)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("allow in c1 at ")
    assert "moved: conditions-not-met" in done.out


async def test_each_condition_is_reported_with_its_value(config: Path) -> None:
    done = await what_if(config, *FINANCE, "--country", "DE", "--then", "country=PT")
    assert done.status == 1
    assert "signed in: allow: " in done.out
    assert "then country=PT:\nstep_up in c1 at " in done.out
    assert "+ any (any of these)" in done.out
    assert "+ changed (country changed): PT, at the start DE" in done.out
    assert "- user_risk (at least high): not reported" in done.out
    assert "+ users: included as group finance" in done.out
    assert "- grant: phishing-resistant: not shown since" in done.out


async def test_policies_for_others_are_reported_where_all_are_wanted(config: Path) -> None:
    few = await what_if(config, "--context", "c1")
    every = await what_if(config, "--context", "c1", "--all")
    assert "2 more for other users, apps or contexts" in few.out
    assert "moved: other-user - not for this user: not among the included" in every.out
    assert "no-lunch: other-context" in every.out


async def test_the_explanation_is_had_as_json(config: Path) -> None:
    done = await what_if(config, "--context", "c2", "--at", "2026-01-05T12:30:00Z", "--json")
    assert done.status == 1
    printed = json.loads(done.out)
    assert (printed["verdict"], printed["reasons"]) == ("deny", ["no-lunch"])
    lunch = next(policy for policy in printed["policies"] if policy["policy"] == "no-lunch")
    assert lunch["conditions"]["value"] == "Mon 2026-01-05 12:30 UTC"
    assert lunch["grant"] == {"block": True}


async def test_with_changes_the_json_has_every_step(config: Path) -> None:
    done = await what_if(config, *FINANCE, "--then", "user-risk=high", "--json")
    printed = json.loads(done.out)
    assert [(step["change"], step["explanation"]["verdict"]) for step in printed] == [
        ("", "allow"),
        ("user-risk=high", "step_up"),
    ]


async def test_a_described_session_is_what_it_is_described_as(config: Path) -> None:
    done = await what_if(
        config,
        *("--user", "ada", "--role", "admin", "--ip", "203.0.113.9", "--device", "d1"),
        *("--not-compliant", "--amr", "pwd", "--amr", "otp", "--signed-in-ago", "1h"),
        *("--session-risk", "medium", "--score-signal", "odd=12", "--claim", "a=b", "--json"),
        *("--path", "/pay/7", "--at", "2026-01-05T10:00:00Z"),
    )
    printed = json.loads(done.out)
    session = printed["session"]
    assert (session["user"], session["roles"], session["network"]) == ("ada", ["admin"], "office")
    assert (session["device"], session["compliance"]) == ("d1", "not-compliant")
    (sign_in,) = session["sign_ins"]
    assert (sign_in["level"], printed["time"] - sign_in["auth_time"]) == ("mfa", 3600)
    assert {"odd", "session-risk-medium"} <= {term["name"] for term in printed["score"]["terms"]}
    assert printed["contexts"] == ["c1"]


async def test_what_a_token_leaves_out_can_be_described(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    users = "{include: {groups: [finance]}, exclude: {roles: [clerk]}}"
    rewrite(other, f"policies: [{{id: shut, users: {users}, contexts: [c1], grant: block}}]")
    asked = ("--context", "c1", "--policies", str(other))
    assert (await what_if(config, *asked)).status == 0
    done = await what_if(config, *asked, "--unknown", "groups", "--unknown", "roles")
    assert done.status == 1
    assert "groups unknown; roles unknown" in done.out
    assert "taken for one of the included: the groups are unknown" in done.out


async def test_other_policies_can_be_tried(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    rewrite(other, "policies: [{id: shut, contexts: [c1], grant: block}]")
    done = await what_if(config, "--context", "c1", "--policies", str(other))
    assert done.status == 1
    assert "shut: deny" in done.out
    assert "no-lunch" not in done.out


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("--context", "c9"), "--context: 'c9' is not in `contexts`"),
        (("--then", "ntework=x"), "did you mean 'network'?"),
        (("--ip", "1.2.3"), "is no IP address"),
        (("--at", "noon"), "--at: must be a time"),
        (("--signed-in-ago", "long"), "--signed-in-ago: must be"),
        (("--auth-time", "9999999999"), "must not be later than --at"),
        (("--user-risk", "terrible"), "invalid choice"),
        (("--compliant", "--not-compliant"), "not allowed with"),
        (("--path", "/a%2fb"), "encoded slash"),
        (("--score-signal", "odd"), "NAME=WEIGHT"),
    ],
)
async def test_bad_usage_ends_with_status_2(
    config: Path, words: tuple[str, ...], printed: str
) -> None:
    done = await what_if(config, *words)
    assert (done.status, done.out) == (2, "")
    assert printed in done.err
    assert "Traceback" not in done.err


async def test_a_broken_configuration_is_reported_with_its_line(config: Path) -> None:
    rewrite(config, CONFIG + "sokcet: {}\n")
    done = await what_if(config)
    assert done.status == 2
    assert done.err.startswith(f"{config}:5: sokcet: ")


SEVERAL = """\
tokens:
  issuers:
    - {issuer: https://home.example, audiences: [payroll]}
    - {issuer: https://partner.example, audiences: [payroll], namespace: partners}
"""


async def test_a_session_is_of_one_of_several_issuers(config: Path) -> None:
    rewrite(config, CONFIG + SEVERAL)
    (config.parent / "policies" / "home.yaml").write_text(
        "policies: [{id: partner, contexts: [c1], issuers: [partners], grant: phishing-resistant}]"
    )
    words = ("--acr", "mfa", "--context", "c1")
    for issuer, status in (("https://partner.example", 1), ("https://home.example", 0)):
        assert (await what_if(config, *words, "--issuer", issuer)).status == status
    done = await what_if(config, *words)
    assert done.status == 2
    assert "--issuer: is required, as there are several: https://home.example" in done.err
    done = await what_if(config, *words, "--issuer", "https://partner.exampel")
    assert done.status == 2
    assert "did you mean 'https://partner.example'?" in done.err


async def test_addresses_that_were_proven_on_the_device_before_are_not_asked_for(
    config: Path,
) -> None:
    moved = POLICY.replace("changed: [country]", "changed: [ip]")
    rewrite(config.parent / "policies" / "home.yaml", moved)
    call = ("--group", "finance", "--acr", "phr", "--context", "c1", "--ip", "192.0.2.1")
    travels = (*call, "--signed-in-ago", "1h", "--then", "ip=192.0.2.9")
    before = ("--proven", "192.0.2.9")
    assert (await what_if(config, *travels, *before, "--device", "laptop")).status == 0
    assert (await what_if(config, *travels, *before)).status == 1
    refused = await what_if(config, *travels, "--proven", "nowhere")
    assert (refused.status, "nowhere is no IP address" in refused.err) == (2, True)
