"""AuthZEN requests of any shape."""

import json
from typing import Any

from hypothesis import strategies as st

from sidecar.wire.http.authzen import (
    Evaluation,
    EvaluationBatch,
    decode_evaluations,
)


def evaluations(**members: Any) -> Evaluation | EvaluationBatch:
    return decode_evaluations(json.dumps(members).encode())


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
NAMES = st.sampled_from(
    [
        "type",
        "id",
        "name",
        "properties",
        "token",
        "context",
        "path",
        "uri",
        "host",
        "hostname",
        "ip",
        "ip_address",
        "user_agent",
        "subject",
        "action",
        "resource",
        "evaluations",
        "options",
        "evaluations_semantic",
    ]
)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["session", "context", "route", "uri", "/x", "http://a/b", "c1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
ENTITIES = st.fixed_dictionaries(
    {"type": st.sampled_from(["session", "user", "context", "route", "uri"]), "id": st.text()},
    optional={"properties": st.dictionaries(NAMES, VALUES), "name": st.text()},
)
REQUESTS = st.fixed_dictionaries(
    {"subject": ENTITIES, "resource": ENTITIES, "action": st.just({"name": "GET"})},
    optional={
        "context": st.dictionaries(NAMES, VALUES),
        "evaluations": st.lists(st.dictionaries(NAMES, VALUES), max_size=3),
        "options": VALUES,
    },
)
