"""First showing of sign-ins: none counts as later than that.

An issuer's clock may be ahead of ours, and an event may be dated ahead: up to an allowance both are
believed. Such a sign-in would be the later one of whatever comes until then, of revocations too,
though it was shown before. So a sign-in counts as of the earlier of its `auth_time` and the moment
it was first shown, whenever and wherever it is shown again; and so does a context that is shown.
Tokens of one sign-in need not describe it alike (each client asks for its own `acr`): what claims
the same second is one sign-in here, and who shows one of its tokens has shown all of them.

Theory of operation. What matters are only those that were first shown before their own time, and
of each of them the earliest showing. That is a set of names under a minimum, of which the latest
by their own time are kept: joins of such sets commute, so that sidecars which learn of showings
late or in another order agree. Where the set is full, one that is older than all that are kept may
have been dropped from it: it counts as early as any sign-in of the session ever was.
"""

import msgspec

from sidecar.domain.session.state import Early, State
from sidecar.domain.values.assurance import Authentication

EARLY_BOUND = 32
_SEPARATOR = "\x1f"


def counted(state: State, sign_in: Authentication) -> Authentication:
    """Return the sign-in as of the second from which it counts."""
    if not state.early:
        return sign_in
    claimed = sign_in.auth_time
    shown = [e.shown for e in state.early.values() if e.claimed == claimed and e.sign_in]
    second = min([*shown, _second(state, _name(sign_in), claimed)])
    if second == sign_in.auth_time:
        return sign_in
    return msgspec.structs.replace(sign_in, auth_time=second)


def counted_when(state: State, sign_in: Authentication, second: int) -> Authentication:
    """Return the sign-in as it counts if it is shown in this second."""
    known = counted(state, sign_in)
    if known.auth_time <= second:
        return known
    return msgspec.structs.replace(known, auth_time=second)


def show(state: State, sign_in: Authentication, second: int) -> Authentication:
    """Note that a sign-in was shown in this second; `state` changes. Returns it as it counts."""
    if second < sign_in.auth_time:
        _note(state, _name(sign_in), Early(sign_in.auth_time, second, sign_in))
    return counted(state, sign_in)


def is_noted(state: State, sign_in: Authentication) -> bool:
    """Return whether it is known when this sign-in, of a time to come, was first shown."""
    return _name(sign_in) in state.early


def context_counted(state: State, context: str, second: int) -> int:
    """Return the second from which a context counts that was shown as of `second`."""
    return _second(state, _name_of(context, second), second) if state.early else second


def show_context(state: State, context: str, second: int, shown: int) -> int:
    """Note that a context was shown in second `shown`; `state` changes. Returns as of when."""
    if shown < second:
        _note(state, _name_of(context, second), Early(second, shown))
    return context_counted(state, context, second)


def is_context_noted(state: State, context: str, second: int) -> bool:
    """Return whether it is known when this context, of a time to come, was first shown."""
    return _name_of(context, second) in state.early


def _name(sign_in: Authentication) -> str:
    return _SEPARATOR.join((str(sign_in.auth_time), sign_in.acr, *sign_in.amr))


def _name_of(context: str, second: int) -> str:
    return _SEPARATOR.join(("context", context, str(second)))


def _second(state: State, name: str, claimed: int) -> int:
    held = state.early.get(name)
    if held is not None:
        return held.shown
    if len(state.early) < EARLY_BOUND or claimed > min(e.claimed for e in state.early.values()):
        return claimed
    # It may have been dropped from the full set, so it counts as early as any ever was shown.
    return max(0, claimed - state.early_by)


def _note(state: State, name: str, early: Early) -> None:
    known = state.early.get(name)
    if known is not None and known.shown <= early.shown:
        return
    state.early[name] = early
    state.early_by = max(state.early_by, early.claimed - early.shown)
    while len(state.early) > EARLY_BOUND:
        del state.early[min(state.early, key=lambda one: (state.early[one].claimed, one))]
