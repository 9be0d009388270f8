"""Sign-in that a call's token shows: the call is judged by it (contract, "Meaning" 4; RFC 9470).

A session has as many tokens as it has clients, and each shows the sign-in that it was issued for. A
stronger or later sign-in of the session is shown by the tokens that were issued for that one, and
by no others: whoever holds an older token must show it before the call may pass.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from sidecar.domain.session.state import State
from sidecar.domain.values.assurance import Authentication


class Presented(NamedTuple):
    """The sign-in and the contexts that a call's token shows.

    `contexts` are the authentication contexts that its issuer is trusted to have enforced as of
    second `contexts_at`. `alone`: nothing but the token counts; else all sign-ins of the session
    do, but none of them brings back a token from before a revocation.
    """

    authentication: Authentication
    contexts: tuple[str, ...] = ()
    contexts_at: int = 0
    alone: bool = True


def is_of_session(presented: Presented, state: State) -> bool:
    """Return whether a call that shows this stands as its session does, by the same evidence.

    That is so where its sign-in is the only one that the session has, and there is nothing that a
    sign-in of a call meets otherwise than one of a session: contexts that were shown, and what
    operators ask for. Most calls are such; of them the session's standing need not be made again.
    """
    sign_ins = state.sign_ins
    return (
        len(sign_ins) == 1
        and sign_ins[0] == presented.authentication
        and not (state.early or state.asked or state.shown_contexts or presented.contexts)
    )


Alone: TypeAlias = Callable[[str], bool]
"""A test: are the calls of an app (empty: unknown) judged by their own token alone?"""


def always_alone(_app: str) -> bool:
    """Judge all calls so, which is the default."""
    return True
