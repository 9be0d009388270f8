"""The policies of daemons whose store is lost."""

from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from tests.domain.scenes import policy

POLICIES = (policy(UserRisk(RiskLevel.MEDIUM), name="risky"),)
