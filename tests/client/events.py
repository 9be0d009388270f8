"""Events as apps report them."""

from typing import Any


def event(name: str) -> dict[str, Any]:
    return {
        "type": "risk-level-change",
        "id": name,
        "subject": {"user": "ada"},
        "data": {"current_level": "HIGH"},
    }
