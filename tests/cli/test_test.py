from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.command import Done, sidecar

CONFIG = "contexts: {c1: {name: Payroll}}\nroutes: [{path: /pay/**, contexts: [c1]}]\n"
POLICY = """\
policies:
  - id: risky
    contexts: [c1]
    conditions: {user_risk: high}
    grant: mfa
"""
SCENARIO = """\
scenarios:
  - name: high risk asks for more
    given: {session: {user: ada, acr: mfa}}
    steps:
      - then: {context: c1, verdict: allow}
      - at: +10m
        when: {type: risk-level-change, data: {current_level: HIGH}}
        then: {context: c1, verdict: step_up, reasons: [risky]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text(POLICY)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "s.yaml").write_text(SCENARIO)
    file = tmp_path / "sidecar.yaml"
    file.write_text(CONFIG)
    return file


def scenarios(config: Path) -> Path:
    return config.parent / "scenarios" / "s.yaml"


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)


async def run(config: Path, *words: str) -> Done:
    return await sidecar("test", "--config", str(config), *words)


async def test_scenarios_beside_the_configuration_are_run(config: Path) -> None:
    done = await run(config)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "ok    high risk asks for more",
        "1 of 1 scenario went as expected",
    ]


async def test_a_failed_expectation_is_reported_with_its_line_and_why(config: Path) -> None:
    file = scenarios(config)
    rewrite(file, SCENARIO.replace("step_up, reasons: [risky]", "allow"))
    done = await run(config, str(file))
    assert done.status == 1
    assert f"FAIL  high risk asks for more ({file}:2)" in done.out
    assert f"{file}:8: at +600 s, session, c1" in done.out
    assert "verdict  allow     step_up" in done.out
    assert "+ user_risk (at least high): high" in done.out
    assert "0 of 1 scenario went as expected" in done.out


async def test_of_a_failure_what_has_nothing_to_do_with_it_takes_a_line(config: Path) -> None:
    others = """\
policies:
  - id: travels
    contexts: [c1]
    conditions:
      any: [{changed: [ip]}, {not: {user_risk: high}}, {all: [{score: 90}, {user_risk: low}]}]
    grant: mfa
"""
    rewrite(config.parent / "policies" / "q.yaml", others)
    file = scenarios(config)
    rewrite(file, SCENARIO.replace("{context: c1, verdict: step_up", "{context: c1, verdict: deny"))
    done = await run(config, str(file))
    assert (
        "travels: conditions-not-met: changed (ip changed): unknown; "
        "not user_risk (at least high): high; score (at least 90): 60.0 "
    ) in done.out
    assert "- changed (ip changed)" not in done.out
    assert "+ user_risk (at least high): high" in done.out
    rewrite(file, file.read_text().replace("reasons: [risky]", "reasons: [risky, travels]"))
    assert "- changed (ip changed)" in (await run(config, str(file))).out


async def test_a_mistake_in_a_file_is_reported_with_its_line(config: Path) -> None:
    file = scenarios(config)
    rewrite(file, SCENARIO.replace("HIGH", "VERY").replace("c1, verdict: step_up", "c7"))
    done = await run(config, str(file))
    assert (done.status, done.out) == (2, "")
    assert f"{file}:7: scenarios[0].steps[1].when.data.current_level: must be one of" in done.err
    assert f"{file}:8: " in done.err


async def test_a_report_in_junits_form_can_be_written(config: Path) -> None:
    file = scenarios(config)
    second = SCENARIO.replace("high risk asks", "<wrong> & more").replace("step_up", "deny")
    rewrite(file, SCENARIO + second.removeprefix("scenarios:\n"))
    report = config.parent / "report.xml"
    done = await run(config, "--junit", str(report))
    assert done.status == 1
    root = ET.parse(report).getroot()
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "2", "1")
    good, bad = root.findall("testsuite/testcase")
    assert good.find("failure") is None
    failure = bad.find("failure")
    assert failure is not None
    assert bad.get("name") == "<wrong> & more for more"
    assert "verdict: expected deny, got step_up" in (failure.text or "")


async def test_what_was_never_tried_is_reported_and_can_fail(config: Path) -> None:
    rewrite(config.parent / "policies" / "q.yaml", POLICY.replace("risky", "other"))
    full = await run(config, "--coverage")
    assert "coverage 100.0 %" in full.out
    more = POLICY.replace("risky", "third").replace("user_risk: high", "device: {known: true}")
    rewrite(config.parent / "policies" / "r.yaml", more)
    done = await run(config, "--coverage")
    assert done.status == 1  # `reasons` names the other policy, too
    least = SCENARIO.replace(", reasons: [risky]", "")
    rewrite(scenarios(config), least)
    done = await run(config, "--coverage")
    assert done.status == 0
    assert "never tried: third: fires" in done.out
    assert "never tried: third: device (known): holds" in done.out
    assert (await run(config, "--min-coverage", "95")).status == 1
    assert (await run(config, "--min-coverage", "80")).status == 0


async def test_a_file_can_bring_its_own_policies(config: Path) -> None:
    rewrite(config.parent / "mine.yaml", POLICY.replace("grant: mfa", "grant: block"))
    text = "policies: ../mine.yaml\n" + SCENARIO.replace("step_up", "deny")
    rewrite(scenarios(config), text)
    assert (await run(config)).status == 0


async def test_other_policies_can_be_tried_on_the_same_scenarios(config: Path) -> None:
    rewrite(config.parent / "mine.yaml", POLICY.replace("user_risk: high", "user_risk: low"))
    assert (await run(config, "--policies", str(config.parent / "mine.yaml"))).status == 0
    rewrite(config.parent / "mine.yaml", POLICY.replace("grant: mfa", "grant: block"))
    assert (await run(config, "--policies", str(config.parent / "mine.yaml"))).status == 1


async def test_only_some_can_be_run(config: Path) -> None:
    assert (await run(config, "--only", "high risk")).status == 0
    done = await run(config, "--only", "nothing like it")
    assert done.status == 2
    assert "no scenario" in done.err


@pytest.mark.parametrize("words", [("none.yaml",), ("--min-coverage", "101"), ("--junt", "x")])
async def test_bad_usage_ends_with_status_2(config: Path, words: tuple[str, ...]) -> None:
    done = await run(config, *words)
    assert (done.status, done.out) == (2, "")
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("session", "printed"),
    [
        ("{user: ada, acr: mfa}", "issuer: is required, as there are several issuers"),
        ("{issuer: https://home.exampel}", "is not in `tokens.issuers`; did you mean"),
    ],
)
async def test_a_session_is_of_one_of_several_issuers(
    config: Path, session: str, printed: str
) -> None:
    issuers = "".join(
        f"    - {{issuer: https://{name}.example, audiences: [x]}}\n"
        for name in ("home", "partner")
    )
    rewrite(config, f"{CONFIG}tokens:\n  issuers:\n{issuers}")
    rewrite(scenarios(config), SCENARIO.replace("{user: ada, acr: mfa}", session))
    done = await run(config)
    assert done.status == 2
    assert f"{scenarios(config)}:3: scenarios[0].given.session.issuer: " in done.err
    assert printed in done.err


async def test_scenario_files_that_cannot_be_read_are_errors(config: Path) -> None:
    lost = config.parent / "scenarios" / "lost.yaml"
    lost.symlink_to("..data/lost.yaml")
    done = await run(config)
    assert done == (2, "", f"{lost}:0: (file): cannot be read: No such file or directory\n")
    bare = config.parent / "bare"
    bare.mkdir()
    lost.unlink()
    done = await run(config, str(scenarios(config)), str(bare))
    assert done == (2, "", f"sidecar test: there is no scenario file in {bare}\n")


async def test_scenarios_in_linked_directories_are_run_and_those_of_a_mount_once(
    config: Path,
) -> None:
    mount = config.parent / "scenarios"
    (mount / "..2026_11_30").mkdir()
    (mount / "s.yaml").rename(mount / "..2026_11_30" / "s.yaml")
    (mount / "..data").symlink_to("..2026_11_30")
    (mount / "s.yaml").symlink_to("..data/s.yaml")
    elsewhere = config.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "t.yml").write_text(SCENARIO.replace("high risk", "very high risk"))
    (elsewhere / "up").symlink_to(mount)
    (mount / "more").symlink_to(elsewhere)
    done = await run(config)
    assert (done.status, done.out.splitlines()[-1]) == (0, "2 of 2 scenarios went as expected")
