"""Orders to have another bundle in force, and the answers to them."""

import msgspec

from sidecar.wire.bundles.generations import Generation, PolicyAct


class ActivationRefused(Exception):  # noqa: N818 - named by who must act
    """Nothing has changed, and why: an answer of status 409 says it."""


class PolicyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of an act on the policies of the fleet.

    `sequence` 0: of a rollback the one that was in force before. `partial`: also where some sidecar
    has it not at hand within `timeout` seconds; that one judges nothing until it has.
    """

    reason: str
    sequence: int = 0
    partial: bool = False
    timeout: float = 10.0


class PolicyActDone(msgspec.Struct, frozen=True):
    """The answer to an act: what is in force from when on, and on how many sidecars it is."""

    act: PolicyAct
    sequence: int
    digest: str
    term: int
    moment: float
    by: str
    sidecars: int
    ready: int
    in_force: int
    waits: dict[str, str]


class GenerationPage(msgspec.Struct, frozen=True):
    """The bundle in force by the record, the one here, and all activations, the latest first."""

    in_force: int
    here: int
    moment: float | None
    proposed: int
    activations: tuple[Generation, ...]
