"""Makes the log lines of observations that are not always worth one, or are worth several.

Each function here takes the circumstances, and returns the function that yields the lines of an
observation. What it must remember of the observations before, it keeps in its own variables.
"""

import traceback
from collections.abc import Callable, Iterator

from sidecar.adapters.telemetry.declarations import (
    DEBUG,
    ERROR,
    INFO,
    WARNING,
    ConfiguredNames,
    WrittenLine,
)
from sidecar.adapters.telemetry.label_values import OTHER
from sidecar.adapters.telemetry.recorder import Circumstances
from sidecar.domain.values.causes import ungrouped
from sidecar.service.observations import observations, receiver
from sidecar.wire.policies.explanation_log import shortened
from sidecar.wire.tokens.claims import ClaimNeed

_TRACE_LIMIT = 12
_CAUSES = 16
"""So many causes of one outage of the store have a line."""
_MORE_DESCRIPTORS = (
    "no connection can be accepted until one ends: raise the limit of open files (`ulimit -n`,"
    " LimitNOFILE, the container runtime's), or lower `max_connections`"
)
_LACKING = {
    ClaimNeed.SESSION: "sessions are known by what tokens.issuers[].session says instead",
    ClaimNeed.AUTH_TIME: "its tokens prove nothing, and clear no mark: token-without-auth-time",
    ClaimNeed.ASSURANCE: "neither acr nor amr: its sign-ins show no level of assurance",
    ClaimNeed.GROUPS: "groups are unknown: see tokens.issuers[].groups_unknown and groups_absent",
    ClaimNeed.ROLES: "roles are unknown: see tokens.issuers[].roles_unknown and roles_absent",
    ClaimNeed.CLAIM: "a policy asks for it: where it is unknown, its condition does not hold",
}
_IN_VAIN = (
    "discovery lists none of what a challenge asks for, so a step-up may come back as it was and "
    "be asked for again: have the provider offer it, or add an acr that it offers to that level "
    "in assurance.levels"
)


def reported_only(
    at: Circumstances,
) -> Callable[[observations.ReportedOnly], Iterator[WrittenLine]]:
    """Log a report-only policy's decision, at a higher level if checks are logged."""

    def lines(seen: observations.ReportedOnly) -> Iterator[WrittenLine]:
        yield (
            INFO if at.logs_checks else DEBUG,
            "would-have-decided",
            {
                "session": seen.session,
                "subject": seen.subject,
                "policy": seen.policy,
                "decision": seen.decision,
                "answered": seen.answered,
                "context": seen.context,
                **_issuer(seen.issuer),
            },
        )

    return lines


def checked(at: Circumstances) -> Callable[[observations.Checked], Iterator[WrittenLine]]:
    """Log the answer to a check, if checks are logged."""

    def lines(seen: observations.Checked) -> Iterator[WrittenLine]:
        if not at.logs_checks:
            return
        why = seen.explanation
        yield (
            INFO,
            "checked",
            {
                "decision": seen.verdict,
                "id": seen.id,
                **({"trace": seen.trace} if seen.trace else {}),
                "context": seen.context,
                "session": seen.session,
                "subject": seen.subject,
                **_issuer(seen.issuer),
                "status": seen.status,
                "seconds": round(seen.seconds, 6),
                "reasons": [f"{reason.policy}: {reason.text}" for reason in seen.reasons],
                **({} if why is None else {"explanation": shortened(why)}),
            },
        )

    return lines


def _issuer(issuer: str) -> dict[str, str]:
    return {"issuer": issuer} if issuer else {}


def store_up(_: Circumstances) -> Callable[[observations.StoreUp], Iterator[WrittenLine]]:
    """Log that the store is up again, and each cause of an outage once."""
    was_up = False
    causes: set[str] = set()

    def lines(store: observations.StoreUp) -> Iterator[WrittenLine]:
        nonlocal was_up
        came, was_up = store.up and not was_up, store.up
        if store.up:
            causes.clear()
            if came:
                yield INFO, "store-up", {"detail": store.detail}
        elif store.detail not in causes and len(causes) < _CAUSES:
            causes.add(store.detail)
            yield ERROR, "store-down", {"detail": store.detail}

    return lines


def store_evicts(_: Circumstances) -> Callable[[observations.StoreEvicts], Iterator[WrittenLine]]:
    """Log what a server of the store does when it is full."""

    def lines(seen: observations.StoreEvicts) -> Iterator[WrittenLine]:
        slots = {"slots": seen.spans}
        if not seen.policy:
            detail = "the user may not ask INFO: evicted records are noticed late, if at all"
            yield WARNING, "store-eviction-unknown", {**slots, "detail": detail}
        elif seen.policy == "noeviction":
            yield INFO, "store-keeps", slots
        else:
            detail = "marks and revocations may be evicted; users are asked to sign in each time"
            yield (
                WARNING,
                "store-evicts",
                {"maxmemory_policy": seen.policy, **slots, "detail": detail},
            )

    return lines


def door_incident(
    at: Circumstances,
) -> Callable[[observations.DoorIncident], Iterator[WrittenLine]]:
    """Log what to do if no connection can be accepted, and errors of libraries.

    Other incidents are only counted.
    """

    def lines(seen: observations.DoorIncident) -> Iterator[WrittenLine]:
        if seen.error is not None:
            unsaid = at.unsaid("connection-broken", seen.door)
            for error in () if unsaid is None else ungrouped(seen.error):
                yield (
                    WARNING,
                    "connection-broken",
                    {"door": seen.door, **_placed(error), "unsaid": unsaid},
                )
        if seen.incident != "no-descriptor":
            return
        unsaid = at.unsaid("descriptors-exhausted")
        if unsaid is not None:
            fields = {"door": seen.door, "unsaid": unsaid, "detail": _MORE_DESCRIPTORS}
            yield WARNING, "descriptors-exhausted", fields

    return lines


def claim_missing(_: Circumstances) -> Callable[[observations.ClaimMissing], Iterator[WrittenLine]]:
    """Log a missing claim and its consequence, once for each issuer and claim."""
    lacking: set[tuple[str, str]] = set()

    def lines(seen: observations.ClaimMissing) -> Iterator[WrittenLine]:
        if (seen.issuer, seen.claim) not in lacking:
            lacking.add((seen.issuer, seen.claim))
            fields = {"issuer": seen.issuer, "claim": seen.claim, "detail": _LACKING[seen.need]}
            yield WARNING, "token-claim-missing", fields

    return lines


def introspected(at: Circumstances) -> Callable[[observations.Introspected], Iterator[WrittenLine]]:
    """Log that an issuer begins or ends to fail, and an unclear answer once a minute."""
    silent: set[str] = set()

    def lines(asked: observations.Introspected) -> Iterator[WrittenLine]:
        if not asked.was_asked:
            return
        position = at.names[ConfiguredNames.ISSUERS].get(asked.issuer, OTHER)
        fields = {"issuer": asked.issuer, "detail": asked.detail}
        if asked.outcome == "invalid":
            # Of one token: whoever sends such ones must not fill the log.
            unsaid = at.unsaid("introspection-unclear", position)
            if unsaid is not None:
                yield WARNING, "introspection-unclear", {**fields, "unsaid": unsaid}
        elif asked.outcome in ("active", "refused"):
            if asked.issuer in silent:
                silent.discard(asked.issuer)
                yield INFO, "introspection-restored", {"issuer": asked.issuer}
        elif asked.issuer not in silent and at.unsaid("introspection-failed", position) is not None:
            silent.add(asked.issuer)
            yield WARNING, "introspection-failed", fields

    return lines


def restart_required(
    _: Circumstances,
) -> Callable[[observations.RestartRequired], Iterator[WrittenLine]]:
    """Log the keys that wait for a restart, if they differ from those before."""
    waiting: tuple[str, ...] = ()

    def lines(seen: observations.RestartRequired) -> Iterator[WrittenLine]:
        nonlocal waiting
        before, waiting = waiting, seen.keys
        if seen.keys and seen.keys != before:
            yield WARNING, "restart-required", {"keys": seen.keys}

    return lines


def acr_unoffered(_: Circumstances) -> Callable[[observations.AcrUnoffered], Iterator[WrittenLine]]:
    """Log the values that an issuer does not offer, if they differ from those before."""
    missing: dict[str, tuple[str, ...]] = {}

    def lines(found: observations.AcrUnoffered) -> Iterator[WrittenLine]:
        before = missing.get(found.issuer, ())
        missing[found.issuer] = found.asked
        if before == found.asked:
            return
        if not found.asked:
            yield INFO, "acr-offered", {"issuer": found.issuer}
            return
        yield (
            WARNING,
            "acr-not-offered",
            {
                "issuer": found.issuer,
                "asked": found.asked,
                "policies": found.policies,
                "offered": found.offered,
                "detail": _IN_VAIN,
            },
        )

    return lines


def polled(_: Circumstances) -> Callable[[receiver.Polled], Iterator[WrittenLine]]:
    """Log that polls begin or end to fail."""

    def lines(seen: receiver.Polled) -> Iterator[WrittenLine]:
        if not seen.changed:
            return
        if seen.failed:
            yield WARNING, "poll-failed", {"transmitter": seen.transmitter, "detail": seen.detail}
        else:
            yield INFO, "poll-works-again", {"transmitter": seen.transmitter}

    return lines


def worker_failed(_: Circumstances) -> Callable[[observations.WorkerFailed], Iterator[WrittenLine]]:
    """Log an error."""

    def lines(failed: observations.WorkerFailed) -> Iterator[WrittenLine]:
        for error in ungrouped(failed.error):
            yield ERROR, "worker-failed", {"where": failed.where, **_placed(error)}

    return lines


def _placed(error: BaseException) -> dict[str, object]:
    """Return the class and the place of an error, not its text, which may quote a payload."""
    frames = traceback.extract_tb(error.__traceback__)[-_TRACE_LIMIT:]
    trace = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "trace": trace}


STALLED = 0.1
"""Seconds of a stop of the event loop that are worth a line."""


def loop_stalled(at: Circumstances) -> Callable[[observations.LoopStalled], Iterator[WrittenLine]]:
    """Log a long stop, one a minute at most."""

    def lines(seen: observations.LoopStalled) -> Iterator[WrittenLine]:
        if seen.seconds < STALLED:
            return
        unsaid = at.unsaid("loop-stalled")
        if unsaid is not None:
            yield WARNING, "loop-stalled", {"seconds": round(seen.seconds, 3), "unsaid": unsaid}

    return lines


def as_it_says(_: Circumstances) -> Callable[[observations.DaemonEvent], Iterator[WrittenLine]]:
    """Log an observation that is a log line itself."""

    def lines(seen: observations.DaemonEvent) -> Iterator[WrittenLine]:
        yield WARNING if seen.warning else INFO, seen.event, seen.fields

    return lines
