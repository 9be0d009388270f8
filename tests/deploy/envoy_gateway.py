"""What Envoy Gateway's reference says of the objects that an example has, as a strict schema.

No package of a registry has its types or its custom resource definitions. So the keys that are used
are written down here, from https://gateway.envoyproxy.io/v1.8/api/extension_types: a key of ours
that is not here has to be looked up there first. No part of a definition is copied.
"""

from typing import Any

Schema = dict[str, Any]

NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 253}
HEADERS: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 64}


def strict(*required: str, **members: Schema) -> Schema:
    """Return the schema of an object that has no other members."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": members,
    }


def _listed(one: Schema) -> Schema:
    return {"type": "array", "items": one, "minItems": 1}


def _policy(kind: str, target: str, **spec: Schema) -> Schema:
    """Return the schema of a policy that is attached to objects of this kind."""
    attached = strict(
        "group",
        "kind",
        "name",
        group={"const": "gateway.networking.k8s.io"},
        kind={"const": target},
        name=NAME,
        sectionName=NAME,
    )
    return strict(
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        apiVersion={"const": "gateway.envoyproxy.io/v1alpha1"},
        kind={"const": kind},
        metadata=strict("name", name=NAME, namespace=NAME),
        spec=strict("targetRefs", targetRefs=_listed(attached), **spec),
    )


_BACKEND = strict(
    "name",
    name=NAME,
    namespace=NAME,
    group={"type": "string"},
    kind={"type": "string"},
    port={"type": "integer", "minimum": 1, "maximum": 65535},
)
_OVER_HTTP = strict(
    "backendRefs",
    backendRefs=_listed(_BACKEND),
    path={"type": "string", "pattern": "^/"},
    headersToBackend={"type": "array", "items": {"type": "string"}},
)
_MATCH = strict(
    "value",
    type={"enum": ["Exact", "Prefix", "Suffix", "RegularExpression"]},
    value={"type": "string", "minLength": 1, "maxLength": 1024},
)
SCHEMAS: dict[str, Schema] = {
    "SecurityPolicy": _policy(
        "SecurityPolicy",
        "HTTPRoute",
        extAuth=strict(
            "http",
            failOpen={"type": "boolean"},
            timeout={"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"},
            statusOnError={"type": "integer", "minimum": 400, "maximum": 511},
            headersToExtAuth={"type": "array", "items": {"type": "string"}},
            http=_OVER_HTTP,
        ),
    ),
    "ClientTrafficPolicy": _policy(
        "ClientTrafficPolicy",
        "Gateway",
        headers=strict(
            withUnderscoresAction={"enum": ["Allow", "RejectRequest", "DropHeader"]},
            earlyRequestHeaders=strict(
                remove={**HEADERS, "uniqueItems": True},
                removeOnMatch={**_listed(_MATCH), "maxItems": 64},
            ),
        ),
    ),
}
"""The schema of each kind of which an example has an object."""
