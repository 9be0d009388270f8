"""What deploy/generate.py makes is what is committed."""

import importlib.util
from pathlib import Path
from types import ModuleType

DEPLOY = Path(__file__).parents[2] / "deploy"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_generate", DEPLOY / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_committed_is_what_is_generated() -> None:
    for path, text in load().generated().items():
        assert (DEPLOY / path).read_text() == text, f"{path}: run python deploy/generate.py"
