"""The limit of descriptors that this process may have open (getrlimit(2), `RLIMIT_NOFILE`)."""

import resource
import sys


def most() -> int:
    """Return how many it may have at most: the hard limit, to which it may raise its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def raise_to(needed: int) -> int:
    """Raise the limit to what is needed, where it is lower and may be raised; return what it is.

    It is not raised beyond: programs that are started from here may be slow with very many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if wanted <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a sandbox, or a system's own bound, may forbid it
        return soft
    return wanted
