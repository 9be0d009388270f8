"""Recordings and policies to replay."""

from tests.service.replaying import begin, call, risk

DAY = 1_790_035_200
"""2026-09-22T00:00:00Z."""


TEN = DAY + 10 * 3600
COUNTRY = """\
policies:
  - id: country
    contexts: {include: [c1]}
    conditions: {changed: [country]}
    grant: mfa
"""
RISK = """\
policies:
  - id: risky
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: medium}}
    grant: mfa
"""
BOTH = COUNTRY + RISK.removeprefix("policies:\n")


# A user signs in at ten, travels at eleven, makes calls, comes home, and is risky at fifteen.
TINY = [
    begin(TEN),
    call(TEN + 60),
    begin(TEN + 100, "s2", "bob"),
    call(TEN + 200, session="s2"),
    call(TEN + 3600, away=True),  # asked: the country changed
    call(TEN + 3610, away=True),  # the answer is on its way
    call(TEN + 3700, away=True),  # answered: passes
    call(TEN + 7200),  # back home, which is the baseline
    call(TEN + 10800, away=True),  # proven: passes
    risk(TEN + 18000, "MEDIUM"),
    call(TEN + 18010, "c2"),  # another context: passes
    call(TEN + 18020),  # asked: the risk
    risk(TEN + 20000, "LOW"),
]
POLICIES = f"""\
{BOTH}
  - id: travel
    conditions: {{travel_speed: {{at_least: 900}}}}
    grant: mfa
    sticky: true
  - id: score
    state: report-only
    conditions: {{score: {{at_least: 30}}}}
    grant: mfa
"""
