"""Reads AdmissionReview of `admission.k8s.io/v1`, and writes what answers it.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

import base64
from typing import Annotated, Any, Literal

import msgspec

from sidecar.wire.injection.additions import Names
from sidecar.wire.injection.pod_patch import Pod, RefusedPod, patch_of

LONGEST_REVIEW = 4 << 20
"""Bytes of the longest review that is read: an object has 1.5 MiB at most, which JSON escapes."""

LONGEST_UID = 128
"""Characters of the longest `uid`, which has 36: the answer repeats it."""
LONGEST_REASON = 300
"""Characters of what is said of a review that is none: the decoder repeats what it met."""

_VERSION = "admission.k8s.io/v1"


class InvalidReview(ValueError):  # noqa: N818 - named by who must act: the sender
    """A body is no AdmissionReview of a pod."""


class Kind(msgspec.Struct, frozen=True):
    """The kind of an object."""

    group: str
    version: str
    kind: str


class ReviewRequest(msgspec.Struct, frozen=True, rename="camel"):
    """The question whether an object is admitted."""

    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_UID)]
    kind: Kind
    operation: Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
    object: msgspec.Raw = msgspec.Raw(b"null")
    namespace: str = ""
    sub_resource: str = ""


class AdmissionReview(msgspec.Struct, frozen=True, rename="camel"):
    """The envelope."""

    api_version: Literal["admission.k8s.io/v1"]
    kind: Literal["AdmissionReview"]
    request: ReviewRequest


class Admission(msgspec.Struct, frozen=True):
    """The answer to a review, and what to say of it: `added`, `left` or `refused`, and why."""

    body: bytes
    outcome: Literal["added", "left", "refused"]
    namespace: str
    detail: str = ""


_REVIEW = msgspec.json.Decoder(AdmissionReview)
_POD = msgspec.json.Decoder(Pod)


def admit(body: bytes, names: Names) -> Admission:
    """Return the answer to a review. Raises `InvalidReview`."""
    try:
        request = _REVIEW.decode(body).request
        pod = _pod_of(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidReview(str(error)[:LONGEST_REASON]) from None
    namespace = request.namespace[:63]
    try:
        patch = patch_of(pod, names) if pod is not None else []
    except RefusedPod as refused:
        return Admission(_refusal(request.uid, str(refused)), "refused", namespace, str(refused))
    if not patch:
        return Admission(_response({"uid": request.uid, "allowed": True}), "left", namespace)
    encoded = base64.b64encode(msgspec.json.encode(patch)).decode()
    response = {"uid": request.uid, "allowed": True, "patchType": "JSONPatch", "patch": encoded}
    return Admission(_response(response), "added", namespace)


def _pod_of(request: ReviewRequest) -> Pod | None:
    """Return the pod that is to be created; None: it is something else.

    Raises `InvalidReview` for a pod that cannot be read here: it may have asked for the sidecar.
    """
    kind = request.kind
    if kind.kind != "Pod" or request.operation != "CREATE" or request.sub_resource:
        return None
    if (kind.group, kind.version) != ("", "v1"):
        raise InvalidReview("a Pod is read in version v1 alone, of the core group")
    return _POD.decode(request.object)


def _refusal(uid: str, message: str) -> bytes:
    status = {"code": 422, "reason": "Invalid", "message": f"stepup-sidecar: {message}"}
    return _response({"uid": uid, "allowed": False, "status": status})


def _response(response: dict[str, Any]) -> bytes:
    review = {"apiVersion": _VERSION, "kind": "AdmissionReview", "response": response}
    return msgspec.json.encode(review)
