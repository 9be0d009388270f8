"""The file that a policy is in, and its text once the policy is enabled."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from sidecar.daemon.configuration.files import policy_files, read_configuration
from sidecar.domain.policy.conditional_access import PolicyState
from sidecar.domain.values.causes import words_of
from sidecar.tuning.trial.promotion import NotPromoted, Promoted, promoted
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.yaml.tree import ConfigError, ConfigProblem


class PromotionPlan(NamedTuple):
    """The file, its text now, and its text with the policy enabled."""

    file: Path
    before: str
    after: Promoted


def plan(config: Path, environ: Mapping[str, str], policies: str, policy: str) -> PromotionPlan:
    """Return the plan to promote a policy; `policies`: a file or directory, not the configured.

    Raises `ConfigError` where something cannot be read, `NotPromoted` where it cannot be done.
    """
    settings = read_configuration(config, environ).settings
    files = policy_files(Path(policies or settings.policies.path))
    texts = {file: _text(file) for file in files}
    before = read_policies([(str(file), text) for file, text in texts.items()], settings)
    for file, text in texts.items():
        found = promoted(text, policy)
        if found is None:
            continue
        changed = [(str(f), found.text if f == file else t) for f, t in texts.items()]
        wanted = tuple(
            msgspec.structs.replace(p, state=PolicyState.ENABLED) if p.id == policy else p
            for p in before
        )
        if read_policies(changed, settings) != wanted:
            raise NotPromoted("other policies share its state by an anchor: write it out")
        return PromotionPlan(file, text, found)
    raise NotPromoted("there is no such policy")


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as opened:  # ends of lines stay as they are
            return opened.read()
    except OSError as error:
        message = f"cannot be read: {words_of(error)}"
        raise ConfigError((ConfigProblem(str(file), 0, "", message),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((ConfigProblem(str(file), 0, "", "is not UTF-8 text"),)) from error
